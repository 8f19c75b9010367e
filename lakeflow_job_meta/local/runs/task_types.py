"""Which kinds of task run here, and which do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lakeflow_job_meta.local.runs.control import run_condition, run_for_each, run_run_job
from lakeflow_job_meta.local.runs.python import run_notebook, run_python_file, run_wheel
from lakeflow_job_meta.local.runs.sql import run_sql
from lakeflow_job_meta.local.runs.tasks import TaskContext, refuse

#: Runs one attempt: fills the record's output, raises TaskFailure. By the task's own field.
RUNNERS: Mapping[str, Callable[[TaskContext], None]] = {
    "notebook_task": run_notebook,
    "spark_python_task": run_python_file,
    "python_wheel_task": run_wheel,
    "sql_task": run_sql,
    "condition_task": run_condition,
    "for_each_task": run_for_each,
    "run_job_task": run_run_job,
}

#: Kinds that start a child process; how many of them run at once is limited.
IN_PROCESSES = frozenset({"notebook_task", "spark_python_task", "python_wheel_task"})


def kind_of(task: Mapping[str, Any]) -> str:
    """The field of a task that says what it is, empty when it has none."""
    return next((name for name, value in task.items() if name.endswith("_task") and value is not None), "")


def run_task(context: TaskContext) -> None:
    """Runs one attempt of a task, whatever it is.

    Raises:
        TaskFailure: it failed, or its kind does not run here: nothing is ever skipped.
    """
    kind = kind_of(context.task)
    runner = RUNNERS.get(kind)
    if runner is None:
        raise refuse(
            f"the embedded workspace cannot run {kind or 'a task without a type'}; run it on Databricks"
        )
    runner(context)
