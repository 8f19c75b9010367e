"""Bronze on Sail: C1 to C7, E7."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters import sql_text
from lakeflow_job_meta.datasets import statements
from lakeflow_job_meta.datasets.model import Phase, Status
from lakeflow_job_meta.errors import PermissionDenied, TaskError
from lakeflow_job_meta.names import TableName
from tests.datasets.world import World

AWKWARD = {
    "Order ID": [1, 2, 3],
    "text": ['it\'s "quoted"', "back\\slash\\", None],
    "ünïcode ☃": ["ä", "漢字", "\U0001f600"],
    "big": [2**53 + 1, -(2**62), None],
    "day": [date(2025, 1, 15), date(1969, 12, 31), None],
    "float": [0.1, None, 1e300],
    "flag": [True, False, None],
    "padded": ["00123", " x ", ""],
}


def test_c1_columns_and_values_are_untouched(world: World) -> None:
    """Every column and value of the landed file is in bronze, row by row."""
    sync = world.sync(AWKWARD)
    world.step(sync, Phase.BRONZE)
    rows = sorted(world.rows(sync.targets.bronze), key=lambda row: row["Order ID"])
    assert rows == [dict(zip(AWKWARD, values, strict=True)) for values in zip(*AWKWARD.values(), strict=True)]


def test_c2_external_bronze_lies_where_it_is_told(world: World, tmp_path: Path) -> None:
    """An external table's statement has the configured location; the statement of a managed one has none."""
    sync = world.sync({"a": [1]}, bronze={"mode": "external", "external_location": str(tmp_path / "outside")})
    world.step(sync, Phase.BRONZE)
    assert (tmp_path / "outside" / "_delta_log").is_dir()
    assert world.rows(sync.targets.bronze) == [{"a": 1}]
    assert "LOCATION" not in sql_text.replace_table(sync.targets.bronze, "SELECT 1")


def test_c3_the_rows_are_counted_in_the_table(world: World) -> None:
    """The count comes from the table: a file that has lost a row since its upload is reported."""
    sync = world.sync({"a": [1, 2, 3]})
    world.land({"a": [1, 2]})
    done = world.step(sync, Phase.BRONZE)
    assert done["rows_out"] == 2
    assert done["flags"] == ["the table has 2 rows, the upload 3"]
    world.step(sync, Phase.SILVER)
    assert world.end(sync)["flags"] == ["the table has 2 rows, the upload 3"]
    status = world.events.latest()["d1"]
    assert (status.row_count_local, status.row_count_bronze) == (3, 2)


def test_c4_lineage_columns(world: World) -> None:
    """Every row says which dataset and version it is of, from which file, and when it came."""
    sync = world.sync({"a": [1, 2]}, version=3)
    world.step(sync, Phase.BRONZE)
    for row in world.rows(sync.targets.bronze, lineage=True):
        assert (row["_dataset_id"], row["_version"], row["_source_file"]) == ("d1", 3, sync.path)
        assert row["_ingested_at"] is not None


def test_c5_a_repetition_changes_nothing(world: World) -> None:
    """Bronze twice with the same version: the same rows in one table."""
    sync = world.sync({"a": [1, 2]})
    for number in (1, 2):
        assert world.step(sync, Phase.BRONZE, number)["rows_out"] == 2
    assert sorted(row["a"] for row in world.rows(sync.targets.bronze)) == [1, 2]


@pytest.mark.parametrize("how", ["missing", "text", "cut"])
def test_c6_c7_h6_a_file_that_is_gone_or_no_parquet_is_given_up(world: World, how: str) -> None:
    """A missing or damaged file is a permanent failure that names the path; a second attempt ends at once."""
    sync = world.sync({"a": [1, 2]})
    path = Path(sync.path)
    data = path.read_bytes()
    path.unlink()
    if how == "text":
        path.write_text("a,b\n1,2\n")
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2] + b"garbage" * 3)
    with pytest.raises(TaskError, match=str(path)):
        world.step(sync, Phase.BRONZE)
    status = world.events.latest()["d1"]
    assert (status.status, status.phase, status.retryable) == (Status.FAILED, Phase.BRONZE, False)
    assert status.error_class == ("file_missing" if how == "missing" else "file_corrupt")
    assert str(path) in (status.last_sync_error or "")
    assert "upload the dataset again" in (status.last_sync_error or "")
    statements_before = world.tables.statements
    with pytest.raises(TaskError, match="given up"):
        world.step(sync, Phase.BRONZE, 2)
    assert world.tables.statements - statements_before == 1
    assert [step.attempt for step in sync.steps()] == [1]


def test_a_repair_tries_again_what_was_given_up(world: World) -> None:
    """After the file is restored, repairing the run syncs it, under the same run id."""
    from dataclasses import replace

    sync = world.sync({"a": [1, 2]})
    data = Path(sync.path).read_bytes()
    Path(sync.path).unlink()
    with pytest.raises(TaskError):
        world.step(sync, Phase.BRONZE)
    with pytest.raises(TaskError):
        world.end(sync)
    Path(sync.path).write_bytes(data)
    repaired = replace(sync, repair=1)
    assert world.run(repaired)["status"] == "synced"
    assert world.events.latest()["d1"].status is Status.SYNCED


def test_f10_more_rows_than_the_limit_are_refused(world: World) -> None:
    """A file above row_limit is refused for good, by the number of rows, not by a timeout."""
    sync = world.sync({"a": [1, 2, 3]}, sync={"row_limit": 2})
    with pytest.raises(TaskError, match="3 rows, more than the row_limit of 2"):
        world.step(sync, Phase.BRONZE)
    assert world.events.latest()["d1"].error_class == "row_limit"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"source": {"api_token": "x"}}, "credentials belong to the workspace"),
        ({"target": {"password": "x"}}, "credentials belong to the workspace"),
        ({"target": {"catalog": "catalog_tenant_victim"}}, "outside catalog_tenant_"),
        ({"source": {"path": "/Volumes/landing/victim/d1/1.parquet"}}, "outside"),
        ({"source": {"path": "/Volumes/x/../victim/d1/1.parquet"}}, "is no path of a landed file"),
        ({"source": {"dataset_id": ""}}, "lacks dataset_id"),
    ],
)
def test_e5_h4_a_row_that_reaches_elsewhere_is_refused(world: World, facts: Any, told: str) -> None:
    """Another tenant's catalog or folder, or a credential in the row, is refused for good before anything is read."""
    sync = world.sync({"a": [1]}, **facts)
    with pytest.raises(TaskError, match=told):
        world.step(sync, Phase.BRONZE)
    assert world.tables.columns(TableName("catalog_tenant_victim", "bronze", "sales")) is None


def test_e7_no_injection(world: World) -> None:
    """Names with quotes, backticks, semicolons and newlines stay names: one statement, one table, and the victim lives."""
    import sqlglot

    victim = TableName(*world.schema, "victim")
    world.tables.query(f"CREATE TABLE {victim.quoted} USING delta AS SELECT 1 AS a")
    evil = f"a`); DROP TABLE {victim}; --\n'\\"
    sync = world.clean({evil: ["1", "2"], "b'; --": ["x", "y"]}, name=f"Evil `'; DROP TABLE {victim} --")
    assert [set(row) for row in world.rows(sync.targets.bronze)] == [{evil, "b'; --"}] * 2
    assert world.rows(victim) == [{"a": 1}]
    query = statements.bronze_query(
        "/Volumes/it's/`a`;--/1.parquet", dataset_id="d'; DROP TABLE x; --\\", version=1
    )
    text = sql_text.replace_table(sync.targets.bronze, query)
    [statement] = sqlglot.parse(text, read="spark")
    assert statement is not None
    assert statement.find(sqlglot.exp.Drop) is None


class Unity:
    """Unity Catalog for a caller who may not make catalogs."""

    def __init__(self, there: bool) -> None:
        self.there = there
        self.made: list[str] = []

    def catalog_exists(self, name: str) -> bool:
        return self.there

    def create_catalog(self, name: str, comment: str = "") -> bool:
        self.made.append(name)
        raise PermissionDenied("User does not have CREATE CATALOG on Metastore")


def test_e4_a_missing_privilege_names_the_grant(world: World) -> None:
    """Without the right to make the tenant's catalog bronze is given up, with the grant that is needed; a catalog
    that is there is only checked."""
    from dataclasses import replace

    unity = Unity(there=False)
    sync = replace(world.sync({"a": [1]}), catalog=lambda: unity)  # type: ignore[arg-type,return-value]
    with pytest.raises(TaskError, match="GRANT CREATE CATALOG ON METASTORE"):
        world.step(sync, Phase.BRONZE)
    status = world.events.latest()["d1"]
    assert (status.error_class, status.retryable) == ("permission", False)
    known = Unity(there=True)
    sync = replace(world.sync({"a": [1]}), catalog=lambda: known)  # type: ignore[arg-type,return-value]
    world.step(sync, Phase.BRONZE)
    assert known.made == []


def test_c1_columns_whose_names_differ_in_case_only(world: World, tmp_path: Path) -> None:
    """Tables do not tell them apart, nor from bronze's own columns: both get every value, under names of their own."""
    from pyarrow import parquet

    from lakeflow_job_meta.datasets.reading import convert

    source, target = tmp_path / "in.csv", tmp_path / "out.parquet"
    source.write_text("Amount,amount,_version,AMOUNT,amount_2\n1,x,9,true,7\n2,y,8,false,6\n")
    found = convert(source, target, shown="in.csv")
    assert found.renamed == {"amount": "amount_3", "_version": "_version_2", "AMOUNT": "AMOUNT_4"}
    sync = world.clean(table=parquet.read_table(target))
    names = ("Amount", "amount_3", "_version_2", "AMOUNT_4", "amount_2", "_version")
    bronze = world.rows(sync.targets.bronze, lineage=True)
    assert sorted(tuple(row[name] for name in names) for row in bronze) == [
        ("1", "x", "9", "true", "7", 1),
        ("2", "y", "8", "false", "6", 1),
    ]
    silver = sorted(tuple(row.values()) for row in world.rows(sync.targets.silver))
    assert silver == [(1, "x", 9, True, 7), (2, "y", 8, False, 6)]
    cleaned = ["amount", "amount_3", "version_2", "amount_4", "amount_2"]
    assert list(world.types(sync.targets.silver)) == cleaned


def test_j3_a_run_of_a_deleted_dataset_brings_nothing_back(world: World) -> None:
    """Deleted while its run waited: no table is made, nothing is recorded, and the run fails with the reason."""
    sync = world.sync({"a": [1]})
    sync.event(Status.PENDING)
    sync.event(Status.NOT_SYNCED)
    before = world.events.history("d1")
    for phase in (Phase.BRONZE, Phase.SILVER):
        with pytest.raises(TaskError, match="was deleted at 2026-03-04"):
            world.step(sync, phase)
    with pytest.raises(TaskError, match="was deleted"):
        world.end(sync)
    assert world.tables.columns(sync.targets.bronze) is None
    assert world.events.history("d1") == before
    assert sync.steps() == []
