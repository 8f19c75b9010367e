"""A program that ingests or collects, and kills itself with SIGKILL before its n-th write to a table, or n-th block read.

`python -m tests.dxr.killed ARGUMENTS.json`; it ends with 0 when it came through with fewer of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, cast

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.adapters.spark_tables import SparkTables
from lakeflow_job_meta.dxr.collect import collect
from lakeflow_job_meta.dxr.ingest import ingest
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.settings import resolve
from lakeflow_job_meta.names import TableName
from tests.conftest import Sail


class Deadly:
    """Tables whose n-th write is never begun."""

    def __init__(self, tables: SparkTables, kill_at: int) -> None:
        self._tables = tables
        self._left = kill_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def append(self, *args: Any, **more: Any) -> None:
        self._count()
        self._tables.append(*args, **more)

    def merge(self, *args: Any, **more: Any) -> None:
        self._count()
        self._tables.merge(*args, **more)

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Counted:
    """A file whose n-th block is never read; counted over all files."""

    def __init__(self, file: BinaryIO, volumes: DeadlyVolumes) -> None:
        self._file = file
        self._volumes = volumes

    def read(self, size: int = -1) -> bytes:
        self._volumes.left -= 1
        if self._volumes.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._file.read(size)


class DeadlyVolumes(FuseVolumes):
    """Volumes of which the n-th block is never read."""

    def __init__(self, root: Path, kill_at: int) -> None:
        super().__init__(root)
        self.left = kill_at

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        with super().open(path) as file:
            yield cast("BinaryIO", Counted(file, self))


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    sail = Sail(given["remote"], Path(given["warehouse"]))
    spark = sail.session()
    for name in given["tables"]:
        sail.register(spark, TableName.parse(name))
    session = DxrSession(
        resolve(given["settings"]),
        Deadly(SparkTables(spark), given["kill_at"]),
        DeadlyVolumes(Path(given["root"]), given["kill_at_read"]),
        f"run-{uuid.uuid4().hex[:6]}",
        lambda: datetime.now(timezone.utc),
        environment={"DXR_API_KEY": given["token"]},
    )
    print("started", flush=True)
    (ingest if given["task"] == "ingest" else collect)(session)
    spark.stop()


if __name__ == "__main__":
    main()
