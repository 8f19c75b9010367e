"""What every kind of task gets to run with, and how it says that it failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.api.queries import QueryStore
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs.environments import Environments
from lakeflow_job_meta.local.runs.processes import Redactor, Stop
from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.references import Scope
from lakeflow_job_meta.local.runs.states import State
from lakeflow_job_meta.local.state import Secrets

Json = dict[str, Any]


class TaskFailure(Exception):
    """A task failed.

    Args:
        message: its error.
        trace: the stack trace of the task's own code, empty when it has none.
        code: TerminationCodeCode of the Jobs API.
    """

    def __init__(self, message: str, *, trace: str = "", code: str = "RUN_EXECUTION_ERROR") -> None:
        super().__init__(message)
        self.message = message
        self.trace = trace
        self.code = code


def refuse(message: str) -> TaskFailure:
    """A failure that no retry can mend: the settings are wrong, or cannot run here."""
    return TaskFailure(message, code="INVALID_RUN_CONFIGURATION")


class SqlResult(Protocol):
    """Columns as (name, type), rows as texts and nulls."""

    @property
    def columns(self) -> Any: ...
    @property
    def rows(self) -> Any: ...


class Sql(Protocol):
    """The part of `local.spark.session.SparkSql` that SQL tasks use."""

    def run(
        self, sql: str, parameters: Mapping[str, Any], catalog: str | None = None, schema: str | None = None
    ) -> Any: ...

    def script(self, sql: str, parameters: Mapping[str, Any]) -> Any: ...


class ChildRuns(Protocol):
    """How a run_job task starts and follows a run."""

    def run_job(self, job_id: int, request: Json, parent: TaskRecord) -> int: ...

    def wait(self, run_id: int, stop: Stop) -> State: ...

    def cancel(self, run_id: int) -> None: ...


@dataclass(frozen=True)
class Services:
    """What runs need of the workspace.

    Args:
        environment: variables for child processes: DATABRICKS_HOST, DATABRICKS_TOKEN, SPARK_REMOTE.
        processes: limits how many child processes run at once.
        statements: limits how many SQL tasks run at once.
        workspace_id: of `{{workspace.id}}`.
    """

    folder: Folder
    environment: Mapping[str, str]
    environments: Environments
    secrets: Secrets
    queries: QueryStore
    sql: Sql
    children: ChildRuns
    processes: threading.Semaphore
    statements: threading.Semaphore
    workspace_id: str = ""

    def secret(self, scope: str, key: str) -> str | None:
        """A secret as text, None when it does not exist."""
        value = self.secrets.get(scope, key)
        return None if value is None else value.decode("utf-8", errors="replace")

    def redactor(self) -> Redactor:
        """Hides every secret of the workspace, its token included."""
        found = [self.environment.get("DATABRICKS_TOKEN", "")]
        for scope in self.secrets.scopes():
            found += [self.secret(scope, key) or "" for key, _ in self.secrets.keys(scope)]
        return Redactor(found)

    def file(self, path: str) -> Path:
        """The file behind a path of `/Volumes` (also as `dbfs:/Volumes`) or of the workspace.

        Raises:
            TaskFailure: it is neither, or leaves the folder.
        """
        clean = path.removeprefix("dbfs:")
        try:
            if clean.startswith("/Volumes/"):
                return self.folder.volume_path(clean)
            if clean != path or not path.startswith("/"):
                raise refuse(f"{path!r}: the embedded workspace reads /Workspace/... and /Volumes/... only")
            return self.folder.workspace_path(clean)
        except LocalError as e:
            raise refuse(str(e)) from e


@dataclass(frozen=True)
class TaskContext:
    """One attempt of one task.

    Args:
        task: its settings with all references replaced; may hold secrets, so it is never stored.
        settings: of the job, references in them not replaced.
        record: of this attempt; `output` is filled by the task.
        stop: asks the task to end.
        redact: hides secrets.
        save: stores the record.
        values: task values of the run by task key.
        iterate: runs the inner task of a for_each task for one input: (inner settings, input, index).
    """

    services: Services
    run: RunRecord
    task: Json
    settings: Json
    record: TaskRecord
    scope: Scope
    stop: Stop
    redact: Redactor
    save: Callable[[], None]
    values: Mapping[str, Json]
    iterate: Callable[[Json, Any, int], TaskRecord]

    @property
    def job_parameters(self) -> dict[str, str]:
        return dict(self.run.request.get("job_parameters") or {})

    @property
    def scratch(self) -> Path:
        return self.services.folder.runs / str(self.record.run_id)
