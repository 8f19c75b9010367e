"""`deploy` on the embedded workspace: the workspace itself runs what was deployed, from the wheel."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from lakeflow_job_meta.cli.program import program
from lakeflow_job_meta.names import TABLE_TAG, TableName, table_tag
from tests.cli.conftest import Cli, Done, inventory, module_yaml, set_faults
from tests.embedded import ROOT, build_wheel, environment, wait_for

pytestmark = pytest.mark.slow

QUERY = json.dumps({"task_type": "sql_query", "sql_task": {"warehouse_id": "local", "sql_query": "SELECT 1"}})
VERSION = "0.1.0+proof"


@pytest.fixture
def deploy(cli: Cli) -> Iterator[Callable[..., Done]]:
    """`deploy` for this test's table; what it made is taken away afterwards."""
    yield lambda *arguments: cli("deploy", "--format", "json", *arguments)
    assert cli("deploy", "--destroy", "--yes").code == 0


def names_of(client: Any, table: str) -> set[str]:
    """Names of the jobs of this control table's modules."""
    tag = table_tag(TableName.parse(table))
    return {
        job.settings.name for job in client.jobs.list() if (job.settings.tags or {}).get(TABLE_TAG) == tag
    }


def insert(cli: Cli, module: str) -> None:
    cli.sql(f"INSERT INTO {cli.table} VALUES ('s', '{module}', 'sql', 1, '{{}}', '{{}}', '{QUERY}', true)")


def logs(cli: Cli, table: str) -> list[dict[str, Any]]:
    """What the monitors of a table said when they started, from the output of their runs."""
    found = []
    for output in (cli.folder / ".workspace" / "runs").glob("*/output.log"):
        for line in output.read_text().splitlines():
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "monitor starts" and said["control_table"] == table:
                found.append(said)
    return found


def actions(done: Done) -> dict[str, str]:
    return {action["module"]: action["action"] for action in done.json["actions"]}


def test_the_workspace_runs_the_deployed_wheel(cli: Cli, client: Any, tmp_path: Path) -> None:
    """From a machine without Spark: deploy, drop a file, insert a row, and both jobs are there; then no trace.

    The wheel is built of a copy with a version of its own; that version runs, from an environment that does
    not see the checkout.
    """
    wheel = build_wheel(tmp_path, VERSION)
    before = inventory(client)
    reach = {name: cli.connection.environment()[name] for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN")}
    command = ("deploy", "--control-table", cli.table, "--warehouse-id", "local", "--format", "json")
    given = (
        *command,
        "--volume-path",
        cli.volume_path,
        "--wheel",
        str(wheel),
        "--check-interval-seconds",
        "0.5",
    )
    volume = cli.folder / "Volumes" / "main" / cli.table.split(".")[1] / "metadata"
    first = cli.bare(*given, **reach)
    assert first.code == 0, first.err
    assert actions(first) == {"monitor": "create"}
    assert first.json["control_table"] == cli.table
    assert first.json["writes"] == 1 + len([step for step in first.json["steps"] if step["step"] != "keep"])
    job = client.jobs.get(first.json["monitor_job_id"])
    assert job.settings.environments[0].spec.dependencies == [first.json["package"]]
    try:
        (volume / "sales.yaml").write_text(module_yaml("from_a_file"))
        insert(cli, "from_a_row")
        wait_for(
            lambda: names_of(client, cli.table) == {"from_a_file", "from_a_row"}, "the jobs of both modules"
        )
        [said] = logs(cli, cli.table)
        assert said["version"] == VERSION
        assert not Path(said["code"]).is_relative_to(ROOT / "lakeflow_job_meta")
        assert ".workspace/environments" in said["code"]

        second = cli.bare(*given, **reach)
        assert (second.code, second.json["writes"]) == (0, 0), second.out
        assert actions(second) == {"monitor": "unchanged"}
        assert {step["step"] for step in second.json["steps"]} == {"keep"}
    finally:
        gone = cli.bare(*command, "--destroy", "--yes", **reach)
    assert gone.code == 0, gone.err
    assert inventory(client) == before
    again = cli.bare(*command, "--destroy", "--yes", **reach)
    assert (again.code, again.json["writes"]) == (0, 0)


def test_an_update_ends_the_endless_run(deploy: Callable[..., Done], client: Any) -> None:
    """A continuous run keeps the settings that it began with: it is cancelled, the plan says so, the next one has them."""
    first = deploy("--check-interval-seconds", "30")
    job_id = first.json["monitor_job_id"]

    def running() -> int | None:
        return next((run.run_id for run in client.jobs.list_runs(job_id=job_id, active_only=True)), None)

    former = wait_for(running, "a run of the monitor")
    planned = deploy("--check-interval-seconds", "20", "--dry-run")
    assert (planned.code, planned.json["writes"]) == (2, 0)
    [action] = planned.json["actions"]
    assert any(f"run {former} is under way and will be cancelled" in reason for reason in action["reasons"])
    assert running() == former
    second = deploy("--check-interval-seconds", "20")
    assert (second.code, second.json["monitor_job_id"]) == (0, job_id)
    wait_for(lambda: running() not in (None, former), "another run")
    assert client.jobs.get_run(former).state.result_state.value == "CANCELED"


def test_a_dry_run_writes_nothing(cli: Cli, client: Any) -> None:
    """Not even a schema; the exit code says that there is something to do, as a plan's does."""
    before = inventory(client)
    done = cli("deploy", "--volume-path", cli.volume_path + "/prod", "--dry-run", "--format", "json")
    assert done.code == 2
    assert done.json["monitor_job_id"] is None
    assert ("create", "folder") in {(step["step"], step["kind"]) for step in done.json["steps"]}
    text = cli("deploy", "--dry-run").out
    assert "+ create schema" in text
    assert "+ create monitor" in text
    after = inventory(client)
    assert {**after, "volumes": None} == {**before, "volumes": None}


def test_triggered_looks_when_something_changed_and_then_rests(
    cli: Cli, deploy: Callable[..., Done], client: Any
) -> None:
    """An INSERT and a file each start a look, which makes the job; what a look writes itself starts no circle.

    What was there before fires nothing: the deployment starts the first look itself.
    """
    (cli.volume / "old.yaml").write_text(module_yaml("there_before"))
    done = deploy("--mode", "triggered", "--wait-seconds", "0", "--volume-path", cli.volume_path)
    jobs = done.json["monitor_jobs"]
    assert set(jobs) == {"monitor", "monitor_on_rows", "monitor_on_files"}

    def runs(module: str) -> list[Any]:
        return list(client.jobs.list_runs(job_id=jobs[module]))

    (old,) = (action["run_id"] for action in done.json["actions"] if action["module"] == "monitor")
    wait_for(
        lambda: names_of(client, cli.table) == {"there_before"}, "the job of the file that was there before"
    )
    wait_for(lambda: client.jobs.get_run(old).state.result_state, "the end of the first look")
    (cli.volume / "a.yaml").write_text(module_yaml("from_a_file"))
    insert(cli, "from_a_row")
    modules = {"there_before", "from_a_file", "from_a_row"}
    wait_for(lambda: names_of(client, cli.table) == modules, "the jobs of all modules")

    def rests() -> bool:
        return not any(
            list(client.jobs.list_runs(job_id=job_id, active_only=True)) for job_id in jobs.values()
        )

    seen: list[int] = []

    def settled() -> bool:
        """Nothing runs, and nothing began since the last three looks (triggers look every second)."""
        seen.append(len(runs("monitor_on_rows")) if rests() else -len(seen) - 1)
        return len(seen) > 12 and len(set(seen[-12:])) == 1

    wait_for(settled, "rest after the changes")
    # The insert, and the rows that the looks at both files wrote: more would be a circle.
    assert 1 <= len(runs("monitor_on_rows")) <= 3
    assert len(runs("monitor_on_files")) == 1
    assert {run.state.result_state.value for run in runs("monitor_on_rows")} == {"SUCCESS"}
    other = deploy("--mode", "scheduled", "--volume-path", cli.volume_path)
    assert actions(other) == {"monitor": "update", "monitor_on_files": "retire", "monitor_on_rows": "retire"}
    left = {job.job_id for job in client.jobs.list()}
    assert left & set(jobs.values()) == {jobs["monitor"]}
    assert actions(deploy("--mode", "scheduled", "--volume-path", cli.volume_path)) == {
        "monitor": "unchanged"
    }


def test_destroy_leaves_what_was_there_before(cli: Cli, client: Any) -> None:
    """A schema, tables, a volume, files, rows, a setting and a job that a deployment found are there afterwards."""
    assert cli("apply", "--format", "json").code == 0  # control table and schema
    cli.sql(
        f"INSERT INTO {cli.table} VALUES ('__settings__', '__control__', 'settings', 0, '{{}}', '{{}}', "
        '\'{"package": "/Volumes/mine.whl", "drift": "report"}\', true)'
    )
    insert(cli, "sales")
    assert cli("apply").code == 0
    (cli.volume / "note.txt").write_text("mine")
    name = f"lakeflow_job_meta monitor of {cli.table}"
    foreign = client.jobs.create(name=name).job_id
    mine = client.jobs.get(foreign).settings.as_dict()
    before = inventory(client)
    rows = cli.sql(f"SELECT * FROM {cli.table} ORDER BY module_name")
    given = ("--volume-path", cli.volume_path, "--mode", "scheduled", "--format", "json")
    done = cli("deploy", *given)
    assert done.code == 0
    assert done.json["monitor_job_id"] != foreign
    assert ("keep", "table", cli.table) in {(s["step"], s["kind"], s["name"]) for s in done.json["steps"]}
    refused = cli("deploy", "--destroy")
    assert (refused.code, "nothing was taken away" in refused.err) == (64, True)
    gone = cli("deploy", "--destroy", "--yes", "--format", "json")
    assert gone.code == 0, gone.out
    after = inventory(client)
    # The companions that `apply` had not needed were made by the deployment.
    assert after == before
    assert (cli.volume / "note.txt").read_text() == "mine"
    assert client.jobs.get(foreign).settings.as_dict() == mine
    assert cli.sql(f"SELECT * FROM {cli.table} ORDER BY module_name") == rows
    client.jobs.delete(foreign)


def test_destroy_can_leave_the_data(cli: Cli, client: Any) -> None:
    """--keep-data takes the monitor and its package away; a later --destroy still knows what was made."""
    before = inventory(client)
    assert cli("deploy", "--volume-path", f"/Volumes/{cli.table.replace('.', '/')}_files").code == 0
    insert(cli, "sales")
    assert cli("apply").code == 0
    assert cli("deploy", "--destroy", "--keep-data", "--yes").code == 0
    assert names_of(client, cli.table) == {"sales"}
    assert cli.sql(f"SELECT count(*) AS n FROM {cli.table} WHERE module_name = 'sales'") == [{"n": 1}]
    left = inventory(client)
    assert f"{cli.table}_packages" not in left["volumes"]
    assert f"{cli.table}_files" in left["volumes"]
    gone = answered(cli, "n\n", "deploy", "--destroy", "--format", "json")
    assert (gone.code, inventory(client)) == (64, left)
    gone = answered(cli, "y\n", "deploy", "--destroy", "--format", "json")
    assert (gone.code, gone.json["errors"]) == (0, [])
    assert inventory(client) == before


def answered(cli: Cli, answer: str, *arguments: str) -> Done:
    """The program with an answer on its stdin."""
    given = ("--local", str(cli.folder), "--control-table", cli.table)
    with patch.dict(os.environ, environment(), clear=True):
        done = CliRunner().invoke(program, [*arguments, *given], input=answer)
    assert "Take all of this away?" in done.stderr
    assert f"- delete table {cli.table}" in done.stderr
    return Done(done.exit_code, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--volume-path", "/Workspace/x"), "is not in a volume"),
        (("--wait-seconds", "5"), "0 or at least 60"),
        (("--wheel", "nowhere.whl"), "cannot read the wheel nowhere.whl"),
        (("--package", "./dist/mine.whl"), "upload it with --wheel"),
        (("--package", "lakeflow-jobs-meta==0.2.0"), "brings no lakeflow-job-meta"),
        (("--package", "lakeflow-job-meta; rm"), "brings no lakeflow-job-meta"),
        (("--mode", "scheduled", "--cron", "0 6 * *"), "--cron: quartz_cron_expression"),
        (("--mode", "scheduled", "--timezone", "Mars/Phobos"), "--timezone: timezone_id"),
        (("--serverless", "--cluster-id", "1"), "one of --serverless"),
        (("--keep-data",), "about --destroy"),
        (("--destroy", "--package", "x"), "leave --wheel and --package out"),
    ],
)
def test_wrong_usage(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    """Nothing is done, and the message says what to do."""
    done = cli("deploy", *arguments)
    assert done.code == 64
    assert said in done.err


def test_a_deployment_that_fails_says_how_to_go_on(cli: Cli, client: Any) -> None:
    """The right to make volumes is missing: what was made stays until the next deployment, or is taken away."""
    before = inventory(client)
    rule = {"path": "/api/2.1/unity-catalog/volumes", "method": "POST", "status": 403}
    set_faults(cli.connection, {**rule, "error_code": "PERMISSION_DENIED"})
    try:
        done = cli("deploy", "--mode", "scheduled")
    finally:
        set_faults(cli.connection)
    assert done.code == 1
    assert "cannot make the volume" in done.err
    assert "deploy again to go on from there, or deploy --destroy" in done.err
    assert cli("deploy", "--destroy", "--yes").code == 0
    assert inventory(client) == before


def test_a_wheel_of_something_else_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Before anything is made: a monitor that cannot start is worse than none."""
    other = tmp_path / "lakeflow_job_meta-0.1.0-py3-none-any.whl"
    other.write_bytes(b"no archive")
    done = cli("deploy", "--wheel", str(other))
    assert (done.code, "is no wheel of lakeflow_job_meta" in done.err) == (64, True)


def test_a_wrong_job_cluster_names_its_field(cli: Cli, client: Any, tmp_path: Path) -> None:
    """The cluster goes through the same validation as metadata, before anything is made."""
    before = inventory(client)
    file = tmp_path / "cluster.yaml"
    file.write_text("new_cluster: {spark_version: 16.4.x-scala2.12, node_type: m5.large}")
    done = cli("deploy", "--job-cluster", str(file))
    assert done.code == 64
    assert "--job-cluster: " in done.err
    assert "node_type_id" in done.err
    assert inventory(client) == before
