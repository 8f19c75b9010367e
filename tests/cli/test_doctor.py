"""`doctor`: every piece broken in turn is the one that is named."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, Done, set_faults

NAMES = [
    "host", "auth", "identity", "warehouse", "sql", "catalog", "schema", "volume", "control_table", "permissions",
    "package", "monitor", "compute", "dxr",
]  # fmt: skip
NOWHERE = "127.0.0.1:9"
#: Flags that `fix` has to find again in what is deployed.
DEPLOYED = ("--mode", "scheduled", "--cron", "0 0 0 1 1 ?", "--var", "env=a b", "--drift", "report")


@pytest.fixture(scope="module")
def deployed(workspace: Any) -> Iterator[Cli]:
    """One deployment that all tests look at, its monitor paused by nobody and looking once a day."""
    cli = Cli(*workspace, "main.cli_doctor.etl_control")
    done = cli("deploy", *DEPLOYED, "--volume-path", cli.volume_path)
    assert done.code == 0, done.err
    yield cli
    set_faults(cli.connection)
    assert cli("deploy", "--destroy", "--yes").code == 0


def examine(cli: Cli, *arguments: str, table: str = "", **more: str) -> tuple[Done, dict[str, Any]]:
    """doctor against the workspace by its variables; checks by name."""
    variables = {**cli.connection.environment(), **more}
    given = {name: value for name, value in variables.items() if value}
    done = cli.here("doctor", "--control-table", table or cli.table, "--format", "json", *arguments, **given)
    return done, {check["name"]: check for check in done.json["checks"]}


def broken(cli: Cli, *arguments: str, table: str = "", **more: str) -> dict[str, Any]:
    """The one check that fails; what rests on it is not made."""
    done, checks = examine(cli, *arguments, table=table, **more)
    assert done.code == 1
    failed = [check for check in checks.values() if check["ok"] is False]
    assert len(failed) == 1, failed
    assert failed[0]["fix"]
    for check in checks.values():
        if check["ok"] is None:
            assert "not checked" in check["detail"]
    return failed[0]


def test_everything_is_fine(deployed: Cli) -> None:
    """Exit code 0, every piece in order, each with what was found and nothing to do."""
    done, checks = examine(deployed, "--warehouse-id", "local")
    assert (done.code, list(checks)) == (0, NAMES), done.out
    for check in checks.values():
        assert set(check) == {"name", "ok", "detail", "fix"}
        assert (check["ok"], check["fix"]) == (True, "")
        assert check["detail"]
    assert deployed.connection.token not in done.out
    text = deployed("doctor").out
    assert len(text.splitlines()) == len(NAMES)
    assert all(line.startswith("ok ") for line in text.splitlines())


CASES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "host": ((), {"DATABRICKS_HOST": f"http://{NOWHERE}"}),
    "auth": ((), {"DATABRICKS_TOKEN": "wrong"}),
    "warehouse": (("--warehouse-id", "nowhere"), {}),
    "sql": ((), {"SPARK_REMOTE": ""}),
    "volume": (("--volume-path", "/Volumes/main/cli_doctor/nowhere"), {}),
    "compute": (("--cluster-id", "nowhere"), {}),
    "dxr": ((), {"DXR_BASE_URL": f"http://{NOWHERE}"}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_broken_piece_is_named(deployed: Cli, name: str) -> None:
    """A host that is down, a wrong token, an unknown warehouse: that piece fails and no other."""
    arguments, more = CASES[name]
    if name == "sql":  # this process has pyspark imported; a fresh one has not
        variables = {
            key: value for key, value in deployed.connection.environment().items() if key != "SPARK_REMOTE"
        }
        done = deployed.bare("doctor", "--control-table", deployed.table, "--format", "json", **variables)
        assert [check["name"] for check in done.json["checks"] if check["ok"] is False] == ["sql"]
    else:
        assert broken(deployed, *arguments, **more)["name"] == name


def test_no_workspace_at_all(cli: Cli) -> None:
    """Without any variable the host is what is missing."""
    done = cli.here("doctor", "--control-table", cli.table, "--format", "json", HOME="/nonexistent")
    assert done.code == 1
    assert next(check["name"] for check in done.json["checks"] if check["ok"] is False) == "host"


def test_a_host_without_credentials(deployed: Cli) -> None:
    """The host is named, so it is the login that is missing."""
    host = deployed.connection.host
    done = deployed.here(
        "doctor",
        "--control-table",
        deployed.table,
        "--format",
        "json",
        DATABRICKS_HOST=host,
        HOME="/nonexistent",
    )
    assert [check["name"] for check in done.json["checks"] if check["ok"] is False] == ["auth"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("identity", {"path": "/api/2.0/preview/scim/v2/Me"}),
        ("permissions", {"path": "/api/2.1/unity-catalog/tables/"}),
        ("catalog", {"path": "/api/2.1/unity-catalog/catalogs/main", "count": 1}),
        ("monitor", {"path": "/api/2.2/jobs/runs/list"}),
    ],
)
def test_a_refusal_of_the_workspace_is_named(deployed: Cli, name: str, rule: dict[str, Any]) -> None:
    """403 where the caller may not look."""
    set_faults(deployed.connection, {**rule, "status": 403, "error_code": "PERMISSION_DENIED"})
    try:
        assert broken(deployed)["name"] == name
    finally:
        set_faults(deployed.connection)


def test_what_does_not_exist_is_named(deployed: Cli) -> None:
    """Catalog, schema, control table: the first that is missing, with how to get it."""
    assert broken(deployed, table="nowhere.s.t")["name"] == "catalog"
    assert broken(deployed, table="main.nowhere.t")["name"] == "schema"
    found = broken(deployed, table="main.cli_doctor.nowhere")
    command = "lakeflow-job-meta deploy --control-table main.cli_doctor.nowhere"
    assert (found["name"], found["fix"]) == ("control_table", command)


def test_a_table_that_is_no_control_table_is_named(deployed: Cli) -> None:
    """Other columns: the message lists what is missing."""
    deployed.sql("CREATE TABLE main.cli_doctor.other (a INT)")
    found = broken(deployed, table="main.cli_doctor.other")
    assert found["name"] == "control_table"
    assert "module_name STRING is missing" in found["detail"]
    deployed.sql("DROP TABLE main.cli_doctor.other")


@pytest.fixture
def client(deployed: Cli) -> Any:
    from databricks.sdk import WorkspaceClient

    return WorkspaceClient(host=deployed.connection.host, token=deployed.connection.token, auth_type="pat")


@pytest.fixture
def mended(deployed: Cli) -> Iterator[Callable[[dict[str, Any]], Done]]:
    """Runs the command that `fix` ends with; afterwards everything is fine, and is as it was deployed."""

    def mend(check: dict[str, Any]) -> Done:
        command = check["fix"][check["fix"].index("lakeflow-job-meta deploy") :]
        return deployed.here(*shlex.split(command)[1:], **deployed.connection.environment())

    yield mend
    assert examine(deployed)[0].code == 0
    again = deployed("deploy", *DEPLOYED, "--volume-path", deployed.volume_path, "--format", "json")
    assert (again.code, again.json["writes"]) == (0, 0), again.out


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"PK of another")])
def test_a_wheel_that_vanished_or_was_swapped_is_named_and_mended(
    deployed: Cli, mended: Callable[[dict[str, Any]], Done], change: Callable[[Path], object]
) -> None:
    """The package is set, but its file is gone, or is another; deploying again uploads it."""
    [wheel] = (deployed.folder / "Volumes" / "main" / "cli_doctor").glob("*_packages/*/*.whl")
    change(wheel)
    found = broken(deployed)
    assert found["name"] == "package"
    assert mended(found).code == 0


def test_a_paused_monitor_is_named(deployed: Cli, client: Any) -> None:
    """Somebody paused its trigger in the workspace: a deployment respects that, and doctor tells."""
    _, checks = examine(deployed)
    job_id = int(checks["monitor"]["detail"].split("job ")[1].split(",")[0])
    settings = client.jobs.get(job_id).settings
    from databricks.sdk.service.jobs import PauseStatus

    settings.schedule.pause_status = PauseStatus.PAUSED
    client.jobs.reset(job_id, settings)
    found = broken(deployed)
    assert (found["name"], found["fix"]) == ("monitor", "resume its schedule in the workspace")
    assert deployed("deploy", *DEPLOYED, "--volume-path", deployed.volume_path).code == 0
    assert broken(deployed)["name"] == "monitor"
    settings.schedule.pause_status = PauseStatus.UNPAUSED
    client.jobs.reset(job_id, settings)


def test_a_monitor_that_is_gone_is_named_and_mended(
    deployed: Cli, client: Any, mended: Callable[[dict[str, Any]], Done]
) -> None:
    """Its job was deleted by hand: deploying again makes it anew."""
    job_id = int(examine(deployed)[1]["monitor"]["detail"].split("job ")[1].split(",")[0])
    client.jobs.delete(job_id)
    found = broken(deployed)
    assert (found["name"], f"job {job_id} of monitor is gone" in found["detail"]) == ("monitor", True)
    assert mended(found).code == 0
