"""The metadata manager: the control table, and YAML files into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta import __version__
from lakeflow_job_meta.control import changes, reading
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.file_records import FileRecords
from lakeflow_job_meta.control.intents import intents
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.loading import Load, decide, pending, vanished
from lakeflow_job_meta.control.reading import Reader
from lakeflow_job_meta.control.records import Event, FileRecord
from lakeflow_job_meta.errors import (
    MetadataError,
    TableNotFound,
    TablesError,
    TablesUnavailable,
    UsageError,
    VolumeError,
)
from lakeflow_job_meta.metadata.rows import JOB_ROW, SETTINGS_MODULE, Row
from lakeflow_job_meta.names import TableName, digest
from lakeflow_job_meta.ports import FileInfo
from lakeflow_job_meta.runtime import Runtime, connect

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

    from lakeflow_job_meta.metadata.files import MetadataFile

JsonObject = dict[str, Any]


class MetadataManager:
    """The control table of one name: made, filled from YAML files, and asked.

    Args:
        control_table: `catalog.schema.table`.
        spark: Spark session; without it the active one, or a warehouse.
        workspace_client: databricks-sdk client; without it the SDK's unified authentication.
        warehouse_id: SQL warehouse to use instead of Spark.
        flags: settings as `settings.SETTINGS` names them.
        runtime: everything at once, instead of the arguments above.
        sleep: waits, in seconds.

    Raises:
        UsageError: the table's name or a setting is wrong.
    """

    def __init__(
        self,
        control_table: str | TableName,
        *,
        spark: Any = None,
        workspace_client: WorkspaceClient | None = None,
        warehouse_id: str | None = None,
        flags: Mapping[str, Any] | None = None,
        runtime: Runtime | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.runtime = runtime or connect(
            control_table,
            spark=spark,
            workspace_client=workspace_client,
            warehouse_id=warehouse_id,
            flags=flags,
        )
        self.control_table = self.runtime.control_table
        self._sleep = sleep

    # ------------------------------------------------------------ the control table

    def ensure_exists(self) -> bool:
        """Make the schema and the control table when they are missing; returns whether it was made.

        One statement when it is there.

        Raises:
            TableMismatch: it is there and columns are missing or have other types.
            TablesError: it cannot be made.
        """
        return self._table.ensure()

    def get_all_modules(self) -> list[str]:
        """Names of the modules that have an active source, sorted; modules that are retired are left out.

        Raises:
            TableNotFound: there is no control table.
        """
        return self._table.modules()

    def get_module_sources(self, module: str, *, include_inactive: bool = False) -> list[JsonObject]:
        """The sources of a module: one dict of the eight columns each, by stage, then source_id.

        The job row is no source. Empty when there is no such module.

        Args:
            include_inactive: also those whose `is_active` is false.

        Raises:
            TableNotFound: there is no control table.
        """
        sources = [
            row
            for row in self._table.rows([module])
            if row.source_id != JOB_ROW and (include_inactive or row.active)
        ]
        return [
            asdict(row)
            for row in sorted(sources, key=lambda row: (row.execution_order or 0, row.source_id or ""))
        ]

    def detect_changes(self, since: int | str | datetime | Mapping[str, Any] | None = None) -> JsonObject:
        """What in the control table differs from what was accepted last, whenever it was changed.

        Level-triggered: the rows are compared with the accepted ones in `_jobs`, so nothing is lost by a
        missed or repeated call, and a change counts until it was applied.

        Args:
            since: what an earlier call returned, or its `version`: when the table has not moved since,
                nothing is read but its version. A time is taken too, for older callers, and not needed.

        Returns:
            new_modules, updated_modules, deactivated_modules (sorted names); changed_sources
            (`{"module_name", "source_id"}` each); version (of the control table; None where the engine
            tells none).

        Raises:
            TableNotFound: there is no control table.
        """
        known = since.get("version") if isinstance(since, Mapping) else since
        version = self._version()
        if isinstance(known, int) and not isinstance(known, bool) and known == version:
            return {**changes.Changes().as_json(), "version": version}
        rows = self._table.rows()
        records = JobRecords(self.runtime.tables, self.control_table, self._workspace_id).all()
        found = changes.detect(rows, records, self.runtime.settings_from(rows), str(self.control_table))
        return {**found.as_json(), "version": version}

    def _version(self) -> int | None:
        try:
            return self._table.version()
        except (TableNotFound, TablesUnavailable):
            raise
        except TablesError:  # an engine without DESCRIBE HISTORY
            return None

    # ------------------------------------------------------------ files

    def load_yaml(
        self,
        path: str,
        validate_file_exists: bool = True,
        *,
        variables: Mapping[str, str] | None = None,
        take_over: bool = False,
    ) -> int:
        """Load a YAML file, or all of a folder, into the control table by hand.

        Args:
            path: local path, or below `/Volumes`.
            validate_file_exists: False: a path that is not there is no error and changes nothing.
            variables: values for `${var.NAME}`, over those of the settings.
            take_over: take modules over that belong to a volume's file.

        Returns:
            The number of rows changed.

        Raises:
            MetadataError: something was rejected; all of it is listed, each with its place. What was sound is
                loaded (`changed`).
            VolumeError: the path is not there.
        """
        if not validate_file_exists and not self._is_there(path):
            return 0
        return _told(self.load([path], hand=True, take_over=take_over, variables=variables))

    def sync_from_volume(
        self,
        path: str,
        file_pattern: str = "*.yaml",
        *,
        variables: Mapping[str, str] | None = None,
        force: bool = False,
    ) -> int:
        """Make the control table follow the files of a volume: new, changed and vanished ones.

        Args:
            path: a folder, usually below `/Volumes`, looked at with all folders in it.
            file_pattern: of names; `*.yaml` picks `*.yml` too. Hidden and temporary files never count.
            variables: values for `${var.NAME}`, over those of the settings.
            force: let an empty folder retire what was in it.

        Returns:
            The number of rows changed.

        Raises:
            MetadataError: as `load_yaml`.
            VolumeError: the volume cannot be listed; nothing was changed.
        """
        return _told(
            self.load([path], hand=False, variables=variables, file_pattern=file_pattern, force=force)
        )

    def load(
        self,
        paths: Sequence[str],
        *,
        hand: bool = True,
        take_over: bool = False,
        variables: Mapping[str, str] | None = None,
        file_pattern: str = "*.yaml",
        force: bool = False,
    ) -> Load:
        """Load files and folders; what was rejected is in the result's `problems`, nothing is raised for it.

        Statements: the rows, the file records, one for the records that change, and two more for rows that do.

        Args:
            paths: for `hand`, any number; else one folder, the volume that is followed.
            hand: loaded by hand: takes modules over from earlier hand loads, and never counts as vanished.
            take_over: by hand, take modules over from a volume's files too.
            variables, file_pattern, force: as `sync_from_volume`.

        Raises:
            VolumeError: a path is not there or cannot be listed; nothing was changed.
            MetadataError: the settings row is wrong; nothing was changed.
            TablesError: the control table cannot be read or written.
        """
        load, before = self._decide(
            paths,
            hand=hand,
            take_over=take_over,
            variables=variables,
            file_pattern=file_pattern,
            force=force,
            make=True,
        )
        if load.write:  # should this process die in between, the records tell of rows that it wrote
            self._files.save(intents(load.records, before, {row.key for row in load.write}))
        self._table.write(load.write)
        self._files.save(load.records)
        self._events.append(_events(load, before, self.runtime.clock()))
        return load

    def overlay(
        self,
        paths: Sequence[str],
        *,
        take_over: bool = False,
        variables: Mapping[str, str] | None = None,
        file_pattern: str = "*.yaml",
    ) -> Load:
        """What `load` by hand would do. Writes nothing, not even tables. Raises as `load`."""
        load, _ = self._decide(
            paths,
            hand=True,
            take_over=take_over,
            variables=variables,
            file_pattern=file_pattern,
            force=False,
            make=False,
        )
        return load

    def list_files(self, path: str, file_pattern: str = "*.yaml") -> list[FileInfo]:
        """The metadata files below `path`, sorted by path. Raises VolumeError, never lists less instead."""
        path = reading.absolute(path)
        return reading.metadata_files(self.runtime.volumes.list(path), path, file_pattern)

    def file_records(self) -> list[FileRecord]:
        """What is known of every file that was loaded, by path."""
        records = self._files.all()
        return [records[path] for path in sorted(records)]

    def read_paths(
        self,
        paths: Sequence[str],
        variables: Mapping[str, str] | None = None,
        file_pattern: str = "*.yaml",
    ) -> list[MetadataFile]:
        """The metadata files below these paths, read and judged each on its own. No SQL.

        Raises:
            VolumeError: a path is not there, or a file cannot be read.
        """
        from lakeflow_job_meta.metadata.files import read_metadata

        found: dict[str, FileInfo] = {}
        for path in paths:
            listed = self.runtime.volumes.list(path)
            found.update((info.path, info) for info in reading.metadata_files(listed, path, file_pattern))
        given = {**self.runtime.settings().variables, **(variables or {})}
        return [read_metadata(self.runtime.volumes.read(path), path, given) for path in sorted(found)]

    def _decide(
        self,
        paths: Sequence[str],
        *,
        hand: bool,
        take_over: bool,
        variables: Mapping[str, str] | None,
        file_pattern: str,
        force: bool,
        make: bool,
    ) -> tuple[Load, Mapping[str, FileRecord]]:
        """The load of these paths and the records before it."""
        if not hand and len(paths) != 1:
            raise UsageError(f"one volume is followed at a time, not {len(paths)}")
        everything: set[str] = set()
        infos: dict[str, FileInfo] = {}
        for path in map(reading.absolute, paths):
            listed = self.runtime.volumes.list(path)
            everything.update(info.path for info in listed)
            found = reading.metadata_files(listed, path, file_pattern)
            infos.update((info.path, info) for info in found)
        rows = self._rows(make)
        records = self._files.all()
        if not hand:
            _check_folder(reading.absolute(paths[0]), everything, records)
        given = {**self.runtime.settings_from(rows).variables, **(variables or {})}
        context = digest([__version__, given], 32)
        lost = _lost(rows, records)
        # The brake looks at metadata files: with none of them left, nothing has vanished.
        there: Collection[str] | None = None if hand else everything if infos else ()
        folder = "" if hand else reading.absolute(paths[0])

        if hand:
            present = {row.key for row in rows}
            known = {path: record for path, record in records.items() if reading.complete(record, present)}
            suspects = list(infos.values())
        else:
            known = {path: record for path, record in records.items() if not (lost or record.hand)}
            suspects = [
                info
                for path, info in infos.items()
                if lost or not reading.unmoved(records.get(path), info, context)
            ]
        reader = Reader(self.runtime.volumes, given, context, self.runtime.clock, self._sleep)
        first = reader.read(suspects, known, twice=not hand)
        more = pending(first.files, records, infos, vanished(records, there, folder, force=force))
        second = reader.read([infos[path] for path in sorted(more)], {}, twice=not hand)
        files = (*first.files, *second.files)
        load = decide(
            files,
            records,
            rows,
            listed=there,
            hand=hand,
            take_over=take_over,
            now=self.runtime.clock(),
            folder=folder,
            infos=infos,
            context_hash=context,
            force=force,
            lost=lost,
        )
        decided = {record.path for record in load.records} | {file.path for file in files}
        touched = [record for record in first.touched if record.path not in decided]
        unread = (*first.problems, *second.problems)
        whole = replace(
            load,
            records=(*load.records, *touched),
            problems=(*load.problems, *unread),
            unsettled=bool(unread),
            variables=given,
            current=rows,
        )
        return whole, records

    def _rows(self, make: bool) -> list[Row]:
        """All rows; of a table that is not there none, and it is made if that is asked for."""
        try:
            return self._table.rows()
        except TableNotFound:
            if make:
                self._table.ensure()
            return []

    def _is_there(self, path: str) -> bool:
        try:
            self.runtime.volumes.list(reading.absolute(path))
        except VolumeError:
            return False
        return True

    # ------------------------------------------------------------ parts

    @cached_property
    def _table(self) -> ControlTable:
        return ControlTable(self.runtime.tables, self.control_table)

    @cached_property
    def _files(self) -> FileRecords:
        return FileRecords(self.runtime.tables, self.control_table, self._workspace_id)

    @cached_property
    def _events(self) -> Events:
        return Events(self.runtime.tables, self.control_table, self._workspace_id)

    @cached_property
    def _workspace_id(self) -> str:
        """The workspace that the records are kept for; empty where there is only Spark and no way to log in."""
        try:
            return self.runtime.workspace.workspace_id
        except UsageError:
            return ""


def _told(load: Load) -> int:
    if load.problems:
        raise MetadataError(load.problems, changed=load.changed)
    return load.changed


def _check_folder(folder: str, listed: Collection[str], records: Mapping[str, FileRecord]) -> None:
    """A file that has taken a folder's place says nothing about what was in the folder."""
    inside = [one for one in records.values() if one.path.startswith(f"{folder}/") and not one.hand]
    if listed == {folder} and any(record.status != "vanished" for record in inside):
        raise VolumeError(
            f"{folder} is a file now, where there was a folder with {len(inside)} metadata files: nothing is changed; "
            "put the folder back, or follow another"
        )


def _lost(rows: Sequence[Row], records: Mapping[str, FileRecord]) -> bool:
    """Whether the control table lost its rows: none is there, though files own some."""
    if any(row.module_name != SETTINGS_MODULE for row in rows):
        return False
    return any(sources for record in records.values() for sources in record.keys.values())


def _events(load: Load, before: Mapping[str, FileRecord], now: datetime) -> list[Event]:
    """One event for each file that is newly rejected, in part or as a whole."""
    return [
        Event(
            "rejected",
            now,
            message=f"{record.path}: {len(record.errors)} problems",
            detail={"path": record.path, "status": record.status, "errors": list(record.errors)[:100]},
        )
        for record in load.records
        if record.errors and (record.path not in before or before[record.path].errors != record.errors)
    ]
