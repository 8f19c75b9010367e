"""SQL for the server's own use: the Statement Execution API and SQL tasks.

It is a client like any other, through the gateway, so that what it creates is recorded.
"""

from __future__ import annotations

import base64
import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from lakeflow_job_meta.errors import CommitConflict, LocalError, TableNotFound, TablesError, TablesUnavailable
from lakeflow_job_meta.local.spark.lexer import LexicalError, split, words
from lakeflow_job_meta.local.spark.literals import identifier

if TYPE_CHECKING:
    from pyspark.errors import PySparkException
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

Parameters = Mapping[str, "str | tuple[str | None, str] | None"]
"""Named parameters: text, or text and SQL type; None is NULL."""

_TYPE = re.compile(r"[A-Za-z_]+(\(\s*\d+\s*(,\s*\d+\s*)?\))?")
_KEEPS_STATE = frozenset({"USE", "SET", "RESET"})


@dataclass(frozen=True)
class SqlResult:
    """The result of one statement.

    Args:
        columns: name and Spark type (`DECIMAL(10,2)`) of each column; empty for a statement without rows.
        rows: values as the Statement Execution API's JSON_ARRAY gives them: text or None.
    """

    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)


class SparkSql:
    """Runs SQL in sessions of its own; thread-safe.

    Args:
        remote: connect string of the gateway.
        idle: how many sessions are kept for the next statement.
    """

    def __init__(self, remote: str, *, idle: int = 4) -> None:
        self._remote = remote
        self._idle_limit = idle
        self._idle: list[SparkSession] = []
        self._lock = threading.Lock()

    def run(
        self,
        sql: str,
        parameters: Parameters | None = None,
        catalog: str | None = None,
        schema: str | None = None,
    ) -> SqlResult:
        """Runs one statement in a session that nobody else sees.

        Args:
            sql: the statement.
            parameters: values of its `:name` markers.
            catalog: current catalog of the statement, the workspace's first when None.
            schema: current schema, `default` when None.

        Raises:
            TableNotFound: a table, schema or catalog does not exist.
            CommitConflict: another writer won.
            TablesUnavailable: the Spark of the workspace does not answer.
            TablesError: any other refusal.
            LocalError: a parameter's type is unknown, or its value is not of it.
        """
        plain = catalog is None and schema is None and not _changes_session(sql)
        with self._session(keep=plain) as spark:
            _use(spark, catalog, schema)
            return _result(spark, sql, parameters or {})

    def script(
        self,
        sql: str,
        parameters: Parameters | None = None,
        catalog: str | None = None,
        schema: str | None = None,
    ) -> list[SqlResult]:
        """Runs the statements of a script one after another in one session, up to the first that fails.

        Args:
            parameters: each statement gets those that it names.

        Returns:
            One result a statement.

        Raises:
            As `run` does.
        """
        try:
            statements = split(sql)
        except LexicalError as e:
            raise TablesError(f"the script cannot be split into statements: {e}") from e
        with self._session(keep=False) as spark:
            _use(spark, catalog, schema)
            return [_result(spark, statement, parameters or {}) for statement in statements]

    def close(self) -> None:
        """Ends the sessions that are kept."""
        with self._lock:
            sessions, self._idle = self._idle, []
        for spark in sessions:
            _stop(spark)

    @contextmanager
    def _session(self, *, keep: bool) -> Iterator[SparkSession]:
        with self._lock:
            spark = self._idle.pop() if self._idle else None
        if spark is None:
            spark = self._new()
        done = False
        try:
            yield spark
            done = True
        except (TableNotFound, CommitConflict) as e:
            done = not isinstance(e, TablesUnavailable)
            raise
        finally:
            with self._lock:
                kept = done and keep and len(self._idle) < self._idle_limit
                if kept:
                    self._idle.append(spark)
            if not kept:
                _stop(spark)

    def _new(self) -> SparkSession:
        from pyspark.sql.connect.client.retries import DefaultPolicy
        from pyspark.sql.connect.session import SparkSession

        with _failures():
            spark: Any = SparkSession.builder.remote(self._remote).create()
            # The gateway is in this process: when it does not answer, it will not in ten minutes.
            policy = DefaultPolicy(max_retries=3, initial_backoff=50, max_backoff=500)
            spark.client.set_retry_policies([policy])
            return spark


def _stop(spark: SparkSession) -> None:
    from pyspark.errors import PySparkException

    try:
        spark.stop()
    except PySparkException:
        pass  # the server may be gone already


def _changes_session(sql: str) -> bool:
    try:
        found = words(sql)
    except LexicalError:
        return True
    keywords = {word.keyword for word in found[:6]}
    return bool(found) and (
        found[0].keyword in _KEEPS_STATE or not keywords.isdisjoint({"TEMP", "TEMPORARY"})
    )


def _use(spark: SparkSession, catalog: str | None, schema: str | None) -> None:
    with _failures():
        if catalog is not None:
            spark.sql(f"USE CATALOG {identifier(catalog)}")
        if schema is not None:
            spark.sql(f"USE SCHEMA {'.'.join(identifier(part) for part in schema.split('.'))}")


def _result(spark: SparkSession, sql: str, parameters: Parameters) -> SqlResult:
    with _failures():
        arguments = _arguments(sql, parameters)
        frame = spark.sql(sql, args=arguments) if arguments else spark.sql(sql)
        return _collected(frame)


def _arguments(sql: str, parameters: Parameters) -> dict[str, Any]:
    from pyspark.sql.connect import functions as F  # noqa: N812 - its usual name

    arguments: dict[str, Any] = {}
    for name, given in parameters.items():
        if f":{name}" not in sql:
            continue
        value, kind = (given, "STRING") if given is None or isinstance(given, str) else given
        if not _TYPE.fullmatch(kind.strip()):
            raise LocalError(
                f"parameter {name!r} has the unknown type {kind!r}; use a SQL type such as INT or DATE"
            )
        if value is not None and kind.strip().upper() == "STRING":
            arguments[name] = F.lit(value)
        else:
            arguments[name] = F.lit(value).cast(
                "timestamp" if kind.upper() == "TIMESTAMP_LTZ" else kind.strip()
            )
    return arguments


@contextmanager
def _failures() -> Iterator[None]:
    """Errors of Spark as ours."""
    import grpc
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as e:
        raise _error(e) from e
    except grpc.RpcError as e:
        raise TablesUnavailable(f"the Spark of the workspace does not answer: {e}") from e


def _error(error: PySparkException) -> TablesError:
    text = str(error)
    condition = error.getCondition() or ""
    if condition in ("TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND", "NO_SUCH_CATALOG_EXCEPTION") or any(
        sign in text for sign in ("[TABLE_OR_VIEW_NOT_FOUND]", "Table not found: ", "View not found: ")
    ):
        return TableNotFound(text)
    if "Failed to commit transaction" in text:
        return CommitConflict(text)
    if "UNAVAILABLE" in text:
        return TablesUnavailable(f"the Spark of the workspace does not answer: {text}")
    return TablesError(text)


# ---------------------------------------------------------------- values as text


def _collected(frame: DataFrame) -> SqlResult:
    table = frame.toArrow()
    kinds = [f.dataType for f in frame.schema.fields]
    columns = [(name, type_text(kind)) for name, kind in zip(table.column_names, kinds, strict=True)]
    if not columns:
        return SqlResult()
    texts = [
        [text(value, kind) for value in column.to_pylist()]
        for column, kind in zip(table.columns, kinds, strict=True)
    ]
    return SqlResult(columns, [list(row) for row in zip(*texts, strict=True)])


def type_text(kind: DataType) -> str:
    """A type as the warehouse writes it: `DECIMAL(10,2)`, `MAP<STRING, INT>`, `STRUCT<a: INT>`."""
    from pyspark.sql import types

    if isinstance(kind, types.ArrayType):
        return f"ARRAY<{type_text(kind.elementType)}>"
    if isinstance(kind, types.MapType):
        return f"MAP<{type_text(kind.keyType)}, {type_text(kind.valueType)}>"
    if isinstance(kind, types.StructType):
        return f"STRUCT<{', '.join(f'{f.name}: {type_text(f.dataType)}' for f in kind.fields)}>"
    return str(kind.simpleString()).upper()


def text(value: Any, kind: DataType) -> str | None:
    """A value (as Arrow gives it) as text of the Statement Execution API's JSON_ARRAY format.

    Timestamps are UTC with milliseconds and `Z`, binary is Base64, arrays, maps and structs are JSON;
    NULL is None.
    """
    plain = _plain(value, kind)
    if plain is None or isinstance(plain, str):
        return plain
    return str(plain) if isinstance(plain, float) else orjson.dumps(plain).decode()


def _plain(value: Any, kind: DataType) -> Any:
    """A value as it stands in JSON: numbers and truth values as such, the rest as text."""
    from pyspark.sql import types

    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        moment = f"{value.astimezone(timezone.utc) if value.tzinfo else value:%Y-%m-%dT%H:%M:%S}"
        return f"{moment.zfill(19)}.{value.microsecond // 1000:03d}{'Z' if value.tzinfo else ''}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(kind, types.StructType):
        return {f.name: _plain(value[f.name], f.dataType) for f in kind.fields}
    if isinstance(kind, types.MapType):
        return {text(key, kind.keyType) or "": _plain(item, kind.valueType) for key, item in value}
    if isinstance(kind, types.ArrayType):
        return [_plain(item, kind.elementType) for item in value]
    return str(value)
