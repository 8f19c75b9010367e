"""The examples about Data X-Ray: the pipeline's rows plan, and the script task runs without a wheel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.embedded import ROOT, environment, run, running

EXAMPLES = ROOT / "examples" / "dxr"


@pytest.mark.slow
def test_script_task_without_a_wheel(tmp_path: Path) -> None:
    """The job JSON, with the simulator in the place of Data X-Ray: the day's partition is there."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.jobs import JobSettings

    settings = json.loads((EXAMPLES / "snapshot_script_job.json").read_text())
    [task] = settings["tasks"]
    parameters = task["spark_python_task"]["parameters"]
    for name in (
        "DXR_BASE_URL",
        "DXR_TOKEN_SCOPE",
        "DXR_TOKEN_KEY",
    ):  # the workspace's own are in the environment
        place = parameters.index(name)
        del parameters[place : place + 2]
    parameters += ["--min-rows-ratio", "0"]
    folder = tmp_path / "workspace"
    with running(folder) as connection:
        client = WorkspaceClient(host=connection.host, token=connection.token, auth_type="pat")
        script = folder / task["spark_python_task"]["python_file"].lstrip("/")
        script.parent.mkdir(parents=True)
        shutil.copy(EXAMPLES / "run_dxr.py", script)
        shutil.copytree(
            ROOT / "lakeflow_job_meta",
            script.parents[2] / "lakeflow_job_meta",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        job = client.jobs.create(**JobSettings.from_dict(settings).as_shallow_dict())
        ended = client.jobs.run_now(job.job_id).result()
        output = client.jobs.get_run_output(ended.tasks[0].run_id)
        assert ended.state.result_state.value == "SUCCESS", output.error
        query = "SELECT count(*) AS n FROM main.governance.dxr_snapshot"
        done = run(
            "lakeflow-job-meta", "local", "sql", "--dir", str(folder), "--format", "json", query, env=environment()
        )  # fmt: skip
        assert json.loads(done.stdout) == [{"n": 0}]


def test_the_pipeline_is_five_rows_that_plan(tmp_path: Path) -> None:
    """It validates, and its execution_order rises."""
    import yaml

    path = EXAMPLES / "pipeline.yaml"
    done = run("lakeflow-job-meta", "validate", str(path), "--format", "json")
    assert done.returncode == 0, done.stdout
    [module] = yaml.safe_load(path.read_text())["modules"]
    types = [source["transformation_config"]["task_type"] for source in module["sources"]]
    assert types == ["dxr_ingest", "dxr_collect", "dxr_organise", "dxr_snapshot", "notify"]
    assert [source["execution_order"] for source in module["sources"]] == [1, 2, 3, 4, 5]
