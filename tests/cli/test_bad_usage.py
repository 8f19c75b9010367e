"""Bad usage of a real workspace: one sentence that says what to do, the right exit code, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Done, module_yaml


def sentence(done: Done, code: int) -> str:
    """The one error of a call that ended with `code`."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("error: "), done.err
    assert len(done.err.strip().splitlines()) <= 2, done.err
    return done.err


@pytest.mark.parametrize("command", [["plan"], ["apply"], ["status"], ["run", "sales"]], ids=lambda c: c[0])
def test_no_such_table(cli: Cli, command: list[str]) -> None:
    """In a workspace that is not `--local`, nothing is made silently: the table is missing, or knows no module."""
    done = cli.connected(*command, "--control-table", "main.no_such_schema.etl_control")
    if command == ["status"]:
        assert (done.code, "no module yet" in done.out) == (0, True)
        return
    assert "no_such_schema" in sentence(done, 1) or "sales" in done.err
    assert cli.sql("SHOW SCHEMAS IN main LIKE 'no_such_schema'") == []


def test_no_such_catalog(cli: Cli) -> None:
    """`--local` makes schemas, not catalogs; the sentence names the catalog."""
    done = cli.here("apply", "--local", str(cli.folder), "--control-table", "nowhere.s.t")
    assert "nowhere" in sentence(done, 1)


def test_no_credentials(cli: Cli, tmp_path: Path) -> None:
    """No host, no token, no profile: how to log in is said."""
    done = cli.bare("plan", "--control-table", "c.s.t", "--warehouse-id", "abc", HOME=str(tmp_path))
    text = sentence(done, done.code)
    assert done.code in (1, 64)
    assert "DATABRICKS_HOST" in text


def test_wrong_credentials(cli: Cli) -> None:
    """A token that the workspace does not know; it is not repeated in the message."""
    variables = {**cli.connection.environment(), "DATABRICKS_TOKEN": "wrong-secret"}
    del variables["SPARK_REMOTE"]
    done = cli.bare("plan", "--control-table", cli.table, "--warehouse-id", "local", **variables)
    assert "wrong-secret" not in sentence(done, 1)
    assert "token" in done.err.lower() or "credential" in done.err.lower()


def test_nobody_answers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host where nothing listens: what to check, after the waiting that the SDK does."""
    monkeypatch.setattr("lakeflow_job_meta.cli.session.PATIENCE", 1)
    monkeypatch.setattr("lakeflow_job_meta.adapters.databricks.PROBE_RETRY_SECONDS", 1)
    nobody = {"DATABRICKS_HOST": "http://127.0.0.1:9", "DATABRICKS_TOKEN": "x"}
    done = cli.here("plan", "--control-table", "c.s.t", "--warehouse-id", "abc", **nobody)
    assert "DATABRICKS_HOST" in sentence(done, 1)


def test_no_sql_engine(cli: Cli) -> None:
    """Neither Spark nor a warehouse: both ways out are named."""
    variables = {k: v for k, v in cli.connection.environment().items() if k != "SPARK_REMOTE"}
    text = sentence(cli.bare("plan", "--control-table", cli.table, **variables), 1)
    assert "--warehouse-id" in text
    assert "--local" in text


def test_no_such_warehouse(cli: Cli) -> None:
    """The id of a warehouse that is not there."""
    variables = {k: v for k, v in cli.connection.environment().items() if k != "SPARK_REMOTE"}
    text = sentence(cli.bare("plan", "--control-table", cli.table, "--warehouse-id", "nope", **variables), 1)
    assert "nope" in text


def test_a_sql_task_without_a_warehouse(cli: Cli, tmp_path: Path) -> None:
    """The module is refused, the source named, and how to give one said."""
    path = tmp_path / "sales.yaml"
    path.write_text(module_yaml("sales").replace('"warehouse_id": "local", ', ""))
    done = cli("plan", "--yaml", str(path))
    assert done.code == 1
    assert "sales/extract" in done.out
    assert "warehouse_id" in done.out
    assert cli("plan", "--yaml", str(path), "--default-warehouse-id", "local").code == 2


def test_a_control_table_with_other_columns(cli: Cli) -> None:
    """Every column that is missing or wrong is named."""
    schema = cli.table.rpartition(".")[0]
    cli.sql(
        f"CREATE SCHEMA IF NOT EXISTS {schema}; CREATE TABLE {cli.table} (source_id INT, colour STRING) USING delta"
    )
    for command in ("plan", "apply", "load"):
        arguments = [__file__] if command == "load" else []
        text = sentence(cli(command, *arguments), 1)
        assert "source_id is INT instead of STRING" in text
        assert "module_name STRING is missing" in text


def test_an_unknown_module(cli: Cli, tmp_path: Path) -> None:
    """Named with those that exist."""
    path = tmp_path / "sales.yaml"
    path.write_text(module_yaml("sales"))
    assert cli("apply", "--yaml", str(path)).code == 0
    assert "sales" in sentence(cli("plan", "--module", "slaes"), 1)
    assert "sales" in sentence(cli("run", "slaes"), 1)


def test_a_volume_that_is_not_there(cli: Cli) -> None:
    """`load` of it ends with 1 and its path."""
    assert "/Volumes/main/no/volume" in sentence(cli("load", "/Volumes/main/no/volume"), 1)


def test_a_plan_file_that_is_none(cli: Cli, tmp_path: Path) -> None:
    """Some other JSON is no plan."""
    (tmp_path / "plan.json").write_text("{}")
    assert "plan.json" in sentence(cli("apply", "--plan", str(tmp_path / "plan.json")), 1)


def test_a_settings_row_that_is_wrong(cli: Cli) -> None:
    """It is named as what it is, whoever reads it."""
    assert cli("plan").code == 0
    cli.sql(
        f"INSERT INTO {cli.table} VALUES ('__settings__', '__control__', NULL, 0, NULL, NULL, '{{\"drift\": \"never\"}}', true)"
    )
    done = cli("plan")
    assert done.code in (1, 64)
    assert "drift" in done.err


def test_a_folder_that_cannot_be_made(cli: Cli, tmp_path: Path) -> None:
    """`--local` below a file."""
    (tmp_path / "file").write_text("")
    done = cli.here("plan", "--local", str(tmp_path / "file" / "w"), "--control-table", "main.s.t")
    assert str(tmp_path / "file") in sentence(done, done.code)
    assert done.code in (1, 64)
