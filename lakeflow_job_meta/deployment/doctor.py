"""The diagnosis: every piece that a deployment rests on is probed, in the order in which they rest on one another.

Reads only. A check whose piece rests on one that failed is not made: its `ok` is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lakeflow_job_meta import __version__
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.deployment.command import deploy_command
from lakeflow_job_meta.deployment.deploy import PACKAGE, companions
from lakeflow_job_meta.deployment.doctor_dxr import reach
from lakeflow_job_meta.deployment.doctor_grants import missing_grants
from lakeflow_job_meta.deployment.monitor_jobs import MODULES, MONITOR, deployment_table
from lakeflow_job_meta.deployment.request import volume_of
from lakeflow_job_meta.deployment.wheel import is_intact, packages_volume
from lakeflow_job_meta.errors import (
    DxrUnauthorized,
    LakeflowJobMetaError,
    PermissionDenied,
    TableMismatch,
    UsageError,
    VolumeError,
)
from lakeflow_job_meta.metadata.rows import SETTINGS_MODULE
from lakeflow_job_meta.ports import Caller, RemoteJob, Securable, SecurableKind
from lakeflow_job_meta.runtime import Runtime

JsonObject = dict[str, Any]

_VERSION = re.compile(r"lakeflow[-_.]job[-_.]meta(?:==|-)([^-\s;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Check:
    """What came of one probe.

    Args:
        ok: None: not made, because what it rests on failed.
        detail: what was found.
        fix: what to do; empty when it is fine.
    """

    name: str
    ok: bool | None
    detail: str
    fix: str = ""

    def as_json(self) -> JsonObject:
        return {"name": self.name, "ok": self.ok, "detail": self.detail, "fix": self.fix}


class _Broken(Exception):
    """A probe found its piece broken."""

    def __init__(self, detail: str, fix: str) -> None:
        self.fix = fix
        super().__init__(detail)


class Doctor:
    """Probes one control table's surroundings.

    Args:
        runtime: of the control table.
        volume_path: the watched folder; empty: the one of the deployed monitor, if any.
        warehouse_id: the SQL warehouse that was named, if any.
        cluster_id: a cluster to look at; empty: the one of the deployed monitor, if any.
        reach: flags that led to this workspace, for the commands that it tells people to run.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        volume_path: str = "",
        warehouse_id: str = "",
        cluster_id: str = "",
        reach: Sequence[str] = (),
    ) -> None:
        self.runtime = runtime
        self._table = runtime.control_table
        self._volume_path = volume_path
        self._warehouse_id = warehouse_id
        self._cluster_id = cluster_id
        self._reach = tuple(reach)
        self._failed: set[str] = set()

    def checks(self) -> Iterator[Check]:
        """Every check, as it is made."""
        for name, rests_on, probe, fix in (
            ("host", (), self._host, "set DATABRICKS_HOST to https://..., or name a profile with --profile"),
            ("auth", ("host",), self._auth, self._log_in),
            ("identity", ("auth",), self._identity, "log in as an active user or service principal"),
            (
                "warehouse",
                ("auth",),
                self._warehouse,
                "give --warehouse-id ID; databricks warehouses list shows them",
            ),
            (
                "sql",
                ("warehouse",),
                self._sql,
                "give --warehouse-id ID, or run where there is a Spark session",
            ),
            ("catalog", ("auth",), self._catalog, self._see_catalog),
            ("schema", ("catalog",), self._schema, self._deploy),
            ("volume", ("schema",), self._volume, self._deploy),
            ("control_table", ("schema", "sql"), self._control_table, self._deploy),
            (
                "permissions",
                ("identity", "schema"),
                self._permissions,
                "ask the owner for the grants named here",
            ),
            ("package", ("control_table",), self._package, self._deploy),
            ("monitor", ("control_table",), self._monitor, self._deploy),
            ("compute", ("auth",), self._compute, lambda: self._deploy(serverless=True)),
            (
                "dxr",
                (),
                self._dxr,
                "set DXR_BASE_URL to where Data X-Ray answers, and open the way through firewalls",
            ),
        ):
            yield self._check(name, rests_on, probe, fix)

    def _check(
        self, name: str, rests_on: tuple[str, ...], probe: Callable[[], str], fix: str | Callable[[], str]
    ) -> Check:
        broken = [one for one in rests_on if one in self._failed]
        if broken:
            self._failed.add(name)
            return Check(name, None, f"not checked, since {broken[0]} failed")
        try:
            return Check(name, True, probe())
        except _Broken as error:
            found, fix = str(error), error.fix or fix
        except DxrUnauthorized as error:
            found = str(error)
            fix = "databricks secrets put-secret SCOPE KEY with the newest token, or DXR_API_KEY where it is set"
        except LakeflowJobMetaError as error:
            found = str(error)
        self._failed.add(name)
        return Check(name, False, found, fix if isinstance(fix, str) else fix())

    # ------------------------------------------------------------ what to do

    def _log_in(self) -> str:
        host = self.runtime.environment.get("DATABRICKS_HOST", "")
        return f"set DATABRICKS_TOKEN, or: databricks auth login{f' --host {host}' if host else ''}"

    def _see_catalog(self) -> str:
        who = f" TO `{self._caller.name}`" if self._caller is not None and self._caller.name else ""
        return f"CREATE CATALOG {self._table.catalog}, or GRANT USE CATALOG ON CATALOG {self._table.catalog}{who}"

    def _deploy(self, *, serverless: bool = False) -> str:
        """The command that makes what is missing, as it was deployed, if it was."""
        applied = {name: (one.applied or {}).get("settings") or {} for name, one in self._records.items()}
        return deploy_command(
            self._table, applied, reach=self._reach, volume_path=self._volume_path, serverless=serverless
        )

    # ------------------------------------------------------------ workspace

    def _host(self) -> str:
        """The host is named and answers; what it says to the credentials is the next check's."""
        try:
            host = str(self.runtime.client.config.host or "")
        except UsageError as error:
            if self.runtime.environment.get("DATABRICKS_HOST"):
                self._login = str(error)
                return f"{self.runtime.environment['DATABRICKS_HOST']} is named"
            raise
        if not host:
            raise _Broken("no workspace is named", "")
        try:
            self._caller = self.runtime.platform.caller()
        except PermissionDenied as error:
            self._denied = error
        return f"{host} answers"

    _login = ""
    _caller: Caller | None = None
    _denied: PermissionDenied | None = None

    def _auth(self) -> str:
        if self._login:
            raise _Broken(self._login, "")
        if self._denied is not None and self._denied.status != 403:
            raise self._denied
        return f"by {self.runtime.client.config.auth_type}"

    def _identity(self) -> str:
        if self._denied is not None:
            raise self._denied
        caller = self._caller
        if caller is None or not caller.name:
            raise _Broken("the workspace does not say who calls", "")
        return f"{caller.name}, workspace {self.runtime.workspace.workspace_id}"

    def _warehouse(self) -> str:
        rows: str = self._warehouse_id or str(self.runtime.settings()["default_warehouse_id"] or "")
        if not rows:
            return "none is named; Spark is used" if self._has_spark else "none is named"
        found = self.runtime.platform.warehouse(rows)
        if found is None:
            raise _Broken(f"there is no SQL warehouse {rows}, or you may not use it", "")
        state = str(found.get("state") or "UNKNOWN")
        if state in ("DELETED", "DELETING"):
            raise _Broken(f"the SQL warehouse {rows} is {state}", "")
        return f"{found.get('name') or rows} is {state}"

    @property
    def _has_spark(self) -> bool:
        return (
            "SPARK_REMOTE" in self.runtime.environment
            or "DATABRICKS_RUNTIME_VERSION" in self.runtime.environment
        )

    def _sql(self) -> str:
        [row] = self.runtime.tables.query("SELECT 1 AS one")
        if row.get("one") != 1:
            raise _Broken(f"SELECT 1 gave {row}", "")
        return "SELECT 1 gave 1"

    # ------------------------------------------------------------ Unity Catalog

    def _found(self, kind: SecurableKind, name: str) -> Securable:
        found = self.runtime.platform.find(kind, name)
        if found is None:
            raise _Broken(f"{name} does not exist, or may not be seen", "")
        return found

    def _catalog(self) -> str:
        return f"{self._found('catalog', self._table.catalog).full_name} exists"

    def _schema(self) -> str:
        return f"{self._found('schema', f'{self._table.catalog}.{self._table.schema}').full_name} exists"

    @property
    def _watched(self) -> str:
        return self._volume_path or self._parameters.get("volume_path", "")

    def _volume(self) -> str:
        path = self._watched
        if not path:
            return "no volume is watched (--volume-path names one)"
        self._found("volume", str(volume_of(path)))
        files = self.runtime.volumes.list(path)
        return f"{path} can be listed, {len(files)} files"

    def _control_table(self) -> str:
        control = ControlTable(self.runtime.tables, self._table)
        try:
            if not control.exists():
                raise _Broken(f"{self._table} does not exist, or may not be read", "")
        except TableMismatch as error:
            raise _Broken(str(error), "name another table, or give this one the eight columns") from error
        version = control.version()
        return f"{self._table} has its eight columns, version {version}"

    def _permissions(self) -> str:
        """Privileges of whoever the monitor runs as: the owner of an object, or of one above it, has them all."""
        assert self._caller is not None
        job = self._job
        run_as = (
            str((job.settings.get("run_as") or {}).get("service_principal_name") or job.run_as) if job else ""
        )
        who = self._caller if run_as in ("", self._caller.name) else Caller(run_as)
        table = self._table
        tables = [table, *(definition.name for definition in companions(table))]
        volumes = [packages_volume(table), *([volume_of(self._watched)] if self._watched else [])]
        missing = missing_grants(self.runtime.platform, who, tables, volumes)
        if missing:
            raise _Broken(f"{who.name} lacks privileges on {len(missing)} objects", "; ".join(missing))
        return f"{who.name} has what the monitor needs"

    # ------------------------------------------------------------ what was deployed

    def _recorded(self) -> dict[str, JobRecord]:
        """The monitor's jobs as recorded; empty when nothing was deployed."""
        runtime, owner = self.runtime, deployment_table(self._table)
        records = JobRecords(runtime.tables, owner, runtime.workspace.workspace_id).all(MODULES)
        return {name: record for name, record in records.items() if record.job_id is not None}

    @cached_property
    def _records(self) -> dict[str, JobRecord]:
        """As `_recorded`; empty where nobody can tell: why not, the check `monitor` says."""
        if self._failed & {"auth", "sql", "schema"}:
            return {}
        try:
            return self._recorded()
        except LakeflowJobMetaError:
            return {}

    @cached_property
    def _job(self) -> RemoteJob | None:
        """The deployed monitor's job; None where nobody can tell."""
        record = self._records.get(MONITOR)
        if record is None or record.job_id is None:
            return None
        try:
            return self.runtime.workspace.jobs.get(record.job_id)
        except LakeflowJobMetaError:
            return None

    @property
    def _task(self) -> JsonObject:
        tasks = self._job.settings.get("tasks") or [] if self._job is not None else []
        return tasks[0] if tasks else {}

    @property
    def _parameters(self) -> Mapping[str, str]:
        found: Mapping[str, str] = (self._task.get("python_wheel_task") or {}).get("named_parameters") or {}
        return found

    def _package(self) -> str:
        rows = ControlTable(self.runtime.tables, self._table).rows([SETTINGS_MODULE])
        package = str(self.runtime.settings_from(rows)[PACKAGE] or "")
        if not package:
            return f"no package is set: tasks install lakeflow_job_meta {__version__} from the package index"
        if package.startswith("/Volumes/"):
            try:
                data = self.runtime.volumes.read(package)
            except VolumeError as error:
                raise _Broken(f"the wheel {package} cannot be read: {error}", "") from error
            if volume_of(package) == packages_volume(self._table) and not is_intact(package, data):
                raise _Broken(f"the wheel {package} was swapped: its content is not what was deployed", "")
        version = _VERSION.search(package.rpartition("/")[2])
        if version is not None and version.group(1) != __version__:
            raise _Broken(
                f"{package} is deployed, and version {__version__} is running here",
                f"install version {version.group(1)} here, or deploy this one: {self._deploy()}",
            )
        return f"{package}, version {__version__}"

    def _monitor(self) -> str:
        """The monitor's jobs are there, not paused, and did not fail last."""
        recorded = self._recorded()
        if not recorded:
            return "not deployed"
        said = []
        for name, record in sorted(recorded.items()):
            assert record.job_id is not None
            job = self.runtime.workspace.jobs.get(record.job_id)
            if job is None:
                raise _Broken(f"job {record.job_id} of {name} is gone", "")
            paused = [
                kind
                for kind in ("continuous", "schedule", "trigger")
                if (job.settings.get(kind) or {}).get("pause_status") == "PAUSED"
            ]
            if paused:
                raise _Broken(
                    f"job {job.job_id} of {name} is paused", f"resume its {paused[0]} in the workspace"
                )
            runs = self.runtime.workspace.jobs.runs(job.job_id, limit=1)
            state = (runs[0].result_state or runs[0].life_cycle_state) if runs else "not run yet"
            if state in ("FAILED", "TIMEDOUT", "INTERNAL_ERROR"):
                raise _Broken(
                    f"run {runs[0].run_id} of {name} ended {state}: {runs[0].message or 'see its output'}",
                    f"read the output of run {runs[0].run_id}, then {self._deploy()}",
                )
            said.append(f"{name}: job {job.job_id}, {state}")
        return "; ".join(said)

    def _compute(self) -> str:
        cluster_id = self._cluster_id or str(self._task.get("existing_cluster_id") or "")
        if cluster_id:
            found = self.runtime.platform.cluster(cluster_id)
            if found is None:
                raise _Broken(f"there is no cluster {cluster_id}, or you may not use it", "")
            return f"cluster {cluster_id} is {found.get('state') or 'there'}"
        if self._task.get("job_cluster_key"):
            return "a job cluster, made for every run"
        return "serverless"

    def _dxr(self) -> str:
        definitions = []
        if not self._failed & {"auth", "sql", "schema"}:
            runtime = self.runtime
            records = JobRecords(runtime.tables, self._table, runtime.workspace.workspace_id).all()
            definitions = [record.definition for record in records.values() if record.definition]
        return reach(definitions, self.runtime.environment, lambda: self.runtime.secrets)
