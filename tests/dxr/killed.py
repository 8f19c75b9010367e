"""A program that ingests or collects, and kills itself with SIGKILL before its n-th write to a table.

`python -m tests.dxr.killed ARGUMENTS.json`; it ends with 0 when it came through with fewer writes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

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


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    sail = Sail(given["remote"], Path(given["warehouse"]))
    spark = sail.session()
    for name in given["tables"]:
        sail.register(spark, TableName.parse(name))
    session = DxrSession(
        resolve(given["settings"]),
        Deadly(SparkTables(spark), given["kill_at"]),
        FuseVolumes(Path(given["root"])),
        f"run-{uuid.uuid4().hex[:6]}",
        lambda: datetime.now(timezone.utc),
        environment={"DXR_API_KEY": given["token"]},
    )
    print("started", flush=True)
    (ingest if given["task"] == "ingest" else collect)(session)
    spark.stop()


if __name__ == "__main__":
    main()
