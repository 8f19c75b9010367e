"""Statements that Databricks has and Sail lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark import delta
from lakeflow_job_meta.local.spark.engine import SparkService
from tests.local.spark.conftest import Connect, rows

# ---------------------------------------------------------------- tables


def test_ctas_makes_nullable_columns_in_the_order_of_the_query(spark: Any) -> None:
    """As Databricks; the partition column stays where it was."""
    result = spark.sql("CREATE TABLE t PARTITIONED BY (p) COMMENT 'c' AS SELECT 1 AS a, 'x' AS p, 2 AS b")
    assert rows(result) == [(1, 1)]
    assert result.columns == ["num_affected_rows", "num_inserted_rows"]
    assert spark.table("t").columns == ["a", "p", "b"]
    spark.sql("INSERT INTO t VALUES (NULL, NULL, NULL)")
    assert rows(spark.table("t")) == [(1, "x", 2), (None, None, None)]


def test_create_or_replace_may_change_the_columns_and_keeps_the_history(spark: Any) -> None:
    """In one commit, so that no reader sees an empty table."""
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    spark.sql("CREATE OR REPLACE TABLE t AS SELECT 'x' AS b, 2 AS c")
    assert rows(spark.table("t")) == [("x", 2)]
    assert rows(spark.sql("SELECT * FROM t VERSION AS OF 0")) == [(1,)]
    assert spark.sql("DESCRIBE HISTORY t").count() == 2
    with pytest.raises(Exception, match=r"not found"):
        spark.sql("CREATE OR REPLACE TABLE t AS SELECT * FROM nowhere")
    assert rows(spark.table("t")) == [("x", 2)]


def test_create_table_takes_what_databricks_takes(spark: Any) -> None:
    """Clauses in any order; keys are for information, clustering for speed."""
    spark.sql(
        "CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY COMMENT 'the key', b DECIMAL(10,2) DEFAULT 5, "
        "c ARRAY<STRUCT<x: INT>>, CONSTRAINT k FOREIGN KEY (a) REFERENCES u(a)) "
        "CLUSTER BY (a) TBLPROPERTIES ('owner' = 'me', 'delta.feature.allowColumnDefaults' = 'supported') "
        "COMMENT 'it''s' USING DELTA;"
    )
    spark.sql("INSERT INTO t (a) VALUES (1)")
    assert str(spark.table("t").collect()[0].b) == "5.00"
    assert rows(spark.sql("SHOW TBLPROPERTIES t ('owner')")) == [("owner", "me")]
    spark.sql("CREATE TABLE like_t LIKE t")
    assert spark.table("like_t").columns == ["a", "b", "c"]
    spark.sql("CREATE TABLE IF NOT EXISTS t (z INT)")
    assert spark.table("t").columns == ["a", "b", "c"]


def test_external_tables(spark: Any, connect: Connect, schema: str, tmp_path: Path) -> None:
    """LOCATION makes and finds them; DROP keeps the files."""
    spark.sql(f"CREATE TABLE e (a INT) LOCATION '{tmp_path}/e'")
    spark.sql("INSERT INTO e VALUES (1)")
    spark.sql("DROP TABLE e")
    spark.sql(f"CREATE TABLE again USING delta LOCATION '{tmp_path}/e'")
    assert rows(connect().table(f"{schema}.again")) == [(1,)]


def test_drop_deletes_the_folder(spark: Any, folder: Folder, schema: str) -> None:
    """And a new table of that name is empty."""
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    path = folder.warehouse / schema.replace(".", "/") / "t"
    assert delta.exists(path)
    spark.sql("DROP TABLE t")
    assert not path.exists()
    spark.sql("DROP TABLE IF EXISTS t")
    spark.sql("CREATE TABLE t (b INT)")
    assert rows(spark.table("t")) == []


def test_alter_table(spark: Any, connect: Connect, schema: str) -> None:
    """New columns, comments, properties, names; other sessions see them."""
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    spark.sql("ALTER TABLE t ADD COLUMNS (b DECIMAL(5,2) COMMENT 'b''s', c STRUCT<x: INT> AFTER a)")
    spark.sql("ALTER TABLE t ADD COLUMN z INT FIRST")
    spark.sql("ALTER TABLE t SET TBLPROPERTIES ('k' = 'v', 'l' = 'w')")
    spark.sql("ALTER TABLE t UNSET TBLPROPERTIES ('l')")
    spark.sql("ALTER TABLE t ALTER COLUMN a COMMENT 'first'")
    spark.sql("COMMENT ON TABLE t IS 'all'")
    described = {
        row.col_name: tuple(row)[1:] for row in connect().sql(f"DESCRIBE EXTENDED {schema}.t").collect()
    }
    assert list(described)[:4] == ["z", "a", "c", "b"]
    assert described["b"] == ("decimal(5,2)", "b's")
    assert described["a"] == ("int", "first")
    assert described["Comment"][0] == "all"
    assert described["Table Properties"][0] == "[k=v]"
    assert rows(spark.table("t")) == [(None, 1, None, None)]
    with pytest.raises(Exception, match="FIELD_ALREADY_EXISTS"):
        spark.sql("ALTER TABLE t ADD COLUMN A INT")
    spark.sql("ALTER TABLE t RENAME TO u")
    assert rows(connect().sql(f"SELECT a FROM {schema}.u")) == [(1,)]
    with pytest.raises(Exception, match="TABLE_OR_VIEW_NOT_FOUND"):
        spark.table("t").collect()


def test_schemas(spark: Any, schema: str) -> None:
    """CREATE, COMMENT ON, DESCRIBE, SHOW and DROP SCHEMA."""
    name = schema + "_more"
    spark.sql(f"CREATE SCHEMA {name} COMMENT 'one'")
    spark.sql(f"COMMENT ON SCHEMA {name} IS 'two'")
    assert ("Comment", "two") in rows(spark.sql(f"DESCRIBE SCHEMA {name}"))
    last = name.split(".")[1]
    assert rows(spark.sql(f"SHOW SCHEMAS IN main LIKE '{last}'")) == [(last,)]
    with pytest.raises(Exception, match="SCHEMA_ALREADY_EXISTS"):
        spark.sql(f"CREATE SCHEMA {name}")
    spark.sql(f"CREATE TABLE {name}.t (a INT)")
    with pytest.raises(Exception, match="SCHEMA_NOT_EMPTY"):
        spark.sql(f"DROP SCHEMA {name}")
    spark.sql(f"DROP SCHEMA {name} CASCADE")
    with pytest.raises(Exception, match="SCHEMA_NOT_FOUND"):
        spark.sql(f"DROP SCHEMA {name}")
    assert rows(spark.sql("SHOW CATALOGS")) == [("bronze",), ("gold",), ("main",), ("silver",)]


# ---------------------------------------------------------------- views


def test_views_over_views_over_other_schemas(spark: Any, connect: Connect, schema: str) -> None:
    """A view means the same in any session, whatever that one's current schema is."""
    spark.sql("CREATE SCHEMA IF NOT EXISTS silver.clean")
    spark.sql("CREATE OR REPLACE TABLE silver.clean.base AS SELECT 1 AS a, 'it''s' AS b")
    spark.sql("CREATE VIEW inner_v AS SELECT a, b FROM silver.clean.base")
    spark.sql("CREATE TABLE local_t AS SELECT 1 AS a, 10 AS n")
    spark.sql(
        "CREATE VIEW outer_v (`the b`, n) COMMENT 'c' AS WITH c AS (SELECT * FROM inner_v) "
        "SELECT c.b, local_t.n FROM c JOIN local_t ON c.a = local_t.a AND c.b <> '\"\\\\'"
    )
    fresh = connect()
    assert rows(fresh.sql(f"SELECT `the b`, n FROM {schema}.outer_v")) == [("it's", 10)]
    spark.sql("INSERT INTO local_t VALUES (1, 20)")
    assert fresh.table(f"{schema}.outer_v").count() == 2
    assert fresh.sql(f"DESCRIBE {schema}.outer_v").collect()[0].col_name == "the b"


def test_a_view_follows_its_tables_but_not_their_new_columns(
    spark: Any, connect: Connect, schema: str
) -> None:
    """Rows and replaced inner views at once; `SELECT *` means the columns of the day it was made."""
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    spark.sql("CREATE VIEW v AS SELECT * FROM t")
    spark.sql("CREATE VIEW w AS SELECT a + 1 AS b FROM v")
    other = connect()
    assert rows(other.table(f"{schema}.w")) == [(2,)]
    spark.sql("ALTER TABLE t ADD COLUMN z INT")
    assert other.table(f"{schema}.v").columns == ["a"]
    spark.sql("CREATE OR REPLACE VIEW v AS SELECT 10 AS a")
    assert rows(other.table(f"{schema}.w")) == [(11,)]
    spark.sql("DROP VIEW v")
    with pytest.raises(Exception, match=rf"{schema}.w cannot be used.*not found"):
        other.table(f"{schema}.w").collect()


def test_view_errors(spark: Any) -> None:
    """What Databricks refuses is refused."""
    spark.sql("CREATE TEMPORARY VIEW tv AS SELECT 1 AS a")
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    spark.sql("CREATE VIEW v AS SELECT a FROM t")
    for statement, condition in (
        ("CREATE VIEW bad AS SELECT * FROM tv", "INVALID_TEMP_OBJ_REFERENCE"),
        ("CREATE VIEW bad AS SELECT 1 AS a, 2 AS A", "COLUMN_ALREADY_EXISTS"),
        ("CREATE VIEW bad (x, y) AS SELECT 1 AS a", "CREATE_VIEW_COLUMN_ARITY_MISMATCH"),
        ("CREATE VIEW v AS SELECT 2 AS a", "TABLE_OR_VIEW_ALREADY_EXISTS"),
        ("CREATE OR REPLACE VIEW v AS SELECT * FROM v", "RECURSIVE_VIEW"),
        ("CREATE OR REPLACE VIEW t AS SELECT 1 AS a", "EXPECT_VIEW_NOT_TABLE"),
        ("DROP TABLE v", "WRONG_COMMAND_FOR_OBJECT_TYPE"),
        ("DROP VIEW t", "WRONG_COMMAND_FOR_OBJECT_TYPE"),
    ):
        with pytest.raises(Exception, match=condition):
            spark.sql(statement)
    assert rows(spark.table("v")) == [(1,)]


def test_temporary_views_read_the_present_rows(spark: Any, connect: Connect, schema: str) -> None:
    """Sail would go on reading the version of the day the view was made."""
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    spark.sql("CREATE TEMPORARY VIEW by_sql AS SELECT a FROM t")
    spark.table("t").filter("a > 0").createOrReplaceTempView("by_frame")
    spark.sql("SELECT * FROM by_sql WHERE a < 100").createOrReplaceTempView("by_sql")
    connect().sql(f"INSERT INTO {schema}.t VALUES (2), (200)")
    assert rows(spark.table("by_sql")) == [(1,), (2,)]
    assert spark.sql("SELECT count(*) AS n FROM by_frame").collect()[0].n == 3
    shown = [row.tableName for row in spark.sql("SHOW TABLES").collect() if row.isTemporary]
    assert shown == ["by_frame", "by_sql"]
    with pytest.raises(Exception, match="not found"):
        connect().table("by_sql").collect()
    spark.catalog.dropTempView("by_frame")
    spark.sql("DROP VIEW by_sql")
    assert not spark.catalog.tableExists("by_sql")


# ---------------------------------------------------------------- rows


def test_inserts_may_leave_columns_out(spark: Any) -> None:
    """They become NULL, in any order and from any source, with parameters."""
    spark.sql("CREATE TABLE t (a INT, b STRING, c DOUBLE, d INT DEFAULT 7)")
    spark.sql("INSERT INTO t (b) VALUES ('x'), ('y')")
    spark.sql("INSERT INTO t (c, a) SELECT 1.5, :a", args={"a": 3})
    result = spark.sql("INSERT INTO t (a) WITH q AS (SELECT 4 AS z) SELECT z FROM q")
    assert rows(result) == [(1, 1)]
    assert rows(spark.table("t")) == [
        (3, None, 1.5, 7),
        (4, None, None, 7),
        (None, "x", None, 7),
        (None, "y", None, 7),
    ]


def test_dml_says_how_many_rows(spark: Any) -> None:
    """As a warehouse does."""
    spark.sql("CREATE TABLE t AS SELECT id AS a, 'x' AS b FROM range(10)")
    assert rows(spark.sql("UPDATE t SET b = 'y' WHERE a < 3")) == [(3,)]
    assert rows(spark.sql("DELETE FROM t WHERE a >= 8")) == [(2,)]
    merged = spark.sql(
        "MERGE INTO t USING (SELECT id AS a FROM range(2, 12)) s ON t.a = s.a "
        "WHEN MATCHED AND t.a < 4 THEN DELETE WHEN MATCHED THEN UPDATE SET b = 'm' "
        "WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)"
    )
    assert merged.columns == [
        "num_affected_rows",
        "num_updated_rows",
        "num_deleted_rows",
        "num_inserted_rows",
    ]
    assert rows(merged) == [(10, 4, 2, 4)]
    spark.sql("TRUNCATE TABLE t")
    assert spark.table("t").count() == 0


# ---------------------------------------------------------------- describing


def test_history(spark: Any) -> None:
    """Newest first; with LIMIT 1 one row, whose version is the table's."""
    spark.sql("CREATE TABLE t (a INT)")
    spark.sql("INSERT INTO t VALUES (1)")
    spark.sql("DELETE FROM t")
    found = spark.sql("DESCRIBE HISTORY t").collect()
    assert [(row.version, row.operation) for row in found] == [
        (2, "DELETE"),
        (1, "WRITE"),
        (0, "CREATE TABLE"),
    ]
    assert found[0].operationMetrics["numDeletedRows"] == "1"
    newest = spark.sql("DESCRIBE HISTORY t LIMIT 1")
    assert [(row.version, row.timestamp.year > 2000) for row in newest.collect()] == [(2, True)]
    assert dict(newest.dtypes)["version"] == "bigint"
    assert dict(newest.dtypes)["timestamp"] == "timestamp"


def test_detail(spark: Any, folder: Folder, schema: str) -> None:
    """Where it lies, how large it is, what it was given."""
    spark.sql("CREATE TABLE t (a INT, p STRING) PARTITIONED BY (p) COMMENT 'c' TBLPROPERTIES ('k' = 'v')")
    spark.sql("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    detail = spark.sql("DESCRIBE DETAIL t").collect()[0]
    assert (detail.format, detail.name, detail.description) == ("delta", f"{schema}.t", "c")
    assert (detail.numFiles, list(detail.partitionColumns), dict(detail.properties)) == (2, ["p"], {"k": "v"})
    assert detail.location == (folder.warehouse / schema.replace(".", "/") / "t").as_uri()
    assert detail.sizeInBytes > 0


def test_describe_and_show_of_one_table(spark: Any) -> None:
    """DESCRIBE, SHOW COLUMNS, SHOW PARTITIONS; SHOW CREATE TABLE makes an equal table."""
    spark.sql("CREATE TABLE t (a INT NOT NULL COMMENT 'it''s', p STRING) PARTITIONED BY (p)")
    spark.sql("INSERT INTO t VALUES (1, 'x')")
    described = rows(spark.sql("DESCRIBE TABLE t"))
    assert ("a", "int", "it's") in described
    assert ("# Partition Information", "", "") in described
    assert rows(spark.sql("SHOW COLUMNS IN t")) == [("a",), ("p",)]
    assert rows(spark.sql("SHOW PARTITIONS t")) == [("x",)]
    text = spark.sql("SHOW CREATE TABLE t").collect()[0][0]
    spark.sql("DROP TABLE t")
    spark.sql(text)
    assert rows(spark.sql("DESCRIBE TABLE t")) == described
    assert rows(spark.sql("DESCRIBE QUERY SELECT 1 AS a")) == [("a", "int", None)]


def test_maintenance(spark: Any) -> None:
    """OPTIMIZE, VACUUM, RESTORE work; REFRESH, ANALYZE, CACHE have nothing to do."""
    spark.sql("CREATE TABLE t (a INT)")
    for i in range(3):
        spark.sql(f"INSERT INTO t VALUES ({i})")
    spark.sql("OPTIMIZE t ZORDER BY (a)")
    assert spark.sql("DESCRIBE DETAIL t").collect()[0].numFiles == 1
    spark.sql("VACUUM t RETAIN 200 HOURS DRY RUN")
    spark.sql("RESTORE TABLE t TO VERSION AS OF 1")
    assert rows(spark.table("t")) == [(0,)]
    for statement in ("REFRESH TABLE t", "ANALYZE TABLE t COMPUTE STATISTICS", "CACHE TABLE t"):
        spark.sql(statement)


def test_information_schema(spark: Any, service: SparkService, schema: str) -> None:
    """Of a catalog and of `system`, always as things are now."""
    catalog, name = schema.split(".")
    spark.sql("CREATE TABLE t (a INT NOT NULL, b DECIMAL(5,2) COMMENT 'c')")
    spark.sql("CREATE VIEW v AS SELECT a FROM t")
    query = f"SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = '{name}'"
    assert rows(spark.sql(query)) == [("t", "MANAGED"), ("v", "VIEW")]
    spark.sql("DROP VIEW v")
    assert rows(spark.sql(query)) == [("t", "MANAGED")]
    found = spark.sql(
        "SELECT column_name, ordinal_position, full_data_type, data_type, is_nullable, comment "
        f"FROM system.information_schema.columns WHERE table_schema = '{name}'"
    )
    assert rows(found) == [
        ("a", 0, "INT", "INT", "NO", None),
        ("b", 1, "DECIMAL(5,2)", "DECIMAL", "YES", "c"),
    ]
    schemas = spark.sql(f"SELECT schema_name FROM {catalog}.information_schema.schemata")
    assert (name,) in rows(schemas)


# ---------------------------------------------------------------- files


def test_volume_paths_in_sql_and_in_frames(spark: Any, volume: Path) -> None:
    """`/Volumes/...` is the workspace's volume, in texts and plans, read and written."""
    path = "/Volumes/" + "/".join(volume.parts[-3:])
    (volume / "a b.csv").write_text("x,y\n1,é\n")
    assert rows(spark.sql(f"SELECT * FROM csv.`{path}/a b.csv`")) == [("1", "é"), ("x", "y")]
    assert rows(spark.read.option("header", True).csv(f"dbfs:{path}")) == [("1", "é")]
    spark.sql("SELECT 1 AS a").write.parquet(f"file:{path}/out")
    assert (volume / "out").is_dir()
    assert rows(spark.read.format("parquet").option("path", f"{path}/out").load()) == [(1,)]
    spark.sql(f"CREATE TEMPORARY VIEW files USING csv OPTIONS (path '{path}/a b.csv', header 'true')")
    assert rows(spark.table("files")) == [("1", "é")]


def test_a_volume_path_as_a_value_is_left_alone(spark: Any) -> None:
    """A row may hold `/Volumes/...` as its data: our own control table does."""
    spark.sql("CREATE TABLE t (a STRING)")
    spark.sql("INSERT INTO t VALUES ('/Volumes/main/default/v'), ('{\"p\": \"/Volumes/main\"}')")
    assert rows(spark.sql("SELECT a FROM t WHERE a = '/Volumes/main/default/v'")) == [
        ("/Volumes/main/default/v",)
    ]


def test_paths_cannot_leave_the_volumes(spark: Any) -> None:
    """Dots do not help."""
    with pytest.raises(Exception, match="volume"):
        spark.sql("SELECT * FROM text.`/Volumes/../../../etc/passwd`").collect()
    with pytest.raises(Exception, match="volume"):
        spark.read.text("/Volumes/../../../etc/passwd").collect()


def test_volumes_by_sql(spark: Any, folder: Folder, schema: str) -> None:
    """CREATE, SHOW and DROP VOLUME work on the folder that the Files API uses."""
    spark.sql(f"CREATE VOLUME {schema}.inbox COMMENT 'c'")
    assert (folder.volumes / schema.replace(".", "/") / "inbox").is_dir()
    assert rows(spark.sql("SHOW VOLUMES")) == [(schema.split(".")[1], "inbox")]
    spark.sql("DROP VOLUME inbox")
    assert rows(spark.sql("SHOW VOLUMES")) == []


# ---------------------------------------------------------------- texts


def test_a_doubled_quote_is_one_quote(spark: Any) -> None:
    """As in Spark 4 and standard SQL; Sail would leave it out."""
    spark.sql("CREATE TABLE t (a STRING COMMENT 'it''s')")
    spark.sql("""INSERT INTO t VALUES ('it''s'), ("a""b"), ('''')""")
    assert sorted(row.a for row in spark.table("t").collect()) == ["'", 'a"b', "it's"]
    assert rows(spark.sql("SELECT 'x''y', 'x' 'y'")) == [("x'y", "xy")]


def test_insert_by_name(spark: Any) -> None:
    """Columns that the query does not have are NULL or their default."""
    spark.sql("CREATE TABLE t (a INT, b STRING, d INT DEFAULT 7, e DOUBLE)")
    spark.sql("INSERT INTO t BY NAME SELECT 'n' AS b, 9 AS a")
    assert rows(spark.table("t")) == [(9, "n", 7, None)]
