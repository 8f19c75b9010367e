"""A volume and a control table as plain values, loaded as the metadata manager does it, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from lakeflow_job_meta.control.intents import intents
from lakeflow_job_meta.control.loading import Load, decide, overlay, pending, vanished
from lakeflow_job_meta.control.records import FileRecord
from lakeflow_job_meta.errors import Place, Problem
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import canonical_json, digest
from lakeflow_job_meta.ports import FileInfo

FOLDER = "/Volumes/main/etl/metadata"
#: A module whose name cannot be told.
NAMELESS = "?"


@dataclass(frozen=True)
class File:
    """What `metadata.files.read_metadata` gives, as far as loading looks at it."""

    path: str
    sha256: str
    rows: tuple[Row, ...] = ()
    modules: tuple[str, ...] = ()
    module_places: Mapping[str, Place] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    rejected: bool = False
    refused: frozenset[str] = frozenset()
    incomplete: bool = False


def row(module: str, source: str, value: str, active: bool | None = True) -> Row:
    return Row(source, module, "sql", 1, "{}", "{}", canonical_json({"v": value}), active)


def parse(path: str, content: Any) -> File:
    """The file with this content: sources by module; None does not parse, a module that is None is wrong."""
    sha256 = digest([path, content])
    incomplete = content is not None and NAMELESS in content
    if incomplete:
        content = {module: sources for module, sources in content.items() if module != NAMELESS}
    if content is None:
        return File(path, sha256, problems=(Problem("not YAML", Place(path, 3, 1)),), rejected=True)
    places = {module: Place(path, number, 5) for number, module in enumerate(content, 2)}
    bad = frozenset(module for module, sources in content.items() if sources is None)
    return File(
        path,
        sha256,
        rows=tuple(
            row(m, s, v) for m, sources in content.items() if sources is not None for s, v in sources.items()
        ),
        modules=tuple(content),
        module_places=places,
        problems=tuple(
            Problem(f"{module} is wrong", places[module], module=module) for module in sorted(bad)
        ),
        refused=bad,
        incomplete=incomplete,
    )


@dataclass
class World:
    """Files of one volume, files on somebody's disk, the control table, and the file records."""

    volume: dict[str, Any] = field(default_factory=dict)
    disk: dict[str, Any] = field(default_factory=dict)
    table: list[Row] = field(default_factory=list)
    records: dict[str, FileRecord] = field(default_factory=dict)
    now: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)
    dies: str = ""  # where the next load is killed

    def put(self, name: str, content: Any) -> None:
        self.volume[f"{FOLDER}/{name}"] = content

    def remove(self, name: str) -> None:
        del self.volume[f"{FOLDER}/{name}"]

    def rename(self, name: str, to: str) -> None:
        self.volume[f"{FOLDER}/{to}"] = self.volume.pop(f"{FOLDER}/{name}")

    def sync(self, *, force: bool = False) -> Load:
        """A tick of the monitor: the changed files of the volume, and those that hang on them."""
        changed = [
            parse(path, content) for path, content in self.volume.items() if self._moved(path, content)
        ]
        gone = vanished(self.records, list(self.volume), FOLDER, force=force)
        more = pending(changed, self.records, list(self.volume), gone)
        files = [*changed, *(parse(path, self.volume[path]) for path in sorted(more))]
        return self._load(files, self.volume, listed=list(self.volume), force=force)

    def hand(self, *paths: str, take_over: bool = False) -> Load:
        """A load by hand of files on disk."""
        files = [parse(path, self.disk[path]) for path in paths]
        return self._load(files, self.disk, listed=None, hand=True, take_over=take_over)

    def edit(self, module: str, source: str, value: str, active: bool | None = True) -> None:
        """A direct edit by SQL."""
        new = row(module, source, value, active)
        self.table = [new if there.key == new.key else there for there in self.table]
        if new not in self.table:
            self.table.append(new)

    def active(self) -> dict[tuple[str, str], str]:
        """Value by key of the active rows."""
        return {there.key: (there.transformation_config or "")[6:-2] for there in self.table if there.active}

    def inactive(self) -> set[tuple[str, str]]:
        return {there.key for there in self.table if not there.active}

    def record(self, name: str) -> FileRecord:
        return self.records[f"{FOLDER}/{name}"]

    def _moved(self, path: str, content: Any) -> bool:
        record = self.records.get(path)
        sha256 = parse(path, content).sha256
        return record is None or record.hand or record.status == "vanished" or record.sha256 != sha256

    def _load(self, files: list[File], where: Mapping[str, Any], **given: Any) -> Load:
        self.now += timedelta(seconds=1)
        load = decide(
            files,  # type: ignore[arg-type]
            self.records,
            self.table,
            **{"hand": False, "take_over": False, **given},
            now=self.now,
            folder=FOLDER,
            infos={path: FileInfo(path, 1, 1) for path in where},
        )
        dies, self.dies = self.dies, ""
        if load.write:
            written = {there.key for there in load.write}
            intended = intents(load.records, self.records, written)
            self.records.update({record.path: record for record in intended})
        if dies == "before its rows":
            return load
        self.table = overlay(self.table, load)
        if dies != "after its rows":
            self.records.update({record.path: record for record in load.records})
        return load


def rows_of(*contents: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, str], str]:
    """The active rows that these files ask for."""
    return {
        (module, source): value
        for content in contents
        for module, sources in content.items()
        for source, value in sources.items()
    }
