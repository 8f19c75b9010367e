"""Tasks that steer a run: condition, for_each and run_job. None of them needs compute."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, InvalidOperation
from typing import Any

from lakeflow_job_meta.local.api.errors import ApiError
from lakeflow_job_meta.local.runs.processes import Stop
from lakeflow_job_meta.local.runs.records import TaskRecord
from lakeflow_job_meta.local.runs.states import State
from lakeflow_job_meta.local.runs.tasks import TaskContext, TaskFailure, refuse

Json = dict[str, Any]

_NUMERIC: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "GREATER_THAN": lambda left, right: left > right,
    "GREATER_THAN_OR_EQUAL": lambda left, right: left >= right,
    "LESS_THAN": lambda left, right: left < right,
    "LESS_THAN_OR_EQUAL": lambda left, right: left <= right,
}
#: Fields of a run_job task that go to the child run as they would to run-now.
_OVERRIDES = ("notebook_params", "python_params", "python_named_params", "sql_params")


def run_condition(context: TaskContext) -> None:
    """Compares two operands; the outcome is `true` or `false`.

    EQUAL_TO and NOT_EQUAL compare text ("12.0" is not "12"), the others compare numbers.

    Raises:
        TaskFailure: an operand is no number, or the operator is unknown.
    """
    task = context.task["condition_task"]
    left, right, operator = str(task["left"]), str(task["right"]), task["op"]
    if operator == "EQUAL_TO":
        outcome = left == right
    elif operator == "NOT_EQUAL":
        outcome = left != right
    elif operator in _NUMERIC:
        try:
            outcome = _NUMERIC[operator](Decimal(left.strip()), Decimal(right.strip()))
        except InvalidOperation as e:
            raise refuse(f"{operator} compares numbers, but the operands are {left!r} and {right!r}") from e
    else:
        raise refuse(f"unknown operator {operator!r} of the condition task")
    context.record.output.update(
        outcome="true" if outcome else "false", left=context.redact(left), right=context.redact(right)
    )


def run_for_each(context: TaskContext) -> None:
    """Runs the inner task once for every input, at most `concurrency` at a time.

    Raises:
        TaskFailure: the inputs are no array, or an iteration failed.
    """
    task = context.task["for_each_task"]
    inputs = parse_inputs(str(task["inputs"]))
    inner = task["task"]
    stats = {"total_iterations": len(inputs)}
    context.record.output.update(stats=stats, inputs=context.redact(str(task["inputs"])))
    context.save()
    finished: list[TaskRecord] = []
    lock = threading.Lock()

    def iteration(index: int) -> None:
        if context.stop.reason:
            return
        record = context.iterate(inner, inputs[index], index)
        with lock:
            finished.append(record)

    with ThreadPoolExecutor(max_workers=int(task.get("concurrency") or 1)) as pool:
        for future in [pool.submit(iteration, index) for index in range(len(inputs))]:
            future.result()
    failed = [record for record in finished if not record.state.succeeded]
    stats.update(
        completed_iterations=len(finished),
        succeeded_iterations=len(finished) - len(failed),
        failed_iterations=len(failed),
        scheduled_iterations=len(finished),
        active_iterations=0,
    )
    if failed:
        first = min(failed, key=lambda record: record.iteration)
        raise TaskFailure(
            f"{len(failed)} of {len(inputs)} iterations failed; iteration {first.iteration}: "
            f"{first.error or first.state.message}"
        )


def parse_inputs(text: str) -> list[Any]:
    """The elements of `inputs`: a JSON array, or plain words between commas.

    Raises:
        TaskFailure: it looks like JSON but is no array.
    """
    try:
        found = json.loads(text)
    except ValueError as e:
        if not text.strip() or any(mark in text for mark in '[]{}"'):
            raise refuse(f"for_each_task.inputs is no JSON array: {e}: {text[:200]!r}") from e
        return [part.strip() for part in text.split(",")]
    if isinstance(found, list):
        return found
    if isinstance(found, (str, int, float)) and not isinstance(found, bool):
        return [found]
    raise refuse(f"for_each_task.inputs must be a JSON array, not {text[:200]!r}")


def run_run_job(context: TaskContext) -> None:
    """Starts a run of another job and waits for its end.

    Raises:
        TaskFailure: there is no such job, or its run did not succeed.
    """
    task = context.task["run_job_task"]
    request: Json = {"job_parameters": {**(task.get("job_parameters") or {})}}
    for name in _OVERRIDES:
        if task.get(name) is not None:
            request[name] = task[name]
    # Job parameters of this run are pushed down to a job that has parameters of the same name.
    request["pushed"] = context.job_parameters
    children = context.services.children
    try:
        run_id = children.run_job(int(task["job_id"]), request, context.record)
    except (ApiError, ValueError) as e:
        raise TaskFailure(f"cannot start job {task['job_id']}: {e}", code="RESOURCE_NOT_FOUND") from e
    context.record.output["run_id"] = run_id
    context.save()
    state = _follow(context, run_id)
    if not state.succeeded:
        raise TaskFailure(
            f"run {run_id} of job {task['job_id']} ended {state.result or state.life_cycle}: {state.message}"
        )


def _follow(context: TaskContext, run_id: int) -> State:
    children = context.services.children
    state = children.wait(run_id, context.stop)
    if context.stop.reason:
        children.cancel(run_id)
        return children.wait(run_id, Stop())
    return state
