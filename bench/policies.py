"""The duplicate policy over a large snapshot on Sail: the SELECT alone, and runs that record what is new and resolved."""

from __future__ import annotations

import time
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import Claim, Section, Table
from bench.services import spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = 1_000_000
#: One in so many files has a copy.
EVERY = 100
#: A run that records 20,000 violations of 1,000,000 files may take so many seconds.
LIMIT = 30.0


def measure(rows: int = ROWS) -> Section:
    with spark() as (session, folder):
        return _judged(_runs(session, folder, rows), rows)


def _runs(session: SparkSession, folder: Path, rows: int) -> dict[str, tuple[float, Any]]:
    """Seconds and outcome of each thing that is measured, by its name."""
    from lakeflow_job_meta.adapters.spark_tables import SparkTables
    from lakeflow_job_meta.names import TableName
    from lakeflow_job_meta.policies.definition import shipped
    from lakeflow_job_meta.policies.inputs import prepare
    from lakeflow_job_meta.policies.run import Places, evaluate, record

    session.sql(f"CREATE SCHEMA main.bench LOCATION '{folder}/main/bench'").collect()
    table = TableName("main", "bench", "dxr_snapshot")
    write(folder / "main" / "bench" / table.table, rows, EVERY)
    where = folder / "main" / "bench" / table.table
    session.sql(f"CREATE TABLE {table.quoted} USING delta LOCATION '{where}'").collect()
    tables = SparkTables(session)
    places = Places.beside(table)
    places.ensure(tables)
    inputs = prepare(tables, table)
    policy = shipped()["duplicate_files"]

    def clock() -> datetime:
        return datetime.now(timezone.utc)

    plain = f"SELECT content_sha256, count(*) AS n FROM {table.quoted} GROUP BY content_sha256 HAVING count(*) > 1"
    found: dict[str, tuple[float, Any]] = {}

    def timed(name: str, do: Any) -> Any:
        started = time.monotonic()
        outcome = do()
        seconds = time.monotonic() - started
        if name not in found or seconds < found[name][0]:
            found[name] = (seconds, outcome)
        print(f"   {name}: {seconds:.1f} s", flush=True)
        return outcome

    for _ in range(3):
        timed("only grouping", lambda: len(tables.query(plain)))
        outcomes = timed("the policy's SELECT", lambda: evaluate([policy], tables, inputs, clock=clock))
    for number, name in enumerate(("recording, all new", "recording, all still there"), 1):
        outcomes = evaluate([policy], tables, inputs, clock=clock)
        timed(name, lambda: record(f"run-{number}", outcomes, tables, places, inputs, clock=clock))  # noqa: B023
    quiet = policy.given({"min_size": 10**9})
    outcomes = evaluate([quiet], tables, inputs, clock=clock)
    timed("recording, all resolved", lambda: record("run-3", outcomes, tables, places, inputs, clock=clock))
    return found


def write(where: Path, rows: int, every: int) -> None:
    """A snapshot of one day in which one in `every` files is a copy of the file before it."""
    import pyarrow as pa
    from deltalake import write_deltalake

    from lakeflow_job_meta.dxr.snapshot_rows import COLUMNS

    kinds = {
        "STRING": pa.string(),
        "BIGINT": pa.int64(),
        "TIMESTAMP": pa.timestamp("us", tz="UTC"),
        "DATE": pa.date32(),
        "ARRAY<STRING>": pa.list_(pa.string()),
    }
    schema = pa.schema([(column.name, kinds[column.type]) for column in COLUMNS])
    now = datetime.now(timezone.utc)
    size = 100_000
    for start in range(0, rows, size):
        numbers = range(start, min(rows, start + size))
        paths = [f"/share/department-{number % 97}/report-{number}.pdf" for number in numbers]
        values: dict[str, list[Any]] = {
            "file_id": [f"id-{number}" for number in numbers],
            "file_key": [f"share:{path}" for path in paths],
            "file_name": [f"report-{number}.pdf" for number in numbers],
            "path": paths,
            "size": [1000 + number % 5000 for number in numbers],
            "last_modified_at": [now] * len(paths),
            "content_sha256": [f"{number - 1 if number % every == 1 else number:064x}" for number in numbers],
            "label_names": [["Financial", "Confidential"] if number % 7 == 0 else [] for number in numbers],
            "raw_json": [f'{{"fileId":"id-{number}","padding":"{number:0200d}"}}' for number in numbers],
            "ingestion_date": [date.today()] * len(paths),
        }
        empty = [None] * len(paths)
        arrays = [pa.array(values.get(field.name, empty), field.type) for field in schema]
        write_deltalake(
            str(where),
            pa.Table.from_arrays(arrays, schema=schema),
            mode="append",
            partition_by=["ingestion_date"],
        )


def _judged(found: dict[str, tuple[float, Any]], rows: int) -> Section:
    [outcome] = found["the policy's SELECT"][1]
    expected = 2 * len(range(1, rows, EVERY))
    first, again, last = (
        found[name][1][0]
        for name in ("recording, all new", "recording, all still there", "recording, all resolved")
    )
    select = found["the policy's SELECT"][0]
    whole = select + found["recording, all still there"][0]
    counts = [(first.new, first.resolved), (again.new, again.resolved), (last.new, last.resolved)]
    return Section(
        "policies",
        "Policies: duplicates",
        claims=[
            Claim(
                f"duplicate_files over {rows:,} rows finds every planted copy",
                f"{expected:,} rows",
                f"{outcome.violations:,} rows",
                outcome.violations == expected,
            ),
            Claim(
                f"a whole run over {rows:,} rows, its violations recorded",
                f"at most {LIMIT:.0f} s",
                f"{whole:.1f} s",
                whole <= LIMIT,
            ),
            Claim(
                "new and resolved over three runs",
                f"({expected:,}, 0), (0, 0), (0, {expected:,})",
                ", ".join(f"({new:,}, {resolved:,})" for new, resolved in counts),
                counts == [(expected, 0), (0, 0), (0, expected)],
            ),
        ],
        tables=[
            Table(
                ["what", "seconds", "rows of the snapshot a second"],
                [[name, f"{seconds:.1f}", f"{rows / seconds:,.0f}"] for name, (seconds, _) in found.items()],
            )
        ],
        notes=[
            (
                f'A snapshot of {rows:,} rows in one partition on Sail, one in {EVERY} a copy of another. "Only grouping" is '
                "GROUP BY and HAVING without the files' rows, the least that any way of finding copies has to do. Recording is "
                "the MERGE into policy_violations with all that decides what is new, still there and resolved."
            )
        ],
        figures={name: seconds for name, (seconds, _) in found.items()},
    )
