"""Every error this package raises on purpose, and the problems that they list.

The tree (exit code of the command line in brackets)::

    LakeflowJobMetaError [1]
    ├── UsageError [64]              wrong flags, arguments, settings, names
    ├── MetadataError [1]            metadata refused; carries every Problem at once
    ├── TablesError [1]              the SQL engine refused or failed
    │   ├── TableNotFound            the table, its schema or catalog is not there
    │   ├── TableMismatch            the table is there, with other columns
    │   ├── CommitConflict           another writer won; safe to repeat
    │   └── TablesUnavailable        no engine, no warehouse, no answer
    ├── VolumeError [1]              a volume or file cannot be listed, read or written
    ├── WorkspaceError [1]           the Databricks REST API refused or failed
    │   ├── NotFound                 the object is not there (any more)
    │   ├── PermissionDenied         401 and 403
    │   ├── InvalidRequest           400: the platform refused the settings
    │   ├── Throttled                429 after all waiting
    │   ├── Unavailable              5xx or no connection; nothing was changed
    │   └── UnclearOutcome           the call may or may not have been carried out
    ├── PlanError [1]
    │   ├── StalePlan                the reviewed plan no longer fits what is there
    │   └── UnsafePlan               the brake: it would retire too much
    ├── TaskError [1]                a task of ours failed
    │   ├── DxrRunFailed             a Data X-Ray task ended with failures; carries its summary
    │   └── PolicyRunFailed          a policy failed or had an error; carries the run's summary
    ├── PolicyError [1]              a policy is wrong: its SQL, its parameters, its file
    ├── DxrError [1]                 Data X-Ray's API refused or failed a call
    │   ├── DxrUnauthorized          401: the token is not accepted (any more)
    │   ├── DxrRefused               another 4xx: repeating it will not help
    │   │   └── DxrNotFound          404: no such datasource, job, file or name
    │   ├── DxrUnavailable           no connection, 408, 429 or 5xx after all waiting
    │   ├── DxrUnclear               a submit was sent and no clear answer came
    │   └── StreamCut                a stream of files ended before its end, or stalled
    ├── DatasetError [1]             a dataset: a file, a name or a query that cannot be taken
    │   └── DatasetNotFound          there is no such dataset, or it is another tenant's
    └── LocalError [1]               the embedded workspace

SDK, Spark and HTTP errors are caught at the edge (`adapters`, `local`), by type or status, and
chained. Nothing here may import from another room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was written: a file with 1-based line and column, or a table row.

    Args:
        path: the file's path as it was given, or the full name of the table.
        line: 1-based, 0 when it came from no file.
        column: 1-based, 0 when it came from no file.
        key: for a row, `module_name/source_id`; empty for a file.
    """

    path: str
    line: int = 0
    column: int = 0
    key: str = ""

    def __str__(self) -> str:
        if self.line:
            return f"{self.path}:{self.line}:{self.column}"
        return f"{self.path} [{self.key}]" if self.key else self.path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with metadata: its place, cause and remedy.

    Args:
        message: one sentence: the cause, and after it the remedy where there is one
            (`task "load" depends on unknown task "extarct" (did you mean "extract"?)`).
        place: where; None only where nothing was written down.
        pointer: JSON Pointer (RFC 6901) inside the file or the row.
        module: the module that it refuses; empty when it refuses the whole file.
        source_id: the source, when it is one source's.
    """

    message: str
    place: Place | None = None
    pointer: str = ""
    module: str = ""
    source_id: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class LakeflowJobMetaError(Exception):
    """Base of all. The first line of the message says what is wrong and what to do."""

    exit_code = 1


class UsageError(LakeflowJobMetaError):
    """Wrong flags, arguments, settings or names; nothing was done."""

    exit_code = 64


class MetadataError(LakeflowJobMetaError):
    """Metadata was refused; `problems` lists everything that is wrong, in order of place."""

    def __init__(self, problems: Iterable[Problem], *, changed: int = 0) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.changed = changed
        super().__init__("\n".join(str(problem) for problem in self.problems) or "metadata refused")


class TablesError(LakeflowJobMetaError):
    """The SQL engine refused or failed a statement."""


class TableNotFound(TablesError):
    """The table, its schema or its catalog does not exist."""


class TableMismatch(TablesError):
    """The table exists with columns that this product cannot work with."""


class CommitConflict(TablesError):
    """Another writer committed first; the statement had no effect and may be repeated."""


class TablesUnavailable(TablesError):
    """There is no engine to ask, or it does not answer."""


class VolumeError(LakeflowJobMetaError):
    """A volume, folder or file cannot be listed, read or written."""


class WorkspaceError(LakeflowJobMetaError):
    """The Databricks REST API refused or failed a call.

    Args:
        message: what was tried and what the platform said.
        status: HTTP status, 0 when there was no answer.
        error_code: the platform's `error_code`, empty when there was none.
    """

    def __init__(self, message: str, *, status: int = 0, error_code: str = "") -> None:
        self.status = status
        self.error_code = error_code
        super().__init__(message)


class NotFound(WorkspaceError):
    """The object is not there (any more)."""


class PermissionDenied(WorkspaceError):
    """The platform does not know who calls (401), or the caller may not do this (403)."""


class InvalidRequest(WorkspaceError):
    """The platform refused the request as wrong (400); repeating it will not help."""


class Throttled(WorkspaceError):
    """The platform's rate limit was met (429) and waiting did not help."""


class Unavailable(WorkspaceError):
    """The platform could not be reached or answered 5xx; nothing was changed."""


class UnclearOutcome(WorkspaceError):
    """A call that writes was sent and no clear answer came: it may have been carried out."""


class PlanError(LakeflowJobMetaError):
    """A plan cannot be applied."""


class StalePlan(PlanError):
    """The reviewed plan no longer fits the metadata or the workspace."""


class UnsafePlan(PlanError):
    """The plan would retire more than the brake allows."""


class TaskError(LakeflowJobMetaError):
    """A task of ours could not do its work."""


class DxrRunFailed(TaskError):
    """A Data X-Ray task ended with failures; `summary` says what was done all the same."""

    def __init__(self, message: str, summary: dict[str, Any] | None = None) -> None:
        self.summary = summary or {}
        super().__init__(message)


class PolicyRunFailed(TaskError):
    """A policy failed or had an error, after every policy was recorded; `summary` says which."""

    def __init__(self, message: str, summary: dict[str, Any] | None = None) -> None:
        self.summary = summary or {}
        super().__init__(message)


class PolicyError(LakeflowJobMetaError):
    """A policy cannot be run: its SQL is not one read-only SELECT, or its parameters or file are wrong."""


class DxrError(LakeflowJobMetaError):
    """Data X-Ray's API refused or failed a call. Never carries a token.

    Args:
        message: what was tried and what Data X-Ray said.
        status: HTTP status, 0 when there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class DxrUnauthorized(DxrError):
    """The token is missing, revoked or expired (401); a run stops and keeps its checkpoint."""


class DxrRefused(DxrError):
    """Data X-Ray refused the call as wrong or not allowed (4xx); repeating it will not help."""


class DxrNotFound(DxrRefused):
    """There is no such datasource, job, file or name (404)."""


class DxrUnavailable(DxrError):
    """Data X-Ray could not be reached, or answered 408, 429 or 5xx until patience ended."""


class DxrUnclear(DxrError):
    """A submit was sent and no clear answer came: Data X-Ray may have accepted it."""


class StreamCut(DxrError):
    """A stream of files ended before its end, or stalled: what came of it is not the whole."""


class DatasetError(LakeflowJobMetaError):
    """A file, a name or a query of a dataset cannot be taken as it is; nothing was done."""


class DatasetNotFound(DatasetError):
    """There is no such dataset, or it belongs to another tenant (which is not told)."""


class LocalError(LakeflowJobMetaError):
    """The embedded workspace could not start, answer or stop."""
