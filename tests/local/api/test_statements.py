"""The Statement Execution API over a SQL session that the test decides about."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from databricks.sdk.errors import InvalidParameterValue, NotFound, platform
from databricks.sdk.service import sql

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.server import build
from lakeflow_job_meta.local.state import Database
from tests.local.conftest import client_of, serving

State = sql.StatementState


class ScriptedSql:
    """A SQL session that answers what was put into it."""

    def __init__(self):
        self.calls = []
        self.go_on = threading.Event()

    def run(self, text, parameters, catalog=None, schema=None):
        self.calls.append((text, parameters, catalog, schema))
        if text == "wait":
            assert self.go_on.wait(20)
        if text == "fail":
            raise LocalError("[TABLE_OR_VIEW_NOT_FOUND] no such table")
        if text == "break":
            raise RuntimeError("a bug")
        count = int(text) if text.isdigit() else 1
        columns = [("n", "bigint"), ("d", "decimal(10,2)"), ("s", "string")]
        return SimpleNamespace(columns=columns, rows=[[str(i), "1.50", None] for i in range(count)])


@pytest.fixture(scope="module")
def session():
    return ScriptedSql()


@pytest.fixture(scope="module")
def statements(session, tmp_path_factory):
    folder = Folder.at(tmp_path_factory.mktemp("statements"))
    folder.prepare()
    app = build(folder, Database(folder.state), "t0ken", sql=session)
    with serving(app, "t0ken", str(folder.root)) as connection:
        yield client_of(connection).statement_execution


def test_a_result_has_a_manifest_and_rows_of_text(statements, session):
    found = statements.execute_statement("1", "local", catalog="main", schema="s")
    assert found.status.state == State.SUCCEEDED
    assert [(c.name, c.type_name.value, c.type_text, c.position) for c in found.manifest.schema.columns] == [
        ("n", "LONG", "bigint", 0),
        ("d", "DECIMAL", "decimal(10,2)", 1),
        ("s", "STRING", "string", 2),
    ]
    assert found.manifest.schema.columns[1].type_precision == 10
    assert found.manifest.schema.columns[1].type_scale == 2
    assert found.result.data_array == [["0", "1.50", None]]
    assert session.calls[-1] == ("1", {}, "main", "s")


def test_parameters_are_named_and_typed(statements, session):
    item = sql.StatementParameterListItem
    statements.execute_statement(
        "1", "local", parameters=[item("a", type="INT", value="5"), item("b"), item("c", value="x'y")]
    )
    assert session.calls[-1][1] == {"a": ("5", "INT"), "b": (None, "STRING"), "c": ("x'y", "STRING")}
    with pytest.raises(InvalidParameterValue, match="duplicate"):
        statements.execute_statement("1", "local", parameters=[item("a"), item("a")])
    with pytest.raises(InvalidParameterValue, match="parameter name"):
        statements.execute_statement("1", "local", parameters=[item("a b")])


def test_large_results_come_in_chunks(statements):
    """More than 5,000 rows need another chunk; each names the next one."""
    found = statements.execute_statement("12001", "local")
    assert found.manifest.total_chunk_count == 3
    assert found.manifest.total_row_count == 12001
    rows, part = list(found.result.data_array), found.result
    assert part.next_chunk_internal_link.startswith(f"/api/2.0/sql/statements/{found.statement_id}/")
    while part.next_chunk_index is not None:
        part = statements.get_statement_result_chunk_n(found.statement_id, part.next_chunk_index)
        assert part.row_offset == len(rows)
        rows += part.data_array
    assert [row[0] for row in rows] == [str(i) for i in range(12001)]
    with pytest.raises(InvalidParameterValue, match="chunk_index"):
        statements.get_statement_result_chunk_n(found.statement_id, 3)
    cut = statements.execute_statement("12001", "local", row_limit=10)
    assert cut.manifest.truncated is True
    assert len(cut.result.data_array) == 10
    assert statements.execute_statement("0", "local").manifest.total_row_count == 0


def test_an_error_is_a_failed_statement(statements):
    """A refused statement is no HTTP error: its state is FAILED, with code and message."""
    found = statements.execute_statement("fail", "local")
    assert found.status.state == State.FAILED
    assert found.status.error.error_code == sql.ServiceErrorCode.BAD_REQUEST
    assert "TABLE_OR_VIEW_NOT_FOUND" in found.status.error.message
    assert (
        statements.execute_statement("break", "local").status.error.error_code
        == sql.ServiceErrorCode.INTERNAL_ERROR
    )


def test_waiting(statements, session):
    """A statement that takes longer is fetched later, or cancelled when that was asked for."""
    session.go_on.clear()
    slow = statements.execute_statement("wait", "local", wait_timeout="0s")
    assert slow.status.state in (State.PENDING, State.RUNNING)
    with pytest.raises(InvalidParameterValue, match="no result"):
        statements.get_statement_result_chunk_n(slow.statement_id, 0)
    given_up = statements.execute_statement("wait", "local", wait_timeout="0s")
    statements.cancel_execution(given_up.statement_id)
    assert statements.get_statement(given_up.statement_id).status.state == State.CANCELED
    session.go_on.set()
    for _ in range(200):
        found = statements.get_statement(slow.statement_id)
        if found.status.state == State.SUCCEEDED:
            break
        threading.Event().wait(0.01)
    assert found.result.data_array
    assert statements.get_statement(given_up.statement_id).status.state == State.CANCELED


def test_cancel_on_timeout(statements, session):
    session.go_on.clear()
    found = statements.execute_statement(
        "wait", "local", wait_timeout="5s", on_wait_timeout=sql.ExecuteStatementRequestOnWaitTimeout.CANCEL
    )
    session.go_on.set()
    assert found.status.state == State.CANCELED


def test_wrong_calls_are_refused(statements, client):
    with pytest.raises(NotFound, match="other"):
        statements.execute_statement("1", "other")
    with pytest.raises(NotFound):
        statements.get_statement("nothing")
    for wrong in (
        {"wait_timeout": "3s"},
        {"wait_timeout": "x"},
        {"disposition": sql.Disposition.EXTERNAL_LINKS},
        {"format": sql.Format.CSV},
    ):
        with pytest.raises(InvalidParameterValue):
            statements.execute_statement("1", "local", **wrong)
    with pytest.raises(platform.NotImplemented, match="without Spark"):
        client.statement_execution.execute_statement("1", "local")
