"""The control table on Sail and Delta."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lakeflow_job_meta.control.control_table import COLUMNS, ControlTable, settings_row
from lakeflow_job_meta.errors import TableMismatch, TableNotFound
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import TableName

PROMISE = (
    "source_id STRING, module_name STRING, source_type STRING, execution_order INT, source_config STRING, "
    "target_config STRING, transformation_config STRING, is_active BOOLEAN"
)
HOSTILE = (
    "plain",
    "it's",
    'a "quoted" one',
    "back\\slash \\' \\n",
    "two\nlines\r\tand a tab",
    "`backticks`",
    "'); DROP TABLE x; --",
    "${var.x} {{job.id}} :name ?",
    "Ünïcödé 漢字 \U0001f600",
    "nul \x00 and \x7f",
    " spaces ",
    "",
)


@pytest.fixture
def table(tables: Any, control_name: TableName) -> ControlTable:
    made = ControlTable(tables, control_name)
    made.ensure()
    return made


def test_it_is_made_with_the_eight_columns(tables: Any, table: ControlTable) -> None:
    """In this order and no more, so that an INSERT of eight values works."""
    found = tables.columns(table.name)
    assert ", ".join(f"{column.name} {column.type}" for column in found) == PROMISE


def test_a_plain_insert_of_eight_values_works(spark: Any, table: ControlTable) -> None:
    """What the README shows."""
    spark.sql(
        f"""INSERT INTO {table.name} VALUES ('sql_task_1', 'my_pipeline', 'sql', 1, '{{}}', '{{"table": "customers"}}',
        '{{"task_type": "sql_query"}}', true)"""
    ).collect()
    assert table.rows() == [
        Row(
            source_id="sql_task_1",
            module_name="my_pipeline",
            source_type="sql",
            execution_order=1,
            source_config="{}",
            target_config='{"table": "customers"}',
            transformation_config='{"task_type": "sql_query"}',
            is_active=True,
        )
    ]


def test_ensure_says_whether_it_made_the_table(tables: Any, control_name: TableName) -> None:
    """And spends one statement when there is nothing to do."""
    table = ControlTable(tables, control_name)
    assert not table.exists()
    assert table.ensure()
    before = tables.statements
    assert not table.ensure()
    assert tables.statements == before + 1
    assert table.exists()


def test_rows_come_back_as_they_were_written(table: ControlTable) -> None:
    """Any text, NULLs and all."""
    rows = [
        Row(text or "empty", f"m {text}", text, number, text, None, text)
        for number, text in enumerate(HOSTILE)
    ]
    rows += [
        Row("nulls", "n"),
        Row("inactive", "n", is_active=False),
        Row("null active", "n", is_active=None),
    ]
    table.write(rows)
    assert table.rows() == sorted(rows, key=lambda row: row.key)


def test_write_is_one_merge_by_key(tables: Any, table: ControlTable) -> None:
    """Rows with a key that is there are replaced, others inserted, the rest stays."""
    table.write([Row("a", "m", "old", 1), Row("b", "m", "old", 1)])
    before = tables.statements
    table.write([Row("b", "m", "new", 2), Row("c", "m", "new", 1), Row("b", "n", "new", 1)])
    assert tables.statements == before + 1
    assert [(row.key, row.source_type) for row in table.rows()] == [
        (("m", "a"), "old"),
        (("m", "b"), "new"),
        (("m", "c"), "new"),
        (("n", "b"), "new"),
    ]


def test_five_thousand_rows_are_one_statement(tables: Any, table: ControlTable) -> None:
    """A load of 100 files is one MERGE."""
    rows = [
        Row(f"s{n}", f"m{n % 1000:04}", "sql", 1, "{}", "{}", '{"task_type":"notebook"}', True)
        for n in range(5000)
    ]
    before = tables.statements
    table.write(rows)
    assert tables.statements == before + 1
    assert len(table.rows()) == 5000


def test_rows_of_some_modules(table: ControlTable) -> None:
    """Only theirs are read, whatever their names hold."""
    table.write([Row("s", name, "sql", 1) for name in HOSTILE])
    wanted = {"it's", "two\nlines\r\tand a tab", "Ünïcödé 漢字 \U0001f600", "not there"}
    assert {row.module_name for row in table.rows(wanted)} == wanted - {"not there"}
    assert table.rows([]) == []


def test_modules_lists_what_is_live(table: ControlTable) -> None:
    """Neither modules without an active source, nor retired ones, nor the settings."""
    table.write(
        [
            Row("s", "live", "sql", 1, is_active=None),
            Row("__job__", "live", "job", 0),
            Row("s", "off", "sql", 1, is_active=False),
            Row("s", "retired", "sql", 1),
            Row("__job__", "retired", "job", 0, is_active=False),
            Row("__job__", "only a job row", "job", 0),
            Row("__settings__", "__control__", "settings", 0),
        ]
    )
    assert table.modules() == ["live"]


def test_further_columns_are_tolerated_and_kept(spark: Any, tables: Any, control_name: TableName) -> None:
    """A table with two more columns is written by naming ours; the values of theirs stay."""
    spark.sql(
        f"CREATE TABLE {control_name.quoted} ({PROMISE}, created_at TIMESTAMP, note STRING) USING DELTA"
    ).collect()
    spark.sql(
        f"INSERT INTO {control_name} VALUES ('a', 'm', 'sql', 1, '{{}}', '{{}}', '{{}}', true, "
        "TIMESTAMP '2026-01-01 00:00:00', 'keep me')"
    ).collect()
    table = ControlTable(tables, control_name)
    assert not table.ensure()
    table.write([Row("a", "m", "new", 2), Row("b", "m", "new", 1)])
    assert [(row.source_id, row.source_type) for row in table.rows()] == [("a", "new"), ("b", "new")]
    notes = spark.sql(f"SELECT source_id, note, created_at FROM {control_name} ORDER BY source_id").collect()
    assert [(row.note, row.created_at is None) for row in notes] == [("keep me", False), (None, True)]


def test_columns_in_another_order_are_no_matter(spark: Any, tables: Any, control_name: TableName) -> None:
    """Every statement names its columns."""
    shuffled = ", ".join(f"{column.name} {column.type}" for column in reversed(COLUMNS))
    spark.sql(f"CREATE TABLE {control_name.quoted} ({shuffled}) USING DELTA").collect()
    table = ControlTable(tables, control_name)
    table.ensure()
    rows = [Row("a", "m", "sql", 1, "{1}", "{2}", "{3}", False)]
    table.write(rows)
    table.write([replace(rows[0], execution_order=5)])
    assert table.rows() == [replace(rows[0], execution_order=5)]


def test_another_table_is_refused_with_all_that_is_wrong(
    spark: Any, tables: Any, control_name: TableName
) -> None:
    """Every column that is missing or has another type, and what to do; by whichever way it is met."""
    spark.sql(
        f"CREATE TABLE {control_name.quoted} (source_id STRING, module_name STRING, source_type STRING, "
        "execution_order STRING, source_config STRING, target_config STRING, is_active STRING) USING DELTA"
    ).collect()
    table = ControlTable(tables, control_name)
    for way in (table.ensure, table.exists, table.rows):
        with pytest.raises(TableMismatch) as caught:
            way()
        text = str(caught.value)
        assert str(control_name) in text
        assert "execution_order is STRING instead of INT" in text
        assert "transformation_config STRING is missing" in text
        assert "is_active is STRING instead of BOOLEAN" in text
        assert "Name another table" in text


def test_wrong_types_are_seen_when_rows_are_read(spark: Any, tables: Any, control_name: TableName) -> None:
    """is_active as text would make every row active: it is no row that we know."""
    text_columns = ", ".join(
        f"{column.name} {'STRING' if column.name == 'is_active' else column.type}" for column in COLUMNS
    )
    spark.sql(f"CREATE TABLE {control_name.quoted} ({text_columns}) USING DELTA").collect()
    spark.sql(f"INSERT INTO {control_name} VALUES ('a', 'm', 'x', 1, '', '', '', 'false')").collect()
    with pytest.raises(TableMismatch, match="is_active is STRING instead of BOOLEAN"):
        ControlTable(tables, control_name).rows()


def test_wider_integers_are_fine(spark: Any, tables: Any, control_name: TableName) -> None:
    """A table whose execution_order is BIGINT works."""
    columns = ", ".join(
        f"{column.name} {'BIGINT' if column.type == 'INT' else column.type}" for column in COLUMNS
    )
    spark.sql(f"CREATE TABLE {control_name.quoted} ({columns}) USING DELTA").collect()
    table = ControlTable(tables, control_name)
    table.ensure()
    table.write([Row("a", "m", "sql", 7)])
    assert table.rows()[0].execution_order == 7


def test_a_table_that_is_not_there(tables: Any, control_name: TableName) -> None:
    """Is an error of its own kind, and never an empty table."""
    table = ControlTable(tables, control_name)
    with pytest.raises(TableNotFound, match="etl_control"):
        table.rows()
    with pytest.raises(TableNotFound):
        table.modules()
    with pytest.raises(TableNotFound):
        table.write([Row("a", "m")])


def test_settings_row() -> None:
    """An inactive settings row does not count."""
    row = Row("__settings__", "__control__", transformation_config="{}")
    assert settings_row([Row("s", "m"), row]) is row
    assert settings_row([replace(row, is_active=False)]) is None
