"""Fixtures that everybody may use: one Sail (Spark Connect with Delta) for the whole run."""

from __future__ import annotations

import itertools
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.control.commit import without_waiting
from lakeflow_job_meta.names import TableName
from tests.warm import warm

_NUMBERS = itertools.count(1)
# Without a main module's file (the workers of xdist) pyspark gives up looking for its home.
os.environ.setdefault("SPARK_HOME", str(Path(__file__).parent))
# Where bytecode may not be kept, each of a run's hundreds of processes compiles this package anew, each worker the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@dataclass(frozen=True)
class Sail:
    """A plain Sail server: no gateway, so a table is known only in the session that made it.

    Args:
        remote: for SparkSession.builder.remote or SPARK_REMOTE.
        warehouse: tables lie in `<warehouse>/<catalog>/<schema>/<table>`.
    """

    remote: str
    warehouse: Path

    def session(self) -> Any:
        """A Spark session of its own; the caller stops it."""
        from pyspark.sql import SparkSession

        return (
            SparkSession.builder.remote(self.remote)
            .config("spark.sql.sources.default", "delta")
            .config("spark.sql.session.timeZone", "UTC")
            .create()
        )

    def create_schema(self, spark: Any, catalog: str, schema: str) -> None:
        """Create a schema whose tables lie in the warehouse, in this session."""
        location = self.warehouse / catalog / schema
        spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{catalog}`.`{schema}` LOCATION '{location}'").collect()

    def register(self, spark: Any, table: TableName) -> None:
        """Make a table that another session created known to this session."""
        self.create_schema(spark, table.catalog, table.schema)
        location = self.warehouse / table.catalog / table.schema / table.table
        spark.sql(f"CREATE TABLE IF NOT EXISTS {table.quoted} USING delta LOCATION '{location}'").collect()

    def version(self, table: TableName) -> int:
        """The Delta version, from the log: plain Sail has no DESCRIBE HISTORY."""
        from deltalake import DeltaTable

        return DeltaTable(self.warehouse / table.catalog / table.schema / table.table).version()


@pytest.fixture(scope="session")
def sail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sail]:
    """The Sail server of this test run (0.7 s to start)."""
    pytest.importorskip("pysail")
    catalogs = ", ".join(
        f'{{name="{name}",type="memory",initial_database=["default"]}}'
        for name in ("main", "bronze", "silver", "gold")
    )
    settings = {
        "SAIL_CATALOG__LIST": f"[{catalogs}]",
        "SAIL_CATALOG__DEFAULT_CATALOG": "main",
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": "604800",
        "RUST_LOG": "error",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
    _, port = server.listening_address
    try:
        yield Sail(f"sc://127.0.0.1:{port}", tmp_path_factory.mktemp("warehouse"))
    finally:
        server.stop()


@pytest.fixture(scope="session")
def spark(sail: Sail) -> Iterator[Any]:
    """One Spark session that all tests share; nobody may stop it."""
    session = sail.session()
    yield session
    session.stop()


@pytest.fixture
def schema(sail: Sail, spark: Any) -> tuple[str, str]:
    """(catalog, schema) of this test alone, empty."""
    name = f"t{os.getpid()}_{next(_NUMBERS)}_{uuid.uuid4().hex[:6]}"
    sail.create_schema(spark, "main", name)
    return ("main", name)


@pytest.fixture
def control_name(schema: tuple[str, str]) -> TableName:
    """Name of a control table in this test's own schema; the table is not there yet."""
    return TableName(*schema, "etl_control")


@pytest.fixture
def tables(spark: Any) -> Any:
    """`ports.Tables` over the shared session, its statement count at zero."""
    from lakeflow_job_meta.adapters.spark_tables import SparkTables

    return SparkTables(spark)


@pytest.fixture(scope="session")
def warm_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of `lakeflow-job-meta` and `warm-python`, which start without a second of imports (`tests.warm`)."""
    with warm(tmp_path_factory.mktemp("warm")) as folder:
        yield folder


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Repeats of conflicting commits follow one another at once."""
    with without_waiting():
        yield
