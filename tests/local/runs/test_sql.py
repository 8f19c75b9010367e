"""SQL tasks: saved queries and files, their parameters and results."""

from __future__ import annotations

from typing import Any

from .conftest import Statements, Workspace, after, condition, result, until


def query(workspace: Workspace, text: str, **fields: Any) -> str:
    body = {"query": {"display_name": "q", "query_text": text, "warehouse_id": "local", **fields}}
    body["auto_resolve_display_name"] = True  # type: ignore[assignment]
    return str(workspace.client.api_client.do("POST", "/api/2.0/sql/queries", body=body)["id"])


def sql_task(**fields: Any) -> dict[str, Any]:
    return {"task_key": "q", "sql_task": {"warehouse_id": "local", **fields}}


def last_call(workspace: Workspace) -> tuple[str, dict[str, Any], str | None, str | None]:
    assert isinstance(workspace.sql, Statements)
    return workspace.sql.calls[-1]


def test_query(workspace: Workspace) -> None:
    """The text is looked up, declared parameters get their type, the task's values win over defaults."""
    query_id = query(
        workspace,
        "SELECT :threshold, :day, :name, :pick, :extra",
        catalog="bronze",
        schema="s",
        parameters=[
            {"name": "threshold", "numeric_value": {"value": 5.0}},
            {"name": "day", "date_value": {"date_value": "2024-01-01"}},
            {"name": "name", "text_value": {"value": "default"}},
            {"name": "pick", "enum_value": {"values": ["one"], "enum_options": "one\ntwo"}},
        ],
    )
    run = workspace.run(
        [sql_task(query={"query_id": query_id}, parameters={"threshold": "7.5", "extra": "e", "no": "x"})]
    )
    assert result(run) == "SUCCESS"
    text, parameters, catalog, schema = last_call(workspace)
    assert text == "SELECT :threshold, :day, :name, :pick, :extra"
    assert parameters == {
        "threshold": ("7.5", "DOUBLE"),
        "day": ("2024-01-01", "DATE"),
        "name": ("default", "STRING"),
        "pick": ("one", "STRING"),
        "extra": "e",
    }
    assert (catalog, schema) == ("bronze", "s")
    output = workspace.output(run, "q")["sql_output"]["query_output"]
    assert output["warehouse_id"] == "local"
    assert output["query_text"].startswith("SELECT")
    rows = workspace.client.api_client.do("GET", output["output_link"].removeprefix(workspace.host))
    assert rows == {"columns": ["n", "s"], "rows": [{"n": "1", "s": "one"}, {"n": "2", "s": None}]}


def test_file(workspace: Workspace, unique: str) -> None:
    """All statements of a workspace file run, with the parameters that it uses."""
    path = workspace.file(f"/Workspace/{unique}.sql", "CREATE TABLE t;\nSELECT :day FROM t;\n")
    assert isinstance(workspace.sql, Statements)
    before = len(workspace.sql.calls)
    run = workspace.run(
        [sql_task(file={"path": path}, parameters={"day": "{{job.start_time.iso_date}}"})],
        parameters=[{"name": "pushed", "default": "x"}],
    )
    assert result(run) == "SUCCESS"
    assert len(workspace.sql.calls) == before + 2
    assert list(last_call(workspace)[1]) == ["day"]
    assert len(last_call(workspace)[1]["day"]) == 10


def test_rows_feed_other_tasks(workspace: Workspace, unique: str) -> None:
    """`{{tasks.q.output.first_row.n}}` is the result's first value."""
    path = workspace.file(f"/Workspace/{unique}.sql", "SELECT 1")
    run = workspace.run(
        [
            sql_task(file={"path": path}),
            condition("c", "{{tasks.q.output.first_row.n}}", "1", depends_on=after("q")),
        ]
    )
    assert run["tasks"][1]["condition_task"]["outcome"] == "true"


def test_failures(workspace: Workspace, unique: str) -> None:
    """A statement, a query and a file that are wrong or missing fail with their reason."""
    bad = workspace.file(f"/Workspace/{unique}.sql", "FAIL")
    trashed = query(workspace, "SELECT 1")
    workspace.client.queries.delete(trashed)
    for fields, message in (
        ({"file": {"path": bad}}, "PARSE_SYNTAX_ERROR"),
        ({"file": {"path": "/Workspace/gone.sql"}}, "does not exist"),
        ({"file": {"path": "gone.sql"}}, "/Workspace"),
        ({"query": {"query_id": "gone"}}, "does not exist"),
        ({"query": {"query_id": trashed}}, "trash"),
    ):
        run = workspace.run([sql_task(**fields)])
        assert result(run) == "FAILED"
        assert message in workspace.output(run, "q")["error"]


def test_stop(workspace: Workspace, unique: str) -> None:
    """A statement that hangs does not hold up a timeout or a cancel."""
    path = workspace.file(f"/Workspace/{unique}.sql", "HANG")
    run = workspace.run([{**sql_task(file={"path": path}), "timeout_seconds": 1}])
    assert result(run) == "TIMEDOUT"
    run_id = workspace.run_now(workspace.job([sql_task(file={"path": path})]))
    until(lambda: last_call(workspace)[0] == "HANG")
    workspace.post("runs/cancel", run_id=run_id)
    assert result(workspace.ended(run_id, 5)) == "CANCELED"
    assert isinstance(workspace.sql, Statements)
    workspace.sql.hang.set()
