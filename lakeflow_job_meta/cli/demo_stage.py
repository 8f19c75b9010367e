"""The demo's stage: what its steps share, how they show things, and how they check what they tell."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.errors import LakeflowJobMetaError
from lakeflow_job_meta.reconcile.render import render_plan

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import Job
    from rich.console import Console

    from lakeflow_job_meta.dataset_manager import DatasetManager
    from lakeflow_job_meta.metadata_manager import MetadataManager
    from lakeflow_job_meta.monitor import MetadataMonitor
    from lakeflow_job_meta.orchestrator import JobOrchestrator
    from lakeflow_job_meta.ports import Run
    from lakeflow_job_meta.reconcile.actions import Plan

CONTROL_TABLE = "main.demo.etl_control"
METADATA = "/Volumes/main/demo/metadata"
WHEELS = "/Volumes/main/demo/wheels"
CODE = "/Workspace/Shared/demo"
FILES = Path(__file__).parent / "demo_files"
#: Longest that a run of one of the demo's jobs may take, in seconds.
RUN_LIMIT = 150.0


class DemoFailed(LakeflowJobMetaError):
    """The state is not as the story tells."""


def expect(holds: object, otherwise: str) -> None:
    """Raises DemoFailed with `otherwise` unless `holds`."""
    if not holds:
        raise DemoFailed(otherwise)


class Demo:
    """What the steps share: the folder, the screen, and the connections once they are made.

    Args:
        root: the demo's folder; the workspace's own folder is `root/workspace`.
        console: where the story is told.
    """

    client: WorkspaceClient
    spark: Any
    manager: MetadataManager
    orchestrator: JobOrchestrator
    monitor: MetadataMonitor
    #: Of `demo --datasets`.
    datasets: DatasetManager
    #: The job of the module `sales`, once it is there.
    job_id: int

    def __init__(self, root: Path, console: Console) -> None:
        #: What the demo's JSON tells beside the steps.
        self.facts: dict[str, Any] = {}
        #: Ids of the datasets by name.
        self.ids: dict[str, str] = {}
        self.root = root
        self.folder = root / "workspace"
        self.console = console

    def close(self) -> None:
        """End the Spark session, if one was opened."""
        if hasattr(self, "spark"):
            self.spark.stop()

    # ---- telling

    def say(self, text: str, style: str = "") -> None:
        """One line, as it is."""
        self.console.print(display.styled(text, style), soft_wrap=True)

    def show(self, text: str, language: str) -> None:
        """Code, as it is."""
        from rich.padding import Padding
        from rich.syntax import Syntax

        if self.console.is_terminal:
            code = Syntax(text.strip("\n"), language, theme="ansi_dark", background_color="default")
            self.console.print(Padding(code, (1, 0, 1, 4)))
        else:
            indented = "\n".join(f"    {line}" for line in text.strip("\n").splitlines())
            self.say(f"\n{indented}\n")

    def show_plan(self, plan: Plan) -> None:
        """A plan as `lakeflow-job-meta plan` prints it."""
        for line in render_plan(plan):
            self.say(f"    {line}", line.style)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        from rich import box
        from rich.padding import Padding
        from rich.table import Table

        if title:
            self.say(f"    {title}:")
        table = Table(*columns, box=box.SIMPLE_HEAD)
        for row in rows:
            cells = (display.styled("" if cell is None else str(cell), str(cell)) for cell in row)
            table.add_row(*cells)
        self.console.print(Padding(table, (0, 0, 0, 4), expand=False))

    def show_rows(self, title: str, sql: str) -> list[tuple[Any, ...]]:
        """What Spark answers to `sql`, as a table."""
        frame = self.spark.sql(sql)
        rows = [tuple(row) for row in frame.collect()]
        self.table(title, frame.columns, rows)
        return rows

    # ---- doing

    def drop(self, name: str, text: str) -> None:
        """Put a file into the metadata volume, through the Files API as any tool would."""
        self.client.files.upload(f"{METADATA}/{name}", io.BytesIO(text.encode()), overwrite=True)

    def tick(self) -> dict[str, Any]:
        """One pass of the monitor, told in one line."""
        seen = self.monitor.check_and_update()
        errors = seen["errors"]
        self.say(
            f"    one pass of the monitor: YAML changes {_count(seen['yaml_changes'])}, table changes "
            f"{_count(seen['table_changes'])}, jobs written {_count(seen['jobs_updated'])}, errors {len(errors)}"
        )
        for error in errors:
            self.say(f"        {error}", "refused")
        return seen

    def quiet_tick(self) -> dict[str, Any]:
        """A pass that has nothing to complain about."""
        seen = self.tick()
        expect(not seen["errors"], f"the monitor reports errors: {seen['errors']}")
        return seen

    def run_module(self, module: str) -> int:
        """One run of a module's job, told task by task; every one must succeed. Its id."""
        run_id = self.orchestrator.run(module)
        self.say(f"    run {run_id} of `{module}` started")
        told: set[str] = set()

        def tell(run: Run) -> None:
            for task in run.tasks:
                if task.result_state and task.task_key not in told:
                    told.add(task.task_key)
                    seconds = max(0, task.end_time - task.start_time) / 1000
                    self.say(
                        f"        {task.task_key:<16} {task.result_state} in {seconds:.1f} s",
                        task.result_state,
                    )

        run = self.orchestrator.follow(run_id, tell, poll_seconds=0.5, timeout_seconds=RUN_LIMIT)
        state = run.result_state or run.life_cycle_state
        bad = [
            f"{t.task_key}: {t.result_state} {t.message}" for t in run.tasks if t.result_state != "SUCCESS"
        ]
        expect(run.result_state == "SUCCESS", f"run {run_id} ended {state}: {run.message}; {'; '.join(bad)}")
        expect(not bad, "; ".join(bad))
        keys = task_keys(self.existing(module))
        expect(len(run.tasks) == len(keys), f"run {run_id} had {len(run.tasks)} tasks")
        return run_id

    def job(self, name: str) -> Job | None:
        """The job of that name with all its tasks, as the SDK reads it; None when there is none."""
        found = [job for job in self.client.jobs.list(name=name) if job.job_id is not None]
        expect(len(found) <= 1, f"there are {len(found)} jobs named {name}")
        return self.client.jobs.get(found[0].job_id or 0) if found else None

    def existing(self, name: str) -> Job:
        """As `job`, and it must be there."""
        job = self.job(name)
        expect(job is not None, f"there is no job named {name}")
        assert job is not None
        return job


def text_of(name: str) -> str:
    """A file of the demo."""
    return (FILES / name).read_text(encoding="utf-8")


def _count(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple, dict, set)) else int(value)


def task_keys(job: Job) -> list[str]:
    """The task keys of a job, in its order."""
    return [task.task_key for task in (job.settings and job.settings.tasks) or []]
