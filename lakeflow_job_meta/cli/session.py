"""What a command works with: the embedded workspace if asked for, then the services, made when needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.cli.options import Given
from lakeflow_job_meta.errors import LocalError

if TYPE_CHECKING:
    from lakeflow_job_meta.metadata_manager import MetadataManager
    from lakeflow_job_meta.orchestrator import JobOrchestrator
    from lakeflow_job_meta.runtime import Runtime


#: Seconds that a command repeats a call to a workspace that does not answer, while somebody looks on.
PATIENCE = 20


class Session:
    """The services for one call of a command.

    Args:
        given: the shared options.
        opened: what is closed with the session.
        create: make the schema and the control table when they are missing (`--local` only; a table
            in a real workspace is made by `load` and `apply` alone).
        patience: seconds that a call is repeated for; None: as long as a monitor does.
    """

    def __init__(self, given: Given, opened: ExitStack, *, create: bool, patience: float | None) -> None:
        self.given = given
        self.opened = opened
        self._create = create
        self._patience = patience

    @cached_property
    def runtime(self) -> Runtime:
        """Tables, volumes and workspace, connected when they are first used."""
        from lakeflow_job_meta import runtime, settings

        given = self.given
        table = given.table
        settings.resolve(given.flags, os.environ)  # a wrong one is told before anything is started
        if given.local is None:
            connected = runtime.connect(
                table,
                warehouse_id=given.warehouse_id,
                flags=given.flags,
                profile=given.profile,
                patience=self._patience,
            )
            self.opened.callback(connected.close)
            return connected
        enter_local(given.local)
        spark = None if given.warehouse_id else self.opened.enter_context(local_spark())
        return runtime.connect(table, spark=spark, warehouse_id=given.warehouse_id, flags=given.flags)

    @cached_property
    def manager(self) -> MetadataManager:
        connected = self.runtime
        from lakeflow_job_meta.metadata_manager import MetadataManager

        manager = MetadataManager(connected.control_table, runtime=connected)
        if self._create and self.given.local is not None:
            manager.ensure_exists()
        return manager

    @cached_property
    def orchestrator(self) -> JobOrchestrator:
        connected = self.manager.runtime if self._create and self.given.local else self.runtime
        from lakeflow_job_meta.orchestrator import JobOrchestrator

        return JobOrchestrator(connected.control_table, runtime=connected)


@contextmanager
def session(
    given: Given, *, create: bool = False, patient: bool = False, patience: float = PATIENCE
) -> Iterator[Session]:
    """A Session; what it opened is closed at the end, its Spark session included."""
    with ExitStack() as opened:
        yield Session(given, opened, create=create, patience=None if patient else patience)


def enter_local(folder: Path) -> None:
    """Make the embedded workspace of `folder` this process's Databricks, and start it if need be.

    Raises:
        LocalError: it could not start.
    """
    from lakeflow_job_meta.local import process

    up = process.ensure_up(folder)
    # A profile or a second way to authenticate would win over host and token, or make the SDK refuse.
    for name in [
        name for name in os.environ if name.startswith(("DATABRICKS_", "ARM_", "GOOGLE_CREDENTIALS"))
    ]:
        del os.environ[name]
    variables = up.environment()
    if os.environ.get("DXR_BASE_URL"):
        # A Data X-Ray that was chosen stays chosen.
        variables = {name: value for name, value in variables.items() if not name.startswith("DXR_")}
    os.environ.update(variables)


@contextmanager
def local_spark() -> Iterator[Any]:
    """A Spark session of its own on the embedded workspace that was entered.

    Raises:
        LocalError: pyspark is not installed.
    """
    from lakeflow_job_meta.runtime import ready_for_spark

    ready_for_spark()
    try:
        from pyspark.sql import SparkSession
    except ImportError as e:
        raise LocalError(
            "the embedded workspace needs pyspark: pip install 'lakeflow-job-meta[local]'"
        ) from e
    spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).create()
    try:
        yield spark
    finally:
        spark.stop()


@contextmanager
def tables_session(local: Path | None, warehouse_id: str | None, profile: str | None) -> Iterator[Runtime]:
    """A runtime for commands that work on tables and volumes, and on no control table.

    What it opened is closed at the end, its Spark session included. On an embedded workspace its volumes are
    reached as folders.
    """
    from lakeflow_job_meta.runtime import VOLUMES_ROOT, connect

    formal = "main.default.etl_control"  # a runtime has a name; no such table is asked for
    with ExitStack() as opened:
        if local is None:
            connected = connect(formal, warehouse_id=warehouse_id, profile=profile)
            opened.callback(connected.close)
            yield connected
            return
        enter_local(local)
        os.environ.setdefault(VOLUMES_ROOT, str(local.resolve() / "Volumes"))
        spark = None if warehouse_id else opened.enter_context(local_spark())
        yield connect(formal, spark=spark, warehouse_id=warehouse_id)
