"""The service: upload, list, query, status, versions, delete; and what a sync needs before its job runs.

It writes the landed file, the registry, the event `pending` and the dataset's row of the control table, in this
order: a failure leaves what came before it, which is sound by itself. It plans and starts no job: the monitor
does, or `dataset_manager`, which is above.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.datasets import control_rows, naming, paths
from lakeflow_job_meta.datasets.answers import DatasetStatus, Ingested
from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.landing import Landing
from lakeflow_job_meta.datasets.local_types import view_of, with_types
from lakeflow_job_meta.datasets.model import Dataset, EventRow, Status
from lakeflow_job_meta.datasets.parquet_files import Described, describe
from lakeflow_job_meta.datasets.preview import preview
from lakeflow_job_meta.datasets.query import QueryResult, query_file
from lakeflow_job_meta.datasets.reading import Converted, convert, convert_records
from lakeflow_job_meta.datasets.registry import Registry
from lakeflow_job_meta.datasets.settings import DatasetSettings
from lakeflow_job_meta.datasets.tables import DatasetTables
from lakeflow_job_meta.errors import DatasetError, LakeflowJobMetaError, TableNotFound, UsageError
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Catalog, Tables, Volumes

#: Numbers that are tried for a version whose file is there already.
_TRIES = 20
_NAME_LIMIT = 500


def now() -> datetime:
    """The clock unless another is given."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True)
class Asked:
    """A sync that was asked for: the row that is written, and the round of its events."""

    dataset: Dataset
    row: Row
    round: int


class DatasetService:
    """The datasets of one control table.

    Args:
        control_table: whose rows sync them.
        tables, volumes: the SQL engine, and where files are landed.
        catalog: gives Unity Catalog, to make the landing volume; None: it must be there.
    """

    def __init__(
        self,
        control_table: TableName,
        tables: Tables,
        volumes: Volumes,
        settings: DatasetSettings,
        *,
        catalog: Callable[[], Catalog] | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.control_table = control_table
        self.settings = settings
        self.names = DatasetTables(control_table, settings["schema"])
        self.tables = tables
        self.registry = Registry(tables, self.names)
        self.events = Events(tables, self.names.events, self.names.status)
        self.landing = Landing(
            volumes, settings["landing"] or self._default_landing, catalog, tables.create_schema
        )
        self.clock = clock
        self._control = ControlTable(tables, control_table)

    @cached_property
    def _default_landing(self) -> str:
        registry = self.names.registry
        return f"/Volumes/{registry.catalog}/{registry.schema}/datasets"

    # ------------------------------------------------------------ uploads

    def ingest(
        self,
        source: str | Path | Sequence[Mapping[str, Any]],
        *,
        name: str,
        tenant: str | None = None,
        description: str = "",
        dataset_id: str = "",
        encoding: str = "",
        delimiter: str = "",
        sheet: str = "",
        strict: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> Ingested:
        """Take a file or records: land them, and ask for their sync where that is on.

        A tenant's dataset of the same name gets a new version; else a dataset is made. The upload never fails
        for the sync's sake: what kept that from beginning is in the result's `note`.

        Args:
            source: a file of this machine or of a volume, or a list of JSON objects.
            dataset_id: the dataset that gets a new version, whatever its name.
            encoding, delimiter, sheet: see `reading.convert`.
            strict: refuse a file with rows that do not fit, instead of telling them.
            config: merged into the transformation_config of the dataset's row.

        Raises:
            DatasetError: the file cannot be taken; nothing was written.
            DatasetNotFound: `dataset_id` is no dataset of the tenant.
            VolumeError, TablesError: it could not be landed or written down; nothing is left of it.
        """
        tenant_id = self._tenant(tenant)
        name = _checked_name(name)
        former = self._former(tenant_id, name, dataset_id)
        other = self.registry.namesake(tenant_id)
        if other is not None:
            raise DatasetError(
                f"tenant {tenant_id!r} would have the catalog of tenant {other!r} "
                f"({naming.catalog_of(tenant_id)}): give it another id"
            )
        control_rows.merged({}, config or {})
        with tempfile.TemporaryDirectory(prefix="lakeflow-job-meta-") as folder:
            target = Path(folder) / "landed.parquet"
            converted, shown = self._convert(source, target, encoding, delimiter, sheet)
            if strict and converted.malformed:
                told = "; ".join(f"line {one.line}: {one.reason}" for one in converted.told[:5])
                raise DatasetError(
                    f"{shown} has {converted.malformed} rows that do not fit ({told}); nothing was taken"
                )
            described = describe(target, shown)
            described = replace(described, schema=with_types(target, described.schema))
            dataset = self._land(target, described, converted, former, tenant_id, name, shown)
            dataset = replace(dataset, description=description or dataset.description)
            try:
                self.registry.add(dataset)
            except LakeflowJobMetaError:
                self.landing.remove(dataset.path)
                raise
        note = self._ask_after_upload(dataset, config)
        sync = self.events.latest([dataset.dataset_id]).get(dataset.dataset_id)
        row = self.row(dataset) if note else None
        return Ingested(dataset, converted, DatasetStatus(dataset, self._enabled(row), sync), note)

    def _convert(
        self, source: Any, target: Path, encoding: str, delimiter: str, sheet: str
    ) -> tuple[Converted, str]:
        if not isinstance(source, (str, Path)):
            return convert_records(source, target), "records"
        shown = str(source)
        with self.landing.local(shown) as file:
            found = convert(file, target, shown=shown, encoding=encoding, delimiter=delimiter, sheet=sheet)
        return found, shown

    def _land(
        self,
        file: Path,
        described: Described,
        converted: Converted,
        former: Dataset | None,
        tenant_id: str,
        name: str,
        shown: str,
    ) -> Dataset:
        dataset_id = former.dataset_id if former else self._new_id(tenant_id, name)
        first = former.version + 1 if former else 1
        for version in range(first, first + _TRIES):
            path = paths.landed_path(self.landing.folder, tenant_id, dataset_id, version)
            if self.landing.store(path, file, described.sha256):
                break
        else:
            raise DatasetError(f"{path} is taken, and {_TRIES - 1} versions before it: upload it again")
        return Dataset(
            dataset_id=dataset_id,
            tenant_id=tenant_id,
            name=former.name if former else name,
            version=version,
            path=path,
            row_count_local=described.rows,
            schema=described.schema,
            source_type="records" if converted.kind == "records" else f"{converted.kind}_upload",
            file_name="" if converted.kind == "records" else Path(shown).name,
            description=former.description if former else "",
            sha256=described.sha256,
            bytes=described.bytes,
            sample_rows=described.sample_rows,
            created_at=self.clock(),
        )

    def _new_id(self, tenant_id: str, name: str) -> str:
        before = self.registry.deleted(tenant_id, name)
        return naming.dataset_id_of(str(self.control_table), tenant_id, name, before)

    def _former(self, tenant_id: str, name: str, dataset_id: str) -> Dataset | None:
        if dataset_id:
            found = self.registry.find(dataset_id, tenant_id)
        else:
            same = self.registry.latest(tenant_id, name=name)
            if not same:
                return None
            found = same[-1]
        # Versions of a deleted dataset keep their numbers, and a deleted dataset is not found here at all.
        return found

    def _tenant(self, tenant: str | None) -> str:
        tenant_id = self.settings["tenant"] if tenant is None else tenant
        if not tenant_id.strip() or not tenant_id.isprintable() or len(tenant_id) > _NAME_LIMIT:
            raise UsageError(
                f"{tenant_id!r} is no tenant: give printable characters, at most {_NAME_LIMIT}, with --tenant"
            )
        return str(tenant_id)

    # ------------------------------------------------------------ the sync's beginning

    def _ask_after_upload(self, dataset: Dataset, config: Mapping[str, Any] | None) -> str:
        """Ask for the sync of an upload where that is on; returns why not when something is wrong."""
        if not self.settings["sync_enabled"] or (not self.settings["auto_sync"] and not config):
            return ""
        try:
            if not self.settings["auto_sync"]:
                config = control_rows.merged({"sync": {"auto": False}}, config or {})
            self.ask(dataset, config=config, manual=False)
        except DatasetError as error:
            return str(error)
        except LakeflowJobMetaError as error:
            return f"the sync could not be asked for: {error}; `dataset sync {dataset.dataset_id}` tries it again"
        return ""

    def ask(self, dataset: Dataset, *, config: Mapping[str, Any] | None = None, manual: bool = True) -> Asked:
        """Write the dataset's row of the control table and the event `pending`: the sync is asked for.

        Args:
            manual: somebody asks for it by hand, which works where auto sync is off; an upload only writes the row
                there, and no event.

        Raises:
            DatasetError: the sync is switched off, for all or for this dataset, or it has too many rows;
                nothing was written.
        """
        if not self.settings["sync_enabled"]:
            raise DatasetError(
                "the sync is switched off for all datasets (sync_enabled, DATABRICKS_SYNC_ENABLED)"
            )
        self._control.ensure()
        rows = self.rows(dataset.tenant_id)
        there = control_rows.row_of(rows, dataset.dataset_id)
        row = control_rows.make_row(rows, dataset, self.settings, overrides=config)
        sync = control_rows.config(row.transformation_config).get("sync") or {}
        module = str(row.module_name)
        write = [] if there == row else [row]
        if not any(one.source_id == JOB_ROW and one.module_name == module for one in rows):
            write.insert(0, control_rows.job_row(module, dataset.tenant_id, self.settings))
        waits = not manual and sync.get("auto") is False
        if waits or (not manual and not control_rows.enabled(row)):
            self._control.write(write)  # what will be synced once it is asked for, or switched on
            if there is None:
                row = self._alone(Asked(dataset, row, 0)).row
        if not control_rows.enabled(row):
            raise DatasetError(
                f"the sync of dataset {dataset.name!r} is switched off (sync.enabled of row {row.source_id} in "
                f"{self.control_table}): set it to true there, or upload with --config"
            )
        if waits:
            return Asked(dataset, row, 0)
        limit = sync.get("row_limit")
        if limit and dataset.row_count_local > int(limit):
            raise DatasetError(
                f"dataset {dataset.name!r} has {dataset.row_count_local} rows, more than its row_limit of {limit}: "
                "raise the limit, or split it"
            )
        # First the event: once the row is there, a monitor may start the run at any time.
        written = self.events.append([self.event(dataset, Status.PENDING, row)])
        if written:
            number = written[0].round
        else:
            latest = self.events.latest([dataset.dataset_id]).get(dataset.dataset_id)
            number = latest.round if latest else 0
        asked = Asked(dataset, row, number)
        try:
            self._control.write(write)
            if there is None:
                asked = self._alone(asked)
            asked = self._newest(asked)
        except LakeflowJobMetaError as error:
            self.record_failure(asked, error, error_class="not_asked")
            raise
        return asked

    def _alone(self, asked: Asked) -> Asked:
        """Give a new row another table when somebody else's upload took the same one at the same time.

        All look at the rows after they wrote their own, so that the later of two sees the other; who sees one gives
        way, be it both of them: nobody knows whether it was seen itself.
        """
        table = control_rows.config(asked.row.target_config).get("table")
        rivals = [
            row
            for row in self.rows(asked.dataset.tenant_id)
            if row.source_type == control_rows.SOURCE_TYPE
            and row.source_id != asked.row.source_id
            and control_rows.config(row.target_config).get("table") == table
        ]
        if not rivals:
            return asked
        row = control_rows.with_table(asked.row, asked.dataset, taken={str(table)})
        self._control.write([row])
        return Asked(asked.dataset, row, asked.round)

    def _newest(self, asked: Asked) -> Asked:
        """Name the newest version in the row when somebody else's upload was later: who writes last must not undo it."""
        newest = self.registry.find(asked.dataset.dataset_id)
        if newest.version <= asked.dataset.version:
            return asked
        rows = [asked.row]
        row = control_rows.make_row(rows, newest, self.settings)
        self._control.write([row])
        return Asked(newest, row, asked.round)

    def record_failure(self, asked: Asked, error: Exception, *, error_class: str = "start_failed") -> None:
        """Write down that the sync that was asked for could not be started."""
        failed = self.event(
            asked.dataset,
            Status.FAILED,
            asked.row,
            error_class=error_class,
            error=str(error),
            retryable=True,
        )
        self.events.append([failed])

    def event(self, dataset: Dataset, status: Status, row: Row | None, **more: Any) -> EventRow:
        """An event about this version of the dataset."""
        return EventRow(
            dataset_id=dataset.dataset_id,
            tenant_id=dataset.tenant_id,
            version=dataset.version,
            status=status,
            at=self.clock(),
            source_id=str(row.source_id) if row else "",
            module_name=str(row.module_name) if row else "",
            row_count_local=dataset.row_count_local,
            **more,
        )

    def rows(self, tenant_id: str) -> list[Row]:
        """The control table's rows of the tenant's modules; none when there is no table."""
        modules = control_rows.modules_of(tenant_id)
        found: list[Row] = []
        while True:
            try:
                found = self._control.rows(modules)
            except TableNotFound:
                return []
            needed = control_rows.modules_of(tenant_id, len(found))
            if len(needed) <= len(modules):
                return found
            modules = needed

    def row(self, dataset: Dataset) -> Row | None:
        """The dataset's row of the control table."""
        return control_rows.row_of(self.rows(dataset.tenant_id), dataset.dataset_id)

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Write rows of the control table."""
        self._control.write(rows)

    # ------------------------------------------------------------ questions

    def find(self, dataset_id: str, tenant: str | None = None) -> Dataset:
        """The newest version of a dataset of the tenant (see `whose`).

        Raises:
            DatasetNotFound: there is none, it was deleted, or it is another tenant's.
        """
        return self.registry.find(dataset_id, self.whose(tenant))

    def whose(self, tenant: str | None) -> str | None:
        """The tenant whose datasets are meant: the one that is given, else the one that is set; None: anybody's."""
        return tenant if tenant is not None else self.settings.values.get("tenant")

    def status(self, dataset_id: str, tenant: str | None = None) -> DatasetStatus:
        """Where the sync of a dataset stands. Raises DatasetNotFound."""
        dataset = self.find(dataset_id, tenant)
        sync = self.events.latest([dataset_id]).get(dataset_id)
        row = self.row(dataset) if self.settings["sync_enabled"] else None
        return DatasetStatus(dataset, self._enabled(row), sync)

    def all(self, tenant: str | None = None) -> list[DatasetStatus]:
        """Every dataset, newest upload first, of one tenant or of all."""
        tenant = self.whose(tenant)
        datasets = self.registry.latest(tenant)
        statuses = self.events.latest(tenant=tenant)
        rows: dict[str, list[Row]] = {}
        found = []
        for dataset in datasets:
            if dataset.tenant_id not in rows:
                rows[dataset.tenant_id] = self.rows(dataset.tenant_id)
            row = control_rows.row_of(rows[dataset.tenant_id], dataset.dataset_id)
            found.append(DatasetStatus(dataset, self._enabled(row), statuses.get(dataset.dataset_id)))
        return found

    def _enabled(self, row: Row | None) -> bool:
        return bool(self.settings["sync_enabled"]) and (row is None or control_rows.enabled(row))

    def versions(self, dataset_id: str, tenant: str | None = None) -> list[Dataset]:
        """The versions of a dataset, oldest first. Raises DatasetNotFound."""
        self.find(dataset_id, tenant)
        return self.registry.versions(dataset_id)

    def preview(self, dataset_id: str, tenant: str | None = None) -> dict[str, Any]:
        """Columns with some of their values, figures and the first rows; see `preview.preview`."""
        dataset = self.find(dataset_id, tenant)
        return preview(dataset, self.landing.fetch(dataset))

    def query(
        self,
        dataset_id: str,
        sql: str,
        *,
        tenant: str | None = None,
        limit: int | None = None,
        version: int | None = None,
    ) -> QueryResult:
        """Run one SELECT on the landed file, as the view `dataset`; see `query.query_file`.

        Args:
            version: of the dataset; None: the newest.

        Raises:
            DatasetNotFound: there is no such dataset or version. DatasetError: the query is refused or fails.
        """
        dataset = self.find(dataset_id, tenant)
        if version is not None and version != dataset.version:
            known = {one.version: one for one in self.registry.versions(dataset_id)}
            if version not in known:
                raise DatasetError(
                    f"dataset {dataset.name!r} has no version {version}; it has {', '.join(map(str, known))}"
                )
            dataset = known[version]
        return query_file(self.landing.fetch(dataset), sql, limit=limit, view=view_of(dataset.schema))


def _checked_name(name: str) -> str:
    found = " ".join(name.split())
    if not found or not found.isprintable() or len(found) > _NAME_LIMIT:
        raise DatasetError(
            f"{name!r} is no name of a dataset: give at most {_NAME_LIMIT} printable characters with --name"
        )
    return found
