"""Silver on Sail: D3 to D9, G14, J2, J5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lakeflow_job_meta.datasets.model import Phase, Status
from lakeflow_job_meta.errors import TaskError
from tests.datasets.world import World


def test_d3_nulls(world: World) -> None:
    """Each token becomes NULL, and NaN too; no text of them is left, and the number is recorded."""
    nan = float("nan")
    sync = world.sync(
        {
            "a": ["", "NA", "n/a", "NULL", "nan", "NaT", "None", "x"],
            "f": [nan, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        },
        silver={"dedupe": "none"},
    )
    world.run(sync)
    rows = world.rows(sync.targets.silver)
    assert sorted(str(row["a"]) for row in rows) == ["None"] * 7 + ["x"]
    assert [row["a"] for row in rows].count(None) == 7
    assert [row["f"] for row in rows].count(None) == 1
    [step] = [one for one in sync.steps() if one.phase is Phase.SILVER]
    assert step.detail["nulls_replaced"] == 8


def test_d4_duplicates(world: World) -> None:
    """Full rows: 4 rows with one duplicate are 3, and NULLs equal each other. By key: the newest stays."""
    columns = {
        "id": ["1", "1", "2", "2", None, None],
        "at": ["2025-01-01", "2025-01-01", "2025-01-01", "2025-02-01", None, None],
    }
    sync = world.clean(columns)
    assert len(world.rows(sync.targets.silver)) == 4
    keyed = world.clean(columns, dataset_id="d2", name="Keyed", silver={"keys": ["id"], "order_by": ["at"]})
    rows = {row["id"]: str(row["at"]) for row in world.rows(keyed.targets.silver)}
    assert rows == {1: "2025-01-01", 2: "2025-02-01", None: "None"}
    [step] = [one for one in keyed.steps() if one.phase is Phase.SILVER]
    assert (step.rows_in, step.rows_out, step.detail["duplicates_dropped"]) == (6, 3, 3)


def test_d5_snake_case_columns(world: World) -> None:
    """Columns get documented, distinct names; their originals are in the ledger."""
    names = ["Order ID", "orderID", "Amount ($)", "Ünïcode", "2nd", "$", "amount"]
    sync = world.clean({name: ["1"] for name in names})
    assert list(world.types(sync.targets.silver)) == [
        "order_id",
        "order_id_2",
        "amount",
        "unicode",
        "c_2nd",
        "column",
        "amount_2",
    ]
    [step] = [one for one in sync.steps() if one.phase is Phase.SILVER]
    assert step.detail["names"]["Amount ($)"] == "amount"


def test_d6_d9_a_failing_silver_leaves_the_former_version(world: World) -> None:
    """The previous rows stay readable; bronze is told, silver is not of this version; silver alone, repaired, succeeds."""
    world.clean({"a": ["1", "2"]})
    broken = world.sync({"a": ["1", "2", "3"]}, version=2, silver={"keys": ["nothing"]})
    world.step(broken, Phase.BRONZE)
    with pytest.raises(TaskError, match="'nothing', which is no column"):
        world.step(broken, Phase.SILVER)
    with pytest.raises(TaskError, match="not synced"):
        world.end(broken)
    assert len(world.rows(broken.targets.silver)) == 2
    status = world.events.latest()["d1"]
    assert (status.status, status.phase, status.version) == (Status.FAILED, Phase.SILVER, 2)
    assert status.bronze_table == str(broken.targets.bronze)
    assert status.row_count_bronze == 3
    mended = world.sync(version=2, run_id=broken.run_id, source={"row_count": 3})
    mended = replace(mended, repair=1)
    world.step(mended, Phase.SILVER)
    assert world.end(mended)["status"] == "synced"
    assert len(world.rows(mended.targets.silver)) == 3
    assert world.events.latest()["d1"].last_sync_error is None


def test_d9_the_first_failing_silver_has_no_table(world: World) -> None:
    """status failed, phase silver, bronze_table set, silver_table null, the error's text."""
    sync = world.sync({"a": ["1"]}, silver={"keys": ["nothing"]})
    world.step(sync, Phase.BRONZE)
    with pytest.raises(TaskError):
        world.step(sync, Phase.SILVER)
    status = world.events.latest()["d1"]
    assert (status.status, status.phase) == (Status.FAILED, Phase.SILVER)
    assert status.bronze_table is not None
    assert status.silver_table is None
    assert "no column" in (status.last_sync_error or "")


def test_d7_j1_the_next_version_replaces_the_rows(world: World) -> None:
    """Silver has the rows of version 2, in the same table; the history has both."""
    first = world.clean({"a": ["1", "2"]})
    second = world.clean({"a": ["7"]}, version=2)
    assert first.targets == second.targets
    assert world.rows(second.targets.silver) == [{"a": 7}]
    versions = [event.version for event in world.events.history("d1") if event.status is Status.SYNCED]
    assert versions == [1, 2]


def test_d8_options_are_honoured(world: World) -> None:
    """dedupe none, infer_types false, column_case keep and other null tokens change what is written."""
    columns = {"Order ID": ["1", "1", "-"]}
    sync = world.clean(
        columns,
        silver={"dedupe": "none", "infer_types": False, "column_case": "keep", "null_tokens": ["-"]},
    )
    assert world.types(sync.targets.silver) == {"Order ID": "STRING"}
    assert sorted(str(row["Order ID"]) for row in world.rows(sync.targets.silver)) == ["1", "1", "None"]


def test_g14_counts_fit_together(world: World) -> None:
    """silver = bronze minus duplicates: the counts are in the status, nothing is flagged."""
    sync = world.sync({"a": ["1", "1", "2"]})
    summary = world.run(sync)
    assert (summary["row_count_local"], summary["row_count_bronze"], summary["row_count_silver"]) == (3, 3, 2)
    assert summary["flags"] == []


class Losing:
    """`ports.Tables` on which a row gets lost each time a table is replaced."""

    def __init__(self, tables: Any) -> None:
        self._tables = tables

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def replace_table(self, table: Any, *arguments: Any, **more: Any) -> None:
        self._tables.replace_table(table, *arguments, **more)
        self._tables.query(f"DELETE FROM {table.quoted} WHERE a = '2'")


def test_g14_a_row_that_is_missing_is_flagged(world: World) -> None:
    """Bronze has less than the file, silver less than bronze without its duplicates: both are told."""
    sync = world.sync({"a": ["1", "1", "2"]})
    assert world.step(replace(sync, tables=Losing(world.tables)), Phase.BRONZE)["flags"] == [
        "the table has 2 rows, the file 3",
        "the table has 2 rows, the upload 3",
    ]
    other = world.sync({"a": ["1", "1", "2"]}, dataset_id="d2", name="Other")
    world.step(other, Phase.BRONZE)
    done = world.step(replace(other, tables=Losing(world.tables)), Phase.SILVER)
    assert done["flags"] == ["the table has 1 rows, 2 were to be written"]
    assert world.end(other)["flags"] == done["flags"]


def test_j2_schema_evolution(world: World) -> None:
    """Added, dropped and retyped columns: silver has the new version's columns, and the ledger says what changed."""
    world.clean({"kept": ["1"], "dropped": ["x"], "retyped": ["1"]})
    sync = world.clean({"kept": ["2"], "added": ["y"], "retyped": ["2.5"]}, version=2)
    assert world.types(sync.targets.silver) == {"kept": "BIGINT", "added": "STRING", "retyped": "DOUBLE"}
    [step] = [one for one in sync.steps() if one.phase is Phase.SILVER]
    assert step.detail["evolution"] == {
        "added": ["added"],
        "dropped": ["dropped"],
        "retyped": {"retyped": ["BIGINT", "DOUBLE"]},
    }


@pytest.mark.parametrize("by", ["rows", "keys", "watermark"])
def test_j5_append_adds_only_what_is_new(world: World, by: str) -> None:
    """Mode append adds the new rows of a version; run again it adds none."""
    silver = {
        "mode": "append",
        **({"keys": ["id"]} if by == "keys" else {"watermark": "id"} if by == "watermark" else {}),
    }
    world.clean({"id": ["1", "2"], "v": ["a", "b"]}, silver=silver)
    second = {"id": ["1", "2", "3"], "v": ["a", "changed", "c"]}
    sync = world.clean(second, version=2, silver=silver)
    rows = sorted((row["id"], row["v"]) for row in world.rows(sync.targets.silver))
    assert rows == (
        [(1, "a"), (2, "b"), (2, "changed"), (3, "c")] if by == "rows" else [(1, "a"), (2, "b"), (3, "c")]
    )
    again = world.clean(second, version=2, silver=silver)
    [step] = [one for one in again.steps() if one.phase is Phase.SILVER]
    assert step.detail["rows_added"] == 0
    assert len(world.rows(sync.targets.silver)) == len(rows)


def test_j5_append_takes_new_columns_and_wider_types(world: World) -> None:
    """A version with another column and decimals: the table gets both, former rows are kept."""
    silver = {"mode": "append", "keys": ["id"]}
    world.clean({"id": ["1"], "v": ["1"], "old": ["x"]}, silver=silver)
    sync = world.clean({"id": ["2"], "v": ["2.5"], "new": ["y"]}, version=2, silver=silver)
    assert world.types(sync.targets.silver) == {
        "id": "BIGINT",
        "v": "DOUBLE",
        "old": "STRING",
        "new": "STRING",
    }
    rows = {row["id"]: (row["v"], row["old"], row["new"]) for row in world.rows(sync.targets.silver)}
    assert rows == {1: (1.0, "x", None), 2: (2.5, None, "y")}


def test_i2_two_silver_tables_join(world: World) -> None:
    """Two datasets of a tenant join on a column of both."""
    orders = world.clean({"Order ID": ["1", "2"], "Product ID": ["10", "11"]}, name="Orders")
    products = world.clean(
        {"Product ID": ["10", "11"], "Name": ["Pen", "Ink"]}, dataset_id="d2", name="Products"
    )
    rows = world.tables.query(
        f"SELECT o.order_id, p.name FROM {orders.targets.silver.quoted} AS o "
        f"JOIN {products.targets.silver.quoted} AS p ON o.product_id = p.product_id ORDER BY 1"
    )
    assert rows == [{"order_id": 1, "name": "Pen"}, {"order_id": 2, "name": "Ink"}]


def test_e3_tables_of_others_are_never_overwritten(world: World) -> None:
    """A row whose table is another dataset's, or somebody's own: refused for good, and what was there stays."""
    first = world.sync({"a": ["1"]})
    world.step(first, Phase.BRONZE)
    other = world.sync({"a": ["2"]}, dataset_id="d2")
    for phase in (Phase.BRONZE, Phase.SILVER):
        with pytest.raises(TaskError, match="holds dataset d1, not"):
            world.step(other, phase)
    assert world.rows(first.targets.bronze) == [{"a": "1"}]
    own = world.sync({"a": ["3"]}, dataset_id="d3", target={"table": "mine"})
    world.tables.query(f"CREATE TABLE {own.targets.bronze.quoted} USING delta AS SELECT 'kept' AS b")
    with pytest.raises(TaskError, match="holds something else"):
        world.step(own, Phase.BRONZE)
    assert world.rows(own.targets.bronze) == [{"b": "kept"}]
    assert world.events.latest()["d3"].retryable is False
