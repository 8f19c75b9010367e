"""Entry point of our own tasks: `lakeflow-job-meta-task`, a wheel task of this package.

It reads the last accepted definition of the module from `<table>_jobs` (never the live rows: a bad
edit does not break a running pipeline), finds the source, and has its task type's runner do the work.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.errors import (
    DxrRunFailed,
    LakeflowJobMetaError,
    PolicyRunFailed,
    TaskError,
    UsageError,
)
from lakeflow_job_meta.names import TableName

if TYPE_CHECKING:
    from lakeflow_job_meta.runtime import Runtime
    from lakeflow_job_meta.task_context import Runner, TaskContext

#: Where the runner of each task type of ours lives.
RUNNERS: Mapping[str, str] = {
    "sql_script": "lakeflow_job_meta.tasks.sql_script:run",
    "dxr_ingest": "lakeflow_job_meta.dxr.tasks:run_ingest",
    "dxr_collect": "lakeflow_job_meta.dxr.tasks:run_collect",
    "dxr_organise": "lakeflow_job_meta.dxr.tasks:run_organise",
    "dxr_snapshot": "lakeflow_job_meta.dxr.tasks:run_snapshot",
    "sql_policy": "lakeflow_job_meta.policies.tasks:run_policy",
    "remediate": "lakeflow_job_meta.policies.remediate:run_remediate",
    "notify": "lakeflow_job_meta.tasks.notify:run",
    "dataset_sync": "lakeflow_job_meta.datasets.tasks:run",
}
REQUIRED = ("control_table", "module_name", "source_id")


@dataclass(frozen=True)
class Arguments:
    """The named parameters of a task of ours; `further` are those that are none of ours."""

    control_table: TableName
    module_name: str
    source_id: str
    run_id: str
    further: Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one task; prints a JSON summary line.

    Leaves by SystemExit with one sentence (stderr, exit code 1) when the task failed: a wheel task
    of Databricks fails with that sentence, without a traceback.

    Args:
        arguments: `--name=value` each, as named parameters of a wheel task arrive; None: the process's.
    """
    try:
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        summary = execute(parsed)
    except LakeflowJobMetaError as error:
        if isinstance(error, (DxrRunFailed, PolicyRunFailed)):
            print(json.dumps(error.summary, default=str))  # noqa: T201 - a failed run has its summary, too
            sys.stdout.flush()
        raise SystemExit(f"error: {error}") from error
    print(json.dumps(summary, default=str))  # noqa: T201 - the task's output is its summary
    sys.stdout.flush()


def parse(arguments: Sequence[str]) -> Arguments:
    """The named parameters. Raises UsageError listing everything that is wrong with them."""
    given: dict[str, str] = {}
    wrong: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not argument.startswith("--") or not equals:
            wrong.append(f"{argument!r} is not --name=value")
        else:
            given[name[2:].replace("-", "_")] = value
    wrong += [f"--{name} is missing" for name in REQUIRED if not given.get(name)]
    if wrong:
        raise UsageError(
            f"{'; '.join(wrong)} (this is the entry point of tasks that lakeflow_job_meta renders)"
        )
    return Arguments(
        control_table=TableName.parse(given.pop("control_table")),
        module_name=given.pop("module_name"),
        source_id=given.pop("source_id"),
        run_id=given.pop("run_id", ""),
        further=given,
    )


def execute(arguments: Arguments, runtime: Runtime | None = None) -> dict[str, Any]:
    """Do the task's work; returns its summary.

    Raises:
        TaskError: the module or source has no accepted definition, or the work failed.
        LakeflowJobMetaError: tables, volumes or the workspace failed.
    """
    from lakeflow_job_meta.runtime import connect

    context = make_context(arguments, runtime or connect(arguments.control_table))
    source = context.source
    summary = find_runner(source.task_type)(context)
    return {
        "module": arguments.module_name,
        "source": source.source_id,
        "task_type": source.task_type,
        "run_id": arguments.run_id,
        **summary,
    }


def find_runner(task_type: str) -> Runner:
    """The runner of a task type. Raises TaskError when this version has none."""
    place = RUNNERS.get(task_type)
    if place is None:
        raise TaskError(
            f"task type {task_type!r} is not run by this version of lakeflow_job_meta, which runs "
            f"{', '.join(sorted(RUNNERS))}: install the version that rendered the job (setting `package`)"
        )
    module, _, name = place.partition(":")
    runner: Runner = getattr(import_module(module), name)
    return runner


def make_context(arguments: Arguments, runtime: Runtime) -> TaskContext:
    """What the runner works with: the accepted definition, and the runtime's ports."""
    from lakeflow_job_meta.control.job_records import JobRecords
    from lakeflow_job_meta.metadata.definition import ModuleDefinition
    from lakeflow_job_meta.task_context import TaskContext

    module = arguments.module_name
    records = JobRecords(
        runtime.tables, arguments.control_table, runtime.workspace.workspace_id, runtime.clock
    ).all([module])
    record = records.get(module)
    if record is None or record.definition is None:
        raise TaskError(
            f"module {module!r} has no accepted definition in {arguments.control_table.companion('jobs')} "
            f"for workspace {runtime.workspace.workspace_id}: apply the module first"
        )
    definition = ModuleDefinition.from_json(record.definition)
    source = next((one for one in definition.sources if one.source_id == arguments.source_id), None)
    if source is None:
        names = [one.source_id for one in definition.sources]
        close = get_close_matches(arguments.source_id, names, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise TaskError(
            f"module {module!r} has no source {arguments.source_id!r} in its accepted definition{hint}: "
            "apply the module, so that its job and its definition agree"
        )
    return TaskContext(
        control_table=arguments.control_table,
        module=definition,
        source=source,
        run_id=arguments.run_id,
        tables=runtime.tables,
        volumes=runtime.volumes,
        spark=lambda: runtime.spark,
        workspace=lambda: runtime.workspace,
        clock=runtime.clock,
        log=_log,
        parameters=arguments.further,
        secrets=lambda: runtime.secrets,
        environment=runtime.environment,
        catalog=lambda: runtime.catalog,
        warehouse=runtime.warehouse,
    )


def _log(event: str, **facts: Any) -> None:
    """One line on stderr: the run's page shows it beside the summary."""
    words = " ".join(f"{name}={value}" for name, value in facts.items())
    sys.stderr.write(f"{event} {words}".rstrip() + "\n")


if __name__ == "__main__":
    main()
