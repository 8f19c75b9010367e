"""A program that organises or takes a snapshot, and kills itself with SIGKILL at the n-th step of a kind.

`python -m tests.dxr.killed_exports ARGUMENTS.json`; steps are `merge` and `replace_partition` (before it), `replaced`
(right after it), and `upload` (in the middle of the file). It ends with 0 when it came through.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.adapters.spark_tables import SparkTables
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.settings import resolve
from lakeflow_job_meta.dxr.tasks import WORK
from lakeflow_job_meta.names import TableName
from tests.conftest import Sail
from tests.dxr.catalog import FakeCatalog


class Killer:
    """Counts steps of one kind, and kills this process at the n-th."""

    def __init__(self, kind: str, number: int) -> None:
        self._kind = kind
        self._left = number

    def due(self, kind: str) -> bool:
        if kind == self._kind:
            self._left -= 1
            return self._left == 0
        return False

    def step(self, kind: str) -> None:
        if self.due(kind):
            os.kill(os.getpid(), signal.SIGKILL)


class Tables(SparkTables):
    def __init__(self, spark: Any, killer: Killer) -> None:
        super().__init__(spark)
        self._killer = killer

    def merge(self, *args: Any, **more: Any) -> None:
        self._killer.step("merge")
        super().merge(*args, **more)

    def replace_partition(self, *args: Any, **more: Any) -> None:
        self._killer.step("replace_partition")
        super().replace_partition(*args, **more)
        self._killer.step("replaced")


class Volumes(FuseVolumes):
    def __init__(self, root: Path, killer: Killer) -> None:
        super().__init__(root)
        self._killer = killer

    def upload(self, path: str, source: BinaryIO) -> None:
        super().upload(path, Half(source) if self._killer.due("upload") else source)  # type: ignore[arg-type]


class Half(io.RawIOBase):
    """A stream that ends the process when its first bytes have been written."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._read = False

    def read(self, size: int = -1, /) -> bytes:
        if self._read:
            os.kill(os.getpid(), signal.SIGKILL)
        self._read = True
        return self._source.read(10)


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    sail = Sail(given["remote"], Path(given["warehouse"]))
    spark = sail.session()
    for name in given["tables"]:
        sail.register(spark, TableName.parse(name))
    killer = Killer(given["kind"], given["number"])
    catalog = FakeCatalog(Path(given["root"]))
    session = DxrSession(
        resolve(given["settings"]),
        Tables(spark, killer),
        Volumes(Path(given["root"]), killer),
        given["run_id"],
        lambda: datetime.fromisoformat(given["now"]),
        environment={"DXR_API_KEY": given["token"]},
        catalog=lambda: catalog,
    )
    WORK[given["task"]](session)
    spark.stop()


if __name__ == "__main__":
    main()
