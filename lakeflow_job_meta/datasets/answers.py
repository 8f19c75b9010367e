"""Answers about datasets as JSON has them, with the keys that callers of the older HTTP endpoints know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from lakeflow_job_meta.datasets.model import Dataset, Status, SyncStatus
from lakeflow_job_meta.datasets.reading import Converted

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """A dataset and where its sync stands.

    Args:
        enabled: whether it may be synced: the master switch and its own.
        sync: None when nothing happened yet.
    """

    dataset: Dataset
    enabled: bool
    sync: SyncStatus | None = None

    @property
    def status(self) -> Status:
        """Of the newest version: one that was uploaded while the sync was off is not synced, whatever the one before was."""
        if self.sync is None or (
            self.sync.status is Status.SYNCED and self.sync.version < self.dataset.version
        ):
            return Status.NOT_SYNCED
        return self.sync.status

    def as_json(self) -> JsonObject:
        """The ten keys of the status endpoint."""
        return {
            "dataset_id": self.dataset.dataset_id,
            "dataset_name": self.dataset.name,
            "databricks_enabled": self.enabled,
            "sync_status": self.status.value,
            "bronze_table": self.sync.bronze_table if self.sync else None,
            "silver_table": self.sync.silver_table if self.sync else None,
            "last_sync_at": moment(self.sync.last_sync_at if self.sync else None),
            "last_sync_error": self.sync.last_sync_error if self.sync else None,
            "row_count_local": self.dataset.row_count_local,
            "row_count_databricks": self.sync.row_count_bronze if self.sync else None,
        }

    def metadata(self) -> JsonObject:
        """The `metadata` of a dataset, with `last_sync_attempt`."""
        whole = self.as_json()
        return {
            "databricks_enabled": whole["databricks_enabled"],
            "sync_status": whole["sync_status"],
            "last_sync_attempt": moment(self.sync.last_sync_attempt if self.sync else None),
            "bronze_table": whole["bronze_table"],
            "silver_table": whole["silver_table"],
            "last_sync_at": whole["last_sync_at"],
            "last_sync_error": whole["last_sync_error"],
            "row_count_databricks": whole["row_count_databricks"],
        }


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of an upload.

    Args:
        converted: how the file was read, and what of it was left out.
        note: why the sync did not begin, when it should have.
    """

    dataset: Dataset
    converted: Converted
    status: DatasetStatus
    note: str = ""

    def as_json(self) -> JsonObject:
        dataset = self.dataset
        return {
            **described(dataset),
            "sample_rows": list(dataset.sample_rows),
            "metadata": self.status.metadata(),
            "malformed": {
                "count": self.converted.malformed,
                "rows": [{"line": one.line, "reason": one.reason} for one in self.converted.told],
            },
            "read_as": {"kind": self.converted.kind, **self.converted.detail},
            **({"renamed": dict(self.converted.renamed)} if self.converted.renamed else {}),
            **({"note": self.note} if self.note else {}),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `diagnose`.

    Args:
        name: what was looked at.
        ok: None where it does not apply.
        text: what was found, and what to do.
    """

    name: str
    ok: bool | None
    text: str

    def as_json(self) -> JsonObject:
        return {"check": self.name, "ok": self.ok, "text": self.text}


def described(dataset: Dataset) -> JsonObject:
    """A dataset as the upload endpoint showed it; `file_name` is the landed file's."""
    return {
        "id": dataset.dataset_id,
        "name": dataset.name,
        "description": dataset.description or None,
        "tenant_id": dataset.tenant_id,
        "source_type": dataset.source_type,
        "file_name": "/".join(dataset.path.split("/")[-2:]),
        "uploaded_file_name": dataset.file_name or None,
        "version": dataset.version,
        "row_count": dataset.row_count_local,
        "schema": list(dataset.schema),
        "created_at": moment(dataset.created_at),
    }


def moment(at: datetime | None) -> str | None:
    """A time in UTC, to the second, with Z."""
    return None if at is None else f"{at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
