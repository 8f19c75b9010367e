"""Tables over a SQL warehouse: the Statement Execution API, for where there is no Spark.

Values travel as named parameters; rows of an INSERT or MERGE as one JSON parameter, taken apart by
`from_json`. Results come INLINE as JSON_ARRAY, chunk by chunk; those above 25 MiB, which the service
refuses to send inline, are asked for again and fetched by presigned links.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.adapters import sql_text
from lakeflow_job_meta.adapters.sql_errors import classify, first_line
from lakeflow_job_meta.errors import TableNotFound, TablesError, TablesUnavailable
from lakeflow_job_meta.names import TableName, quote_identifier
from lakeflow_job_meta.ports import Column, TableDefinition

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.sql import ExternalLink, StatementParameterListItem, StatementResponse

#: Staged rows of one statement, as JSON: a statement is limited to 16 MiB.
BATCH_BYTES = 8 * 1024 * 1024
#: Seconds that the service holds the first answer back (5 to 50), and that a statement may take in all: a
#: stopped warehouse has to start first.
WAIT_SECONDS = 30
DEADLINE_SECONDS = 900.0
_INTEGERS = frozenset({"BYTE", "SHORT", "INT", "LONG"})
_TIMESTAMP = re.compile(
    r"(\d{4,6}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?\s*(Z|UTC|[+-]\d\d:?(?:\d\d)?)?"
)


class _TooLarge(TablesError):
    """The result is above what the service sends inline."""


class WarehouseTables:
    """`ports.Tables` over one SQL warehouse.

    Args:
        client: databricks-sdk's client.
        warehouse_id: the warehouse; it is started by the first statement when it is stopped.
        catalog: default catalog of the statements; our own names have all three parts.
        clock: seconds that only grow.
        sleep: waits between two looks at a statement.
        deadline: seconds that one statement may take.
    """

    def __init__(
        self,
        client: WorkspaceClient,
        warehouse_id: str,
        *,
        catalog: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._api = client.statement_execution
        self._warehouse_id = warehouse_id
        self._catalog = catalog
        self._clock = clock
        self._sleep = sleep
        self._deadline = deadline
        self._lock = threading.Lock()
        self.statements = 0

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT; timestamps come back aware, in UTC."""
        try:
            response = self._run(sql_text.reading(sql), sql, parameters)
        except _TooLarge:
            response = self._run(sql_text.reading(sql), sql, parameters, inline=False)
        columns = _columns(response)
        return [
            {name: _value(kind, text) for (name, kind, _), text in zip(columns, row, strict=True)}
            for row in self._rows(response)
        ]

    def columns(self, table: TableName) -> list[Column] | None:
        try:
            response = self._run(f"reading the columns of {table}", f"SELECT * FROM {table.quoted} LIMIT 0")
        except TableNotFound:
            return None
        return [Column(name, type_text.upper()) for name, _, type_text in _columns(response)]

    def create_schema(self, catalog: str, schema: str) -> None:
        name = f"{quote_identifier(catalog)}.{quote_identifier(schema)}"
        self._run(f"creating the schema {catalog}.{schema}", f"CREATE SCHEMA IF NOT EXISTS {name}")

    def create_table(self, definition: TableDefinition) -> None:
        self._run(f"creating the table {definition.name}", sql_text.create_table(definition))

    def append(self, definition: TableDefinition, rows: Sequence[Mapping[str, Any]]) -> None:
        sql_text.staged_columns(definition, rows)
        text = sql_text.insert(definition, _source(definition.columns))
        for batch in sql_text.batches(rows, BATCH_BYTES, _weight):
            self._run(f"INSERT into {definition.name}", text, {"rows": _staged(batch)})

    def merge(
        self,
        definition: TableDefinition,
        rows: Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        update: Sequence[str] | None = None,
        matched_when: str = "",
        insert: bool = True,
    ) -> None:
        if not rows:
            return
        columns = sql_text.staged_columns(definition, rows)
        names = [column.name for column in columns]
        text = sql_text.merge(
            definition,
            _source(columns),
            keys=keys,
            update=[name for name in names if name not in keys] if update is None else list(update),
            inserted=names if insert else [],
            matched_when=matched_when,
        )
        for batch in sql_text.batches(rows, BATCH_BYTES, _weight):
            self._run(f"MERGE into {definition.name}", text, {"rows": _staged(batch)})

    def replace_partition(
        self,
        definition: TableDefinition,
        folder: str,
        *,
        partition: date,
        constants: Mapping[str, Any],
        once: tuple[str, str] | None = None,
    ) -> None:
        query = sql_text.from_files(
            definition,
            f"parquet.{quote_identifier(folder)}",
            partition=partition,
            constants={name: sql_text.constant(value) for name, value in constants.items()},
            once=once,
        )
        what = f"replacing partition {partition} of {definition.name}"
        self._run(what, sql_text.replace_partition(definition, partition, query))

    def partition_counts(self, definition: TableDefinition) -> list[tuple[date, int]]:
        try:
            rows = self.query(sql_text.partition_counts(definition))
        except TableNotFound:
            return []
        return [(row["partition"], int(row["rows"])) for row in rows]

    def file_counts(self, folder: str, key: str) -> tuple[int, int]:
        [row] = self.query(sql_text.file_counts(f"parquet.{quote_identifier(folder)}", key))
        return int(row["rows"]), int(row["keys"])

    def replace_table(self, table: TableName, query: str, *, location: str = "") -> None:
        what = f"replacing the table {table}"
        try:
            self._run(what, sql_text.replace_table(table, query, location=location))
        except TablesError as error:
            if not sql_text.wants_mapping(str(error)):
                raise
            self._run(what, sql_text.replace_table(table, query, location=location, mapping=True))

    def version(self, table: TableName) -> int:
        response = self._run(f"reading the version of {table}", f"DESCRIBE HISTORY {table.quoted} LIMIT 1")
        names = [name for name, _, _ in _columns(response)]
        for row in self._rows(response):
            return int(row[names.index("version")] or 0)
        raise TablesError(f"{table} has no history: is it a Delta table?")

    def _run(
        self, what: str, sql: str, parameters: Mapping[str, Any] | None = None, *, inline: bool = True
    ) -> StatementResponse:
        """The response of one statement that succeeded, its first chunk included."""
        from databricks.sdk.service.sql import (
            Disposition,
            ExecuteStatementRequestOnWaitTimeout,
            Format,
            StatementState,
        )

        with self._lock:
            self.statements += 1
        end = self._clock() + self._deadline
        with self._edge(what):
            response = self._api.execute_statement(
                sql,
                self._warehouse_id,
                catalog=self._catalog,
                disposition=Disposition.INLINE if inline else Disposition.EXTERNAL_LINKS,
                format=Format.JSON_ARRAY,
                on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CONTINUE,
                wait_timeout=f"{WAIT_SECONDS}s",
                parameters=[_parameter(name, value) for name, value in (parameters or {}).items()] or None,
            )
        ended = {
            StatementState.SUCCEEDED,
            StatementState.FAILED,
            StatementState.CANCELED,
            StatementState.CLOSED,
        }
        pause = 0.25
        while response.status is None or response.status.state not in ended:
            statement_id = response.statement_id or ""
            if self._clock() >= end:
                with self._edge(what):
                    self._api.cancel_execution(statement_id)
                raise TablesUnavailable(
                    f"{what}: SQL warehouse {self._warehouse_id} gave no answer in {self._deadline:.0f} s; it was "
                    "cancelled. Look at the warehouse, and try again"
                )
            self._sleep(pause)
            pause = min(5.0, pause * 1.6)
            with self._edge(what):
                response = self._api.get_statement(statement_id)
        if response.status.state is StatementState.SUCCEEDED:
            return response
        message = (response.status.error.message if response.status.error else None) or "no reason given"
        if "inline byte limit" in message.lower():
            raise _TooLarge(f"{what} failed: its result is above 25 MiB")
        if response.status.state is StatementState.FAILED:
            raise classify(what, message)
        raise TablesUnavailable(
            f"{what}: the statement was {str(response.status.state.value).lower()} by the warehouse or by hand; try again"
        )

    def _rows(self, response: StatementResponse) -> Iterator[list[str | None]]:
        """Every row of the result, all chunks."""
        result = response.result
        total = response.manifest.total_row_count if response.manifest else None
        if response.manifest is not None and response.manifest.truncated:
            raise TablesError(
                "the result was cut off by the SQL warehouse; run it where a Spark session is active"
            )
        count = 0
        while result is not None:
            # the SDK's type says str, the service sends null for NULL
            rows: list[Any] = list(result.data_array or [])
            following = result.next_chunk_index
            for link in result.external_links or []:
                rows += self._fetch(link)
                following = link.next_chunk_index
            count += len(rows)
            yield from rows
            if following is None:
                break
            with self._edge("fetching a result"):
                result = self._api.get_statement_result_chunk_n(response.statement_id or "", following)
        if total is not None and count != total:
            raise TablesUnavailable(f"a result came incomplete, {count} of {total} rows; try again")

    def _fetch(self, link: ExternalLink) -> list[Any]:
        """One chunk from where the warehouse put it; the link itself is the credential, none is sent."""
        import requests

        with self._edge("fetching a result"):
            answer = requests.get(
                link.external_link or "", headers=link.http_headers or {}, timeout=WAIT_SECONDS * 2
            )
            if answer.status_code != 200:
                # never the link in a message: it is a secret
                raise TablesUnavailable(
                    f"a part of a result could not be fetched (HTTP {answer.status_code}); try again"
                )
            return list(answer.json())

    @contextmanager
    def _edge(self, what: str) -> Iterator[None]:
        """The one place where the SDK's errors become ours."""
        from databricks.sdk.errors import BadRequest, NotFound

        from lakeflow_job_meta.adapters.databricks_errors import CALL_ERRORS, root, translate

        try:
            yield
        except CALL_ERRORS as error:
            cause = root(error)
            said = first_line(str(cause))
            if isinstance(cause, (NotFound, BadRequest)) and "warehouse" in said.lower():
                raise TablesUnavailable(
                    f"there is no SQL warehouse with the id {self._warehouse_id!r} in this workspace: take the id from "
                    f"the warehouse's page, or leave it out where Spark is active ({said})"
                ) from error
            if isinstance(cause, BadRequest):
                raise classify(what, str(cause)) from error
            raise TablesUnavailable(str(translate(error, f"do {what}", write=False))) from error


def _weight(row: Mapping[str, Any]) -> int:
    return len(_json(row)) + 2


def _staged(rows: Sequence[Mapping[str, Any]]) -> str:
    return "[" + ",".join(_json(row) for row in rows) + "]"


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=_timestamp_text, separators=(",", ":"))


def _source(columns: Sequence[Column]) -> str:
    """A subquery that gives the rows of the parameter `rows`; timestamps travel as text."""
    fields = ", ".join(
        f"{quote_identifier(column.name)}: {'STRING' if column.type == 'TIMESTAMP' else column.type}"
        for column in columns
    )
    shape = sql_text.quote_text(f"ARRAY<STRUCT<{fields}>>")
    selected = ", ".join(
        f"CAST({quote_identifier(column.name)} AS TIMESTAMP) AS {quote_identifier(column.name)}"
        if column.type == "TIMESTAMP"
        else quote_identifier(column.name)
        for column in columns
    )
    # FAILFAST: without it, text that does not fit becomes NULL without a word
    return f"(SELECT {selected} FROM (SELECT inline(from_json(:rows, {shape}, map('mode', 'FAILFAST')))))"


def _parameter(name: str, value: Any) -> StatementParameterListItem:
    from databricks.sdk.service.sql import StatementParameterListItem

    if value is None:
        return StatementParameterListItem(name=name, type="STRING")
    if isinstance(value, bool):
        return StatementParameterListItem(name=name, value="true" if value else "false", type="BOOLEAN")
    if isinstance(value, int):
        return StatementParameterListItem(name=name, value=str(value), type="BIGINT")
    if isinstance(value, float):
        return StatementParameterListItem(name=name, value=repr(value), type="DOUBLE")
    if isinstance(value, datetime):
        return StatementParameterListItem(name=name, value=_timestamp_text(value), type="TIMESTAMP")
    return StatementParameterListItem(name=name, value=str(value), type="STRING")


def _timestamp_text(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TablesError(f"a value of type {type(value).__name__} cannot be stored")
    return value.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _columns(response: StatementResponse) -> list[tuple[str, str, str]]:
    """(name, type_name, type_text) of each column of the result."""
    schema = response.manifest.schema if response.manifest else None
    return [
        (
            column.name or "",
            column.type_name.value if column.type_name else "STRING",
            column.type_text or (column.type_name.value if column.type_name else "STRING"),
        )
        for column in (schema.columns if schema and schema.columns else [])
    ]


def _value(kind: str, text: str | None) -> Any:
    """A value of a JSON_ARRAY result, by the manifest's type."""
    if text is None:
        return None
    if kind in _INTEGERS:
        return int(text)
    if kind == "BOOLEAN":
        return text.lower() == "true"
    if kind in {"FLOAT", "DOUBLE"}:
        return float(text)
    if kind == "DECIMAL":
        return Decimal(text)
    if kind == "DATE":
        return date.fromisoformat(text)
    if kind == "TIMESTAMP":
        return _timestamp(text)
    if kind == "ARRAY":
        return json.loads(text)
    return text


def _timestamp(text: str) -> datetime:
    """An instant in UTC; text without an offset is UTC. Python 3.10 reads fewer forms than the API writes."""
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        raise TablesError(f"{text!r} is not a timestamp as the SQL warehouse writes them")
    day, clock, fraction, offset = match.groups()
    clock = clock if clock.count(":") == 2 else f"{clock}:00"
    moment = datetime.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    moment += timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))
    if offset and offset not in {"Z", "UTC"}:
        digits = offset[1:].replace(":", "").ljust(4, "0")
        shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        moment = moment - shift if offset[0] == "+" else moment + shift
    return moment
