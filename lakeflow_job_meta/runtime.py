"""The composition root: from what was given to the adapters. Nobody else picks an adapter.

Nothing is opened before it is needed: an idle monitor tick never builds a workspace client, and
`import lakeflow_job_meta` imports neither the SDK nor pyspark.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.control.control_table import settings_row
from lakeflow_job_meta.errors import MetadataError, Place, Problem, TablesUnavailable, UsageError
from lakeflow_job_meta.metadata.rows import SETTINGS_MODULE, SETTINGS_ROW, Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Catalog, Platform, Secrets, Tables, Volumes, Workspace
from lakeflow_job_meta.settings import Settings, resolve

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

#: Set in the tasks of the embedded workspace: the folder that stands for `/Volumes`.
VOLUMES_ROOT = "LAKEFLOW_JOB_META_VOLUMES_ROOT"


def now() -> datetime:
    """The clock unless another is given: aware, in UTC."""
    return datetime.now(timezone.utc)


def ready_for_spark() -> None:
    """What pyspark needs before it is imported: without a main module's file (`python -c`, a shell, a worker of a
    test run) it gives up looking for its home.
    """
    os.environ.setdefault("SPARK_HOME", sys.prefix)


class Runtime:
    """Everything that one control table's services work with.

    Args:
        control_table: `catalog.schema.table`.
        spark: a Spark session to use instead of the active one.
        workspace_client: a databricks-sdk client to use instead of its unified authentication.
        warehouse_id: a SQL warehouse to use instead of Spark.
        flags: settings given by flag or argument, see `settings.SETTINGS`.
        environment: environment variables (default: the process's).
        profile: profile of the Databricks configuration file.
        patience: seconds that one call is repeated for while the workspace does not answer; None: the
            adapter's own, made for a monitor. A person waits less.

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
        environment: Mapping[str, str] | None = None,
        profile: str | None = None,
        patience: float | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.control_table = (
            control_table if isinstance(control_table, TableName) else TableName.parse(control_table)
        )
        self.clock = clock
        self.environment: Mapping[str, str] = os.environ if environment is None else environment
        self._spark = spark
        self._opened: Any = None
        self._client = workspace_client
        self._warehouse_id = warehouse_id
        self._profile = profile
        self._patience = patience
        self._flags = dict(flags or {})
        self.settings()  # wrong settings are reported before anything is done

    def settings(self, row: Mapping[str, Any] | None = None) -> Settings:
        """The settings in force, given the control table's settings row."""
        return resolve(self._flags, self.environment, row)

    def settings_from(self, rows: Iterable[Row]) -> Settings:
        """The settings in force, given the control table's rows.

        Raises:
            MetadataError: the settings row is wrong; last good is not known, so nothing is done.
        """
        row = settings_row(rows)
        if row is None or not row.transformation_config:
            return self.settings()
        try:
            given = json.loads(row.transformation_config)
            if not isinstance(given, dict):
                raise UsageError("it is no JSON object")
            return self.settings(given)
        except (ValueError, UsageError) as error:
            place = Place(str(self.control_table), key=f"{SETTINGS_MODULE}/{SETTINGS_ROW}")
            raise MetadataError([Problem(f"transformation_config: {error}", place)]) from error

    @cached_property
    def client(self) -> WorkspaceClient:
        """The databricks-sdk client: the given one, or the SDK's unified authentication.

        Raises:
            WorkspaceError: there are no credentials.
        """
        if self._client is not None:
            return self._client
        from lakeflow_job_meta.adapters.databricks import workspace_client

        given: dict[str, Any] = {"profile": self._profile, "retry_timeout_seconds": self._patience}
        if self.environment is not os.environ:
            given["host"] = self.environment.get("DATABRICKS_HOST")
            given["token"] = self.environment.get("DATABRICKS_TOKEN")
        return workspace_client(**given)

    @cached_property
    def tables(self) -> Tables:
        """SQL: the given session or warehouse, the active Spark session, else the environment's Spark.

        Raises:
            TablesUnavailable: there is neither Spark nor a warehouse.
        """
        if self._spark is None and self._warehouse_id:
            return self.warehouse(self._warehouse_id)
        from lakeflow_job_meta.adapters.spark_tables import SparkTables

        return SparkTables(self.spark)

    def warehouse(self, warehouse_id: str) -> Tables:
        """SQL on a SQL warehouse. Raises WorkspaceError when there are no credentials."""
        from lakeflow_job_meta.adapters.warehouse_tables import WarehouseTables

        return WarehouseTables(self.client, warehouse_id)

    @cached_property
    def spark(self) -> Any:
        """The Spark session. Raises TablesUnavailable when there is none to be had."""
        if self._spark is not None:
            return self._spark
        remote = self.environment.get("SPARK_REMOTE")
        on_databricks = "DATABRICKS_RUNTIME_VERSION" in self.environment
        if "pyspark" not in sys.modules and not remote and not on_databricks:
            raise self._no_engine()
        if remote:
            ready_for_spark()
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise TablesUnavailable(
                "SPARK_REMOTE is set, but pyspark is not installed: pip install 'lakeflow_job_meta[spark]', "
                "or use a SQL warehouse with --warehouse-id"
            ) from error
        session = SparkSession.getActiveSession()
        if session is None and remote:
            session = self._opened = SparkSession.builder.remote(remote).getOrCreate()
        elif session is None and on_databricks:
            session = SparkSession.builder.getOrCreate()
        if session is None:
            raise self._no_engine()
        return session

    def close(self) -> None:
        """End the Spark Connect session that was opened here, and its threads; one that was found active goes on."""
        if self._opened is not None:
            self._opened.stop()
            self._opened = None

    @staticmethod
    def _no_engine() -> TablesUnavailable:
        return TablesUnavailable(
            "there is no SQL engine: give --warehouse-id ID for a SQL warehouse, --local DIR for the "
            "embedded workspace, or run where a Spark session is active (SPARK_REMOTE is not set)"
        )

    @cached_property
    def volumes(self) -> Volumes:
        """Files: FUSE where `/Volumes` is mounted or stands for a folder, the Files API elsewhere."""
        from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes

        root = self.environment.get(VOLUMES_ROOT)
        if root or Path("/Volumes").is_dir():
            return FuseVolumes(Path(root) if root else None)
        from lakeflow_job_meta.adapters.files_volumes import FilesVolumes

        return FilesVolumes(lambda: self.client, local=FuseVolumes(None))

    @cached_property
    def secrets(self) -> Secrets:
        """The workspace's secrets. Raises WorkspaceError when there are no credentials."""
        from lakeflow_job_meta.adapters.databricks_secrets import DatabricksSecrets

        return DatabricksSecrets(self.client)

    @cached_property
    def catalog(self) -> Catalog:
        """Unity Catalog's volumes, tags and grants. Raises WorkspaceError when there are no credentials."""
        from lakeflow_job_meta.adapters.databricks import catalog

        return catalog(self.client)

    @cached_property
    def platform(self) -> Platform:
        """What a deployment makes outside of jobs. Raises WorkspaceError when there are no credentials."""
        from lakeflow_job_meta.adapters.databricks import platform

        return platform(self.client)

    def beside(self, control_table: TableName, flags: Mapping[str, Any] | None = None) -> Runtime:
        """The runtime of another control table over the same connections, with flags of its own.

        Raises:
            WorkspaceError, TablesUnavailable: as `workspace` and `tables`, which are connected now.
        """
        assert self.workspace is not None
        assert self.tables is not None
        other = copy.copy(self)
        other.control_table = control_table
        other._flags = dict(flags or {})  # noqa: SLF001 - a copy of ourselves
        return other

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace's ports.

        Raises:
            WorkspaceError: there are no credentials, or the host does not answer.
        """
        from lakeflow_job_meta.adapters.databricks import connect

        return connect(self.client)

    @property
    def has_workspace(self) -> bool:
        """Whether the workspace was needed so far."""
        return "workspace" in self.__dict__

    @property
    def sql_statements(self) -> int:
        """SQL statements sent so far."""
        return self.tables.statements if "tables" in self.__dict__ else 0

    @property
    def api_calls(self) -> int:
        """REST calls to the workspace so far."""
        return self.workspace.count.calls if self.has_workspace else 0


def connect(control_table: str | TableName, **given: Any) -> Runtime:
    """The runtime for one control table; arguments as `Runtime`."""
    return Runtime(control_table, **given)
