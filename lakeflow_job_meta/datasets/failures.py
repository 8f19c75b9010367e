"""What a failure of a sync is: its class, and whether another attempt may help. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lakeflow_job_meta.errors import (
    CommitConflict,
    DatasetError,
    InvalidRequest,
    LakeflowJobMetaError,
    MetadataError,
    NotFound,
    PermissionDenied,
    TableMismatch,
    TableNotFound,
    TablesError,
    TablesUnavailable,
    TaskError,
    UsageError,
    VolumeError,
    WorkspaceError,
)

#: Error conditions of engines that stay whatever is tried: rights, syntax, names, values.
_PERMANENT = re.compile(
    r"INSUFFICIENT_PERMISSIONS|PERMISSION_DENIED|does not have [A-Z ]+ on|PARSE_SYNTAX_ERROR|UNRESOLVED_|"
    r"CAST_INVALID_INPUT|DATATYPE_MISMATCH|DELTA_INVALID_CHARACTERS|INVALID_PARAMETER_VALUE|UC_FILE_SCHEME|"
    r"COLUMN_ALREADY_EXISTS|DELTA_DUPLICATE_COLUMNS|AMBIGUOUS_REFERENCE|ambiguous attribute"
)
#: Longest error text that is kept.
LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as it is recorded."""

    error_class: str
    error: str
    retryable: bool


class StepFailed(TaskError):
    """A phase failed; `failure` says how. Never leaves this room: the runner records it and ends the task."""

    def __init__(self, error_class: str, message: str, *, retryable: bool = False) -> None:
        self.failure = Failure(error_class, message[:LIMIT], retryable)
        super().__init__(message)


def classify(error: Exception) -> Failure:
    """The failure that an error means.

    Validation, rights and missing things are permanent; engines and services that do not answer are not, and
    neither is what is unknown: an attempt more does less harm than one too few.
    """
    text = str(error)[:LIMIT] or type(error).__name__
    if isinstance(error, StepFailed):
        return error.failure
    if isinstance(error, VolumeError):
        if isinstance(error.__cause__, (FileNotFoundError, NotFound)):
            return Failure("file_missing", text, False)
        return Failure("volume", text, True)
    if isinstance(error, (TablesUnavailable, CommitConflict)):
        return Failure(
            "engine_unavailable" if isinstance(error, TablesUnavailable) else "commit_conflict", text, True
        )
    if isinstance(error, (TableNotFound, TableMismatch)):
        return Failure("table_missing" if isinstance(error, TableNotFound) else "table_mismatch", text, False)
    if isinstance(error, TablesError):
        return Failure("engine", text, not _PERMANENT.search(text))
    if isinstance(error, PermissionDenied):
        return Failure("permission", text, False)
    if isinstance(error, (InvalidRequest, NotFound)):
        return Failure("workspace_refused", text, False)
    if isinstance(error, WorkspaceError):
        return Failure("workspace_unavailable", text, True)
    if isinstance(error, (DatasetError, UsageError, MetadataError)):
        return Failure("refused", text, False)
    if isinstance(error, LakeflowJobMetaError):
        return Failure("task", text, False)
    return Failure("unexpected", f"{type(error).__name__}: {text}", True)
