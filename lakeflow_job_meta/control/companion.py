"""What the companion tables have in common: their workspace, their making, their JSON.

A companion that is not there reads as empty (a plan writes nothing, not even tables) and is made by
the first write to it, so a pass spends no statement on asking whether it exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.errors import TableNotFound, TablesError
from lakeflow_job_meta.names import TableName, canonical_json, quote_identifier
from lakeflow_job_meta.ports import Column, TableDefinition, Tables

JsonObject = dict[str, Any]
WORKSPACE = Column("workspace_id", "STRING", "Databricks workspace that the row is about")


def now() -> datetime:
    """The clock unless another is given."""
    return datetime.now(timezone.utc)


def chosen(column: str, parameter: str) -> str:
    """SQL condition: `column` is one of the texts in the parameter, a JSON array of strings."""
    return f"{quote_identifier(column)} IN (SELECT explode(from_json(:{parameter}, 'array<string>')))"


def text_array(values: Collection[str]) -> str:
    """The value of the parameter of `chosen`."""
    return json.dumps(sorted(values), ensure_ascii=False)


def to_text(value: Any) -> str | None:
    """A JSON column's text; None stays NULL."""
    return None if value is None else canonical_json(value)


def from_text(text: str | None, where: str) -> Any:
    """The value of a JSON column. Raises TablesError naming the row when it was tampered with."""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise TablesError(f"{where} holds no JSON: set it to NULL, it is built again ({error})") from error


class Companion:
    """One companion table, seen from one workspace.

    Args:
        tables: the SQL engine.
        control_table: the table it stands beside.
        workspace_id: every read and write is confined to it.
    """

    def __init__(self, tables: Tables, definition: TableDefinition, workspace_id: str) -> None:
        self.tables = tables
        self.definition = definition
        self.workspace_id = workspace_id

    def read(
        self,
        columns: Iterable[str] | None = None,
        where: Iterable[str] = (),
        parameters: Mapping[str, Any] | None = None,
        tail: str = "",
    ) -> list[dict[str, Any]]:
        """This workspace's rows; none when the table is not there."""
        names = [column.name for column in self.definition.columns] if columns is None else list(columns)
        conditions = " AND ".join(["`workspace_id` = :workspace_id", *where])
        selected = ", ".join(quote_identifier(name) for name in names)
        sql = f"SELECT {selected} FROM {self.definition.name.quoted} WHERE {conditions} {tail}".rstrip()
        try:
            return self.tables.query(sql, {"workspace_id": self.workspace_id, **(parameters or {})})
        except TableNotFound:
            return []
        except TablesError as error:
            raise type(error)(f"{self.definition.name}: {error}") from error

    def merge(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        update: Sequence[str] | None = None,
        matched_when: str = "",
        insert: bool = True,
    ) -> None:
        """One MERGE of this workspace's rows; makes the table when it is not there."""
        if not rows:
            return
        staged = [{"workspace_id": self.workspace_id, **row} for row in rows]
        self._write(
            lambda: self.tables.merge(
                self.definition,
                staged,
                keys=["workspace_id", *keys],
                update=update,
                matched_when=matched_when,
                insert=insert,
            )
        )

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """One append of this workspace's rows; makes the table when it is not there."""
        if not rows:
            return
        staged = [{"workspace_id": self.workspace_id, **row} for row in rows]
        self._write(lambda: self.tables.append(self.definition, staged))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            commit(write)
        except TableNotFound:
            commit(lambda: self.tables.create_table(self.definition))
            commit(write)


def companion_definition(
    control_table: TableName, suffix: str, comment: str, *columns: Column
) -> TableDefinition:
    """Definition of `<control_table>_<suffix>`: workspace_id, then `columns`."""
    return TableDefinition(
        control_table.companion(suffix),
        (WORKSPACE, *columns),
        f"{comment} (lakeflow_job_meta, {control_table})",
    )
