"""Tables over a SQL warehouse: the contract on the embedded workspace over real HTTP, and a scripted service."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from databricks.sdk import errors as sdk
from databricks.sdk.service.sql import ResultData, StatementResponse

from lakeflow_job_meta.adapters import warehouse_tables
from lakeflow_job_meta.adapters.warehouse_tables import DEADLINE_SECONDS, WarehouseTables
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.errors import CommitConflict, TablesError, TablesUnavailable
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import TableDefinition, Tables
from tests.adapters.scripted_server import ScriptedServer, serving
from tests.adapters.tables_contract import TablesContract, columns_of, full


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    with serving() as server:
        yield server


@pytest.fixture
def warehouse(workspace_client: Any) -> WarehouseTables:
    return WarehouseTables(workspace_client, "local")


@pytest.fixture
def name(warehouse: WarehouseTables) -> TableName:
    schema = f"w{uuid.uuid4().hex[:8]}"
    warehouse.create_schema("main", schema)
    return TableName("main", schema, "things")


class TestOnTheEmbeddedWorkspace(TablesContract):
    """The real SDK over loopback HTTP."""

    @pytest.fixture
    def tables(self, warehouse: WarehouseTables) -> Tables:
        return warehouse

    @pytest.fixture
    def name(self, tables: Tables) -> TableName:
        schema = f"w{uuid.uuid4().hex[:8]}"
        tables.create_schema("main", schema)
        tables.create_schema("main", schema)
        return TableName("main", schema, "things")


def test_the_control_room_works_on_it(warehouse: WarehouseTables, name: TableName) -> None:
    """Control table and claims, as on Spark."""
    table = ControlTable(warehouse, name)
    assert table.ensure()
    rows = [Row("a", "it's", "sql", 1, "{}", None, '{"q": "SELECT \'x\'"}', None), Row("b", "m", "sql", 2)]
    table.write(rows)
    assert table.rows() == rows
    assert table.rows(["it's"]) == rows[:1]
    assert table.modules() == ["it's", "m"]
    records = JobRecords(warehouse, name, "ws")
    records.insert({"m": "", "n": ""})
    assert set(records.claim(["m", "n"], "00000000-0001", 60)) == {"m", "n"}
    assert not records.claim(["m"], "00000000-0002", 60)
    records.release(["m"], "00000000-0001")
    assert set(records.claim(["m", "n"], "00000000-0002", 60)) == {"m"}


def test_results_of_many_chunks_come_whole(warehouse: WarehouseTables) -> None:
    """In order; the service cuts at 5,000 rows here."""
    rows = warehouse.query("SELECT id, CAST(id AS STRING) AS text FROM range(12345) ORDER BY id")
    assert [row["id"] for row in rows] == list(range(12345))
    assert rows[-1] == {"id": 12344, "text": "12344"}


def test_rows_of_many_statements(
    warehouse: WarehouseTables, name: TableName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows beyond a statement's size go in several statements."""
    monkeypatch.setattr(warehouse_tables, "BATCH_BYTES", 2_000)
    definition = TableDefinition(name, columns_of())
    warehouse.create_table(definition)
    before = warehouse.statements
    warehouse.append(definition, [full(f"{number:03}") for number in range(100)])
    assert warehouse.statements > before + 5
    rows = warehouse.query(f"SELECT * FROM {name.quoted} ORDER BY k")
    assert rows == [full(f"{number:03}") for number in range(100)]


def test_a_warehouse_that_is_not_there(workspace_client: Any) -> None:
    """One clear sentence with the id."""
    with pytest.raises(TablesUnavailable, match="there is no SQL warehouse with the id 'nope'"):
        WarehouseTables(workspace_client, "nope").query("SELECT 1")


# ------------------------------------------------------------ a scripted service


def response(state: str, rows: list[list[str | None]] | None = None, **more: Any) -> StatementResponse:
    """A response as the service gives it; `columns` as (name, type_name)."""
    columns = [
        {"name": name, "type_name": kind, "type_text": kind, "position": position}
        for position, (name, kind) in enumerate(more.pop("columns", [("a", "INT")]))
    ]
    body: dict[str, Any] = {"statement_id": "s1", "status": {"state": state, **more.pop("status", {})}}
    if state == "SUCCEEDED":
        body["manifest"] = {
            "schema": {"columns": columns, "column_count": len(columns)},
            **more.pop("manifest", {}),
        }
        body["result"] = {"data_array": rows or [], **more.pop("result", {})}
    return StatementResponse.from_dict(body)


class Service:
    """Answers the three calls from lists; an exception in a list is raised."""

    def __init__(self, *answers: Any, chunks: dict[int, Any] | None = None) -> None:
        self.answers = list(answers)
        self.chunks = chunks or {}
        self.sent: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.statement_execution = self
        self.now = 0.0
        self.naps: list[float] = []

    def tables(self) -> WarehouseTables:
        return WarehouseTables(self, "w1", clock=lambda: self.now, sleep=self.sleep)  # type: ignore[arg-type]

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def _next(self) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def execute_statement(self, statement: str, warehouse_id: str, **given: Any) -> Any:
        self.sent.append({"statement": statement, "warehouse_id": warehouse_id, **given})
        return self._next()

    def get_statement(self, statement_id: str) -> Any:
        return self._next()

    def get_statement_result_chunk_n(self, statement_id: str, index: int) -> Any:
        return ResultData.from_dict(self.chunks[index])

    def cancel_execution(self, statement_id: str) -> None:
        self.cancelled.append(statement_id)


def test_it_waits_while_the_warehouse_starts() -> None:
    """Polls with growing pauses; one statement however long it takes."""
    service = Service(
        response("PENDING"), response("PENDING"), response("RUNNING"), response("SUCCEEDED", [["1"]])
    )
    tables = service.tables()
    assert tables.query("SELECT 1 AS a") == [{"a": 1}]
    assert tables.statements == 1
    assert len(service.naps) == 3
    assert service.naps == sorted(service.naps)
    [sent] = service.sent
    assert sent["wait_timeout"] == "30s"
    assert sent["on_wait_timeout"].value == "CONTINUE"
    assert (sent["disposition"].value, sent["format"].value) == ("INLINE", "JSON_ARRAY")


def test_an_unknown_state_means_still_running() -> None:
    """The service may learn new words."""
    service = Service(response("WARMING_UP"), response("SUCCEEDED", [["1"]]))
    assert service.tables().query("SELECT 1 AS a") == [{"a": 1}]


def test_it_does_not_wait_for_ever() -> None:
    """A statement is cancelled at its deadline."""
    service = Service(response("RUNNING"))
    with pytest.raises(TablesUnavailable, match="gave no answer in 900 s"):
        service.tables().query("SELECT 1")
    assert service.cancelled == ["s1"]
    assert service.now == pytest.approx(DEADLINE_SECONDS, abs=10)


def test_all_chunks_are_fetched() -> None:
    """Only a missing next_chunk_index ends a result."""
    service = Service(
        response("SUCCEEDED", [["1"]], manifest={"total_row_count": 3}, result={"next_chunk_index": 1}),
        chunks={1: {"data_array": [], "next_chunk_index": 2}, 2: {"data_array": [["2"], [None]]}},
    )
    assert service.tables().query("x") == [{"a": 1}, {"a": 2}, {"a": None}]


def links(server: ScriptedServer, path: str, **more: Any) -> dict[str, Any]:
    """A result that lies elsewhere."""
    return {
        "external_links": [{"external_link": f"{server.host}{path}", "http_headers": {"X-Own": "1"}, **more}]
    }


TOO_LARGE = {
    "error": {"message": "Inline byte limit exceeded. Statements executed with disposition=INLINE ..."}
}


def test_a_result_above_the_inline_limit_is_fetched_by_links(scripted: ScriptedServer) -> None:
    """The query is asked again with links; every chunk is fetched, without our credentials."""
    scripted.will("/one", body=[["1"], ["2"]])
    scripted.will("/two", body=[["3"]])
    service = Service(
        response("FAILED", status=TOO_LARGE),
        response(
            "SUCCEEDED", manifest={"total_row_count": 3}, result=links(scripted, "/one", next_chunk_index=1)
        ),
        chunks={1: links(scripted, "/two")},
    )
    tables = service.tables()
    assert tables.query("x", {"p": 1}) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert tables.statements == 2
    assert [sent["disposition"].value for sent in service.sent] == ["INLINE", "EXTERNAL_LINKS"]
    assert all("Authorization" not in request.headers for request in scripted.requests)
    assert scripted.requests[0].headers["X-Own"] == "1"


def test_a_link_that_fails_does_not_show_itself(scripted: ScriptedServer) -> None:
    """It is a credential."""
    scripted.will("/secret", status=403, body={})
    service = Service(
        response("FAILED", status=TOO_LARGE), response("SUCCEEDED", result=links(scripted, "/secret"))
    )
    with pytest.raises(TablesUnavailable, match="HTTP 403") as caught:
        service.tables().query("x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [({"total_row_count": 3}, TablesUnavailable), ({"truncated": True}, TablesError)],
)
def test_a_result_that_lacks_rows_is_an_error(manifest: dict[str, Any], expected: type) -> None:
    """Rows that were lost on the way could retire jobs."""
    with pytest.raises(expected):
        Service(response("SUCCEEDED", [["1"]], manifest=manifest)).tables().query("x")


@pytest.mark.parametrize(
    ("state", "status", "expected", "told"),
    [
        (
            "FAILED",
            {"error": {"error_code": "BAD_REQUEST", "message": "[DELTA_CONCURRENT_APPEND] Conflict"}},
            CommitConflict,
            "another writer",
        ),
        (
            "FAILED",
            {"error": {"message": "[DIVIDE_BY_ZERO] Division by zero.\n at x"}},
            TablesError,
            "DIVIDE_BY_ZERO",
        ),
        ("FAILED", {}, TablesError, "no reason given"),
        ("CANCELED", {}, TablesUnavailable, "canceled"),
        ("CLOSED", {}, TablesUnavailable, "closed"),
    ],
)
def test_statements_that_fail(state: str, status: dict[str, Any], expected: type, told: str) -> None:
    """Are classified as Spark's errors are, by the condition in the message."""
    with pytest.raises(TablesError, match=told) as caught:
        Service(response(state, status=status)).tables().query("x")
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (sdk.NotFound("Warehouse w1 was not found"), TablesUnavailable, "no SQL warehouse with the id 'w1'"),
        (sdk.InvalidParameterValue("w1 is not a valid endpoint id / warehouse"), TablesUnavailable, "'w1'"),
        (sdk.PermissionDenied("You do not have access"), TablesUnavailable, "You do not have access"),
        (sdk.BadRequest("[PARSE_SYNTAX_ERROR] Syntax error"), TablesError, "PARSE_SYNTAX_ERROR"),
        (TimeoutError("Timed out after 0:05:00"), TablesUnavailable, "no answer"),
        (ConnectionError("refused"), TablesUnavailable, "no answer"),
    ],
)
def test_calls_that_fail(error: Exception, expected: type, told: str) -> None:
    """Become ours, chained."""
    with pytest.raises(TablesError, match=told) as caught:
        Service(error).tables().query("x")
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29T12:34:56.789Z", datetime(2024, 2, 29, 12, 34, 56, 789000, timezone.utc)),
        ("2024-02-29T12:34:56.123456Z", datetime(2024, 2, 29, 12, 34, 56, 123456, timezone.utc)),
        ("2024-02-29 12:34:56", datetime(2024, 2, 29, 12, 34, 56, 0, timezone.utc)),
        ("2024-02-29T12:34Z", datetime(2024, 2, 29, 12, 34, 0, 0, timezone.utc)),
        ("2024-02-29T12:34:56.5+05:30", datetime(2024, 2, 29, 7, 4, 56, 500000, timezone.utc)),
        ("2024-02-29T12:34:56-08", datetime(2024, 2, 29, 20, 34, 56, 0, timezone.utc)),
    ],
)
def test_times_are_read_in_every_form(text: str, expected: datetime) -> None:
    """With or without fraction and offset; without one it is UTC."""
    service = Service(response("SUCCEEDED", [[text]], columns=[("at", "TIMESTAMP")]))
    assert service.tables().query("x") == [{"at": expected}]


def test_a_time_that_cannot_be_read() -> None:
    service = Service(response("SUCCEEDED", [["yesterday"]], columns=[("at", "TIMESTAMP")]))
    with pytest.raises(TablesError, match="'yesterday'"):
        service.tables().query("x")


@pytest.mark.parametrize(
    "call",
    [
        lambda tables, definition: tables.append(definition, [full("a")]),
        lambda tables, definition: tables.merge(definition, [full("a")], keys=["k"]),
    ],
)
def test_rows_are_one_bound_parameter(call: Callable[[Any, TableDefinition], None]) -> None:
    """No value stands in the statement."""
    service = Service(response("SUCCEEDED"))
    call(service.tables(), TableDefinition(TableName("c", "s", "t"), columns_of()))
    [sent] = service.sent
    [parameter] = sent["parameters"]
    assert (parameter.name, parameter.type) == ("rows", "STRING")
    assert '"text":"x"' in parameter.value
    assert "'FAILFAST'" in sent["statement"]
    assert '"x"' not in sent["statement"]
