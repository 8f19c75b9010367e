"""When a task may start: depends_on, outcomes and run_if, as the platform judges them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lakeflow_job_meta.local.runs.states import CANCELLATIONS, FAILURES

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a task whose dependencies have all ended; `result` is empty when it runs."""

    result: str = ""
    message: str = ""

    @property
    def runs(self) -> bool:
        return not self.result


def judge(task: Json, results: Mapping[str, str], outcomes: Mapping[str, str]) -> Verdict:
    """Whether a task runs, and what it ends as when it does not.

    Args:
        task: its settings.
        results: the result of every dependency by task key.
        outcomes: `true` or `false` of the condition tasks that ended well.

    An edge whose outcome does not match counts as excluded. Excluded dependencies count as
    successes, but a task all of whose dependencies are excluded is excluded as well, and so is one
    with an edge that does not match, unless its run_if looks only at the others. Source: "Run if"
    and "Disabled tasks" (Jobs documentation).
    """
    if task.get("disabled"):
        return Verdict("DISABLED", "The task is disabled.")
    found: dict[str, str] = {}
    mismatch = ""
    for dependency in task.get("depends_on") or []:
        key = dependency["task_key"]
        if key not in results:
            continue
        result = results[key]
        wanted = dependency.get("outcome")
        if wanted is not None and result == "SUCCESS" and outcomes.get(key) != wanted:
            result, mismatch = "EXCLUDED", key
        found[key] = result
    if not found:
        return Verdict()
    run_if = task.get("run_if") or "ALL_SUCCESS"
    values = list(found.values())
    if all(value == "EXCLUDED" for value in values):
        return Verdict("EXCLUDED", "All dependencies were excluded.")
    if mismatch and run_if == "ALL_SUCCESS" and not _failed(values):
        return Verdict("EXCLUDED", f"The outcome of condition task {mismatch!r} did not match.")
    if _holds(run_if, values):
        return Verdict()
    return _unmet(run_if, found)


def _failed(values: Iterable[str]) -> bool:
    return any(value in FAILURES or value in CANCELLATIONS for value in values)


def _holds(run_if: str, values: list[str]) -> bool:
    succeeded = [value for value in values if value == "SUCCESS" or value == "SUCCESS_WITH_FAILURES"]
    failed = [value for value in values if value in FAILURES or value in CANCELLATIONS]
    if run_if == "ALL_DONE":
        return True
    if run_if == "AT_LEAST_ONE_SUCCESS":
        return bool(succeeded)
    if run_if == "NONE_FAILED":
        return not failed and bool(succeeded)
    if run_if == "ALL_FAILED":
        return len(failed) == len(values)
    if run_if == "AT_LEAST_ONE_FAILED":
        return bool(failed)
    return not failed and bool(succeeded) and "DISABLED" not in values


def _unmet(run_if: str, found: Mapping[str, str]) -> Verdict:
    values = list(found.values())
    if "DISABLED" in values and not _failed(values):
        return Verdict("DISABLED", "A task that it depends on is disabled.")
    if run_if in ("ALL_FAILED", "AT_LEAST_ONE_FAILED"):
        return Verdict("EXCLUDED", f"The condition {run_if} was not met.")
    failed = sorted(key for key, value in found.items() if value in FAILURES)
    if failed:
        return Verdict("UPSTREAM_FAILED", f"An upstream task failed: {', '.join(failed[:5])}.")
    canceled = sorted(key for key, value in found.items() if value in CANCELLATIONS)
    if canceled:
        return Verdict("UPSTREAM_CANCELED", f"An upstream task was canceled: {', '.join(canceled[:5])}.")
    return Verdict("EXCLUDED", f"The condition {run_if} was not met.")


def leaves(tasks: Iterable[Json]) -> set[str]:
    """The keys of the tasks that no other task depends on."""
    keys: set[str] = set()
    needed: set[str] = set()
    for task in tasks:
        keys.add(task["task_key"])
        needed.update(dependency["task_key"] for dependency in task.get("depends_on") or [])
    return keys - needed


def downstream(tasks: Iterable[Json], start: Iterable[str]) -> set[str]:
    """`start` and every task that depends on one of them, however far."""
    below: dict[str, list[str]] = {}
    for task in tasks:
        for dependency in task.get("depends_on") or []:
            below.setdefault(dependency["task_key"], []).append(task["task_key"])
    return _reach(below, start)


def upstream(tasks: Iterable[Json], start: Iterable[str]) -> set[str]:
    """`start` and every task that one of them depends on, however far."""
    above = {
        task["task_key"]: [dependency["task_key"] for dependency in task.get("depends_on") or []]
        for task in tasks
    }
    return _reach(above, start)


def _reach(edges: Mapping[str, list[str]], start: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting.extend(edges.get(key, ()))
    return found


def select(tasks: list[Json], only: Iterable[str]) -> set[str]:
    """The task keys that `only` of run-now names: `key`, `+key`, `key+` or `+key+`.

    Raises:
        KeyError: a key that no task has.
    """
    keys = {task["task_key"] for task in tasks}
    chosen: set[str] = set()
    for text in only:
        key = text.strip("+")
        if key not in keys:
            raise KeyError(key)
        chosen.add(key)
        if text.startswith("+"):
            chosen |= upstream(tasks, [key])
        if text.endswith("+"):
            chosen |= downstream(tasks, [key])
    return chosen
