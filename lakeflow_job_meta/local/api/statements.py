"""The Statement Execution API on the workspace's own Spark SQL: INLINE results as JSON_ARRAY, in chunks."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.routing import Route

from lakeflow_job_meta.errors import LakeflowJobMetaError, TablesUnavailable
from lakeflow_job_meta.local.api.call import Call, Json, route
from lakeflow_job_meta.local.api.column_types import column_type
from lakeflow_job_meta.local.api.errors import ApiError, invalid
from lakeflow_job_meta.local.api.warehouses import WarehousesApi, require_warehouse

PREFIX = "/api/2.0/sql/statements"
CHUNK_ROWS = 5_000
CHUNK_BYTES = 4 * 1024 * 1024
KEEP_SECONDS = 3600.0
"""How long the result of a statement can be fetched."""
MAX_STATEMENT = 16 * 1024 * 1024
WORKERS = 8

_WAIT = re.compile(r"(\d+)s")
_NAME = re.compile(r"[A-Za-z_]\w*")


class SqlResult(Protocol):
    """What one statement gave: names with types, and rows of text or None."""

    @property
    def columns(self) -> Any: ...
    @property
    def rows(self) -> Any: ...


class Sql(Protocol):
    """The SQL session of the server."""

    def run(
        self,
        sql: str,
        parameters: Mapping[str, str | tuple[str | None, str] | None],
        catalog: str | None = None,
        schema: str | None = None,
    ) -> Any: ...


@dataclass
class Statement:
    """A statement under way or done."""

    statement_id: str
    future: Future[Any]
    row_limit: int
    canceled: bool = False
    ended: float = 0.0
    chunks: list[tuple[int, list[list[str | None]], int]] = field(default_factory=list)
    """First row, rows, bytes of each chunk."""
    manifest: Json = field(default_factory=dict)


class StatementsApi:
    """Handlers of `/api/2.0/sql/statements`.

    Args:
        sql: the SQL session; None when the workspace runs without Spark.
        warehouses: told that the warehouse is used.
        chunk_rows: rows of a chunk at most.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        sql: Sql | None,
        warehouses: WarehousesApi,
        chunk_rows: int = CHUNK_ROWS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sql = sql
        self._warehouses = warehouses
        self._chunk_rows = chunk_rows
        self._clock = clock
        self._statements: dict[str, Statement] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="statement")

    def routes(self) -> list[Route]:
        return [
            route("POST", PREFIX, self.execute),
            route("POST", PREFIX + "/", self.execute),
            route("GET", PREFIX + "/{id}", self.get),
            route("POST", PREFIX + "/{id}/cancel", self.cancel),
            route("GET", PREFIX + "/{id}/result/chunks/{chunk:int}", self.chunk),
        ]

    async def execute(self, call: Call) -> Json:
        sql = self._sql
        if sql is None:
            raise ApiError(501, "NOT_IMPLEMENTED", "This workspace runs without Spark: it answers no SQL.")
        text = call.required("statement")
        require_warehouse(call.required("warehouse_id"))
        self._warehouses.used()
        wait, on_timeout = _waiting(call)
        _require_inline(call)
        if len(text.encode()) > MAX_STATEMENT:
            raise invalid("statement is limited to 16 MiB")
        parameters = _parameters(call.array("parameters"))
        catalog, schema = call.text("catalog") or None, call.text("schema") or None
        future = self._workers.submit(sql.run, text, parameters, catalog, schema)
        statement = Statement(str(uuid.uuid4()), future, call.integer("row_limit", 0))
        self._keep(statement)
        if wait:
            await asyncio.wait([asyncio.wrap_future(future)], timeout=wait)
            if not future.done() and on_timeout == "CANCEL":
                self._cancel(statement)
        return self._describe(statement)

    def get(self, call: Call) -> Json:
        return self._describe(self._statement(call))

    def cancel(self, call: Call) -> Json:
        self._cancel(self._statement(call))
        return {}

    def chunk(self, call: Call) -> Json:
        statement = self._statement(call)
        index = int(call.path["chunk"])
        state = self._describe(statement)["status"]["state"]
        if state != "SUCCEEDED":
            raise invalid(f"Statement {statement.statement_id} is {state}: it has no result")
        if not 0 <= index < len(statement.chunks):
            raise invalid(f"chunk_index {index} does not exist: there are {len(statement.chunks)} chunks")
        return _result(statement, index)

    def _statement(self, call: Call) -> Statement:
        statement = self._statements.get(call.path["id"])
        if statement is None:
            raise ApiError(404, "NOT_FOUND", f"The statement {call.path['id']} was not found.")
        return statement

    def _keep(self, statement: Statement) -> None:
        now = self._clock()
        with self._lock:
            for old in [s for s in self._statements.values() if s.ended and s.ended < now - KEEP_SECONDS]:
                del self._statements[old.statement_id]
            self._statements[statement.statement_id] = statement

    def _cancel(self, statement: Statement) -> None:
        """The engine cannot be stopped in the middle; its answer is thrown away."""
        if not statement.future.done():
            statement.canceled = True
            statement.future.cancel()

    def _describe(self, statement: Statement) -> Json:
        body: Json = {"statement_id": statement.statement_id}
        if statement.canceled:
            return body | {"status": {"state": "CANCELED"}}
        future = statement.future
        if not future.done():
            return body | {"status": {"state": "RUNNING" if future.running() else "PENDING"}}
        statement.ended = statement.ended or self._clock()
        error = future.exception()
        if error is not None:
            code = "BAD_REQUEST" if isinstance(error, LakeflowJobMetaError) else "INTERNAL_ERROR"
            if isinstance(error, TablesUnavailable):
                code = "TEMPORARILY_UNAVAILABLE"
            message = str(error) or type(error).__name__
            return body | {"status": {"state": "FAILED", "error": {"error_code": code, "message": message}}}
        with self._lock:
            if not statement.manifest:
                self._lay_out(statement, future.result())
        return body | {
            "status": {"state": "SUCCEEDED"},
            "manifest": statement.manifest,
            "result": _result(statement, 0) if statement.chunks else {},
        }

    def _lay_out(self, statement: Statement, result: SqlResult) -> None:
        rows = result.rows
        truncated = bool(statement.row_limit) and len(rows) > statement.row_limit
        if truncated:
            rows = rows[: statement.row_limit]
        statement.chunks = _chunks(rows, self._chunk_rows)
        statement.manifest = {
            "format": "JSON_ARRAY",
            "schema": {
                "column_count": len(result.columns),
                "columns": [
                    {"name": name, "position": position, **column_type(type_text)}
                    for position, (name, type_text) in enumerate(result.columns)
                ],
            },
            "total_row_count": len(rows),
            "total_byte_count": sum(size for _, _, size in statement.chunks),
            "total_chunk_count": len(statement.chunks),
            "chunks": [
                {"chunk_index": index, "row_offset": first, "row_count": len(part), "byte_count": size}
                for index, (first, part, size) in enumerate(statement.chunks)
            ],
            "truncated": truncated,
        }


def _chunks(rows: list[list[str | None]], most_rows: int) -> list[tuple[int, list[list[str | None]], int]]:
    chunks: list[tuple[int, list[list[str | None]], int]] = []
    first, part, size = 0, list[list[str | None]](), 0
    for position, row in enumerate(rows):
        row_size = sum(len(value) + 3 if value is not None else 5 for value in row) + 2
        if part and (len(part) == most_rows or size + row_size > CHUNK_BYTES):
            chunks.append((first, part, size))
            first, part, size = position, [], 0
        part.append(row)
        size += row_size
    if part:
        chunks.append((first, part, size))
    return chunks


def _result(statement: Statement, index: int) -> Json:
    first, rows, size = statement.chunks[index]
    body: Json = {
        "chunk_index": index,
        "row_offset": first,
        "row_count": len(rows),
        "byte_count": size,
        "data_array": rows,
    }
    if index + 1 < len(statement.chunks):
        body["next_chunk_index"] = index + 1
        body["next_chunk_internal_link"] = (
            f"{PREFIX}/{statement.statement_id}/result/chunks/{index + 1}?row_offset={first + len(rows)}"
        )
    return body


def _waiting(call: Call) -> tuple[float, str]:
    match = _WAIT.fullmatch(call.text("wait_timeout", "10s"))
    seconds = int(match[1]) if match else -1
    if seconds != 0 and not 5 <= seconds <= 50:
        raise invalid("wait_timeout must be 0s or between 5s and 50s")
    on_timeout = call.text("on_wait_timeout", "CONTINUE")
    if on_timeout not in ("CONTINUE", "CANCEL"):
        raise invalid(f"on_wait_timeout must be CONTINUE or CANCEL, not {on_timeout!r}")
    if seconds == 0 and on_timeout == "CANCEL":
        raise invalid("on_wait_timeout CANCEL needs a wait_timeout above 0s")
    return float(seconds), on_timeout


def _require_inline(call: Call) -> None:
    if call.text("disposition", "INLINE") != "INLINE":
        raise invalid("disposition: the embedded workspace knows INLINE only")
    if call.text("format", "JSON_ARRAY") != "JSON_ARRAY":
        raise invalid("format: the embedded workspace knows JSON_ARRAY only")


def _parameters(given: list[Any]) -> dict[str, str | tuple[str | None, str] | None]:
    parameters: dict[str, str | tuple[str | None, str] | None] = {}
    for parameter in given:
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise invalid(f"parameters: {name!r} is not a valid parameter name")
        if name in parameters:
            raise invalid(f"parameters: duplicate parameter {name!r}")
        value = parameter.get("value")
        if value is not None and not isinstance(value, str):
            raise invalid(f"parameters: the value of {name!r} must be a string or missing for NULL")
        parameters[name] = (value, str(parameter.get("type") or "STRING"))
    return parameters
