"""The dataset manager: uploads, queries and statuses for users, and the start of a sync's job.

It puts the service of `datasets/` together with the orchestrator: asking for a sync is the service's, making
the job right and starting it the orchestrator's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.datasets import removal
from lakeflow_job_meta.datasets.answers import Check, DatasetStatus, Ingested
from lakeflow_job_meta.datasets.datasets import Asked, DatasetService
from lakeflow_job_meta.datasets.diagnosis import diagnose
from lakeflow_job_meta.datasets.model import Dataset, Status
from lakeflow_job_meta.datasets.query import QueryResult
from lakeflow_job_meta.datasets.removal import Removed
from lakeflow_job_meta.datasets.settings import resolve
from lakeflow_job_meta.datasets.tasks import task_keys
from lakeflow_job_meta.errors import DatasetError, LakeflowJobMetaError
from lakeflow_job_meta.names import TableName, digest
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.ports import Run
from lakeflow_job_meta.runtime import Runtime, connect

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


@dataclass(frozen=True, slots=True)
class Started:
    """A sync that was started: its run, or the one that was started for it before and still waits."""

    dataset_id: str
    status: Status
    job_id: int
    run_id: int

    def as_json(self) -> dict[str, Any]:
        return {
            "message": "Sync triggered successfully",
            "status": self.status.value,
            "dataset_id": self.dataset_id,
            "job_id": self.job_id,
            "run_id": self.run_id,
        }


class DatasetManager:
    """The datasets of one control table, for users.

    Args:
        control_table: `catalog.schema.table`.
        workspace_client: databricks-sdk client; without it the SDK's unified authentication.
        spark: Spark session; without it the active one, or a warehouse.
        warehouse_id: SQL warehouse to use instead of Spark.
        settings: of datasets, as `datasets.settings.SETTINGS` names them; over the environment's.
        runtime: everything at once, instead of the arguments above.
        sleep: waits, in seconds.

    Raises:
        UsageError: the table's name or a setting is wrong.
    """

    def __init__(
        self,
        control_table: str | TableName,
        workspace_client: WorkspaceClient | None = None,
        *,
        spark: Any = None,
        warehouse_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        runtime: Runtime | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.runtime = runtime or connect(
            control_table, spark=spark, workspace_client=workspace_client, warehouse_id=warehouse_id
        )
        self.control_table = self.runtime.control_table
        self.settings = resolve(settings, self.runtime.environment if environment is None else environment)
        self._sleep = sleep

    @cached_property
    def service(self) -> DatasetService:
        """The service, on the runtime's ports."""
        runtime = self.runtime
        return DatasetService(
            self.control_table,
            runtime.tables,
            runtime.volumes,
            self.settings,
            catalog=lambda: runtime.catalog,
            clock=runtime.clock,
        )

    @cached_property
    def orchestrator(self) -> JobOrchestrator:
        return JobOrchestrator(self.control_table, runtime=self.runtime, sleep=self._sleep)

    # ------------------------------------------------------------ uploads and syncs

    def ingest(
        self, source: str | Path | Sequence[Mapping[str, Any]], *, name: str, **options: Any
    ) -> Ingested:
        """Take a file or records, and ask for their sync where that is on; see `DatasetService.ingest`.

        The monitor's next pass makes the job and starts it; `sync` does so at once.
        """
        return self.service.ingest(source, name=name, **options)

    def sync(self, dataset_id: str, tenant: str | None = None) -> Started:
        """Ask for the sync of a dataset and start its run now, whether auto sync is on or not.

        Safe to repeat: a sync that waits or runs is not started a second time.

        Raises:
            DatasetNotFound: there is no such dataset.
            DatasetError: its sync is switched off; nothing was written.
            MetadataError, WorkspaceError, TablesError: the job could not be made or started, which is the
                dataset's status now.
        """
        asked = self.service.ask(self.service.find(dataset_id, tenant))
        try:
            job_id, run_id = self._start(asked)
        except LakeflowJobMetaError as error:
            self.service.record_failure(asked, error)
            raise
        return Started(dataset_id, self.service.status(dataset_id).status, job_id, run_id)

    def _start(self, asked: Asked) -> tuple[int, int]:
        """(job, run) of the sync; the same run when it is asked for again while it waits."""
        module = str(asked.row.module_name)
        plan = self.orchestrator.plan(modules=[module])
        [result] = self.orchestrator.apply(plan).results
        if result.action.problems:
            raise DatasetError(
                f"module {module} is refused: {'; '.join(map(str, result.action.problems))}: mend the row of "
                f"{self.control_table}"
            )
        if result.error or result.job_id is None:
            raise DatasetError(
                f"module {module} has no job: {result.error or '; '.join(result.action.reasons)}"
            )
        jobs = self.runtime.workspace.jobs
        keys = task_keys(str(asked.row.source_id))
        if result.run_id is not None and keys[0] in {one.task_key for one in jobs.run(result.run_id).tasks}:
            return result.job_id, result.run_id  # the change started it
        token = digest([asked.dataset.dataset_id, asked.dataset.version, asked.round, module])
        return result.job_id, jobs.run_now(result.job_id, idempotency_token=token, only=keys)

    def follow(
        self,
        started: Started,
        on_change: Callable[[Run], None] | None = None,
        *,
        poll_seconds: float = 1.0,
        timeout_seconds: float | None = None,
    ) -> DatasetStatus:
        """Wait until the run of a sync has ended; returns the dataset's status then."""
        self.orchestrator.follow(
            started.run_id, on_change, poll_seconds=poll_seconds, timeout_seconds=timeout_seconds
        )
        return self.status(started.dataset_id)

    # ------------------------------------------------------------ questions

    def status(self, dataset_id: str, tenant: str | None = None) -> DatasetStatus:
        """Where the sync of a dataset stands; `as_json()` has the status endpoint's keys. Raises DatasetNotFound."""
        return self.service.status(dataset_id, tenant)

    def list(self, tenant: str | None = None) -> Sequence[DatasetStatus]:
        """Every dataset, newest upload first, of one tenant or of all."""
        return self.service.all(tenant)

    def query(self, dataset_id: str, sql: str, **options: Any) -> QueryResult:
        """Run one SELECT on the landed file, as the view `dataset`; see `DatasetService.query`."""
        return self.service.query(dataset_id, sql, **options)

    def versions(self, dataset_id: str, tenant: str | None = None) -> Sequence[Dataset]:
        """The versions of a dataset, oldest first. Raises DatasetNotFound."""
        return self.service.versions(dataset_id, tenant)

    def preview(self, dataset_id: str, tenant: str | None = None) -> dict[str, Any]:
        """A dataset's columns with some of their values, figures about them, and its first rows."""
        return self.service.preview(dataset_id, tenant)

    def diagnose(self, dataset_id: str, tenant: str | None = None) -> Sequence[Check]:
        """Everything that the dataset's sync needs, looked at one by one; see `diagnosis.diagnose`."""
        return diagnose(self.service, dataset_id, lambda: self.runtime.workspace, tenant)

    def run_of(self, status: DatasetStatus) -> Run | None:
        """The run of the dataset's newest sync; None when there was none."""
        run_id = status.sync.run_id if status.sync is not None else ""
        return self.runtime.workspace.jobs.run(int(run_id)) if run_id.isdigit() else None

    # ------------------------------------------------------------ the end

    def delete(self, dataset_id: str, **options: Any) -> Removed:
        """Delete a dataset; its tables and files stay unless said otherwise; see `removal.delete`.

        The module's job is made right at once, so that nothing syncs the dataset any more.
        """
        row = self.service.row(self.service.find(dataset_id, options.get("tenant")))
        removed = removal.delete(self.service, dataset_id, **options)
        if row is not None:
            plan = self.orchestrator.plan(modules=[str(row.module_name)], force=True)
            self.orchestrator.apply(plan)
        return removed
