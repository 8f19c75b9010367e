"""Tables over Spark: the contract on plain Sail and on the embedded workspace, and Spark's own ways to fail."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.adapters.spark_tables import SparkTables
from lakeflow_job_meta.adapters.sql_errors import classify
from lakeflow_job_meta.adapters.sql_text import batches, quote_text
from lakeflow_job_meta.errors import CommitConflict, TableNotFound, TablesError, TablesUnavailable
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import TableDefinition, Tables
from tests.adapters.tables_contract import TablesContract, columns_of, full


class TestOnSail(TablesContract):
    """A plain Sail server, which has no DESCRIBE HISTORY."""

    @pytest.fixture
    def tables(self, spark: Any) -> Tables:
        return SparkTables(spark)

    @pytest.fixture
    def name(self, schema: tuple[str, str]) -> TableName:
        return TableName(*schema, "things")

    def test_the_version_moves_with_every_commit(self, tables: Tables, definition: TableDefinition) -> None:
        """There is none to be had here; the error says so."""
        with pytest.raises(TablesError, match="reading the version"):
            tables.version(definition.name)


class TestOnTheEmbeddedWorkspace(TablesContract):
    """Through its gateway, which makes schemas and answers DESCRIBE HISTORY."""

    @pytest.fixture
    def tables(self, workspace_spark: Any) -> Tables:
        return SparkTables(workspace_spark)

    @pytest.fixture
    def name(self, tables: Tables) -> TableName:
        name = f"s{uuid.uuid4().hex[:8]}"
        tables.create_schema("main", name)
        tables.create_schema("main", name)
        return TableName("main", name, "things")


def test_no_view_is_left_behind(spark: Any, tables: Any, schema: tuple[str, str]) -> None:
    """Neither after a statement that worked nor after one that failed."""
    definition = TableDefinition(TableName(*schema, "things"), columns_of())
    with pytest.raises(TableNotFound):
        tables.append(definition, [full("a")])
    tables.create_table(definition)
    tables.merge(definition, [full("a")], keys=["k"])
    views = [table.name for table in spark.catalog.listTables() if table.isTemporary]
    assert not [view for view in views if view.startswith("lakeflow_job_meta_")]


def test_batches_stay_below_the_limit() -> None:
    """A row that is larger alone travels alone; none is lost, the order stays."""
    rows = [{"k": "x" * size} for size in (10, 10, 10, 100, 5, 5)]
    runs = list(batches(rows, 25))
    assert [[len(row["k"]) for row in run] for run in runs] == [[10, 10], [10], [100], [5, 5]]
    assert [len(run) for run in batches([{"k": "ü" * 10}] * 2, 30)] == [1, 1]
    assert list(batches([], 10)) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=10))
def test_quoting_is_safe_for_any_text(spark: Any, texts: list[str]) -> None:
    """A literal is read back as it was, whatever it holds."""
    selected = ", ".join(f"{quote_text(text)} AS c{number}" for number, text in enumerate(texts))
    assert list(spark.sql(f"SELECT {selected}").collect()[0]) == texts


def test_two_writers_of_one_row_conflict(spark: Any, sail: Any, schema: tuple[str, str]) -> None:
    """One wins, the other gets CommitConflict and may repeat: nothing is lost or done twice."""
    definition = TableDefinition(TableName(*schema, "things"), columns_of())
    tables = SparkTables(spark)
    tables.create_table(definition)
    tables.append(definition, [full("a", small=0)])
    sessions = [sail.session() for _ in range(2)]
    for session in sessions:
        sail.register(session, definition.name)
    barrier, conflicts, wins = threading.Barrier(2), [], []

    def write(session: Any, number: int) -> None:
        mine = SparkTables(session)
        for attempt in range(6):
            barrier.wait(20)
            try:
                mine.merge(definition, [full("a", small=number * 100 + attempt)], keys=["k"])
                wins.append(number)
            except CommitConflict:
                conflicts.append(number)

    threads = [threading.Thread(target=write, args=(session, i)) for i, session in enumerate(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for session in sessions:
        session.stop()
    assert len(wins) + len(conflicts) == 12
    assert conflicts, "two MERGEs of one row never met"
    assert sail.version(definition.name) == 1 + len(wins)
    assert len(tables.query(f"SELECT * FROM {definition.name.quoted}")) == 1


def test_a_session_that_was_stopped(sail: Any) -> None:
    """Is TablesUnavailable, with what to do."""
    session = sail.session()
    session.stop()
    with pytest.raises(TablesUnavailable, match="start the session"):
        SparkTables(session).query("SELECT 1")


def test_values_that_no_column_holds(tables: Any, schema: tuple[str, str]) -> None:
    """A lone surrogate, an integer beyond 64 bits, another type: one sentence, nothing is written."""
    definition = TableDefinition(TableName(*schema, "things"), columns_of())
    tables.create_table(definition)
    for wrong in ({"text": "\ud800"}, {"number": 2**70}, {"number": "text"}):
        with pytest.raises(TablesError):
            tables.append(definition, [full("a", **wrong)])
    assert tables.query(f"SELECT * FROM {definition.name.quoted}") == []


@pytest.mark.parametrize(
    ("types", "condition", "message", "expected"),
    [
        # Databricks: by exception type, then by condition
        (("ConcurrentAppendException",), "", "Files were added", CommitConflict),
        (("SparkException",), "DELTA_CONCURRENT_APPEND.ROW_LEVEL_CHANGES", "x", CommitConflict),
        (("SparkException",), "DELTA_METADATA_CHANGED", "x", CommitConflict),
        (("AnalysisException",), "TABLE_OR_VIEW_ALREADY_EXISTS", "x", CommitConflict),
        (("AnalysisException",), "TABLE_OR_VIEW_NOT_FOUND", "x", TableNotFound),
        (("AnalysisException",), "SCHEMA_NOT_FOUND", "x", TableNotFound),
        (("AnalysisException",), "NO_SUCH_CATALOG_EXCEPTION", "x", TableNotFound),
        (("SparkConnectGrpcException",), "INVALID_HANDLE.SESSION_CLOSED", "x", TablesUnavailable),
        (("_InactiveRpcError", "RpcError"), "", "StatusCode.UNAVAILABLE", TablesUnavailable),
        (("Py4JNetworkError", "Py4JError"), "", "Answer from Java side is empty", TablesUnavailable),
        (("AnalysisException",), "UNRESOLVED_COLUMN", "a column cannot be found", TablesError),
        # a warehouse: the condition stands in the message
        ((), "", "[DELTA_CONCURRENT_WRITE] ConcurrentWriteException: x", CommitConflict),
        ((), "", "[TABLE_OR_VIEW_NOT_FOUND] The table or view `a`.`b` cannot be found.", TableNotFound),
        ((), "", "[SCHEMA_NOT_FOUND] The schema `a` cannot be found.", TableNotFound),
        ((), "", "[PARSE_SYNTAX_ERROR] Syntax error at or near 'table not found'", TablesError),
        ((), "", "Catalog 'x' does not exist.", TableNotFound),
        # Sail: only type and message
        (("SparkRuntimeException",), "", "Failed to commit transaction: 0", CommitConflict),
        (("AnalysisException",), "", "Table not found: main.s.t", TableNotFound),
        (("SparkRuntimeException",), "", "division by zero", TablesError),
    ],
)
def test_errors_are_classified(types: tuple[str, ...], condition: str, message: str, expected: type) -> None:
    """By exception type, then by error condition, then by message."""
    error = classify("the query", message + "\nJVM stacktrace:\n  at ...", types=types, condition=condition)
    assert type(error) is expected
    assert str(error).startswith("the query")
    assert "stacktrace" not in str(error)
