"""Tables made and written by the DataFrame API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.spark.conftest import Connect, rows


def test_save_as_table_is_seen_by_all(spark: Any, connect: Connect, schema: str) -> None:
    """In every mode; new columns with mergeSchema are NULL in old rows."""
    from pyspark.sql.connect import functions

    frame = spark.createDataFrame([(1, "x"), (2, None)], "a INT, b STRING")
    frame.write.saveAsTable("t")
    other = connect()
    assert rows(other.table(f"{schema}.t")) == [(1, "x"), (2, None)]
    with pytest.raises(Exception, match="exists"):
        frame.write.saveAsTable("t")
    frame.write.mode("ignore").saveAsTable("t")
    assert other.table(f"{schema}.t").count() == 2
    wider = frame.withColumn("c", functions.lit(5))
    wider.write.mode("append").option("mergeSchema", "true").saveAsTable("t")
    assert rows(other.table(f"{schema}.t").filter("a = 1")) == [(1, "x", 5), (1, "x", None)]
    frame.write.mode("overwrite").option("overwriteSchema", "true").partitionBy("a").saveAsTable("t")
    assert other.table(f"{schema}.t").columns == ["a", "b"]
    assert rows(other.sql(f"SHOW PARTITIONS {schema}.t")) == [("1",), ("2",)]


def test_write_to(spark: Any, connect: Connect, schema: str) -> None:
    """create, createOrReplace (other columns), replace, append."""
    spark.sql("SELECT 1 AS a").writeTo("t").create()
    spark.sql("SELECT 2 AS a").writeTo("t").append()
    assert rows(connect().table(f"{schema}.t")) == [(1,), (2,)]
    with pytest.raises(Exception, match="TABLE_OR_VIEW_ALREADY_EXISTS"):
        spark.sql("SELECT 1 AS a").writeTo("t").create()
    spark.sql("SELECT 'x' AS b, 1 AS c").writeTo("t").tableProperty("k", "v").createOrReplace()
    assert rows(connect().table(f"{schema}.t")) == [("x", 1)]
    assert ("k", "v") in rows(spark.sql("SHOW TBLPROPERTIES t"))
    with pytest.raises(Exception, match="TABLE_OR_VIEW_NOT_FOUND"):
        spark.sql("SELECT 1 AS a").writeTo("nothing").replace()


def test_insert_into(spark: Any, connect: Connect, schema: str) -> None:
    """By a session that has not seen the table before."""
    spark.sql("CREATE TABLE t (a INT)")
    other = connect()
    other.sql("SELECT 5 AS a").write.insertInto(f"{schema}.t")
    assert rows(spark.table("t")) == [(5,)]
    with pytest.raises(Exception, match="TABLE_OR_VIEW_NOT_FOUND"):
        other.sql("SELECT 5 AS a").write.insertInto(f"{schema}.nothing")


def test_a_failed_write_makes_no_table(spark: Any, connect: Connect, schema: str) -> None:
    """Neither here nor there."""
    with pytest.raises(Exception, match=r"\S"):
        spark.table("nowhere").write.saveAsTable("t")
    with pytest.raises(Exception, match="format"):
        spark.sql("SELECT 1 AS a").write.format("csv").saveAsTable("t")
    assert not connect().catalog.tableExists(f"{schema}.t")


def test_the_catalog_api(spark: Any, schema: str) -> None:
    """Lists and finds what SQL made, without being told of every table first."""
    catalog, name = schema.split(".")
    spark.sql("CREATE TABLE t (a INT COMMENT 'c', p STRING) PARTITIONED BY (p)")
    spark.sql("CREATE VIEW v AS SELECT a FROM t")
    spark.sql("SELECT 1 AS a").createOrReplaceTempView("tmp")
    listed = [(table.name, table.tableType) for table in spark.catalog.listTables()]
    assert listed == [("t", "MANAGED"), ("v", "VIEW"), ("tmp", "TEMPORARY")]
    assert spark.catalog.tableExists("t")
    assert spark.catalog.tableExists(f"{schema}.v")
    assert spark.catalog.tableExists("t", schema)
    assert not spark.catalog.tableExists("nothing")
    columns = [(c.name, c.dataType, c.isPartition, c.description) for c in spark.catalog.listColumns("t")]
    assert columns == [("a", "int", False, "c"), ("p", "string", True, None)]
    assert spark.catalog.getTable("t").namespace == [name]
    assert spark.catalog.currentCatalog() == catalog
    assert name in [database.name for database in spark.catalog.listDatabases()]
    assert spark.catalog.databaseExists(schema)
    assert not spark.catalog.databaseExists("nothing")
    assert [c.name for c in spark.catalog.listCatalogs()] == ["main", "bronze", "silver", "gold"]


def test_frames_follow_the_table(spark: Any, connect: Connect, schema: str) -> None:
    """A frame made before another session changed the table reads it as it is now."""
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    frame = spark.table("t").filter("a > 0")
    connect().sql(f"INSERT INTO {schema}.t VALUES (2)")
    assert rows(frame) == [(1,), (2,)]
    assert frame.schema.names == ["a"]


def test_sql_over_frames(spark: Any, connect: Connect, schema: str) -> None:
    """`spark.sql("... {df}", df=df)` makes tables that all see, and no view that anyone sees."""
    frame = spark.createDataFrame([(7, "seven")], "a INT, b STRING")
    spark.sql("CREATE TABLE t AS SELECT * FROM {df}", df=frame)
    spark.sql("INSERT INTO t (a) SELECT a + 1 FROM {df}", df=frame)
    assert rows(connect().table(f"{schema}.t")) == [(7, "seven"), (8, None)]
    assert rows(spark.sql("SELECT b FROM {df}", df=frame)) == [("seven",)]
    assert [row.tableName for row in spark.sql("SHOW TABLES").collect()] == ["t"]


def test_merge_into(spark: Any, connect: Connect, schema: str) -> None:
    """The DataFrame API's MERGE, in a session that has not seen the table before."""
    from pyspark.sql.connect import functions

    spark.sql("CREATE TABLE t AS SELECT 1 AS a, 'x' AS b")
    other = connect()
    source = other.createDataFrame([(1, "y"), (2, "z")], "a INT, b STRING").alias("s")
    merge = source.mergeInto(f"{schema}.t", functions.expr("t.a = s.a"))
    merge.whenMatched().updateAll().whenNotMatched().insertAll().merge()
    assert rows(spark.table("t")) == [(1, "y"), (2, "z")]


def test_python_functions(spark: Any) -> None:
    """UDFs run in Sail's own Python."""
    from pyspark.sql.connect import functions

    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    plus = functions.udf(lambda value: value + 1, "int")
    assert rows(spark.table("t").select(plus("a"))) == [(2,)]
