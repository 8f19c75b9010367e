"""What every `ports.Tables` does, whatever engine is behind it; the test modules name the engine."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lakeflow_job_meta.errors import TableNotFound, TablesError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables

AT = datetime(2026, 10, 25, 0, 30, 0, 123000, tzinfo=timezone.utc)
HOSTILE = (
    "it's",
    'a "quoted" one',
    "back\\slash \\' \\n \\u0041",
    "two\nlines\r\tand a tab",
    "`backticks` '); DROP TABLE x; -- /* */",
    ":name ? ${x} {{y}}",
    "Ünïcödé 漢字 \U0001f600",
    "",
)


def columns_of(*more: Column) -> tuple[Column, ...]:
    return (
        Column("k", "STRING", 'it\'s a "key" with \\ in it'),
        Column("number", "BIGINT"),
        Column("small", "INT"),
        Column("ratio", "DOUBLE"),
        Column("flag", "BOOLEAN"),
        Column("at", "TIMESTAMP"),
        Column("text", "STRING"),
        *more,
    )


def full(key: str, **given: Any) -> dict[str, Any]:
    """A row with every column."""
    values = {"number": 2**53 + 1, "small": -7, "ratio": 0.1, "flag": False, "at": AT, "text": "x"}
    return {"k": key, **values, **given}


class TablesContract:
    """Inherited by a test class for each engine, which gives `tables` and `name`."""

    @pytest.fixture
    def tables(self) -> Tables:
        raise NotImplementedError

    @pytest.fixture
    def name(self) -> TableName:
        """A table in a schema that exists; the table does not."""
        raise NotImplementedError

    @pytest.fixture
    def definition(self, tables: Tables, name: TableName) -> TableDefinition:
        made = TableDefinition(name, columns_of(), 'A table; it\'s "ours" \\ \n two lines')
        tables.create_table(made)
        return made

    def everything(self, tables: Tables, definition: TableDefinition) -> list[dict[str, Any]]:
        return tables.query(f"SELECT * FROM {definition.name.quoted} ORDER BY `k`")

    def test_a_table_is_made_once(self, tables: Tables, definition: TableDefinition) -> None:
        """With the columns in order; making it again does nothing."""
        tables.append(definition, [full("a")])
        tables.create_table(definition)
        found = tables.columns(definition.name)
        assert found is not None
        assert [(column.name, column.type) for column in found] == [(c.name, c.type) for c in columns_of()]
        assert len(self.everything(tables, definition)) == 1

    def test_columns_of_what_is_not_there(self, tables: Tables, name: TableName) -> None:
        """None for a missing table, schema and catalog alike."""
        assert tables.columns(name) is None
        assert tables.columns(TableName(name.catalog, "no_such_schema", "t")) is None
        assert tables.columns(TableName("no_such_catalog", "s", "t")) is None

    def test_values_come_back_with_their_types(self, tables: Tables, definition: TableDefinition) -> None:
        """64-bit integers whole, times aware and in UTC, NULLs, any text; missing columns are NULL."""
        rows = [full(f"{number}", text=text) for number, text in enumerate(HOSTILE)]
        rows.append(dict.fromkeys((column.name for column in columns_of()), None) | {"k": "null"})
        offset = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
        tables.append(definition, [*rows, {"k": "partial"}, full("z", at=offset)])
        nothing = dict.fromkeys((column.name for column in columns_of()), None)
        assert self.everything(tables, definition) == [*rows, {**nothing, "k": "partial"}, full("z")]

    @pytest.mark.parametrize("value", [*HOSTILE, 2**53 + 1, -1, 0.1, True, False, None])
    def test_parameters_are_bound(self, tables: Tables, value: Any) -> None:
        """A value never becomes SQL."""
        [row] = tables.query("SELECT :value AS v, :value IS NULL AS missing", {"value": value})
        assert row == {"v": value, "missing": value is None}
        assert type(row["v"]) is type(value)

    def test_a_time_as_parameter(self, tables: Tables) -> None:
        """It is the instant that counts."""
        [row] = tables.query("SELECT :at AS at", {"at": AT.astimezone(timezone(timedelta(hours=-3)))})
        assert row == {"at": AT}
        assert row["at"].utcoffset() == timedelta(0)

    def test_a_table_is_replaced_with_its_columns(self, tables: Tables, name: TableName) -> None:
        """The table is made, then has other rows and columns, with any names; the query may read the table itself."""
        tables.replace_table(name, "SELECT 1 AS `a b`, 'x' AS `it's (c)`")
        assert tables.query(f"SELECT * FROM {name.quoted}") == [{"a b": 1, "it's (c)": "x"}]
        tables.replace_table(name, f"SELECT CAST(`a b` AS BIGINT) + 1 AS n, 'y' AS added FROM {name.quoted}")
        assert tables.query(f"SELECT * FROM {name.quoted}") == [{"n": 2, "added": "y"}]
        found = tables.columns(name)
        assert found is not None
        assert [(column.name, column.type) for column in found] == [("n", "BIGINT"), ("added", "STRING")]

    def test_arrays_of_text(self, tables: Tables, name: TableName) -> None:
        """Come back as lists; empty and NULL are two things."""
        made = TableDefinition(name, (Column("k", "STRING"), Column("tags", "ARRAY<STRING>")))
        tables.create_table(made)
        tables.append(made, [{"k": "a", "tags": list(HOSTILE)}, {"k": "b", "tags": []}, {"k": "c"}])
        tables.merge(made, [{"k": "b", "tags": ["x"]}, {"k": "d", "tags": None}], keys=["k"])
        rows = tables.query(f"SELECT * FROM {name.quoted} ORDER BY `k`")
        assert [row["tags"] for row in rows] == [list(HOSTILE), ["x"], None, None]
        found = tables.columns(name)
        assert found is not None
        assert [column.type for column in found] == ["STRING", "ARRAY<STRING>"]

    def test_an_empty_result_is_a_list(self, tables: Tables, definition: TableDefinition) -> None:
        assert self.everything(tables, definition) == []

    def test_merge_updates_and_inserts(self, tables: Tables, definition: TableDefinition) -> None:
        """By key; columns that the rows have not stay as they are."""
        tables.append(definition, [full("a"), full("b")])
        tables.merge(definition, [{"k": "b", "text": "new"}, {"k": "c", "text": None}], keys=["k"])
        nothing = dict.fromkeys((column.name for column in columns_of()), None)
        assert self.everything(tables, definition) == [
            full("a"),
            full("b", text="new"),
            {**nothing, "k": "c"},
        ]

    def test_merge_by_several_keys(self, tables: Tables, definition: TableDefinition) -> None:
        """A row matches when all of them are equal."""
        tables.append(definition, [full("a", small=1), full("a", small=2)])
        tables.merge(definition, [full("a", small=2, text="new")], keys=["k", "small"])
        assert sorted((row["small"], row["text"]) for row in self.everything(tables, definition)) == [
            (1, "x"),
            (2, "new"),
        ]

    def test_merge_that_only_inserts(self, tables: Tables, definition: TableDefinition) -> None:
        """Matched rows stay."""
        tables.append(definition, [full("a")])
        tables.merge(definition, [full("a", text="new"), full("b")], keys=["k"], update=[])
        assert self.everything(tables, definition) == [full("a"), full("b")]

    def test_merge_that_only_updates_where(self, tables: Tables, definition: TableDefinition) -> None:
        """Chosen columns, under a condition over both sides, and nothing is inserted."""
        tables.append(definition, [full("a", small=1), full("b", small=5), full("c", flag=None)])
        rows = [full(key, text="new", small=3) for key in "abcd"]
        tables.merge(
            definition,
            rows,
            keys=["k"],
            update=["text"],
            matched_when="t.`small` < s.`small` AND t.`at` < s.`at` + INTERVAL 5 SECOND",
            insert=False,
        )
        assert [(row["k"], row["small"], row["text"]) for row in self.everything(tables, definition)] == [
            ("a", 1, "new"),
            ("b", 5, "x"),
            ("c", -7, "new"),
        ]

    def test_each_is_one_statement(self, tables: Tables, definition: TableDefinition) -> None:
        """However many rows there are."""
        rows = [full(f"{number}") for number in range(500)]
        for call in (
            lambda: tables.append(definition, rows),
            lambda: tables.merge(definition, rows, keys=["k"]),
            lambda: self.everything(tables, definition),
            lambda: tables.columns(definition.name),
        ):
            before = tables.statements
            call()
            assert tables.statements == before + 1
        before = tables.statements
        tables.append(definition, [])
        tables.merge(definition, [], keys=["k"])
        assert tables.statements == before

    def test_names_are_quoted(self, tables: Tables, name: TableName) -> None:
        """Columns and tables may be called as they like."""
        odd = TableName(name.catalog, name.schema, f"select-{uuid.uuid4().hex[:6]}")
        made = TableDefinition(odd, (Column("order", "STRING"), Column("a b-c`d", "STRING")))
        tables.create_table(made)
        tables.merge(made, [{"order": "1", "a b-c`d": "x"}], keys=["order"])
        tables.append(made, [{"order": "2", "a b-c`d": "y"}])
        assert len(self.everything_of(tables, odd)) == 2

    def everything_of(self, tables: Tables, name: TableName) -> list[dict[str, Any]]:
        return tables.query(f"SELECT * FROM {name.quoted}")

    def test_large_rows_travel(self, tables: Tables, definition: TableDefinition) -> None:
        """Texts of some hundred thousand characters, quotes among them."""
        text = 'it\'s "much" \\ ' * 10_000
        tables.merge(definition, [full("a", text=text), full("b", text=text)], keys=["k"])
        assert [len(row["text"]) for row in self.everything(tables, definition)] == [len(text)] * 2

    def test_unknown_columns_are_refused(self, tables: Tables, definition: TableDefinition) -> None:
        """Before anything is sent."""
        with pytest.raises(TablesError, match="has no column 'typo'"):
            tables.append(definition, [{"k": "a", "typo": 1}])
        with pytest.raises(TablesError, match="has no column 'typo'"):
            tables.merge(definition, [{"k": "a", "typo": 1}], keys=["k"])

    def test_what_is_not_there(self, tables: Tables, name: TableName) -> None:
        """Is TableNotFound, whichever way it is met."""
        missing = TableDefinition(name, columns_of())
        for call in (
            lambda: tables.query(f"SELECT * FROM {name.quoted}"),
            lambda: tables.append(missing, [full("a")]),
            lambda: tables.merge(missing, [full("a")], keys=["k"]),
        ):
            with pytest.raises(TableNotFound, match="check the name"):
                call()

    def test_other_errors_name_what_was_tried(self, tables: Tables, definition: TableDefinition) -> None:
        """In one line, with the engine's own words, and chained."""
        wrong = {
            "SELEC 1": "the query failed: ",
            f"SELECT no_such_column FROM {definition.name.quoted}": f"reading {definition.name} failed: ",
        }
        for sql, beginning in wrong.items():
            with pytest.raises(TablesError) as caught:
                tables.query(sql)
            assert type(caught.value) is TablesError
            assert str(caught.value).startswith(beginning)
            assert "\n" not in str(caught.value)

    def test_the_version_moves_with_every_commit(self, tables: Tables, definition: TableDefinition) -> None:
        """And only then; one statement."""
        first = tables.version(definition.name)
        before = tables.statements
        assert tables.version(definition.name) == first
        assert tables.statements == before + 1
        tables.append(definition, [full("a")])
        assert tables.version(definition.name) == first + 1
        with pytest.raises(TableNotFound):
            tables.version(TableName(definition.name.catalog, definition.name.schema, "no_such_table"))
