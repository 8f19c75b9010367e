"""Runs of policies: what is new, still there and resolved; errors of one policy; refusals; exports and views."""

from __future__ import annotations

import csv
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.adapters.spark_tables import SparkTables
from lakeflow_job_meta.errors import PolicyError, PolicyRunFailed, TableMismatch, TableNotFound, UsageError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies.definition import Policy
from lakeflow_job_meta.policies.inputs import Inputs, prepare
from lakeflow_job_meta.policies.results import Outcome, Results
from lakeflow_job_meta.policies.run import Places, evaluate, record
from lakeflow_job_meta.policies.settings import read
from lakeflow_job_meta.policies.tasks import PolicySession, perform
from lakeflow_job_meta.policies.violations import Violations
from tests.policies.files import NOW, file, put, snapshot

pytestmark = pytest.mark.slow

BIG = Policy(
    "big", "SELECT path, size FROM snapshot WHERE size > :limit", key=("path",), parameters={"limit": 10}
)


class Clock:
    """Each look is a second later."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self):
        self.at += timedelta(seconds=1)
        return self.at


class World:
    """A snapshot whose big files change from run to run."""

    def __init__(self, tables: Any, warehouse: Path, schema: tuple[str, str]) -> None:
        self.tables, self.warehouse, self.schema = tables, warehouse, schema
        self.table = snapshot(tables, warehouse, schema, [])
        self.places = Places.beside(self.table)
        self.clock = Clock()

    def files(self, *names: str) -> None:
        """The big files there are now."""
        rows = [file(f"/{name}", size=100) for name in names] + [file("/small", size=1)]
        put(self.warehouse, self.table, rows, "overwrite")

    @property
    def inputs(self) -> Inputs:
        return prepare(self.tables, self.table)

    def evaluate(self, *policies: Any, **more: Any) -> list[Outcome]:
        return evaluate(policies or (BIG,), self.tables, self.inputs, clock=self.clock, **more)

    def record(self, run: str, outcomes: list[Outcome]) -> list[Outcome]:
        self.places.ensure(self.tables)
        return record(run, outcomes, self.tables, self.places, self.inputs, clock=self.clock)

    def run(self, run: str, *policies: Any, **more: Any) -> list[Outcome]:
        return self.record(run, self.evaluate(*policies, **more))

    def counts(self, run: str) -> tuple[Any, Any, Any]:
        """(violations, new, resolved) of the run, as the table has them."""
        [row] = [
            row
            for row in self.tables.query(f"SELECT * FROM {self.places.results.quoted}")
            if (row["run_id"], row["policy"]) == (run, "big")
        ]
        return row["violations"], row["new"], row["resolved"]

    def open(self, policy: str = "big") -> dict[str, Any]:
        """Open violations by the file's name."""
        found = Violations(self.tables, self.places.violations).open(policy)
        return {one.row["path"].lstrip("/"): one for one in found}

    def rows(self) -> dict[str, dict[str, Any]]:
        """Every violation by the file's name."""
        rows = self.tables.query(f"SELECT * FROM {self.places.violations.quoted}")
        return {json.loads(row["row"])["path"].lstrip("/"): row for row in rows}

    def session(self, volumes: Any = None, **given: Any) -> PolicySession:
        chosen = read({"table": str(self.table), **given})
        return PolicySession(
            chosen, self.tables, volumes or FuseVolumes(None), "r", self.clock, lambda event, **facts: None
        )


@pytest.fixture
def world(tables: Any, sail: Any, schema: tuple[str, str]) -> World:
    return World(tables, sail.warehouse, schema)


class TestOverRuns:
    def test_new_still_there_resolved(self, world: World) -> None:
        """Each run tells what is new and what is gone since the run before; what stays keeps its first_seen."""
        world.files("a", "b")
        [first] = world.run("1")
        assert (first.status, first.violations, first.new, first.resolved) == ("FAIL", 2, 2, 0)
        seen = world.open()["b"].first_seen
        world.files("b", "c")
        [second] = world.run("2")
        assert (second.violations, second.new, second.resolved) == (2, 1, 1)
        assert world.counts("2") == (2, 1, 1)
        assert set(world.open()) == {"b", "c"}
        assert world.open()["b"].first_seen == seen
        assert world.open()["b"].last_run == "2"
        assert world.rows()["a"]["resolved_run"] == "2"
        world.files()
        [third] = world.run("3")
        assert (third.status, third.violations, third.new, third.resolved) == ("PASS", 0, 0, 2)
        assert not world.open()

    def test_what_comes_back_is_new_again(self, world: World) -> None:
        """A violation that was resolved and is found again is open and new, with a new first_seen."""
        world.files("a")
        world.run("1")
        world.files()
        world.run("2")
        world.files("a")
        [third] = world.run("3")
        assert (third.new, third.resolved) == (1, 0)
        again = world.open()["a"]
        assert (again.first_run, again.resolved_at) == ("3", None)
        assert again.first_seen == again.last_seen
        assert len(world.rows()) == 1

    def test_same_again_changes_nothing(self, world: World) -> None:
        """A second run over the same files has nothing new and nothing resolved."""
        world.files("a", "b")
        world.run("1")
        [second] = world.run("2")
        assert (second.violations, second.new, second.resolved) == (2, 0, 0)

    @pytest.mark.parametrize("later_writes_first", [False, True])
    def test_overlapping_runs(self, world: World, later_writes_first: bool) -> None:
        """The later look at the files decides, whichever run writes first; each violation is new in one run only."""
        world.files("old", "stays")
        world.run("0")
        world.files("stays", "brief", "new")
        earlier = world.evaluate()
        world.files("stays", "new", "newest")
        later = world.evaluate()
        order = (
            [("late", later), ("early", earlier)]
            if later_writes_first
            else [("early", earlier), ("late", later)]
        )
        for name, outcomes in order:
            world.record(name, outcomes)
        assert set(world.open()) == {"stays", "new", "newest"}
        rows = world.rows()
        assert rows["brief"]["resolved_run"] == "late"
        assert rows["old"]["resolved_at"] is not None
        assert rows["stays"]["last_run"] == "late"
        early, late = world.counts("early"), world.counts("late")
        # old is resolved once; brief, new and newest are each new once
        assert early[1] + late[1] == 3
        assert early[2] + late[2] == 2
        [after] = world.run("after")
        assert (after.violations, after.new, after.resolved) == (3, 0, 0)

    def test_a_late_writer_does_not_open_what_is_resolved(self, world: World) -> None:
        """A run that looked before the file was gone does not bring its violation back."""
        world.files("a")
        world.run("0")
        before = world.evaluate()
        world.files()
        world.run("1")
        world.record("slow", before)
        assert not world.open()
        assert world.rows()["a"]["resolved_run"] == "1"

    def test_a_later_error_resolves_nothing_of_an_earlier_run(self, world: World) -> None:
        """A run that could not look does not count as one that found nothing."""
        world.files("a")
        good = world.evaluate()
        world.run("broken", Policy("big", "SELECT pathh FROM snapshot", key=("path",)))
        world.record("slow", good)
        assert set(world.open()) == {"a"}
        assert world.counts("slow") == (1, 1, 0)

    def test_two_writers_at_once(self, world: World, sail: Any) -> None:
        """Two runs that write at the same moment, each in a session of its own, lose nothing to one another."""
        world.files("old", "stays")
        world.run("0")
        outcomes = {}
        for number in range(3):
            world.files("stays", f"new-{number}")
            outcomes[f"w{number}"] = world.evaluate()
        barrier = threading.Barrier(len(outcomes))

        def write(run: str) -> None:
            session = sail.session()
            try:
                for table in (world.places.results, world.places.violations):
                    sail.register(session, table)
                barrier.wait(30)
                record(
                    run, outcomes[run], SparkTables(session), world.places, world.inputs, clock=world.clock
                )
            finally:
                session.stop()

        with ThreadPoolExecutor(len(outcomes)) as pool:
            list(pool.map(write, outcomes))
        assert set(world.open()) == {"stays", "new-2"}
        assert sum(world.counts(run)[1] for run in outcomes) == 3
        assert sum(world.counts(run)[2] for run in outcomes) == 3
        assert {row["first_run"] for row in world.rows().values()} == {"0", *outcomes}

    def test_statements_do_not_grow_with_the_policies(self, world: World) -> None:
        """A run sends one statement a policy, and the same few for all of them together."""
        world.files("a", "b")

        def statements(run: str, number: int) -> int:
            policies = [
                Policy(f"p{n}", BIG.sql, parameters=BIG.parameters, key=("path",)) for n in range(number)
            ]
            before = world.tables.statements
            world.run(run, *policies)
            return int(world.tables.statements) - before - number

        statements("0", 1)
        few = statements("1", 1)
        statements("2", 8)
        assert statements("3", 8) == few
        assert few < 20

    def test_tables_are_kept_apart(self, world: World) -> None:
        """A run over another table resolves nothing of this one."""
        world.files("a")
        world.run("1")
        other = snapshot(world.tables, world.warehouse, world.schema, [file("/z", size=1)], "other")
        inputs = prepare(world.tables, other)
        outcomes = evaluate([BIG], world.tables, inputs, clock=world.clock)
        [outcome] = record("2", outcomes, world.tables, world.places, inputs, clock=world.clock)
        assert (outcome.status, outcome.resolved) == ("PASS", 0)
        assert set(world.open()) == {"a"}
        latest = Results(world.tables, world.places.results).latest()
        assert [(row["table_name"], row["status"]) for row in latest] == [
            (str(world.table), "FAIL"), (str(other), "PASS")
        ]  # fmt: skip


class TestStatus:
    @pytest.mark.parametrize(
        ("most", "on_violation", "status"),
        [
            (0, "fail", "FAIL"),
            (0, "warn", "WARN"),
            (1, "fail", "FAIL"),
            (2, "fail", "PASS"),
            (2, "warn", "PASS"),
        ],
    )
    def test_threshold(self, world: World, most: int, on_violation: str, status: str) -> None:
        """Up to max_violations pass; what more is fails or warns."""
        world.files("a", "b")
        policy = Policy(
            BIG.name, BIG.sql, parameters=BIG.parameters, max_violations=most, on_violation=on_violation
        )
        [outcome] = world.evaluate(policy)
        assert (outcome.status, outcome.violations) == (status, 2)

    def test_one_broken_policy_does_not_stop_the_others(self, world: World) -> None:
        """It is an ERROR of its own with its reason, its open violations stay, and all are recorded."""
        world.files("a")
        world.run("1")
        outcomes = world.run(
            "2",
            Policy("writes", "DELETE FROM snapshot"),
            Policy("missing", "SELECT * FROM main.nowhere.nothing"),
            Policy("typo", "SELECT pathh FROM snapshot"),
            Policy("valueless", "SELECT path FROM snapshot WHERE size > :limit"),
            Policy("keyless", "SELECT path FROM snapshot", key=("id",)),
            Policy("big", "SELECT broken FROM", parameters={"limit": 1}),
            Policy("fine", "SELECT path FROM snapshot WHERE size < 0"),
        )
        errors = {one.policy: one.error for one in outcomes}
        assert [one.status for one in outcomes] == ["ERROR"] * 6 + ["PASS"]
        assert "DELETE is not allowed" in errors["writes"]
        assert "nothing" in errors["missing"]
        assert "pathh" in errors["typo"]
        assert "valueless:1:41: parameter :limit has no value" in errors["valueless"]
        assert "'id'" in errors["keyless"]
        assert errors["big"].startswith("big:1:")
        assert set(world.open()) == {"a"}
        assert len(world.tables.query(f"SELECT * FROM {world.places.results.quoted}")) == 8

    def test_a_cte_may_have_the_name_of_what_it_reads(self, world: World) -> None:
        """`WITH snapshot AS (SELECT * FROM snapshot ...)` narrows the snapshot."""
        world.files("a", "b")
        sql = "WITH snapshot AS (SELECT * FROM snapshot WHERE path = '/a') SELECT path FROM snapshot"
        [outcome] = world.evaluate(Policy("narrow", sql))
        assert (outcome.violations, outcome.error) == (1, "")

    def test_more_rows_than_are_kept(self, world: World) -> None:
        """All are counted, some are kept, and nothing is taken for resolved."""
        world.files("a", "b", "c")
        world.run("1")
        [outcome] = world.run("2", max_rows=2)
        assert (outcome.status, outcome.violations, outcome.resolved) == ("FAIL", 3, 0)
        assert "2 rows are kept" in outcome.error
        assert set(world.open()) == {"a", "b", "c"}

    def test_rows_with_one_key_are_all_kept(self, world: World) -> None:
        """A key that is not unique loses no row."""
        world.files("a", "b")
        policy = Policy("dirs", "SELECT 'same' AS dir, path FROM snapshot WHERE size > 10", key=("dir",))
        [first] = world.run("1", policy)
        [second] = world.run("2", policy)
        assert (first.violations, first.new) == (2, 2)
        assert (second.new, second.resolved) == (0, 0)


class TestValues:
    def test_every_type_of_a_row_becomes_json(self, world: World) -> None:
        """Times are RFC 3339 in UTC, structs objects, bytes hex; nothing fails."""
        sql = (
            "SELECT TIMESTAMP'2026-01-02 03:04:05' AS t, DATE'2026-01-02' AS d, CAST(1.50 AS DECIMAL(5,2)) AS c, "
            "CAST('NaN' AS DOUBLE) AS n, array(1, 2) AS a, named_struct('x', 'y') AS s, X'00FF' AS b, true AS f, "
            "CAST(NULL AS STRING) AS z, '\U0001f98a \\' \" ' AS q"
        )
        [outcome] = world.evaluate(Policy("types", sql))
        assert not outcome.error
        [row] = [json.loads(text) for text in outcome.rows.values()]
        assert row["t"] == "2026-01-02T03:04:05Z"
        assert row["s"] == {"x": "y"}
        assert (row["d"], row["c"], row["n"], row["a"], row["b"], row["f"], row["z"]) == (
            "2026-01-02", "1.50", "nan", [1, 2], "00ff", True, None
        )  # fmt: skip
        assert row["q"] == "\U0001f98a ' \" "

    def test_a_value_is_bound_and_never_part_of_the_sql(self, world: World) -> None:
        """A hostile value finds nothing and breaks nothing."""
        world.files("a")
        policy = Policy(
            "named", "SELECT path FROM snapshot WHERE path = :p", parameters={"p": "' OR '1'='1' --"}
        )
        [outcome] = world.evaluate(policy)
        assert (outcome.status, outcome.error) == ("PASS", "")


class TestPerform:
    def test_fails_after_all_is_recorded(self, world: World) -> None:
        """A failing policy fails the run, and the policies after it were run and recorded."""
        world.files("a")
        policies = [
            {"name": "big", "sql": BIG.sql, "parameters": {"limit": 10}},
            {"name": "soft", "sql": BIG.sql, "parameters": {"limit": 10}, "on_violation": "warn"},
            {"name": "fine", "sql": "SELECT path FROM snapshot WHERE size < 0"},
        ]
        with pytest.raises(PolicyRunFailed, match="policy big: 1 violation, allowed are 0") as failed:
            perform(world.session(policies=policies))
        summary = failed.value.summary
        assert [(one["name"], one["status"]) for one in summary["policies"]] == [
            ("big", "FAIL"), ("soft", "WARN"), ("fine", "PASS")
        ]  # fmt: skip
        assert set(summary["policies"][0]) == {
            "name", "status", "violations", "new", "resolved", "threshold", "seconds", "error"
        }  # fmt: skip
        assert len(world.tables.query(f"SELECT * FROM {world.places.results.quoted}")) == 3

    def test_warnings_alone_do_not_fail(self, world: World) -> None:
        """A run with warnings returns its summary."""
        world.files("a")
        policy = {"name": "soft", "sql": BIG.sql, "parameters": {"limit": 10}, "on_violation": "warn"}
        assert perform(world.session(policies=policy))["policies"][0]["status"] == "WARN"

    def test_a_file_of_ones_own(self, world: World, tmp_path: Path) -> None:
        """A `.sql` file says what it is in its header; the settings may say otherwise."""
        world.files("a", "b")
        path = tmp_path / "large.sql"
        path.write_text("-- name: large\n-- severity: low\n-- parameters: {limit: 10}\n" + BIG.sql + ";\n")
        [one] = perform(
            world.session(policies={"sql_file_path": str(path), "max_violations": 5, "name": "larger"})
        )["policies"]
        assert (one["name"], one["status"], one["violations"], one["threshold"]) == ("larger", "PASS", 2, 5)
        [again] = perform(world.session(policies=str(path), parameters={"limit": "1000"}))["policies"]
        assert (again["name"], again["status"]) == ("large", "PASS")

    def test_a_file_that_is_not_there_is_an_error_of_its_own(self, world: World) -> None:
        """The other policies run."""
        world.files()
        with pytest.raises(PolicyRunFailed) as failed:
            perform(world.session(policies=["/Volumes/main/x/y/gone.sql", "duplicate_files"]))
        gone, other = failed.value.summary["policies"]
        assert (gone["name"], gone["status"], other["status"]) == ("gone", "ERROR", "PASS")
        assert "gone.sql" in gone["error"]
        assert "put" in gone["error"]

    def test_views_show_the_newest_results_and_open_violations(self, world: World) -> None:
        """The dashboard's views can be read."""
        world.files("a", "b")
        policy = {"name": "soft", "sql": BIG.sql, "parameters": {"limit": 10}, "on_violation": "warn"}
        perform(world.session(policies=policy))
        world.files("b")
        perform(world.session(policies=policy))
        catalog, schema = world.schema

        def view(name: str) -> list[dict[str, Any]]:
            return list(world.tables.query(f"SELECT * FROM `{catalog}`.`{schema}`.{name}"))

        assert [(row["policy"], row["violations"], row["resolved"]) for row in view("v_policy_latest")] == [
            ("soft", 1, 1)
        ]
        assert [(row["path"], row["days_open"]) for row in view("v_policy_open")] == [("/b", 0)]
        assert [(row["violations"], row["new"], row["resolved"]) for row in view("v_policy_trend")] == [
            (1, 2, 1)
        ]
        assert [
            (row["severity"], row["warning"], row["open_violations"]) for row in view("v_policy_summary")
        ] == [("medium", 1, 1)]

    def test_exports(self, world: World, tmp_path: Path) -> None:
        """Results and violations as CSV and JSON; what a spreadsheet takes for a formula is defused in CSV alone."""
        put(
            world.warehouse,
            world.table,
            [file("=cmd|' /C calc'!A0", size=100), file("-1+1", size=100)],
            "overwrite",
        )
        policy = {"name": "big", "sql": BIG.sql, "parameters": {"limit": 10}, "on_violation": "warn"}
        summary = perform(
            world.session(FuseVolumes(tmp_path), policies=policy, export_path="/Volumes/main/x/reports/")
        )
        assert "/Volumes/main/x/reports/r/big.csv" in summary["exported"]
        folder = tmp_path / "main" / "x" / "reports" / "r"
        rows = list(csv.DictReader(io.StringIO((folder / "big.csv").read_text())))
        assert sorted(row["path"] for row in rows) == ["'-1+1", "'=cmd|' /C calc'!A0"]
        assert {row["size"] for row in rows} == {"100"}
        whole = json.loads((folder / "big.json").read_text())
        assert sorted(row["path"] for row in whole) == ["-1+1", "=cmd|' /C calc'!A0"]
        [result] = json.loads((folder / "results.json").read_text())
        assert (result["name"], result["violations"], result["run_id"]) == ("big", 2, "r")


class TestRefused:
    def test_a_table_that_is_not_there(self, world: World) -> None:
        """Nothing is run and nothing is made."""
        with pytest.raises(TableNotFound, match=r"main\.nowhere\.files: there is no such table"):
            perform(world.session(table="main.nowhere.files"))
        assert world.tables.columns(world.places.results) is None

    def test_an_unknown_policy(self, world: World) -> None:
        """The nearest name is told."""
        with pytest.raises(UsageError, match="did you mean 'duplicate_files'"):
            perform(world.session(policies=["duplicate_file"]))

    def test_two_of_one_name(self, world: World) -> None:
        """They would be one in the tables."""
        with pytest.raises(PolicyError, match="two policies are called 'rot_files'"):
            perform(world.session(policies=["rot_files", "rot_files"]))

    def test_no_table(self, world: World) -> None:
        """A policy over `snapshot` needs the table; where the results go must be known."""
        with pytest.raises(UsageError, match="no table to check"):
            perform(world.session(table=None))
        with pytest.raises(PolicyRunFailed, match="it reads snapshot, and no table is named"):
            perform(world.session(table=None, results_table=str(world.places.results), policies="rot_files"))

    def test_another_table_has_the_name(self, world: World) -> None:
        """A table of somebody else's is not written to."""
        world.tables.query(f"CREATE TABLE {world.places.results.quoted} (a INT) USING delta")
        with pytest.raises(TableMismatch, match="policy_results is another table"):
            perform(world.session(policies="rot_files"))


def test_policies_read_further_tables(world: World) -> None:
    """A table is called by the word that the settings give it."""
    world.files("a")
    name = TableName(*world.schema, "allowed")
    world.tables.query(f"CREATE TABLE {name.quoted} (path STRING) USING delta")
    world.tables.query(f"INSERT INTO {name.quoted} VALUES ('/a')")
    sql = "SELECT s.path FROM snapshot s LEFT ANTI JOIN allowed a ON s.path = a.path WHERE s.size > 10"
    session = world.session(policies={"name": "own", "sql": sql}, tables={"allowed": str(name)})
    assert perform(session)["policies"][0]["status"] == "PASS"
