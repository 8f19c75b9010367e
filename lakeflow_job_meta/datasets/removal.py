"""Deleting a dataset: its tables stay unless they are to be dropped, and so do its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lakeflow_job_meta.datasets import control_rows
from lakeflow_job_meta.datasets.datasets import DatasetService
from lakeflow_job_meta.datasets.model import Status, SyncStatus
from lakeflow_job_meta.datasets.tenancy import check_targets
from lakeflow_job_meta.errors import DatasetError
from lakeflow_job_meta.names import TableName


@dataclass(frozen=True, slots=True)
class Removed:
    """What a deletion did."""

    dataset_id: str
    name: str
    dropped: tuple[str, ...]
    kept: tuple[str, ...]
    files: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "dataset_id": self.dataset_id,
            "name": self.name,
            "deleted": True,
            "dropped_tables": list(self.dropped),
            "kept_tables": list(self.kept),
            "files_removed": self.files,
        }


def delete(
    service: DatasetService,
    dataset_id: str,
    *,
    tenant: str | None = None,
    on_delete: str | None = None,
    files: bool = False,
    confirmed: bool = False,
) -> Removed:
    """Delete a dataset: from the registry, its row of the control table made inactive, `not_synced` written down.

    Args:
        on_delete: `keep` or `drop` its tables; None: as its row says, which is `keep` unless it was changed.
        files: remove the landed files, all versions.
        confirmed: somebody said yes; nothing is dropped or removed otherwise.

    Raises:
        DatasetNotFound: there is no such dataset of the tenant.
        DatasetError: it is being synced, or tables would go without a confirmation; nothing was done.
    """
    dataset = service.find(dataset_id, tenant)
    row = service.row(dataset)
    sync = service.events.latest([dataset_id]).get(dataset_id)
    configured = control_rows.config(row.transformation_config if row else None).get("sync") or {}
    mode = on_delete or configured.get("on_delete") or "keep"
    if mode not in ("keep", "drop"):
        raise DatasetError(f"on_delete is keep or drop, not {mode!r}")
    if (mode == "drop" or files) and not confirmed:
        raise DatasetError(
            f"deleting {dataset.name!r} would {'drop its tables' if mode == 'drop' else 'remove its files'}: "
            "say so with --yes (a confirmation), or keep them with --on-delete keep"
        )
    if sync is not None and sync.status is Status.SYNCING:
        raise DatasetError(
            f"dataset {dataset.name!r} is being synced (run {sync.run_id}): wait for its end, or cancel the run"
        )
    tables = _tables(sync)
    if row is not None:
        if mode == "drop":
            check_targets(dataset.tenant_id, control_rows.targets_of(row))
        service.write_rows([control_rows.released(row) if mode == "drop" else replace(row, is_active=False)])
    # Before a table goes: a run that waits looks at it, and must not bring the table back.
    names = {
        table_of: getattr(sync, table_of) if sync else None for table_of in ("bronze_table", "silver_table")
    }
    service.events.append([service.event(dataset, Status.NOT_SYNCED, row, **names)])
    if mode == "drop" and tables:
        for table in tables:
            _drop(service, table)
        service.events.append([service.event(dataset, Status.NOT_SYNCED, row)])
    told = tuple(map(str, tables))
    dropped, kept = (told, ()) if mode == "drop" else ((), told)
    service.registry.mark_deleted(service.registry.versions(dataset_id), service.clock())
    if files:
        service.landing.remove_all(dataset)
    return Removed(dataset_id, dataset.name, dropped, kept, files)


def orphans(service: DatasetService, tenant: str | None = None) -> list[dict[str, Any]]:
    """Tables of deleted datasets that were kept."""
    tenant = service.whose(tenant)
    alive = {one.dataset_id for one in service.registry.latest(tenant)}
    return [
        {
            "dataset_id": sync.dataset_id,
            "tenant_id": sync.tenant_id,
            "bronze_table": sync.bronze_table,
            "silver_table": sync.silver_table,
        }
        for sync in service.events.latest(tenant=tenant).values()
        if sync.dataset_id not in alive and (sync.bronze_table or sync.silver_table)
    ]


def _tables(sync: SyncStatus | None) -> list[TableName]:
    """The tables that were written, the silver one first."""
    named = (sync.silver_table, sync.bronze_table) if sync is not None else ()
    return [TableName.parse(name) for name in named if name]


def _drop(service: DatasetService, table: TableName) -> None:
    service.tables.query(f"DROP TABLE IF EXISTS {table.quoted}")
