"""Job records and the claims on them, on Sail and Delta."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.control.companion import Companion
from lakeflow_job_meta.control.job_records import JobRecords, definition
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.errors import TablesError
from lakeflow_job_meta.names import TableName

ONE, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
START = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(tables: Any, control_name: TableName, clock: Clock) -> JobRecords:
    return JobRecords(tables, control_name, "ws1", clock)


def full(module: str = "m") -> JobRecord:
    return JobRecord(
        module,
        job_id=2**53 + 1,
        job_name="Ünï 'quoted' \"twice\" \\",
        spec_hash="spec",
        rows_hash="rows",
        context_hash="context",
        definition={"a": [1, None, {"b": "\n\U0001f600"}]},
        applied={"settings": {"name": "x"}, "permissions": None},
        status="active",
        error="",
        former_pause_status="PAUSED",
        applied_at=START,
    )


def test_no_table_reads_as_no_records(tables: Any, records: JobRecords, control_name: TableName) -> None:
    """A plan writes nothing, not even tables."""
    assert records.all() == {}
    assert records.rows_hashes() == {}
    assert tables.columns(control_name.companion("jobs")) is None


def test_records_come_back_as_they_were_saved(records: JobRecords) -> None:
    """JSON, 64-bit ids and times in UTC; the claim is given back with the same statement."""
    records.insert({"m": "name"})
    assert records.all() == {"m": JobRecord("m", job_name="name")}
    records.claim(["m"], ONE, 60)
    records.save([full()], ONE)
    assert records.all() == {"m": full()}
    assert records.all(["m", "x"]) == {"m": full()}
    assert records.all([]) == {}
    assert records.rows_hashes() == {"m": "rows"}


def test_insert_leaves_what_is_there(records: JobRecords) -> None:
    """It only makes the records that are missing."""
    records.insert({"m": ""})
    records.claim(["m"], ONE, 60)
    records.save([full()], ONE)
    records.insert({"m": "other", "n": "new"})
    assert records.all()["m"] == full()
    assert set(records.all()) == {"m", "n"}


def test_statements(tables: Any, records: JobRecords) -> None:
    """One each, two for a claim: the work of a pass must not grow with the modules it touches."""
    records.insert({"first": ""})  # makes the table
    many = [f"m{number}" for number in range(200)]
    counts = []
    for call in (
        lambda: records.insert(dict.fromkeys(many, "")),
        lambda: records.claim(many, ONE, 60),
        lambda: records.save([full(module) for module in many], ONE),
        records.all,
        lambda: records.release(many, ONE),
        lambda: records.insert({}),
        lambda: records.claim([], ONE, 60),
        lambda: records.save([], ONE),
    ):
        before = tables.statements
        call()
        counts.append(tables.statements - before)
    assert counts == [1, 2, 1, 1, 1, 0, 0, 0]


class TestClaim:
    def test_who_claims_first_has_it(self, records: JobRecords) -> None:
        """Others get what is left; modules without a record are nobody's."""
        records.insert(dict.fromkeys("abc", ""))
        assert set(records.claim(["a", "b", "unknown"], ONE, 60)) == {"a", "b"}
        assert set(records.claim(["a", "b", "c"], OTHER, 60)) == {"c"}

    def test_it_returns_the_records_as_they_are_now(self, records: JobRecords, clock: Clock) -> None:
        """So that what another writer did meanwhile is seen."""
        records.insert({"m": ""})
        records.claim(["m"], OTHER, 60)
        records.save([full()], OTHER)
        held = records.claim(["m"], ONE, 60)
        assert held == {"m": replace(full(), claim=ONE, claimed_until=clock.now + timedelta(seconds=60))}

    def test_the_same_token_renews(self, records: JobRecords, clock: Clock) -> None:
        """A long pass keeps its claims."""
        records.insert({"a": ""})
        records.claim(["a"], ONE, 60)
        clock.forward(50)
        assert set(records.claim(["a"], ONE, 60)) == {"a"}
        clock.forward(50)
        assert not records.claim(["a"], OTHER, 60)

    def test_it_expires(self, records: JobRecords, clock: Clock) -> None:
        """What a dead writer held is free after its time, and not before."""
        records.insert({"a": ""})
        records.claim(["a"], ONE, 60)
        clock.forward(59)
        assert not records.claim(["a"], OTHER, 60)
        clock.forward(2)
        assert set(records.claim(["a"], OTHER, 60)) == {"a"}

    def test_an_expired_writer_saves_and_releases_nothing(self, records: JobRecords, clock: Clock) -> None:
        """Whoever lost a module does not write over the one that has it now."""
        records.insert({"a": "", "b": ""})
        records.claim(["a", "b"], ONE, 60)
        clock.forward(61)
        records.claim(["a"], OTHER, 60)
        records.save([full("a"), full("b")], ONE)
        records.release(["a"], ONE)
        found = records.all()
        assert found["a"].job_id is None
        assert found["a"].claim == OTHER
        assert found["b"] == full("b")

    def test_saving_may_keep_the_claim(self, records: JobRecords, clock: Clock) -> None:
        """For writing down in between."""
        records.insert({"m": ""})
        records.claim(["m"], ONE, 60)
        records.save([full()], ONE, release=False)
        assert records.all()["m"].claim == ONE
        records.release(["m"], ONE)
        assert records.all()["m"] == full()

    def test_a_token_is_no_sql(self, records: JobRecords) -> None:
        """It stands in the statement, so it must be a UUID."""
        with pytest.raises(ValueError, match="UUID"):
            records.claim(["m"], "' OR 1=1 --", 60)


class TestDuplicates:
    """Two writers may insert one key at once on Databricks: two rows."""

    def two_rows(self, tables: Any, control_name: TableName, *rows: dict[str, Any]) -> None:
        Companion(tables, definition(control_name), "ws1").append(
            [{"module_name": "m", **row} for row in rows]
        )

    def test_a_module_is_ours_only_if_all_its_rows_are(
        self, tables: Any, control_name: TableName, records: JobRecords, clock: Clock
    ) -> None:
        """The one row that we got is given back."""
        until = clock.now + timedelta(seconds=30)
        self.two_rows(tables, control_name, {"claim": OTHER, "claimed_until": until}, {"claim": ""})
        assert records.claim(["m"], ONE, 60) == {}
        raw = Companion(tables, definition(control_name), "ws1").read(["claim"])
        assert sorted(row["claim"] for row in raw) == ["", OTHER]

    def test_both_free_rows_are_claimed_together_and_become_equal(
        self, tables: Any, control_name: TableName, records: JobRecords
    ) -> None:
        """The record with a job counts, and the lowest id of two; a save makes the rows one in content."""
        self.two_rows(
            tables, control_name, {"claim": ""}, {"claim": "", "job_id": 9}, {"claim": "", "job_id": 7}
        )
        assert records.all()["m"].job_id == 7
        assert set(records.claim(["m"], ONE, 60)) == {"m"}
        records.save([full()], ONE)
        assert records.all() == {"m": full()}
        raw = Companion(tables, definition(control_name), "ws1").read(["job_id", "claim", "spec_hash"])
        assert raw == [{"job_id": 2**53 + 1, "claim": "", "spec_hash": "spec"}] * 3


def test_workspaces_do_not_see_each_other(tables: Any, control_name: TableName, records: JobRecords) -> None:
    """Several workspaces share one control table and its companions."""
    other = JobRecords(tables, control_name, "ws2")
    records.insert({"m": ""})
    assert other.all() == {}
    other.insert({"m": ""})
    records.claim(["m"], ONE, 60)
    records.save([full()], ONE)
    assert other.all() == {"m": JobRecord("m")}
    assert set(other.claim(["m"], ONE, 60)) == {"m"}


def test_json_that_was_tampered_with_is_named(
    spark: Any, records: JobRecords, control_name: TableName
) -> None:
    """The row, and what to do about it."""
    records.insert({"m": ""})
    spark.sql(f"UPDATE {control_name}_jobs SET applied = '{{broken' WHERE module_name = 'm'").collect()
    with pytest.raises(TablesError, match=r"etl_control_jobs \[m\]\.applied holds no JSON"):
        records.all()


RACER = """
import json, sys, time, uuid
from pathlib import Path
from pyspark.sql import SparkSession
from lakeflow_job_meta.adapters.spark_tables import SparkTables
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.names import TableName

remote, location, name, start, rounds = sys.argv[1:]
table = TableName.parse(name)
spark = SparkSession.builder.remote(remote).create()
schema, jobs = f"`{table.catalog}`.`{table.schema}`", table.companion("jobs")
spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema} LOCATION '{location}'").collect()
spark.sql(f"CREATE TABLE IF NOT EXISTS {jobs.quoted} USING delta LOCATION '{location}/{jobs.table}'").collect()
records = JobRecords(SparkTables(spark), table, "ws")
token = str(uuid.uuid4())
Path(start + "." + token).touch()
while not Path(start).exists():
    time.sleep(0.005)
owned = []
for number in range(int(rounds)):
    modules = [f"r{number}m{n}" for n in range(3)]
    records.insert(dict.fromkeys(modules, ""))
    owned.append(sorted(records.claim(modules, token, 600)))
print(json.dumps(owned))
spark.stop()
"""


def test_two_processes_never_own_one_module(
    sail: Any, tables: Any, control_name: TableName, tmp_path: Path
) -> None:
    """Two real sessions insert and claim the same modules at once: each module has one owner at most,
    nothing is made twice, and every module is owned by somebody."""
    tables.create_table(definition(control_name))
    location = sail.warehouse / control_name.catalog / control_name.schema
    start, rounds = tmp_path / "start", 6
    env = {**os.environ, "SPARK_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                RACER,
                sail.remote,
                str(location),
                str(control_name),
                str(start),
                str(rounds),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for _ in range(2)
    ]
    try:
        wait_until(lambda: len(list(tmp_path.glob("start.*"))) == 2)
        start.touch()
        answers = [json.loads(racer.communicate(timeout=90)[0].splitlines()[-1]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
    for number in range(rounds):
        one, other = (set(answer[number]) for answer in answers)
        assert not one & other, f"round {number}: both own {one & other}"
        assert one | other == {f"r{number}m{n}" for n in range(3)}
    raw = Companion(tables, definition(control_name), "ws").read(["module_name"])
    assert sorted(row["module_name"] for row in raw) == sorted(
        f"r{r}m{n}" for r in range(rounds) for n in range(3)
    )


def wait_until(question: Any, seconds: float = 60) -> None:
    """Ask until it is so, at most so long."""
    import time

    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
