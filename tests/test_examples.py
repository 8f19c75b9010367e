"""The examples, executed on an embedded workspace: the four ways of use, and the pipelines to copy from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakeflow_job_meta.local.connection import Connection
from tests.embedded import BIN, ROOT, build_wheel, environment, run, running, wait_for
from tests.warm import warm

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
TABLE = "main.examples.etl_control"
METADATA = "/Volumes/main/examples/metadata"


@dataclass(frozen=True)
class Local:
    """An embedded workspace, as a user of the SDK, of Spark and of the command line has it."""

    folder: Path
    connection: Connection
    client: Any
    spark: Any
    program: Path | None = None  # folder of the warm program

    @property
    def environment(self) -> dict[str, str]:
        env = environment(self.connection)
        return {**env, "PATH": f"{self.program}{os.pathsep}{env['PATH']}"} if self.program else env

    def job(self, name: str) -> Any:
        """The job of that name with all its tasks; None when there is none."""
        found = list(self.client.jobs.list(name=name))
        assert len(found) <= 1
        return self.client.jobs.get(found[0].job_id) if found else None

    def put(self, path: str, data: bytes) -> None:
        import io

        self.client.files.upload(path, io.BytesIO(data), overwrite=True)

    def meta(self, *arguments: str, table: str = TABLE) -> Any:
        """What a command of ours answers as JSON."""
        command = (*arguments, "--control-table", table, "--format", "json")
        done = run("lakeflow-job-meta", *command, env=self.environment)
        assert done.returncode in {0, 2}, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """The embedded workspace of this module, with the examples' schema and volumes."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.catalog import VolumeType
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("examples") / "workspace"
    with running(folder) as connection, warm(folder.parent / "warm") as program:
        client = WorkspaceClient(host=connection.host, token=connection.token, auth_type="pat")
        spark = SparkSession.builder.remote(connection.spark_remote).create()
        spark.sql("CREATE SCHEMA IF NOT EXISTS main.examples")
        for volume in ("metadata", "packages"):
            client.volumes.create("main", "examples", volume, VolumeType.MANAGED)
        try:
            yield Local(folder, connection, client, spark, program)
        finally:
            spark.stop()


@pytest.fixture
def manager(local: Local) -> Any:
    """The metadata manager of the examples' control table, which exists."""
    from lakeflow_job_meta import MetadataManager

    manager = MetadataManager(TABLE, spark=local.spark, workspace_client=local.client)
    manager.ensure_exists()
    return manager


@pytest.fixture(scope="module")
def wheel(local: Local, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the built wheel lies in the packages volume, as the examples name it."""
    built = build_wheel(tmp_path_factory.mktemp("wheel"))
    [place] = json.loads((EXAMPLES / "monitor_job.json").read_text())["environments"][0]["spec"][
        "dependencies"
    ]
    assert place.rsplit("/", 1)[1] == built.name
    local.put(place, built.read_bytes())
    return str(place)


def _tasks(job: Any) -> list[str]:
    return [task.task_key for task in job.settings.tasks]


def test_monitor_as_a_continuous_job(local: Local, wheel: str) -> None:
    """Way 1: the built wheel, in an environment of its own, watches the volume and the table as a job of the workspace."""
    from databricks.sdk.service.jobs import JobSettings

    settings = json.loads((EXAMPLES / "monitor_job.json").read_text())
    table = "main.examples.monitored"
    parameters = settings["tasks"][0]["python_wheel_task"]["named_parameters"]
    parameters.update(control_table=table, check_interval_seconds="1")
    wanted = JobSettings.from_dict(settings)
    made = local.client.jobs.create(
        **{
            name: getattr(wanted, name)
            for name in ("name", "continuous", "tasks", "environments", "max_concurrent_runs")
        }
    )
    try:
        local.put(f"{METADATA}/customers.yaml", (EXAMPLES / "volume" / "customers.yaml").read_bytes())
        wait_for(lambda: local.job("customers"), "a job made from the YAML file", 150)
        rows = (EXAMPLES / "insert_rows.sql").read_text().replace(TABLE, table)
        local.spark.sql(rows.rstrip().rstrip(";"))
        wait_for(lambda: local.job("from_sql"), "a job made from the rows")
        assert _tasks(local.job("from_sql")) == ["count_regions", "say_done"]
        edited = (EXAMPLES / "volume" / "customers.yaml").read_text().replace("Ada", "Grace")
        before = local.job("customers")
        local.put(f"{METADATA}/customers.yaml", edited.encode())

        def changed() -> bool:
            job = local.job("customers")
            assert job.job_id == before.job_id
            return job.settings.tasks[0].sql_task.parameters == {"name": "Grace"}

        wait_for(changed, "the job following the edited file")
        [run_of_monitor] = local.client.jobs.list_runs(job_id=made.job_id, active_only=True)
        assert run_of_monitor.state.life_cycle_state.value == "RUNNING"
    finally:
        local.client.jobs.delete(made.job_id)
        local.client.files.delete(f"{METADATA}/customers.yaml")
        for name in ("customers", "from_sql"):
            job = local.job(name)
            if job is not None:
                local.client.jobs.delete(job.job_id)


def test_monitor_as_a_notebook(local: Local, wheel: str) -> None:
    """The notebook to paste into a job: it installs the wheel, reads its widgets, and makes the job of a file in the volume."""
    from databricks.sdk.service.catalog import VolumeType
    from databricks.sdk.service.jobs import NotebookTask, Task
    from databricks.sdk.service.workspace import ImportFormat

    local.client.volumes.create("main", "examples", "pasted", VolumeType.MANAGED)
    text = (EXAMPLES / "volume" / "customers.yaml").read_text().replace("customers", "pasted_customers")
    local.put("/Volumes/main/examples/pasted/customers.yaml", text.encode())
    local.client.workspace.mkdirs("/Workspace/Shared/pasted")
    with (EXAMPLES / "10_monitor" / "monitor_notebook.ipynb").open("rb") as file:
        local.client.workspace.upload("/Workspace/Shared/pasted/monitor", file, format=ImportFormat.JUPYTER)
    parameters = {
        "control_table": "main.examples.pasted_control",
        "volume_path": "/Volumes/main/examples/pasted",
        "max_iterations": "1",
    }
    notebook = NotebookTask("/Workspace/Shared/pasted/monitor", base_parameters=parameters)
    job = local.client.jobs.create(name="pasted monitor", tasks=[Task("monitor", notebook_task=notebook)])
    done = local.client.jobs.run_now(job.job_id).result()
    output = local.client.jobs.get_run_output(done.tasks[0].run_id)
    assert done.state.result_state.value == "SUCCESS", output.error_trace
    assert _tasks(local.job("pasted_customers")) == ["greet"]


def test_insert_into_the_control_table(local: Local, manager: Any) -> None:
    """Way 2: rows typed in by SQL become a job of two stages, which runs."""
    local.spark.sql((EXAMPLES / "insert_rows.sql").read_text().rstrip().rstrip(";"))
    applied = local.meta("apply", "--module", "from_sql")
    assert [action["action"] for action in applied["actions"]] == ["create"]
    job = local.job("from_sql")
    assert job.job_id == applied["actions"][0]["job_id"]
    assert [edge.task_key for edge in job.settings.tasks[1].depends_on] == ["count_regions"]
    done = local.meta("run", "from_sql")
    assert done["result"] == "SUCCESS"
    assert {task["task_key"]: task["result"] for task in done["tasks"]} == {
        "count_regions": "SUCCESS",
        "say_done": "SUCCESS",
    }
    assert local.meta("plan", "--module", "from_sql")["summary"]["unchanged"] == 1


def test_yaml_in_the_volume(local: Local, manager: Any) -> None:
    """Way 3: a file that is new, edited, broken, mended, removed: each pass of the monitor does what it should."""
    volume = "/Volumes/main/examples/watched"
    from databricks.sdk.service.catalog import VolumeType

    local.client.volumes.create("main", "examples", "watched", VolumeType.MANAGED)
    good = (EXAMPLES / "volume" / "customers.yaml").read_text()
    table = "main.examples.watched"

    def tick() -> dict[str, Any]:
        command = (
            "monitor",
            "--control-table",
            table,
            "--volume-path",
            volume,
            "--max-iterations",
            "1",
            "--format",
            "json",
        )
        done = run("lakeflow-job-meta", *command, env=local.environment)
        [line] = [line for line in done.stdout.splitlines() if line.startswith("{")]
        seen = json.loads(line)
        assert done.returncode == (1 if seen["errors"] else 0), done.stderr
        return dict(seen)

    local.put(f"{volume}/customers.yaml", good.encode())
    assert not tick()["errors"]
    first = local.job("customers")
    assert _tasks(first) == ["greet"]

    local.put(f"{volume}/customers.yaml", good.replace("hello", "good morning").encode())
    assert not tick()["errors"]
    assert local.job("customers").job_id == first.job_id
    query = local.client.queries.get(first.settings.tasks[0].sql_task.query.query_id)
    assert "good morning" in query.query_text

    local.put(
        f"{volume}/customers.yaml", good.replace("task_type: sql_query", "task_type: sql_qery").encode()
    )
    line = good.splitlines().index("          task_type: sql_query") + 1
    assert f"customers.yaml:{line}:" in str(tick()["errors"])
    assert _tasks(local.job("customers")) == ["greet"]

    local.put(f"{volume}/customers.yaml", good.encode())
    local.put(f"{volume}/other.yaml", good.replace("module_name: customers", "module_name: others").encode())
    assert not tick()["errors"]
    local.client.files.delete(f"{volume}/customers.yaml")
    assert not tick()["errors"]
    plan = local.meta("plan", table=table)
    assert {action["module"]: action["action"] for action in plan["actions"]}["others"] == "unchanged"
    status = {module["module"]: module["status"] for module in local.meta("status", table=table)["modules"]}
    assert status == {"customers": "retired", "others": "active"}


def test_orchestrator_notebook(local: Local, tmp_path: Path) -> None:
    """Way 4: the notebook runs from top to bottom, twice, and its job has run."""
    import nbformat
    from nbclient import NotebookClient

    env = environment(local.connection, LAKEFLOW_JOB_META_CONTROL_TABLE="main.examples.notebook_control")
    for _ in range(2):
        notebook = nbformat.read(EXAMPLES / "orchestrator_example.ipynb", as_version=4)
        client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
        client.execute(env=env)
        assert not [
            output
            for cell in notebook.cells
            for output in cell.get("outputs", [])
            if output.output_type == "error"
        ]
    job = local.job("notebook_pipeline")
    assert _tasks(job) == ["first", "second"]
    runs = list(local.client.jobs.list_runs(job_id=job.job_id))
    assert len(runs) == 2


def test_upload_and_run_the_pipelines(local: Local, manager: Any) -> None:
    """The pipelines to copy from: uploaded, applied, run with every task green, tables as told; no change after that."""
    done = run(str(BIN / "python"), str(EXAMPLES / "upload.py"), env=environment(local.connection))
    assert done.returncode == 0, done.stderr
    table = "main.examples.pipelines"
    path = str(EXAMPLES / "metadata_examples.yaml")
    names = [module["module_name"] for module in yaml.safe_load(Path(path).read_text())["modules"]]
    applied = local.meta("apply", "--yaml", path, table=table)
    assert {action["module"]: action["action"] for action in applied["actions"]} == dict.fromkeys(
        names, "create"
    )
    for name in names:
        ended = local.meta("run", name, table=table)
        assert ended["result"] == "SUCCESS", ended
        assert {task["result"] for task in ended["tasks"]} == {"SUCCESS"}, ended
    assert local.spark.table("gold.examples.daily_sales").count() > 0
    assert local.spark.table("silver.examples.customers").count() == 10
    assert local.spark.table("silver.examples.orders").count() == 99
    again = local.meta("apply", "--yaml", path, table=table)
    assert again["summary"]["unchanged"] == len(names)
    assert again["writes"] == 0


def test_inline_query_is_the_file() -> None:
    """The inline query of the pipelines is the one in sql_query_task/."""
    modules = yaml.safe_load((EXAMPLES / "metadata_examples.yaml").read_text())["modules"]
    inline = [
        source["transformation_config"]["sql_task"]["sql_query"]
        for module in modules
        for source in module["sources"]
        if source["transformation_config"]["task_type"] == "sql_query"
    ]
    [text] = inline
    assert text.split() == (EXAMPLES / "sql_query_task" / "01_data_quality_check.sql").read_text().split()


def test_every_file_of_the_examples_is_used() -> None:
    """No file lies in examples/ that README or the metadata does not name."""
    named = (EXAMPLES / "README.md").read_text() + (EXAMPLES / "metadata_examples.yaml").read_text()
    for path in EXAMPLES.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md":
            folders = path.relative_to(EXAMPLES).parts[:-1]
            assert path.name.removesuffix(".ipynb") in named or any(name in named for name in folders), path


def test_notebooks_are_clean() -> None:
    """Notebooks lie in the repository without outputs."""
    for path in (*EXAMPLES.rglob("*.ipynb"),):
        cells = json.loads(path.read_text())["cells"]
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_metadata_validates() -> None:
    """The examples' YAML is valid without any variable given."""
    paths = [str(path) for path in EXAMPLES.rglob("*.yaml")]
    done = run("lakeflow-job-meta", "validate", *paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(paths)} files" in done.stdout
    assert shutil.which("lakeflow-job-meta", path=str(BIN))
