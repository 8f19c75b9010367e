"""One control table, a volume of metadata files, and writers on them, on an embedded workspace."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lakeflow_job_meta.adapters.databricks import workspace_client
from lakeflow_job_meta.adapters.spark_tables import SparkTables
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.jobs.queries import QueryOwner
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.metadata_manager import MetadataManager
from lakeflow_job_meta.monitor import MetadataMonitor
from lakeflow_job_meta.names import MODULE_TAG, TableName, module_tag, read_module_tag
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.reconcile.actions import ApplyResult
from lakeflow_job_meta.runtime import VOLUMES_ROOT, Runtime
from tests.adapters.databricks_fixtures import FakeClock
from tests.under_fire.inventory import Inventory, JsonObject, query_ids


def notebook(source_id: str, module: str, *, active: bool = True, **config: Any) -> Row:
    transformation = {"task_type": "notebook", "notebook_path": f"/Workspace/{source_id}", **config}
    return Row(source_id, module, "notebook", 1, "{}", "{}", json.dumps(transformation), active)


def sql(source_id: str, module: str, text: str, *, active: bool = True) -> Row:
    transformation = {"task_type": "sql_query", "sql_task": {"warehouse_id": "w", "sql_query": text}}
    return Row(source_id, module, "sql", 2, None, None, json.dumps(transformation), active)


def job_row(module: str, **settings: Any) -> Row:
    return Row("__job__", module, "job", 0, None, None, json.dumps(settings), True)


@dataclass
class World:
    """A control table of one test, and the workspace that it is applied to.

    Args:
        connection: the workspace; its faults are the test's own.
        session: a Spark session that knows the table.
    """

    connection: Connection
    session: Any
    table: TableName
    #: Seconds that the SDK waits for an answer; its waits between attempts cost none.
    patience: float = 0.5
    clock: FakeClock = field(default_factory=FakeClock)

    def runtime(self, session: Any = None, **flags: Any) -> Runtime:
        """A writer's own client, and session if given."""
        client = workspace_client(
            host=self.connection.host,
            token=self.connection.token,
            auth_type="pat",
            http_timeout_seconds=self.patience,
            retry_timeout_seconds=20,
            clock=self.clock,
        )
        return Runtime(
            self.table,
            spark=session or self.session,
            workspace_client=client,
            flags=flags,
            environment={VOLUMES_ROOT: str(self.volumes)},
        )

    def orchestrator(self, session: Any = None, **flags: Any) -> JobOrchestrator:
        return JobOrchestrator(self.table, runtime=self.runtime(session, **flags), sleep=lambda seconds: None)

    def manager(self) -> MetadataManager:
        return MetadataManager(self.table, runtime=self.runtime(), sleep=lambda seconds: None)

    def monitor(self, session: Any = None, **flags: Any) -> MetadataMonitor:
        runtime = self.runtime(session, **flags)
        return MetadataMonitor(
            self.table,
            60,
            self.volume,
            runtime=runtime,
            orchestrator=JobOrchestrator(self.table, runtime=runtime, sleep=lambda seconds: None),
            sleep=lambda seconds: None,
            jitter=lambda: 0.0,
        )

    # ------------------------------------------------------------ metadata

    @property
    def volumes(self) -> Path:
        return Path(self.connection.directory) / "Volumes"

    @property
    def volume(self) -> str:
        return f"/Volumes/main/{self.table.schema}/metadata"

    @property
    def folder(self) -> Path:
        path = self.volumes / "main" / self.table.schema / "metadata"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, *rows: Row) -> None:
        """Type rows into the control table."""
        table = ControlTable(SparkTables(self.session), self.table)
        table.ensure()
        table.write(rows)

    def delete(self, where: str = "true") -> None:
        self.session.sql(f"DELETE FROM {self.table.quoted} WHERE {where}").collect()

    # ------------------------------------------------------------ the workspace

    @property
    def there(self) -> Inventory:
        return Inventory(self.connection, self.table)

    def call(self, method: str, path: str, body: Any = None) -> JsonObject:
        return self.connection.ask(method, path, body, seconds=30)

    @contextmanager
    def faults(self, *rules: JsonObject) -> Iterator[None]:
        """The workspace as these rules have it."""
        self.call("POST", "/local/faults", {"rules": list(rules)})
        try:
            yield
        finally:
            self.call("DELETE", "/local/faults")

    def struck(self) -> int:
        """How often the rules in force struck."""
        return sum(rule["applied"] for rule in self.call("GET", "/local/faults")["rules"])

    def live(self) -> dict[str, int]:
        """Live jobs by module tag; fails when there are two of one."""
        found = {}
        for tag, held in self.there.jobs().items():
            assert len(held) == 1, f"{len(held)} jobs are {tag}"
            module = read_module_tag(held[0]["settings"]["tags"][MODULE_TAG])
            if module is not None and not module.retired:
                found[tag] = int(held[0]["job_id"])
        return found

    def job(self, module: str) -> JsonObject:
        [job] = self.there.jobs()[module_tag(module)]
        return job

    def check_sound(self, *modules: str, strays: int = 0) -> None:
        """Exactly these modules are live, each with one job; each saved query is one and is used."""
        assert set(self.live()) == {module_tag(module) for module in modules}
        used = {query for jobs in self.there.jobs().values() for job in jobs for query in query_ids(job)}
        queries = self.there.queries()
        doubled: dict[QueryOwner, int] = {owner: len(found) for owner, found in queries.items()}
        assert set(doubled.values()) <= {1}, doubled
        assert {found[0]["id"] for found in queries.values()} == used


def pass_over(orchestrator: JobOrchestrator, **how: Any) -> ApplyResult:
    """One whole pass."""
    return orchestrator.apply(orchestrator.plan(**how))


def kinds(result: ApplyResult) -> Counter[str]:
    return Counter(one.action.kind for one in result.results)


def errors(result: ApplyResult) -> dict[str, str]:
    return {one.action.module: one.error for one in result.results if one.error}
