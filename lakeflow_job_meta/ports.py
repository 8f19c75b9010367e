"""Ports: what the product needs from the outside, as protocols and plain values. No I/O here.

Adapters (`adapters/`) implement them; `runtime` picks the adapter. Every method raises only errors
of this package (`errors`).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, BinaryIO, Literal, Protocol

from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]


# ---------------------------------------------------------------- tables


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` as Spark SQL writes it (`STRING`, `BIGINT`, `TIMESTAMP`, `ARRAY<STRING>`, ...)."""

    name: str
    type: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """A Delta table of ours: its name, columns in order, a comment, and the columns that it is partitioned by.

    Args:
        location: path of an external table, or of one without a name; empty for a managed one.
        registered: False for files at `location` that no catalog knows; `name` is then only formal.
    """

    name: TableName
    columns: tuple[Column, ...]
    comment: str = ""
    partitioned_by: tuple[str, ...] = ()
    location: str = ""
    registered: bool = True


class Tables(Protocol):
    """SQL over Delta tables: a Spark session or a SQL warehouse.

    Values travel bound or staged, never spliced. Python values of a row: str, int, float, bool,
    None, aware datetimes for TIMESTAMP (returned in UTC), and lists of str for ARRAY<STRING>.
    """

    #: SQL statements sent so far.
    statements: int

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT, as dicts by column name; parameters are named (`:name`)."""
        ...

    def columns(self, table: TableName) -> list[Column] | None:
        """The table's columns in order; None when table, schema or catalog does not exist."""
        ...

    def create_schema(self, catalog: str, schema: str) -> None:
        """Create the schema unless it exists."""
        ...

    def create_table(self, definition: TableDefinition) -> None:
        """Create the Delta table unless it exists."""
        ...

    def append(self, definition: TableDefinition, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows (missing columns are NULL) in one commit."""
        ...

    def merge(
        self,
        definition: TableDefinition,
        rows: Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        update: Sequence[str] | None = None,
        matched_when: str = "",
        insert: bool = True,
    ) -> None:
        """One MERGE of `rows` (alias `s`) into the table (alias `t`) on equal `keys`.

        Args:
            update: columns to set from `s` on a match; None: all that the rows have but the keys;
                empty: matched rows stay.
            matched_when: SQL condition over `t` and `s` for the update, made of constants only.
            insert: whether rows without a match are inserted.

        Raises:
            CommitConflict: another writer won; nothing was written, repeat it if that is right.
        """
        ...

    def replace_partition(
        self,
        definition: TableDefinition,
        folder: str,
        *,
        partition: date,
        constants: Mapping[str, Any],
        once: tuple[str, str] | None = None,
    ) -> None:
        """Replace one partition by the rows of Parquet files, in one commit; others are not touched.

        Args:
            definition: partitioned by one DATE column.
            folder: of the files; a path that the engine reads (`/Volumes/...`, a cloud path).
            partition: the value of the partition column.
            constants: further columns with one value for all rows; the rest come from the files.
            once: (key, order): of rows with one key only the one with the highest order is taken.

        Raises:
            CommitConflict: another writer won; nothing was written, repeat it if that is right.
        """
        ...

    def partition_counts(self, definition: TableDefinition) -> list[tuple[date, int]]:
        """(partition, rows) of a table partitioned by one DATE column, newest first; none when it is not there."""
        ...

    def file_counts(self, folder: str, key: str) -> tuple[int, int]:
        """(rows, distinct values of `key`) of the Parquet files in a folder."""
        ...

    def version(self, table: TableName) -> int:
        """The current version of the Delta table, one statement. Raises TableNotFound."""
        ...


# ---------------------------------------------------------------- volumes


@dataclass(frozen=True, slots=True, order=True)
class FileInfo:
    """A file: absolute path as the caller would open it, bytes, modification time in ms since 1970."""

    path: str
    size: int
    modified_at: int


class Volumes(Protocol):
    """Files below `/Volumes` (and plain local paths, where the adapter runs on the same machine)."""

    def list(self, path: str) -> list[FileInfo]:
        """Every file below `path`, recursive, sorted by path; for a file, itself.

        Raises:
            VolumeError: it does not exist or cannot be listed (never an empty list instead).
        """
        ...

    def walk(
        self, path: str, unreadable: Callable[[str, VolumeError], None] | None = None
    ) -> Iterator[FileInfo]:
        """Every file below `path` as it is found, folder by folder; nothing but one folder is held.

        Args:
            unreadable: is told of a folder below `path` that cannot be listed, and the walk goes on;
                None: it raises.

        Raises:
            VolumeError: `path` itself cannot be listed.
        """
        ...

    def stat(self, path: str) -> FileInfo:
        """The file as it is now; its time may be cut to whole seconds. Raises VolumeError."""
        ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """The file's bytes as a stream that is read forwards. Opening, and reading, raises VolumeError."""
        ...

    def read(self, path: str) -> bytes:
        """The file's bytes. Raises VolumeError."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Create or replace the file, its folders included. Raises VolumeError."""
        ...

    def upload(self, path: str, source: BinaryIO) -> None:
        """Create or replace the file from a stream, its folders included; memory does not grow with the file.

        Readers see the old bytes or the new ones, never a part. Raises VolumeError; what reading `source`
        raises comes through.
        """
        ...

    def delete(self, path: str) -> None:
        """Remove the file if it is there. Raises VolumeError."""
        ...

    def delete_folder(self, path: str) -> None:
        """Remove the folder with all that is in it, if it is there. Raises VolumeError."""
        ...


# ---------------------------------------------------------------- secrets


class Secrets(Protocol):
    """Secrets of the workspace. A value never goes into a log, a table or an error."""

    def get(self, scope: str, key: str) -> str:
        """The secret's value. Raises WorkspaceError naming scope and key when it cannot be read."""
        ...


# ---------------------------------------------------------------- catalog


class Catalog(Protocol):
    """Unity Catalog: volumes, their tags and grants. Names are `catalog.schema.volume`, in lower case."""

    def volume_exists(self, name: TableName) -> bool:
        """Whether there is a volume of that name that the caller sees."""
        ...

    def create_volume(self, name: TableName, comment: str = "") -> bool:
        """Make a managed volume; False when there is one already. Raises WorkspaceError."""
        ...

    def volume_tags(self, name: TableName) -> dict[str, str]:
        """The volume's own tags."""
        ...

    def set_volume_tag(self, name: TableName, key: str, value: str) -> None:
        """Set one tag of the volume, whether it has it already or not."""
        ...

    def delete_volume_tag(self, name: TableName, key: str) -> None:
        """Take one tag off the volume; done when it is gone already."""
        ...

    def volume_grants(self, name: TableName) -> dict[str, frozenset[str]]:
        """Privileges granted on the volume itself, by principal; inherited ones left out."""
        ...

    def change_volume_grants(
        self,
        name: TableName,
        *,
        add: Mapping[str, Iterable[str]],
        remove: Mapping[str, Iterable[str]],
    ) -> None:
        """Grant and revoke privileges on the volume, by principal, in one call."""
        ...


# ---------------------------------------------------------------- workspace


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job as the workspace has it; `settings` is the wire's JobSettings, all pages merged."""

    job_id: int
    settings: JsonObject
    created_time: int = 0
    creator: str = ""
    run_as: str = ""

    @property
    def tags(self) -> Mapping[str, str]:
        return self.settings.get("tags") or {}


@dataclass(frozen=True, slots=True)
class RemoteQuery:
    """A saved query as the workspace has it; `settings` is the wire's Query object."""

    query_id: str
    settings: JsonObject
    trashed: bool = False


@dataclass(frozen=True, slots=True)
class TaskRun:
    """The latest attempt of one task of a run; times in ms since 1970."""

    task_key: str
    run_id: int
    life_cycle_state: str
    result_state: str = ""
    message: str = ""
    attempts: int = 1
    start_time: int = 0
    end_time: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a job. An unknown life_cycle_state means: still running."""

    run_id: int
    job_id: int
    life_cycle_state: str
    result_state: str = ""
    message: str = ""
    start_time: int = 0
    end_time: int = 0
    url: str = ""
    tasks: tuple[TaskRun, ...] = ()

    @property
    def ended(self) -> bool:
        return self.life_cycle_state in {"TERMINATED", "SKIPPED", "INTERNAL_ERROR"}


@dataclass(slots=True)
class CallCount:
    """How many REST calls were made, and how many of them changed the workspace. Thread-safe enough: only added to."""

    calls: int = 0
    writes: int = 0


class Jobs(Protocol):
    """The Jobs API. Settings are wire dicts; nothing is dropped on the way."""

    def get(self, job_id: int) -> RemoteJob | None:
        """The job with all its tasks; None when it does not exist (any more)."""
        ...

    def list(self, *, name: str | None = None) -> Iterator[RemoteJob]:
        """All jobs of the workspace with all their tasks (the API has no tag filter)."""
        ...

    def create(self, settings: JsonObject) -> int:
        """Create a job, sent once: never repeated after a reset or a time-out.

        Raises:
            UnclearOutcome: it may have been created; look it up by its tags.
            InvalidRequest, PermissionDenied, Throttled, Unavailable: it was not.
        """
        ...

    def reset(self, job_id: int, settings: JsonObject) -> None:
        """Replace all settings. Safe to repeat. Raises NotFound when the job is gone."""
        ...

    def delete(self, job_id: int) -> None:
        """Delete the job; done when it is gone already."""
        ...

    def run_now(
        self,
        job_id: int,
        *,
        idempotency_token: str = "",
        job_parameters: Mapping[str, str] | None = None,
        only: Sequence[str] = (),
    ) -> int:
        """Start a run (of the tasks in `only`, when given); the token (64 characters) makes it safe to repeat."""
        ...

    def run(self, run_id: int) -> Run:
        """The run with all its tasks. Raises NotFound."""
        ...

    def runs(
        self, job_id: int | None = None, *, active_only: bool = False, limit: int = 25
    ) -> builtins.list[Run]:
        """The newest runs first, without tasks."""
        ...

    def run_error(self, task_run_id: int) -> str:
        """The error text of one task run, empty when there is none."""
        ...

    def cancel_run(self, run_id: int) -> None:
        """Ask the run to stop; done when it has ended already."""
        ...


class Queries(Protocol):
    """The Queries API (saved queries). Settings are wire dicts."""

    def get(self, query_id: str) -> RemoteQuery | None:
        """The query; None when it does not exist. A trashed one has `trashed`."""
        ...

    def list(self) -> Iterator[RemoteQuery]:
        """All queries that the caller sees, serially (parallel listing risks a ban)."""
        ...

    def create(self, settings: JsonObject) -> str:
        """Create a query, sent once. Raises UnclearOutcome as `Jobs.create` does."""
        ...

    def update(self, query_id: str, settings: JsonObject) -> None:
        """Set all fields in `settings` (update_mask is made of them)."""
        ...

    def delete(self, query_id: str) -> None:
        """Move the query to the trash; done when it is there or gone already."""
        ...


ObjectKind = Literal["jobs", "queries"]


class Permissions(Protocol):
    """The Permissions API for jobs and saved queries, direct entries only (inherited ones left out).

    Entries are bundle syntax: one of user_name, group_name, service_principal_name, and level.
    """

    def get(self, kind: ObjectKind, object_id: str) -> list[JsonObject]: ...

    def set(self, kind: ObjectKind, object_id: str, entries: Iterable[JsonObject]) -> None:
        """Replace the direct entries; the owner stays when none is named."""
        ...


@dataclass(frozen=True)
class Workspace:
    """One Databricks workspace: its ports, its id, and the count of calls made through them."""

    workspace_id: str
    host: str
    jobs: Jobs
    queries: Queries
    permissions: Permissions
    count: CallCount = field(default_factory=CallCount)
