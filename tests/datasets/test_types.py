"""The rules of silver, case by case, on Sail and on DuckDB: D1, D2, D3, D5."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest

from lakeflow_job_meta.datasets import types
from lakeflow_job_meta.datasets.silver import Options, clean
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column
from tests.datasets.world import World

UTC = timezone.utc


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


#: Column name: values, the type that it gets, and what each value becomes.
GOLDEN: dict[str, tuple[list[Any], str, list[Any]]] = {
    "booleans": (["true", "FALSE", " True ", None], "BOOLEAN", [True, False, True, None]),
    "yes and no": (["yes", "no", "t", "1"], "STRING", ["yes", "no", "t", "1"]),
    "integers": (["1", "-20", "+3", "0"], "BIGINT", [1, -20, 3, 0]),
    "largest": (
        ["9223372036854775807", "-9223372036854775808", "0", "1"],
        "BIGINT",
        [9223372036854775807, -9223372036854775808, 0, 1],
    ),
    "too large": (["9223372036854775808", "1", "2", "3"], "STRING", ["9223372036854775808", "1", "2", "3"]),
    "too small": (["-9223372036854775809", "1", "2", "3"], "STRING", ["-9223372036854775809", "1", "2", "3"]),
    "beyond 2^53": (["9007199254740993", "1", "2", "3"], "BIGINT", [9007199254740993, 1, 2, 3]),
    "leading zeros": (["00123", "1", "2", "3"], "STRING", ["00123", "1", "2", "3"]),
    "mixed": (["1", "x", "2", "3"], "STRING", ["1", "x", "2", "3"]),
    "decimals": (["1.5", "-0.25", "3", "+.5"], "DOUBLE", [1.5, -0.25, 3.0, 0.5]),
    "exponents": (["1e3", "2.5E-2", "1", "-1e+2"], "DOUBLE", [1000.0, 0.025, 1.0, -100.0]),
    "decimals too long": (
        ["1.5", "1234567890123456", "1", "2"],
        "STRING",
        ["1.5", "1234567890123456", "1", "2"],
    ),
    "exponent too large": (["1e999", "1", "2", "3"], "STRING", ["1e999", "1", "2", "3"]),
    "underscores": (["1_000", "1", "2", "3"], "STRING", ["1_000", "1", "2", "3"]),
    "hexadecimal": (["0x1F", "1", "2", "3"], "STRING", ["0x1F", "1", "2", "3"]),
    "infinity": (["Infinity", "1.5", "2", "3"], "STRING", ["Infinity", "1.5", "2", "3"]),
    "trailing dot": (["1.", "1", "2", "3"], "STRING", ["1.", "1", "2", "3"]),
    "thousands": (["1,000", "1", "2", "3"], "STRING", ["1,000", "1", "2", "3"]),
    "dates": (
        ["2025-01-15", "2024-02-29", "0001-01-01", "9999-12-31"],
        "DATE",
        [date(2025, 1, 15), date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31)],
    ),
    "no such day": (
        ["2025-02-29", "2025-01-01", "2025-01-02", "2025-01-03"],
        "STRING",
        ["2025-02-29", "2025-01-01", "2025-01-02", "2025-01-03"],
    ),
    "years": (["2025", "2024", "2023", "2022"], "BIGINT", [2025, 2024, 2023, 2022]),
    "other dates": (["15/01/2025", "16/01/2025", "1", "2"], "STRING", ["15/01/2025", "16/01/2025", "1", "2"]),
    "infinite dates": (
        ["infinity", "2025-01-01", "2025-01-02", "2025-01-03"],
        "STRING",
        ["infinity", "2025-01-01", "2025-01-02", "2025-01-03"],
    ),
    "timestamps": (
        ["2025-01-15T10:00:00Z", "2025-01-15 10:00", "2025-01-15T10:00:00.5+02:00", "2025-01-15"],
        "TIMESTAMP",
        [at(2025, 1, 15, 10), at(2025, 1, 15, 10), at(2025, 1, 15, 8, 0, 0, 500000), at(2025, 1, 15)],
    ),
    "microseconds": (
        ["2025-01-15 10:00:00.123456", "2025-01-15 10:00:00", "2025-06-15T23:59:59-11:30", None],
        "TIMESTAMP",
        [at(2025, 1, 15, 10, 0, 0, 123456), at(2025, 1, 15, 10), at(2025, 6, 16, 11, 29, 59), None],
    ),
    "hour 24": (
        ["2025-01-15 24:00:00", "2025-01-15 10:00:00", None, None],
        "STRING",
        ["2025-01-15 24:00:00", "2025-01-15 10:00:00", None, None],
    ),
    "tokens": (["", " N/A ", "null", "5"], "BIGINT", [None, None, None, 5]),
    "more tokens": (["nan", "NaT", "None", "NA"], "STRING", [None, None, None, None]),
    "empty": ([None, None, None, None], "STRING", [None, None, None, None]),
    "spaces": ([" a ", "\tb\n", "c d", "  "], "STRING", ["a", "b", "c d", None]),
    "hostile": (
        ["it's", "a\\", "`x`; DROP TABLE t; --", "ü☃\n'"],
        "STRING",
        ["it's", "a\\", "`x`; DROP TABLE t; --", "ü☃\n'"],
    ),
}
COLUMNS = {name: values for name, (values, _, _) in GOLDEN.items()}
#: Silver sorts nothing: a column that tells the rows apart.
ROWS = {"row": [0, 1, 2, 3]}


class DuckDb:
    """`ports.Tables` as far as `clean` needs it, over DuckDB: the same SQL, transpiled."""

    def __init__(self, path: str) -> None:
        import duckdb

        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("CREATE TABLE bronze AS SELECT * FROM read_parquet(?)", [path])

    def query(self, sql: str) -> list[dict[str, Any]]:
        import sqlglot

        [text] = sqlglot.transpile(sql.replace("`c`.`s`.`bronze`", "bronze"), read="spark", write="duckdb")
        result = self.connection.execute(text)
        names = [one[0] for one in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def columns(self) -> list[Column]:
        kinds = {"VARCHAR": "STRING"}
        rows = self.connection.execute("DESCRIBE bronze").fetchall()
        return [Column(row[0], kinds.get(row[1], row[1])) for row in rows]


@pytest.fixture(scope="module")
def engines(
    sail: Any, spark: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[dict[str, str], list[dict[str, Any]]]]:
    """(types, rows) of the golden table by engine."""
    from lakeflow_job_meta.adapters.spark_tables import SparkTables

    sail.create_schema(spark, "main", "golden_types")
    world = World(
        sail, spark, SparkTables(spark), ("main", "golden_types"), tmp_path_factory.mktemp("golden")
    )
    sync = world.clean({**ROWS, **COLUMNS}, silver={"column_case": "keep", "dedupe": "none"})
    duck = DuckDb(sync.path)
    cleaned = clean(
        duck,  # type: ignore[arg-type]
        TableName("c", "s", "bronze"),
        duck.columns(),
        Options(column_case="keep", dedupe="none"),
    )
    return {
        "sail": (world.types(sync.targets.silver), world.rows(sync.targets.silver)),
        "duckdb": (
            {column.name: column.type for column in cleaned.columns},
            duck.query(cleaned.query),
        ),
    }


@pytest.mark.parametrize("engine", ["sail", "duckdb"])
@pytest.mark.parametrize("name", GOLDEN)
def test_d1_d2_the_golden_table(engines: Any, engine: str, name: str) -> None:
    """Each case gets its type and values, the same on both engines."""
    kinds, rows = engines[engine]
    _, kind, values = GOLDEN[name]
    assert kinds[name] == kind
    found = [row[name] for row in sorted(rows, key=lambda row: row["row"])]
    if kind == "TIMESTAMP":
        found = [one.astimezone(UTC) if one is not None else None for one in found]
    assert found == values


def test_d1_both_engines_agree(engines: Any) -> None:
    """Same types, same rows: nothing depends on the engine."""
    sail, duckdb = engines["sail"], engines["duckdb"]
    assert {name: kind for name, kind in sail[0].items() if name in GOLDEN} == {
        name: kind for name, kind in duckdb[0].items() if name in GOLDEN
    }


def test_d2_what_would_lose_a_digit_stays_text() -> None:
    """Leading zeros, overflow and mixed columns are strings."""
    for name in ("leading zeros", "too large", "mixed", "decimals too long"):
        assert GOLDEN[name][1] == "STRING"


def test_a_kind_needs_all_values() -> None:
    """One value that does not fit keeps the column text, and no values keep it text, too."""
    fitting = dict.fromkeys(types.KINDS, 0)
    assert types.decide(0, fitting) == "string"
    assert types.decide(3, {**fitting, "bigint": 3, "double": 3}) == "bigint"
    assert types.decide(3, {**fitting, "bigint": 2, "double": 3}) == "double"
    assert types.decide(3, {**fitting, "bigint": 2}) == "string"
