"""The control table: eight columns, one row a source (DESIGN 2)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.control.companion import chosen, text_array
from lakeflow_job_meta.errors import TableMismatch, TableNotFound, TablesError, TablesUnavailable
from lakeflow_job_meta.metadata.rows import JOB_ROW, SETTINGS_MODULE, SETTINGS_ROW, Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables

#: The promise: these eight, in this order, and no more.
COLUMNS: tuple[Column, ...] = (
    Column("source_id", "STRING", "source, with module_name the key"),
    Column("module_name", "STRING", "module: all its sources make one Databricks Job"),
    Column("source_type", "STRING", "kind of source, free text; job for the row __job__"),
    Column("execution_order", "INT", "stage: a stage waits for the whole stage before it"),
    Column("source_config", "STRING", "JSON object"),
    Column("target_config", "STRING", "JSON object"),
    Column("transformation_config", "STRING", "JSON object: task_type and the task's settings"),
    Column("is_active", "BOOLEAN", "NULL means true"),
)
_NAMES = tuple(column.name for column in COLUMNS)
# What other makers of the table may have written instead, and Spark reads and writes all the same.
_ACCEPTED = {
    "STRING": re.compile(r"STRING|(VAR)?CHAR\(\d+\)|STRING COLLATE \w+"),
    "INT": re.compile(r"INT|INTEGER|BIGINT|SMALLINT"),
    "BOOLEAN": re.compile(r"BOOLEAN"),
}
_PYTHON: dict[str, type] = {"STRING": str, "INT": int, "BOOLEAN": bool}


class ControlTable:
    """One control table over any SQL engine.

    Args:
        tables: the SQL engine.
        name: its three-part name.
    """

    def __init__(self, tables: Tables, name: TableName) -> None:
        self._tables = tables
        self.name = name
        self.definition = TableDefinition(
            name, COLUMNS, "Control table of lakeflow_job_meta: one row a source, one job a module"
        )

    def ensure(self) -> bool:
        """Make the schema and the table when they are missing; returns whether it was made.

        One statement when the table is there. Companions are made by their first write.

        Raises:
            TableMismatch: the table is there and columns are missing or have other types.
        """
        found = self._tables.columns(self.name)
        if found is not None:
            self._check(found)
            return False
        try:
            commit(lambda: self._tables.create_table(self.definition))
        except TableNotFound:
            commit(lambda: self._tables.create_schema(self.name.catalog, self.name.schema))
            commit(lambda: self._tables.create_table(self.definition))
        return True

    def exists(self) -> bool:
        """Whether the table is there. Raises TableMismatch as `ensure` does."""
        found = self._tables.columns(self.name)
        if found is None:
            return False
        self._check(found)
        return True

    def version(self) -> int:
        """The table's Delta version, one statement. Raises TableNotFound."""
        return self._tables.version(self.name)

    def rows(self, modules: Collection[str] | None = None) -> list[Row]:
        """All rows, or those of some modules, by module_name and source_id.

        Raises:
            TableNotFound: there is no such table.
            TableMismatch: columns are missing or have other types.
        """
        where, parameters = "", {}
        if modules is not None:
            where = f" WHERE {chosen('module_name', 'modules')}"
            parameters = {"modules": text_array(modules)}
        selected = ", ".join(f"`{name}`" for name in _NAMES)
        try:
            found = self._tables.query(f"SELECT {selected} FROM {self.name.quoted}{where}", parameters)
        except TableNotFound as error:
            raise TableNotFound(
                f"there is no control table {self.name}, or no right to read it: name another, or make it with "
                "`lakeflow-job-meta load` or `apply --yaml`"
            ) from error
        except TablesUnavailable:
            raise
        except TablesError:
            self.exists()  # a column that is missing is the likeliest cause, and has a better message
            raise
        if _mistyped(found):
            self.exists()
        rows = [Row(**row) for row in found]
        return sorted(rows, key=lambda row: row.key)

    def modules(self) -> list[str]:
        """Modules that have an active source and no inactive job row, sorted; one light statement."""
        table = self.name.quoted
        found = self._tables.query(
            f"SELECT DISTINCT `module_name` FROM {table} WHERE coalesce(`is_active`, true) AND `source_id` <> :job_row "
            "AND `module_name` <> :settings_module AND `module_name` NOT IN (SELECT `module_name` FROM "
            f"{table} WHERE `source_id` = :job_row AND NOT `is_active` AND `module_name` IS NOT NULL)",
            {"job_row": JOB_ROW, "settings_module": SETTINGS_MODULE},
        )
        return sorted(row["module_name"] for row in found)

    def write(self, rows: Sequence[Row]) -> None:
        """Insert and update these rows by key, in one MERGE of the eight columns.

        Raises:
            CommitConflict: other writers won every time.
            TablesError: the table has two rows with one key, or the engine failed.
        """
        if not rows:
            return
        staged = [{name: getattr(row, name) for name in _NAMES} for row in rows]
        commit(lambda: self._tables.merge(self.definition, staged, keys=("module_name", "source_id")))

    def _check(self, found: Iterable[Column]) -> None:
        types = {column.name.lower(): column.type.upper() for column in found}
        wrong: list[str] = []
        for column in COLUMNS:
            if column.name not in types:
                wrong.append(f"{column.name} {column.type} is missing")
            elif not _ACCEPTED[column.type].fullmatch(types[column.name]):
                wrong.append(f"{column.name} is {types[column.name]} instead of {column.type}")
        if wrong:
            raise TableMismatch(
                f"{self.name} is no control table: {'; '.join(wrong)}. Name another table, or give this one these "
                "columns (a control table is made by itself when the name is free)"
            )


def _mistyped(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any value is of another type than its column's: `is_active` as text would be true always."""
    for column in COLUMNS:
        kinds = {type(row[column.name]) for row in rows}
        if not kinds <= {_PYTHON[column.type], type(None)}:
            return True
    return False


def settings_row(rows: Iterable[Row]) -> Row | None:
    """The settings row, when it is there and active."""
    for row in rows:
        if row.module_name == SETTINGS_MODULE and row.source_id == SETTINGS_ROW and row.active:
            return row
    return None


def module_rows(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by module, the settings row left out; rows without a module are under ''."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.module_name != SETTINGS_MODULE:
            found.setdefault(row.module_name or "", []).append(row)
    return found
