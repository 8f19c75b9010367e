"""Queries on a landed file: one SELECT on the view `dataset`, by DuckDB, in a sandbox.

DuckDB may open the one Parquet file and nothing else: no other file, no network, no extension, no further
statement; its configuration is locked before the query is seen. Time, memory and rows are bounded.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakeflow_job_meta.datasets.json_values import json_value
from lakeflow_job_meta.errors import DatasetError

VIEW = "dataset"
#: The file's columns as they were landed.
RAW = "landed"
#: Rows of an answer: unless said, and at most.
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
SECONDS = 30.0
MEMORY = "1GB"
TOO_MUCH = "the query takes too much memory: ask for less"
#: What a query may take of a process that is bounded: DuckDB's memory and as much again.
PROCESS_BYTES = 2 * 2**30


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Bound what this whole process may take besides what it has, where the system can (Linux).

    DuckDB's own limit does not count the values of a row that a function makes: `repeat('x', 100000000)` of a
    thousand rows took 10 GB. It is for processes that do nothing else meanwhile, such as the command's.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = pages * resource.getpagesize() + PROCESS_BYTES
        given = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min([most, *given]), hard))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer: rows are lists of values that JSON has, in the order of the columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    query: str

    def as_json(self) -> dict[str, Any]:
        return {
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "row_count": len(self.rows),
            "query": self.query,
        }


def query_file(
    path: Path,
    sql: str,
    *,
    limit: int | None = None,
    seconds: float = SECONDS,
    view: str = "SELECT * FROM {source}",
) -> QueryResult:
    """Run one SELECT on the Parquet file, as the view `dataset` (and as it was landed, `landed`).

    Args:
        limit: rows of the answer; None: 100. At most 1,000, whatever the query itself says.
        seconds: after which the query is stopped.
        view: the SELECT that the view is made of, over `{source}`.

    Raises:
        DatasetError: it is not one SELECT, reaches for something else, fails or takes too long.
    """
    rows = max(1, min(DEFAULT_LIMIT if limit is None else int(limit), MAX_LIMIT))
    try:
        import duckdb
    except ImportError as error:
        raise DatasetError("local queries need duckdb: pip install 'lakeflow-job-meta[datasets]'") from error
    try:
        with _sandbox(duckdb, path, view) as connection:
            _check(duckdb, connection, sql)
            return _answer(duckdb, connection, sql, rows, seconds)
    except duckdb.PermissionException as error:
        raise DatasetError(
            f"the query reaches for something else than the dataset: {_first(error)}; only the views {VIEW!r} and {RAW!r} are there"
        ) from error
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise DatasetError(TOO_MUCH) from error
    except duckdb.Error as error:
        # What a bound of the process refuses has no kind of its own.
        told = TOO_MUCH if "bad allocation" in str(error) else f"the query failed: {_first(error)}"
        raise DatasetError(told) from error


def _sandbox(duckdb: Any, path: Path, view: str) -> Any:
    literal = "'" + str(path).replace("'", "''") + "'"
    source = f"read_parquet([{literal}])"
    connection = duckdb.connect(
        config={
            "threads": 2,
            "memory_limit": MEMORY,
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # The list is of one path, and a glob sign in it would be one: the caller's file has a name of ours.
        connection.execute(f"SET allowed_paths = [{literal}]")
        connection.execute("SET enable_external_access = false")
        connection.execute(f"CREATE VIEW {VIEW} AS {view.format(source=source)}")
        connection.execute(f"CREATE VIEW {RAW} AS SELECT * FROM {source}")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error:
        connection.close()
        raise
    return connection


def _check(duckdb: Any, connection: Any, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.ParserException as error:
        raise DatasetError(f"the query cannot be read: {_first(error)}") from error
    kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
    if len(statements) == 1 and _first_word(duckdb, sql) == "pragma":
        kinds = "PRAGMA"  # some of them are SELECTs once they are read
    if kinds != "SELECT":
        raise DatasetError(f"a query is one SELECT; this is {kinds}")


def _first_word(duckdb: Any, sql: str) -> str:
    """The first word that is no comment, in lower case."""
    data = sql.encode()
    places = [place for place, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    word = re.match(rb"\w+", data[places[0] :]) if places else None
    return word.group().decode().lower() if word else ""


def _answer(duckdb: Any, connection: Any, sql: str, limit: int, seconds: float) -> QueryResult:
    stop = threading.Timer(seconds, connection.interrupt)
    stop.daemon = True
    stop.start()
    try:
        # The relation's own limit, not one in the text: a comment at the end cannot take it away.
        found = connection.sql(sql).limit(limit)
        names = tuple(str(name) for name in found.columns)
        rows = found.fetchall()
    except duckdb.InterruptException as error:
        raise DatasetError(f"the query took more than {seconds:g} seconds: ask for less") from error
    finally:
        stop.cancel()
    return QueryResult(names, tuple(tuple(json_value(value) for value in row) for row in rows), sql)


def quoted(name: str) -> str:
    """A name for DuckDB's SQL: between double quotes, inner ones doubled."""
    return '"' + name.replace('"', '""') + '"'


def _first(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.partition(": ")[2] or line
