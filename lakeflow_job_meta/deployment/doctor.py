"""The diagnosis: every piece that a deployment rests on is probed, in the order in which they rest on one another.

Reads only. A check whose piece rests on one that failed is not made: its `ok` is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lakeflow_job_meta import __version__
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.deployment.deploy import PACKAGE
from lakeflow_job_meta.deployment.doctor_dxr import reach
from lakeflow_job_meta.deployment.monitor_jobs import MODULES, MONITOR, deployment_table
from lakeflow_job_meta.deployment.request import volume_of
from lakeflow_job_meta.errors import (
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

#: What the monitor needs, by kind of object (Unity Catalog's privileges).
NEEDED: Mapping[SecurableKind, tuple[str, ...]] = {
    "catalog": ("USE_CATALOG",),
    "schema": ("USE_SCHEMA", "CREATE_TABLE"),
    "table": ("SELECT", "MODIFY"),
    "volume": ("READ_VOLUME",),
}
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
    """

    def __init__(
        self, runtime: Runtime, *, volume_path: str = "", warehouse_id: str = "", cluster_id: str = ""
    ) -> None:
        self.runtime = runtime
        self._table = runtime.control_table
        self._volume_path = volume_path
        self._warehouse_id = warehouse_id
        self._cluster_id = cluster_id
        self._failed: set[str] = set()

    def checks(self) -> Iterator[Check]:
        """Every check, as it is made."""
        for name, rests_on, probe, fix in (
            ("host", (), self._host, "set DATABRICKS_HOST to https://..., or name a profile with --profile"),
            ("auth", ("host",), self._auth, "set DATABRICKS_TOKEN, or log in: databricks auth login"),
            ("identity", ("auth",), self._identity, "log in as an active user or service principal"),
            (
                "warehouse",
                ("auth",),
                self._warehouse,
                "name a warehouse that you may use with --warehouse-id",
            ),
            (
                "sql",
                ("warehouse",),
                self._sql,
                "give --warehouse-id ID, or run where there is a Spark session",
            ),
            (
                "catalog",
                ("auth",),
                self._catalog,
                f"have it made, or ask for: GRANT USE CATALOG ON CATALOG {self._table.catalog}",
            ),
            ("schema", ("catalog",), self._schema, "lakeflow-job-meta deploy makes it"),
            ("volume", ("schema",), self._volume, "lakeflow-job-meta deploy --volume-path PATH makes it"),
            ("control_table", ("schema", "sql"), self._control_table, "lakeflow-job-meta deploy makes it"),
            (
                "permissions",
                ("identity", "schema"),
                self._permissions,
                "ask the owner for the grants named here",
            ),
            ("package", ("control_table",), self._package, "deploy again: lakeflow-job-meta deploy"),
            ("monitor", ("control_table",), self._monitor, "lakeflow-job-meta deploy makes its job"),
            (
                "compute",
                ("auth",),
                self._compute,
                "deploy again with --serverless, --job-cluster or --cluster-id",
            ),
            ("dxr", (), self._dxr, "set DXR_BASE_URL and DXR_API_KEY, and open the way through firewalls"),
        ):
            yield self._check(name, rests_on, probe, fix)

    def _check(self, name: str, rests_on: tuple[str, ...], probe: Callable[[], str], fix: str) -> Check:
        broken = [one for one in rests_on if one in self._failed]
        if broken:
            self._failed.add(name)
            return Check(name, None, f"not checked, since {broken[0]} failed")
        try:
            return Check(name, True, probe())
        except _Broken as error:
            found, fix = str(error), error.fix or fix
        except LakeflowJobMetaError as error:
            found = str(error)
        self._failed.add(name)
        return Check(name, False, found, fix)

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
        objects: list[tuple[SecurableKind, str]] = [
            ("catalog", table.catalog),
            ("schema", f"{table.catalog}.{table.schema}"),
            ("table", str(table)),
        ]
        if self._watched:
            objects.append(("volume", str(volume_of(self._watched))))
        owned: set[str] = set()
        missing: list[str] = []
        for kind, name in objects:
            found = self.runtime.platform.find(kind, name)
            if found is None:
                continue  # another check's to tell
            inherits = any(name.startswith(f"{one}.") for one in owned)
            if inherits or found.owner == who.name or found.owner in who.groups:
                owned.add(name)
                continue
            held = self.runtime.platform.privileges(kind, name, who.name)
            if not held & {"ALL_PRIVILEGES", "MANAGE"}:
                missing += [
                    f"GRANT {one.replace('_', ' ')} ON {kind.upper()} {name} TO `{who.name}`"
                    for one in NEEDED[kind]
                    if one not in held
                ]
        if missing:
            raise _Broken(f"{who.name} lacks {len(missing)} privileges", "; ".join(missing))
        return f"{who.name} has what the monitor needs"

    # ------------------------------------------------------------ what was deployed

    def _recorded(self) -> dict[str, JobRecord]:
        """The monitor's jobs as recorded; empty when nothing was deployed."""
        runtime, owner = self.runtime, deployment_table(self._table)
        records = JobRecords(runtime.tables, owner, runtime.workspace.workspace_id).all(MODULES)
        return {name: record for name, record in records.items() if record.job_id is not None}

    @cached_property
    def _job(self) -> RemoteJob | None:
        """The deployed monitor's job; None where nobody can tell: why not, the check `monitor` says."""
        if self._failed & {"auth", "sql", "schema"}:
            return None
        try:
            record = self._recorded().get(MONITOR)
            if record is None or record.job_id is None:
                return None
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
                self.runtime.volumes.stat(package)
            except VolumeError as error:
                raise _Broken(f"the wheel {package} is not there: {error}", "") from error
        version = _VERSION.search(package.rpartition("/")[2])
        if version is not None and version.group(1) != __version__:
            raise _Broken(f"{package} is deployed, and version {__version__} is running here", "")
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
                    f"read the output of run {runs[0].run_id}, and status, then deploy again",
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
