"""Values of this room: a dataset, its version, its tables, and what happened to it. Plain data, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]


class Status(str, Enum):
    """Where the sync of a dataset stands."""

    NOT_SYNCED = "not_synced"
    PENDING = "pending"
    SYNCING = "syncing"
    SYNCED = "synced"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


class Phase(str, Enum):
    """The tasks of one sync, in order."""

    BRONZE = "bronze"
    SILVER = "silver"
    RECORD = "record"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Targets:
    """The two tables that a dataset becomes.

    Args:
        external_location: where the bronze table's files lie when it is external; empty for a managed one.
    """

    bronze: TableName
    silver: TableName
    external_location: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One version of a dataset, as it was landed.

    Args:
        dataset_id: ours, a UUID; stays the same for every version.
        tenant_id: opaque; only its normalised form is part of names.
        name: what people call it.
        version: 1 for the first upload, one more for each upload after it.
        path: of the landed Parquet file, `/Volumes/...`.
        row_count_local: rows of that file, counted when it was landed.
        schema: `[{"name": ..., "dtype": ...}]`, in order of the columns.
        sample_rows: the first rows, JSON values by column name.
        sha256: of the landed file's bytes.
    """

    dataset_id: str
    tenant_id: str
    name: str
    version: int
    path: str
    row_count_local: int
    schema: tuple[JsonObject, ...] = ()
    targets: Targets | None = None
    source_type: str = "file_upload"
    file_name: str = ""
    description: str = ""
    sha256: str = ""
    bytes: int = 0
    sample_rows: tuple[JsonObject, ...] = ()
    created_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One thing that happened to the sync of a dataset; see `tables.events` for the columns.

    Args:
        phase: None for what is about the whole sync.
        attempt: of the phase's task in its run, from 1; 0 outside a run.
        run_id: the job run; empty while there is none.
        error_class: short and stable (`timeout`, `file_missing`, `run_vanished`, ...).
        retryable: whether another attempt may help; None when nothing failed.
        round: counts the syncs of a dataset; 0: `Events.append` finds it.
        seq: counts the events of a round; 0: `Events.append` counts.
        event_id: made by `Events.append` when empty.
    """

    dataset_id: str
    tenant_id: str
    version: int
    status: Status
    at: datetime
    source_id: str = ""
    module_name: str = ""
    phase: Phase | None = None
    attempt: int = 0
    workspace_id: str = ""
    job_id: int | None = None
    run_id: str = ""
    bronze_table: str | None = None
    silver_table: str | None = None
    row_count_local: int | None = None
    row_count_bronze: int | None = None
    row_count_silver: int | None = None
    error_class: str = ""
    error: str = ""
    retryable: bool | None = None
    round: int = 0
    seq: int = 0
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """Where a dataset stands: a row of the view `dataset_sync_status`.

    Args:
        version: that the status is about, the newest that was asked for.
        since: when the status was entered.
        last_sync_attempt: when the newest sync was asked for or began.
        last_sync_at: when it was last synced, any version.
        last_sync_error: of the newest sync only; None when nothing failed in it.
        bronze_table, silver_table: full names of the tables that are there; None until they are.
        row_count_bronze, row_count_silver: measured in the tables.
    """

    dataset_id: str
    tenant_id: str
    version: int
    status: Status
    since: datetime
    source_id: str = ""
    module_name: str = ""
    phase: Phase | None = None
    attempt: int = 0
    workspace_id: str = ""
    job_id: int | None = None
    run_id: str = ""
    bronze_table: str | None = None
    silver_table: str | None = None
    row_count_local: int | None = None
    row_count_bronze: int | None = None
    row_count_silver: int | None = None
    error_class: str = ""
    last_sync_error: str | None = None
    retryable: bool | None = None
    last_sync_attempt: datetime | None = None
    last_sync_at: datetime | None = None
    round: int = 0
    seq: int = 0

    @property
    def in_flight(self) -> bool:
        """Whether a sync is asked for or under way."""
        return self.status in (Status.PENDING, Status.SYNCING)


@dataclass(frozen=True, slots=True)
class Step:
    """What one attempt of a phase did: a row of the ledger `dataset_sync_step`.

    Args:
        outcome: `succeeded` or `failed`.
        table: full name of the table that was written.
        rows_in, rows_out: rows read and rows now in the table.
        detail: further facts by name: inferred schema, nulls replaced, duplicates dropped, ...
        repair: how often the run was repaired before; a repair tries again what was given up.
    """

    dataset_id: str
    tenant_id: str
    version: int
    run_id: str
    phase: Phase
    attempt: int
    outcome: str
    started_at: datetime
    ended_at: datetime
    table: str = ""
    rows_in: int | None = None
    rows_out: int | None = None
    error_class: str = ""
    error: str = ""
    retryable: bool | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    repair: int = 0
