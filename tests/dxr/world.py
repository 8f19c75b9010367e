"""A volume, Sail with Delta, and the simulator over real HTTP: what ingest and collect are tested in."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.dxr.client import DxrClient
from lakeflow_job_meta.dxr.collect import collect
from lakeflow_job_meta.dxr.ingest import ingest
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.settings import resolve
from lakeflow_job_meta.dxr.summary import Summary
from lakeflow_job_meta.names import TableName
from tests.local.dxr.conftest import Dxr

_RUNS = itertools.count(1)
#: No test waits for more than these, in seconds.
QUICK = {
    "poll_interval": 0.02,
    "settle_interval": 0.02,
    "settle_limit": 3,
    "deadline": 20,
    "unclear_wait": 0.3,
}


def now() -> datetime:
    return datetime.now(timezone.utc)


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)


@dataclass
class World:
    """One volume and what belongs to it."""

    dxr: Dxr
    tables: Any
    schema: tuple[str, str]
    root: Path
    logged: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    volume: str = "/Volumes/main/files/inbox"

    @property
    def folder(self) -> Path:
        """The folder behind the volume."""
        folder = self.root / self.volume.removeprefix("/Volumes/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def metadata_table(self) -> TableName:
        return TableName(*self.schema, "file_metadata")

    def put(self, name: str, data: bytes | str, *, at: float | None = None) -> str:
        """Write a file into the volume; its path there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        if at is not None:
            os.utime(path, (at, at))
        return f"{self.volume}/{name}"

    def client(self, **options: Any) -> DxrClient:
        options.setdefault("timeout", 10)
        options.setdefault("sleep", lambda seconds: None)
        return DxrClient(self.dxr.url, self.dxr.token, **options)

    def session(self, **more: Any) -> DxrSession:
        own = {
            name: more.pop(name)
            for name in ("client", "clock", "sleep", "environment", "secrets", "volumes", "tables")
            if name in more
        }
        given = {
            "source_volume": self.volume,
            "metadata_table": str(self.metadata_table),
            "datasource_id": 200,
            "base_url": self.dxr.url,
            "views": False,
            **QUICK,
            **self.settings,
            **more,
        }
        arguments: dict[str, Any] = {
            "clock": now,
            "sleep": lambda seconds: _sleep(min(seconds, 0.05)),
            "environment": {"DXR_API_KEY": self.dxr.token},
            "volumes": FuseVolumes(self.root),
            "tables": self.tables,
        }
        arguments.update({name: value for name, value in own.items() if name != "client"})
        return DxrSession(
            resolve(given),
            run_id=f"run-{next(_RUNS)}",
            log=lambda event, **facts: self.logged.append((event, facts)),
            given_client=own.get("client"),
            **arguments,
        )

    def ingest(self, **more: Any) -> Summary:
        return ingest(self.session(**more))

    def collect(self, **more: Any) -> Summary:
        return collect(self.session(**more))

    def run_once(self, **more: Any) -> Summary:
        return self.ingest(**more).added(self.collect(**more))

    # ---------------------------------------------------------------- what is there afterwards

    def rows(self, table: str = "file_metadata", columns: str = "*") -> list[dict[str, Any]]:
        name = TableName(*self.schema, table)
        return list(self.tables.query(f"SELECT {columns} FROM {name.quoted}"))

    def found(self) -> dict[str, dict[str, Any]]:
        """The metadata table by relative path."""
        return {row["relative_path"]: row for row in self.rows()}

    def checkpoints(self) -> dict[str, dict[str, Any]]:
        """The checkpoints by relative path."""
        return {row["file_path"].removeprefix(self.volume + "/"): row for row in self.rows("dxr_checkpoints")}

    def jobs(self) -> list[dict[str, Any]]:
        return self.rows("dxr_jobs")

    def states(self) -> list[str]:
        return sorted(row["state"] for row in self.jobs())

    def submitted(self) -> list[dict[str, Any]]:
        """The jobs that the simulator has."""
        return list(self.dxr.http.get("/_simulator/jobs").json()["jobs"])

    def received(self) -> list[tuple[str, str]]:
        """(upload name, SHA-256) of every file that the simulator accepted."""
        rows = self.dxr.simulator.store.database.read("SELECT name, sha256 FROM dxr_files ORDER BY seq")
        return [(row["name"], row["sha256"]) for row in rows]

    def sent(self) -> list[str]:
        """The SHA-256 of every file that the simulator accepted, sorted."""
        return sorted(sha256 for _, sha256 in self.received())

    def events(self, name: str) -> list[dict[str, Any]]:
        return [facts for event, facts in self.logged if event == name]


def _sleep(seconds: float) -> None:
    import time

    time.sleep(seconds)


@contextlib.contextmanager
def fault(world: World, *faults: dict[str, Any]) -> Iterator[None]:
    """HTTP faults while the block lasts."""
    world.dxr.knobs(http_faults=list(faults))
    try:
        yield
    finally:
        world.dxr.knobs(http_faults=[])
