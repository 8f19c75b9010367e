"""Queries on a landed file: one SELECT, in a sandbox, as strict JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from lakeflow_job_meta.datasets.query import query_file
from lakeflow_job_meta.errors import DatasetError

pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 rows with awkward column names, nulls and every kind of value."""
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path_factory.mktemp("landed") / "it's 1.parquet"
    rows = 5000
    table = pa.table(
        {
            "id": range(rows),
            "credit_limit": [f"x{number}" for number in range(rows)],
            "created_at": [datetime(2025, 1, 15, 10, 30, tzinfo=timezone.utc)] * rows,
            "updated_at": [None] * rows,
            "ratio": [float("nan"), float("inf"), None, 1.5] * (rows // 4),
            "price": [Decimal("12345678901234567.89")] * rows,
            "Order ID": ["a"] * rows,
        }
    )
    parquet.write_table(table, path)
    return path


def test_a6_query_without_databricks(landed: Path) -> None:
    """The seed's query, on a file just landed, nothing configured."""
    found = query_file(landed, "SELECT * FROM dataset LIMIT 10")
    assert len(found.rows) == 10
    assert found.columns[:2] == ("id", "credit_limit")


def test_a7_answer_and_limits(landed: Path) -> None:
    """100 rows unless said, at most 1,000, whatever the query says or hides."""
    sql = "SELECT * FROM dataset"
    answer = query_file(landed, sql).as_json()
    assert list(answer) == ["columns", "rows", "row_count", "query"]
    assert answer["row_count"] == len(answer["rows"]) == 100
    assert answer["query"] == sql
    assert len(query_file(landed, sql, limit=5000).rows) == 1000
    assert len(query_file(landed, sql, limit=7).rows) == 7
    for text in (f"{sql} LIMIT 4000", f"{sql} --", f"{sql};", "SELECT credit_limit FROM dataset"):
        assert len(query_file(landed, text, limit=5000).rows) == 1000, text


def test_a7_order_is_the_querys(landed: Path) -> None:
    found = query_file(landed, "SELECT id FROM dataset ORDER BY id DESC", limit=2)
    assert found.rows == ((4999,), (4998,))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM read_parquet('{other}')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '{folder}/written.csv'",
        "COPY (SELECT 1) TO '{folder}/written.csv' --",
        "EXPORT DATABASE '{folder}/written'",
        "ATTACH '{folder}/written.db'",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW dataset",
        "DROP VIEW dataset",
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO dataset VALUES (1)",
        "DELETE FROM dataset",
        "CALL pragma_version()",
        "PRAGMA database_list",
        "/* é */ -- x\n pragma show_tables",
        "PRAGMA import_database('{folder}')",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT getenv('HOME')",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM nothing",
        "",
        "--",
        "nonsense",
    ],
)
def test_a8_nothing_else_is_reached(landed: Path, tmp_path: Path, sql: str) -> None:
    """Files, settings, extensions, other statements: all refused, and nothing appears on disk."""
    other = tmp_path / "other.parquet"
    other.write_bytes(landed.read_bytes())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError):
        query_file(landed, sql.format(other=other, folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before
    assert query_file(landed, "SELECT count(*) FROM dataset").rows == ((5000,),)


def test_a8_words_in_names_are_no_statements(landed: Path) -> None:
    """`created_at` and `updated_at` have a forbidden word in them for one who looks for words only."""
    found = query_file(landed, "SELECT created_at, updated_at, 'drop table x' AS text FROM dataset LIMIT 1")
    assert found.rows == (("2025-01-15T10:30:00Z", None, "drop table x"),)


def test_a8_a_query_without_an_end_is_stopped(landed: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DatasetError, match=r"more than 0\.3 seconds"):
        query_file(landed, "SELECT max(a.i) FROM range(10000000000) a(i), range(1000) b(j)", seconds=0.3)
    assert time.monotonic() - started < 10


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux bounds a process")
def test_a8_values_that_grow_without_an_end_are_stopped(landed: Path) -> None:
    """DuckDB's own limit does not count them; a process that is bounded ends the query, and goes on."""
    script = """
import resource, sys
from pathlib import Path
from lakeflow_job_meta.datasets.query import bounded_memory, query_file
from lakeflow_job_meta.errors import DatasetError
try:
    with bounded_memory():
        query_file(Path(sys.argv[1]), "SELECT repeat('x', 100000000) FROM dataset", limit=1000, seconds=1)
except DatasetError as error:
    print(error)
print(query_file(Path(sys.argv[1]), "SELECT count(*) AS n FROM dataset").rows)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(landed)], capture_output=True, text=True, check=True
    )
    told, counted, peak = done.stdout.splitlines()
    assert told.endswith("ask for less")
    assert counted == "((5000,),)"
    assert int(peak) < 3000


def test_a9_values_are_strict_json(landed: Path) -> None:
    """NaN, infinity and NULL are null; times, decimals, bytes and nested values are what JSON has."""
    found = query_file(
        landed,
        "SELECT ratio, price, created_at, DATE '2025-01-15' AS d, 1.5 AS n, 2.0 AS whole, 'x'::BLOB AS b, "
        "[1, NULL] AS l, {'k': 'NaN'::DOUBLE} AS s, INTERVAL 1 DAY AS i FROM dataset",
        limit=4,
    )
    text = json.dumps(found.as_json(), allow_nan=False)
    assert [row[0] for row in found.rows] == [None, None, None, 1.5]
    assert found.rows[0][1:] == (
        "12345678901234567.89",
        "2025-01-15T10:30:00Z",
        "2025-01-15",
        1.5,
        2,
        "eA==",
        [1, None],
        {"k": None},
        "1 day, 0:00:00",
    )
    assert json.loads(text)["row_count"] == 4


def test_a8_functions_with_effects_have_none(landed: Path, tmp_path: Path) -> None:
    """Some of DuckDB's functions write or read files, and are SELECTs: no file comes of them, and none is read."""
    logs = f"SELECT * FROM enable_logging('QueryLog', storage='file', storage_path='{tmp_path}/log')"
    for sql in (logs, "SELECT write_log('x')", "SELECT * FROM checkpoint()"):
        query_file(landed, sql)
    for sql in ("SELECT * FROM duckdb_secrets()", "SELECT * FROM query('DROP VIEW dataset')"):
        with pytest.raises(DatasetError):
            query_file(landed, sql)
    assert list(tmp_path.iterdir()) == []
