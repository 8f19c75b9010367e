"""Tables over a Spark session: Databricks (classic, serverless), Spark Connect, Sail.

Uses what all of them have: named parameters on SELECT, rows staged through createDataFrame as a
temporary view, MERGE and INSERT from that view. Sail has no parameters on DML, no DESCRIBE HISTORY
and no error conditions (the embedded workspace's gateway answers DESCRIBE HISTORY).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.adapters import sql_text
from lakeflow_job_meta.adapters.sql_errors import classify, first_line
from lakeflow_job_meta.errors import TableNotFound, TablesError
from lakeflow_job_meta.names import TableName, quote_identifier
from lakeflow_job_meta.ports import Column, TableDefinition

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class SparkTables:
    """`ports.Tables` over a Spark session, classic or Connect.

    Args:
        spark: the session; it stays the caller's and is never stopped here.
    """

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._lock = threading.Lock()
        self.statements = 0

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT; timestamps come back aware, in UTC."""
        with self._edge(sql_text.reading(sql)):
            frame = self._sql(sql, parameters)
            return [{name: _utc(value) for name, value in row.asDict().items()} for row in frame.collect()]

    def columns(self, table: TableName) -> list[Column] | None:
        self._count()
        try:
            with self._edge(f"reading the columns of {table}"):
                fields = self._spark.table(table.quoted).schema.fields
        except TableNotFound:
            return None
        return [Column(field.name, field.dataType.simpleString().upper()) for field in fields]

    def create_schema(self, catalog: str, schema: str) -> None:
        name = f"{quote_identifier(catalog)}.{quote_identifier(schema)}"
        with self._edge(f"creating the schema {catalog}.{schema}"):
            self._sql(f"CREATE SCHEMA IF NOT EXISTS {name}").collect()

    def create_table(self, definition: TableDefinition) -> None:
        with self._edge(f"creating the table {_called(definition)}"):
            if definition.registered:
                self._sql(sql_text.create_table(definition)).collect()
            elif self._is_missing(definition):
                empty = self._spark.createDataFrame([], _schema(definition.columns))
                write = empty.write.format("delta").mode("append").partitionBy(*definition.partitioned_by)
                write.save(definition.location)

    def _is_missing(self, definition: TableDefinition) -> bool:
        try:
            self.query(f"SELECT 1 FROM {sql_text.target(definition)} LIMIT 0")
        except TableNotFound:
            return True
        return False

    def append(self, definition: TableDefinition, rows: Sequence[Mapping[str, Any]]) -> None:
        sql_text.staged_columns(definition, rows)
        for batch in sql_text.batches(rows):
            with (
                self._edge(f"INSERT into {definition.name}"),
                self._staged(definition.columns, batch) as view,
            ):
                self._sql(sql_text.insert(definition, view)).collect()

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
        if not rows:
            return
        columns = sql_text.staged_columns(definition, rows)
        names = [column.name for column in columns]
        updated = [name for name in names if name not in keys] if update is None else list(update)
        inserted = names if insert else []
        for batch in sql_text.batches(rows):
            with self._edge(f"MERGE into {definition.name}"), self._staged(columns, batch) as view:
                text = sql_text.merge(
                    definition, view, keys=keys, update=updated, inserted=inserted, matched_when=matched_when
                )
                self._sql(text).collect()

    def replace_partition(
        self,
        definition: TableDefinition,
        folder: str,
        *,
        partition: date,
        constants: Mapping[str, Any],
        once: tuple[str, str] | None = None,
    ) -> None:
        query = sql_text.from_files(
            definition,
            f"parquet.{quote_identifier(folder)}",
            partition=partition,
            constants={name: sql_text.constant(value) for name, value in constants.items()},
            once=once,
        )
        with self._edge(f"replacing partition {partition} of {_called(definition)}"):
            if definition.registered:
                self._sql(sql_text.replace_partition(definition, partition, query)).collect()
            else:
                # Not every engine takes INSERT INTO delta.`path`; all write a path from a DataFrame.
                [part] = definition.partitioned_by
                write = self._sql(query).write.format("delta").mode("overwrite").partitionBy(part)
                write.option("replaceWhere", f"{part} = '{partition.isoformat()}'").save(definition.location)

    def replace_table(self, table: TableName, query: str, *, location: str = "") -> None:
        def create(mapping: bool) -> None:
            with self._edge(f"replacing the table {table}"):
                self._sql(sql_text.replace_table(table, query, location=location, mapping=mapping)).collect()

        try:
            create(False)
        except TablesError as error:
            if sql_text.wants_mapping(str(error)):
                create(True)
            elif "mergeSchema" in str(error):
                # Sail replaces the rows of a table by SQL, and its columns only from a DataFrame.
                with self._edge(f"replacing the table {table}"):
                    write = self._sql(query).write.format("delta").mode("overwrite")
                    if location:
                        write = write.option("path", location)
                    write.option("overwriteSchema", "true").saveAsTable(table.quoted)
            else:
                raise

    def partition_counts(self, definition: TableDefinition) -> list[tuple[date, int]]:
        try:
            rows = self.query(sql_text.partition_counts(definition))
        except TableNotFound:
            return []
        return [(row["partition"], int(row["rows"])) for row in rows]

    def file_counts(self, folder: str, key: str) -> tuple[int, int]:
        [row] = self.query(sql_text.file_counts(f"parquet.{quote_identifier(folder)}", key))
        return int(row["rows"]), int(row["keys"])

    def version(self, table: TableName) -> int:
        with self._edge(f"reading the version of {table}"):
            rows = self._sql(f"DESCRIBE HISTORY {table.quoted} LIMIT 1").collect()
        if not rows:
            raise TablesError(f"{table} has no history: is it a Delta table?")
        return int(rows[0]["version"])

    def _count(self) -> None:
        with self._lock:
            self.statements += 1

    def _sql(self, sql: str, parameters: Mapping[str, Any] | None = None) -> DataFrame:
        self._count()
        return self._spark.sql(sql, args=dict(parameters)) if parameters else self._spark.sql(sql)

    @contextmanager
    def _staged(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """A temporary view of the rows, its quoted name; dropped afterwards."""
        schema = _schema(columns)
        data = [tuple(row.get(column.name) for column in columns) for row in rows]
        view = f"lakeflow_job_meta_{uuid.uuid4().hex}"
        try:
            frame = self._spark.createDataFrame(data, schema)
        except (TypeError, ValueError, OverflowError) as error:  # pyarrow's errors are of these, too
            raise TablesError(f"a value cannot be stored: {first_line(str(error))}") from error
        frame.createTempView(view)
        try:
            yield quote_identifier(view)
        finally:
            self._drop(view)

    def _drop(self, view: str) -> None:
        try:
            with self._edge(f"dropping the view {view}"):
                self._spark.catalog.dropTempView(view)
        except TablesError:
            pass  # the view ends with the session; the statement's own outcome is what counts

    @contextmanager
    def _edge(self, what: str) -> Iterator[None]:
        """The one place where Spark's exceptions become ours."""
        from pyspark.errors import PySparkException

        try:
            yield
        except (PySparkException, *_transport_errors()) as error:
            condition = ""
            if isinstance(error, PySparkException):
                # getCondition is pyspark 4's name for getErrorClass
                named = getattr(error, "getCondition", None) or error.getErrorClass
                condition = named() or ""
            types = tuple(kind.__name__ for kind in type(error).__mro__)
            raise classify(what, str(error), types=types, condition=condition) from error


def _called(definition: TableDefinition) -> str:
    return str(definition.name) if definition.registered else definition.location


def _transport_errors() -> tuple[type[Exception], ...]:
    """What gRPC (Connect), py4j (classic) and sockets raise, as far as they are installed."""
    kinds: list[type[Exception]] = [ConnectionError]
    try:
        import grpc
    except ImportError:  # a classic cluster
        pass
    else:
        kinds.append(grpc.RpcError)
    try:
        from py4j.protocol import Py4JError  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:  # Spark Connect only
        pass
    else:
        kinds.append(Py4JError)
    return tuple(kinds)


def _schema(columns: Sequence[Column]) -> Any:
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(column.name, _spark_type(column.type), True) for column in columns])


def _spark_type(text: str) -> Any:
    from pyspark.sql import types

    kinds = {
        "STRING": types.StringType,
        "INT": types.IntegerType,
        "BIGINT": types.LongType,
        "DOUBLE": types.DoubleType,
        "BOOLEAN": types.BooleanType,
        "TIMESTAMP": types.TimestampType,
        "DATE": types.DateType,
        "ARRAY<STRING>": lambda: types.ArrayType(types.StringType()),
    }
    try:
        return kinds[text]()
    except KeyError:
        raise TablesError(f"{text!r} is not a column type that this product writes") from None


def _utc(value: Any) -> Any:
    # pyspark returns TIMESTAMP naive, in this process's time zone
    return value.astimezone(timezone.utc) if isinstance(value, datetime) else value
