"""Types of local queries: the quick casts give what the rules of silver give."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakeflow_job_meta.datasets import types
from lakeflow_job_meta.datasets.local_types import _duckdb, view_of, with_types
from lakeflow_job_meta.datasets.query import query_file

pytest.importorskip("duckdb")
TOKENS = [None, "", " ", "NA", " n/a ", "null", "None", "NaN", "nan", "NaT"]
VALUES = {
    "boolean": ["true", "FALSE", " True "],
    "bigint": ["0", "-0", "+5", " 7 ", "\t-9223372036854775808\n", "9223372036854775807"],
    "double": ["1.5", "+1.5", "-.5", " 1e3 ", "1E-05", "123456789012345.25", "7"],
    "date": ["2025-01-15", " 2024-02-29 ", "0001-01-01"],
    "timestamp": [
        "2025-01-15",
        "2025-01-15T10:00",
        "2025-01-15 10:00:00",
        "2025-01-15T10:00:00.5Z",
        "2025-01-15 10:00:00+02:00",
        "2025-01-15T10:00-05:30",
        " 2025-01-15T23:59:59.123456Z ",
    ],
}


@pytest.mark.parametrize("kind", types.KINDS)
def test_d1_a6_quick_casts_follow_the_rules(kind: str, tmp_path: Path) -> None:
    """Every form of a value, with spaces, signs, zones and null tokens among them."""
    import duckdb
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"The {x}": pa.array([*VALUES[kind], *TOKENS], pa.string())}), path)
    schema = with_types(path, [{"name": "The {x}", "dtype": "string"}])
    assert schema[0]["inferred"] == kind
    rule = _duckdb(types.read(types.cleaned("The {x}"), kind))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        wanted = connection.execute(f"SELECT {rule} FROM read_parquet(?)", [str(path)]).fetchall()
        found = connection.execute(view_of(schema).format(source="read_parquet(?)"), [str(path)]).fetchall()
    assert found == wanted
    assert [row[0] for row in found].count(None) == len(TOKENS)


@pytest.mark.parametrize(
    "values",
    [["007", "1"], ["1", "x"], ["9223372036854775808"], ["2025-02-30"], ["yes"], [None, "NA"], ["Infinity"]],
)
def test_d2_what_stays_text(values: list[str | None], tmp_path: Path) -> None:
    """Leading zeros, mixed values, what is too large, days that are none: shown as they were landed."""
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"a": pa.array(values, pa.string())}), path)
    schema = with_types(path, [{"name": "a", "dtype": "string"}])
    assert "inferred" not in schema[0]
    assert [row[0] for row in query_file(path, "SELECT a FROM dataset", view=view_of(schema)).rows] == values
