"""The numbered examples on one embedded workspace: uploaded, applied and run; bundle and Terraform held to the job JSON."""

from __future__ import annotations

import inspect
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakeflow_job_meta.bundle_importer import import_bundle
from tests.embedded import BIN, ROOT, environment, run, running, wait_for
from tests.test_examples import EXAMPLES, Local

FOLDERS = sorted(path for path in EXAMPLES.glob("[0-9][0-9]_*") if path.is_dir())
DOCUMENTS = ROOT / "lakeflow_job_meta" / "cli" / "demo_files" / "documents"
#: These need nothing but what upload.py brings, and end by themselves within seconds.
RUN = (
    "01_one_notebook",
    "02_stages",
    "03_dependencies",
    "04_environments",
    "05_job_settings",
    "06_jobs_that_run_jobs",
)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """The embedded workspace of this module, with the examples' code in it."""
    from databricks.sdk import WorkspaceClient
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("numbered") / "workspace"
    with running(folder) as connection:
        client = WorkspaceClient(host=connection.host, token=connection.token, auth_type="pat")
        spark = SparkSession.builder.remote(connection.spark_remote).create()
        spark.sql("CREATE SCHEMA IF NOT EXISTS main.examples")
        done = run(str(BIN / "python"), str(EXAMPLES / "upload.py"), env=environment(connection))
        assert done.returncode == 0, done.stderr
        try:
            yield Local(folder, connection, client, spark)
        finally:
            spark.stop()


def services(local: Local, table: str) -> tuple[Any, Any]:
    """Manager and orchestrator of a control table."""
    from lakeflow_job_meta import JobOrchestrator, MetadataManager

    given = {"spark": local.spark, "workspace_client": local.client}
    manager = MetadataManager(table, **given)
    manager.ensure_exists()
    return manager, JobOrchestrator(table, **given)


def ended(local: Local, run_id: int) -> Any:
    """The run, once it has ended."""

    def question() -> Any:
        found = local.client.jobs.get_run(run_id)
        return found if found.state.life_cycle_state.value in {"TERMINATED", "INTERNAL_ERROR"} else None

    return wait_for(question, f"run {run_id} ended", 120)


@pytest.mark.slow
def test_the_first_six_run(local: Local) -> None:
    """Applied twice: jobs at first, nothing after that; each job runs to a success, but for the branch not taken."""
    manager, orchestrator = services(local, "main.examples.numbered")
    for name in RUN:
        assert manager.load_yaml(str(EXAMPLES / name / "metadata.yaml")) > 0
    results = orchestrator.run_all_modules(auto_run=True)
    assert {result.action for result in results} == {"create"}
    for result in results:
        done = ended(local, result.run_id)
        states = {task.task_key: task.state.result_state.value for task in done.tasks}
        assert done.state.result_state.value == "SUCCESS", (result.module, states)
        if result.module == "dependencies":
            assert states["publish"] == "SUCCESS"
            assert states["hold"] == "EXCLUDED"
    assert orchestrator.plan().summary["unchanged"] == len(results)


def test_rows_by_sql(local: Local) -> None:
    """The script's rows make a job with a schedule that is paused, without the source that was taken out."""
    _, orchestrator = services(local, "main.examples.rows_by_sql")
    text = (EXAMPLES / "07_rows_by_sql" / "rows.sql").read_text()
    for statement in text.replace("main.examples.etl_control", "main.examples.rows_by_sql").split(";\n"):
        if statement.strip():
            local.spark.sql(statement)
    [done] = orchestrator.apply(orchestrator.plan()).results
    settings = local.client.jobs.get(done.job_id).settings
    assert [task.task_key for task in settings.tasks] == ["extract"]
    assert settings.schedule.pause_status.value == "PAUSED"
    assert settings.tags["team"] == "sales"


@pytest.mark.slow
def test_check_and_plot(local: Local, tmp_path: Path) -> None:
    """Documents are classified, counts and labels checked, pictures drawn; too high an expectation fails with its name."""
    from databricks.sdk.service.catalog import VolumeType
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbformat import read

    local.client.volumes.create("main", "examples", "checked", VolumeType.MANAGED)
    for path in sorted(DOCUMENTS.glob("finance/*")):
        local.client.files.upload(
            f"/Volumes/main/examples/checked/{path.name}", io.BytesIO(path.read_bytes())
        )
    manager, orchestrator = services(local, "main.examples.checked_control")
    manager.load_yaml(str(EXAMPLES / "09_check_and_plot" / "metadata.yaml"))
    [result] = orchestrator.run_all_modules(auto_run=True)
    done = ended(local, result.run_id)
    assert done.state.result_state.value == "SUCCESS", done
    [check] = [task for task in done.tasks if task.task_key == "check"]
    told = json.loads(local.client.jobs.get_run_output(check.run_id).notebook_output.result)
    assert told["files"] == 3
    assert told["labels"]["Financial"] >= 1

    wanted = {"CHECK_EXPECTED_LABELS": '{"Financial": 400}', "MPLBACKEND": "agg"}
    notebook = read(EXAMPLES / "09_check_and_plot" / "check_run.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    with pytest.raises(CellExecutionError, match="label Financial"):
        client.execute(env=environment(local.connection, **wanted))


def test_every_folder_explains_itself() -> None:
    """Each numbered folder has a README that names its files; the overview names each folder."""
    assert [path.name[:2] for path in FOLDERS] == [f"{number:02}" for number in range(1, len(FOLDERS) + 1)]
    overview = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for folder in FOLDERS:
        assert f"({folder.name}/README.md)" in overview
        readme = (folder / "README.md").read_text(encoding="utf-8")
        for path in folder.iterdir():
            assert path.name == "README.md" or path.name in readme, path


# ---------------------------------------------------------------- the monitor, several ways


def monitor_json() -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((EXAMPLES / "monitor_job.json").read_text(encoding="utf-8"))
    return settings


def test_monitor_bundle_is_the_job_json() -> None:
    """The bundle's job, read by our own reader, is the plain JSON's, but for where the wheel comes from."""
    found = import_bundle(EXAMPLES / "10_monitor", {}, target="prod")
    [monitor] = found.modules
    expected = monitor_json()
    [task] = expected["tasks"]
    [source] = monitor.definition.sources
    assert (source.source_id, source.task["environment_key"]) == (task["task_key"], task["environment_key"])
    assert source.settings == task["python_wheel_task"]
    job = dict(monitor.definition.job)
    [environment_] = job.pop("environments")
    assert environment_["spec"].pop("dependencies") == ["../../dist/*.whl"]
    [wanted] = expected["environments"]
    assert environment_["spec"]["environment_version"] == wanted["spec"]["environment_version"]
    assert job["name"] == expected["name"]
    assert job["continuous"] == expected["continuous"]


def test_monitor_bundle_is_what_the_sdk_knows() -> None:
    """Every resource of the bundle has only fields that the SDK's calls take."""
    from databricks.sdk.service.catalog import SchemasAPI, VolumesAPI
    from databricks.sdk.service.jobs import JobSettings

    resources = yaml.safe_load((EXAMPLES / "10_monitor" / "databricks.yml").read_text())["resources"]
    for settings in resources["jobs"].values():
        assert JobSettings.from_dict(settings).as_dict() == settings
    for kind, call in (("schemas", SchemasAPI.create), ("volumes", VolumesAPI.create)):
        for settings in resources[kind].values():
            assert set(settings) <= set(inspect.signature(call).parameters)


def test_monitor_terraform_is_the_job_json() -> None:
    """The Terraform file parses, and its job is the plain JSON's."""
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 needs Python 3.11")
    text = (EXAMPLES / "10_monitor" / "main.tf").read_text(encoding="utf-8")
    parsed = plain(hcl2.loads(text))
    resources = {
        (kind, name): body
        for block in parsed["resource"]
        for kind, named in block.items()
        for name, body in named.items()
    }
    assert {kind for kind, _ in resources} == {
        "databricks_schema", "databricks_volume", "databricks_file", "databricks_job"
    }  # fmt: skip
    job = resources["databricks_job", "monitor"]
    expected = monitor_json()
    [wanted] = expected["tasks"]
    [task] = job["task"]
    [wheel_task] = task["python_wheel_task"]
    assert job["name"] == expected["name"]
    assert job["continuous"] == [expected["continuous"]]
    assert {name: task[name] for name in ("task_key", "environment_key")} == {
        name: wanted[name] for name in ("task_key", "environment_key")
    }
    for name in ("package_name", "entry_point"):
        assert wheel_task[name] == wanted["python_wheel_task"][name]
    assert set(wheel_task["named_parameters"]) == set(wanted["python_wheel_task"]["named_parameters"])
    [spec] = job["environment"][0]["spec"]
    assert spec["environment_version"] == expected["environments"][0]["spec"]["environment_version"]
    # Everything that one resource says of another is there.
    for reference in ("databricks_volume.metadata", "databricks_file.wheel", "databricks_schema.control"):
        kind, _, name = reference.partition(".")
        assert (kind, name) in resources
        assert f"{reference}." in text


def plain(value: Any) -> Any:
    """What the HCL parser read, without its marks and the quotes around texts."""
    if isinstance(value, str):
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if isinstance(value, dict):
        return {plain(name): plain(inner) for name, inner in value.items() if not name.startswith("__")}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def test_monitor_json_names_this_version() -> None:
    """The wheel that the JSON, the Terraform file and the notebook name is this version's."""
    from lakeflow_job_meta import __version__

    name = f"lakeflow_job_meta-{__version__}-py3-none-any.whl"
    for path in ("monitor_job.json", "10_monitor/main.tf", "10_monitor/monitor_notebook.ipynb"):
        assert name in (EXAMPLES / path).read_text(encoding="utf-8"), path
    assert os.path.basename(monitor_json()["environments"][0]["spec"]["dependencies"][0]) == name  # noqa: PTH119
