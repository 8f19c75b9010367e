"""A program that remediates or undoes, and kills itself with SIGKILL at its n-th step on a file or table.

`python -m tests.policies.killed ARGUMENTS.json`; it ends with 0 when it came through with fewer steps.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.adapters.spark_tables import SparkTables
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies.remediate import RemediationSession, remediate
from lakeflow_job_meta.policies.remediation_settings import Rules
from lakeflow_job_meta.policies.undo import undo
from tests.conftest import Sail
from tests.policies.remediation_world import now


class Deadly:
    """Ports whose n-th write, counted over all of them, is never begun."""

    def __init__(self, kill_at: int, died: BaseException | None) -> None:
        self._left = kill_at
        self._deadly = kill_at > 0
        self._died = died

    def wrap(self, port: Any, *methods: str) -> Any:
        """The port, its methods that write counted."""
        return _Counted(port, methods, self._count)

    def _count(self) -> None:
        self._left -= 1
        if self._left <= 0 and self._deadly:
            if self._died is not None:
                raise self._died
            os.kill(os.getpid(), signal.SIGKILL)


class _Counted:
    def __init__(self, port: Any, methods: Collection[str], count: Callable[[], None]) -> None:
        self._port = port
        self._methods = methods
        self._count = count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name not in self._methods:
            return found

        def call(*args: Any, **more: Any) -> Any:
            self._count()
            return found(*args, **more)

        return call


def deadly(tables: Any, volumes: Any, kill_at: int, died: BaseException | None = None) -> RemediationSession:
    """A session that ends at the n-th write: by SIGKILL, or by raising."""
    counter = Deadly(kill_at, died)
    return RemediationSession(
        counter.wrap(tables, "append"),
        counter.wrap(volumes, "create", "delete_unchanged", "set_facts", "delete_folder"),
        now,
    )


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    sail = Sail(given["remote"], Path(given["warehouse"]))
    spark = sail.session()
    for name in given["tables"]:
        sail.register(spark, TableName.parse(name))
    session = deadly(SparkTables(spark), FuseVolumes(Path(given["root"])), given["kill_at"])
    if given["undo"]:
        undo(session, given["undo"])
    else:
        remediate(session, Rules.of(given["rules"]), execute=True)
    spark.stop()


if __name__ == "__main__":
    main()
