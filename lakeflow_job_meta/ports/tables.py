"""The port to Delta tables: a Spark session, or a SQL warehouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from lakeflow_job_meta.names import TableName


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` as Spark SQL writes it (`STRING`, `BIGINT`, `TIMESTAMP`, `ARRAY<STRING>`, ...)."""

    name: str
    type: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """A Delta table of ours: its name, columns in order, a comment, and the columns that it is partitioned by.

    Args:
        location: path of an external table, or of one without a name; empty for a managed one.
        registered: False for files at `location` that no catalog knows; `name` is then only formal.
    """

    name: TableName
    columns: tuple[Column, ...]
    comment: str = ""
    partitioned_by: tuple[str, ...] = ()
    location: str = ""
    registered: bool = True


class Tables(Protocol):
    """SQL over Delta tables: a Spark session or a SQL warehouse.

    Values travel bound or staged, never spliced. Python values of a row: str, int, float, bool,
    None, aware datetimes for TIMESTAMP (returned in UTC), and lists of str for ARRAY<STRING>.
    """

    #: SQL statements sent so far.
    statements: int

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT, as dicts by column name; parameters are named (`:name`)."""
        ...

    def columns(self, table: TableName) -> list[Column] | None:
        """The table's columns in order; None when table, schema or catalog does not exist."""
        ...

    def create_schema(self, catalog: str, schema: str) -> None:
        """Create the schema unless it exists."""
        ...

    def create_table(self, definition: TableDefinition) -> None:
        """Create the Delta table unless it exists."""
        ...

    def append(self, definition: TableDefinition, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows (missing columns are NULL) in one commit."""
        ...

    def merge(
        self,
        definition: TableDefinition,
        rows: Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        update: Sequence[str] | None = None,
        matched_when: str = "",
        insert: bool = True,
    ) -> None:
        """One MERGE of `rows` (alias `s`) into the table (alias `t`) on equal `keys`.

        Args:
            update: columns to set from `s` on a match; None: all that the rows have but the keys;
                empty: matched rows stay.
            matched_when: SQL condition over `t` and `s` for the update, made of constants only.
            insert: whether rows without a match are inserted.

        Raises:
            CommitConflict: another writer won; nothing was written, repeat it if that is right.
        """
        ...

    def replace_partition(
        self,
        definition: TableDefinition,
        folder: str,
        *,
        partition: date,
        constants: Mapping[str, Any],
        once: tuple[str, str] | None = None,
    ) -> None:
        """Replace one partition by the rows of Parquet files, in one commit; others are not touched.

        Args:
            definition: partitioned by one DATE column.
            folder: of the files; a path that the engine reads (`/Volumes/...`, a cloud path).
            partition: the value of the partition column.
            constants: further columns with one value for all rows; the rest come from the files.
            once: (key, order): of rows with one key only the one with the highest order is taken.

        Raises:
            CommitConflict: another writer won; nothing was written, repeat it if that is right.
        """
        ...

    def replace_table(self, table: TableName, query: str, *, location: str = "") -> None:
        """Make the table hold the query's rows and columns, in one commit: readers see the old table or the new one.

        The query may read the table itself. Column names may have any characters.

        Args:
            location: where an external table's files lie; empty for a managed one.

        Raises:
            CommitConflict: another writer won; nothing was written, repeat it if that is right.
        """
        ...

    def partition_counts(self, definition: TableDefinition) -> list[tuple[date, int]]:
        """(partition, rows) of a table partitioned by one DATE column, newest first; none when it is not there."""
        ...

    def file_counts(self, folder: str, key: str) -> tuple[int, int]:
        """(rows, distinct values of `key`) of the Parquet files in a folder."""
        ...

    def version(self, table: TableName) -> int:
        """The current version of the Delta table, one statement. Raises TableNotFound."""
        ...
