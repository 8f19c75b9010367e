"""The gateway: who gets in, what sessions share, what they keep to themselves."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

import grpc
import pytest

from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark.engine import SparkService
from tests.local.spark.conftest import TOKEN, Connect, connect_to, rows


def test_a_wrong_token_is_refused(service: SparkService) -> None:
    """Neither without a token nor with another one; the error says how to connect."""
    plain = f"sc://127.0.0.1:{service.port}"
    for remote in (plain, f"{plain}/;x-lakeflow-token=wrong"):
        session = connect_to(remote)
        with pytest.raises(Exception, match="needs its token") as caught:
            session.sql("SELECT 1").collect()
        session.stop()
        assert "a token; with" not in str(caught.value)


def test_what_breaks_inside_is_told(
    spark: Any,
    service: SparkService,
    schema: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not "unexpected" alone: its kind, its words, and the way to it; the session goes on."""

    def locked(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr(service.registry, "create_schema", locked)
        with pytest.raises(Exception, match=r"broke \(OperationalError: database is locked\)"):
            spark.sql(f"CREATE SCHEMA {schema}_c").collect()
    assert "database is locked" in caplog.text
    spark.sql(f"CREATE SCHEMA {schema}_c").collect()


def test_the_connect_string_names_the_user(spark: Any) -> None:
    """current_user() is the user of the workspace."""
    assert rows(spark.sql("SELECT current_user()")) == [("local@localhost",)]


def test_sessions_begin_as_on_databricks(connect: Connect) -> None:
    """UTC, Delta, the first catalog and the schema `default`."""
    fresh = connect()
    assert fresh.conf.get("spark.sql.session.timeZone") == "UTC"
    assert rows(fresh.sql("SELECT current_catalog(), current_schema()")) == [("main", "default")]


def test_open_sessions_see_what_others_make_change_and_drop(
    spark: Any, connect: Connect, schema: str
) -> None:
    """Tables, schemas, columns and rows, in both directions, while both are open."""
    other = connect()
    other.sql("SELECT 1").collect()
    spark.sql("CREATE TABLE t (a INT)")
    spark.sql("INSERT INTO t VALUES (1)")
    assert rows(other.table(f"{schema}.t")) == [(1,)]
    other.sql(f"CREATE OR REPLACE TABLE {schema}.t AS SELECT 2 AS b, 'x' AS c")
    assert rows(spark.table("t")) == [(2, "x")]
    other.sql(f"ALTER TABLE {schema}.t ADD COLUMN d INT")
    assert spark.table("t").columns == ["b", "c", "d"]
    spark.sql("DROP TABLE t")
    with pytest.raises(Exception, match="TABLE_OR_VIEW_NOT_FOUND"):
        other.table(f"{schema}.t").collect()
    spark.sql(f"CREATE SCHEMA {schema}_b")
    spark.sql(f"CREATE TABLE {schema}_b.t (z INT)")
    assert other.table(f"{schema}_b.t").columns == ["z"]


def test_stop_ends_only_its_own_session(spark: Any, connect: Connect, schema: str) -> None:
    """Tables, temporary views and settings of another session stay."""
    other = connect()
    other.sql(f"CREATE TABLE {schema}.t AS SELECT 1 AS a")
    spark.sql("CREATE TEMPORARY VIEW mine AS SELECT a + 1 AS b FROM t")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    other.stop()
    assert rows(spark.table("mine")) == [(2,)]
    assert rows(connect().table(f"{schema}.t")) == [(1,)]
    assert spark.conf.get("spark.sql.session.timeZone") == "Europe/Berlin"


def test_names_are_case_insensitive(spark: Any, schema: str) -> None:
    """As on Databricks, though Sail minds the case of all but columns."""
    spark.sql("CREATE TABLE Orders (Id INT)")
    spark.sql("INSERT INTO ORDERS VALUES (1)")
    catalog, name = schema.split(".")
    assert rows(spark.sql(f"SELECT ORDERS.ID FROM {catalog.upper()}.{name.upper()}.oRDERS")) == [(1,)]
    assert spark.table(f"{catalog.upper()}.{name.upper()}.orders").columns == ["Id"]
    spark.sql("CREATE TEMPORARY VIEW Mine AS SELECT * FROM orders")
    assert rows(spark.sql("SELECT mine.id FROM MINE")) == [(1,)]


@pytest.mark.parametrize("name", ["a b", "naïve 名", "select", "a`b", "x-y", "p%20q", "2024", "ünder_x0041_"])
def test_odd_names(spark: Any, connect: Connect, schema: str, name: str) -> None:
    """Spaces, letters outside ASCII, keywords, backticks: as table, column and view, in any session."""
    from lakeflow_job_meta.local.spark.literals import identifier

    quoted = identifier(name)
    spark.sql(f"CREATE TABLE {quoted} ({quoted} INT, p STRING) PARTITIONED BY (p)")
    spark.sql(f"INSERT INTO {quoted} VALUES (1, 'é /%')")
    other = connect()
    full = f"{schema}.{quoted}"
    assert rows(other.sql(f"SELECT {quoted}, p FROM {full}")) == [(1, "é /%")]
    other.sql(f"CREATE VIEW {schema}.{identifier(name + ' v')} AS SELECT {quoted} FROM {full}")
    assert rows(spark.table(identifier(name + " v"))) == [(1,)]
    assert name in [row.tableName for row in other.sql(f"SHOW TABLES IN {schema}").collect()]
    other.sql(f"DROP TABLE {full}")


def test_a_failed_statement_leaves_no_trace(
    spark: Any, service: SparkService, schema: str, folder: Folder
) -> None:
    """Neither in the registry nor on disk."""
    catalog, name = schema.split(".")
    before = service.registry.generation
    for statement in (
        "CREATE TABLE bad AS SELECT * FROM nowhere",
        "CREATE TABLE bad AS SELECT raise_error('no') AS a",
        "CREATE TABLE bad AS SELECT CAST(x AS INT) AS a FROM VALUES ('1'), ('x') AS t(x)",
        "CREATE TABLE bad (a NOTYPE)",
        "CREATE VIEW bad AS SELECT nothing FROM nowhere",
        "CREATE TABLE nowhere.bad (a INT)",
        "CREATE TABLE bad (a INT) USING parquet",
        "CREATE VIEW bad AS SELEC 1",
    ):
        with pytest.raises(Exception, match=r"\S"):
            spark.sql(statement)
    assert service.registry.generation == before
    assert service.registry.relations(catalog, name) == []
    left = folder.warehouse / catalog / name
    assert not left.exists() or list(left.iterdir()) == []


def test_errors_have_their_type_and_condition(spark: Any) -> None:
    """Sail's errors come through unchanged; the gateway's have conditions as on Databricks."""
    from pyspark.errors import AnalysisException, IllegalArgumentException, UnsupportedOperationException

    with pytest.raises(IllegalArgumentException, match="found selec at 0:5"):
        spark.sql("selec")
    with pytest.raises(AnalysisException) as missing:
        spark.sql("DROP TABLE nothing")
    assert missing.value.getCondition() == "TABLE_OR_VIEW_NOT_FOUND"
    assert missing.value.getSqlState() == "42P01"
    spark.sql("CREATE TABLE t (a INT)")
    with pytest.raises(AnalysisException, match="already exists") as there:
        spark.sql("CREATE TABLE t (a INT)")
    assert there.value.getCondition() == "TABLE_OR_VIEW_ALREADY_EXISTS"
    with pytest.raises(UnsupportedOperationException, match=r"GRANT SELECT.*REST API"):
        spark.sql("GRANT SELECT ON TABLE t TO someone")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE CATALOG other",
        "CREATE GLOBAL TEMPORARY VIEW g AS SELECT 1",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
        "CREATE TABLE c (a INT) TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')",
        "CREATE TABLE c SHALLOW CLONE t",
        "CREATE MATERIALIZED VIEW m AS SELECT 1",
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "COPY INTO t FROM '/Volumes/x/y/z'",
        "DECLARE x INT",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "MSCK REPAIR TABLE t",
    ],
)
def test_what_it_cannot_do_it_refuses(spark: Any, statement: str) -> None:
    """With a sentence that says so, and never by doing something else."""
    spark.sql("CREATE TABLE t (a INT)")
    with pytest.raises(Exception, match=r"the embedded workspace does not support .*; "):
        spark.sql(statement)


def test_a_change_data_feed_is_refused(spark: Any) -> None:
    """Sail would silently give the table as it is now."""
    spark.sql("CREATE TABLE t (a INT)")
    reader = spark.read.option("readChangeFeed", "true").option("startingVersion", 0)
    with pytest.raises(Exception, match="change data feed"):
        reader.table("t").collect()
    with pytest.raises(Exception, match="table_changes"):
        spark.sql("SELECT * FROM table_changes('t', 0)").collect()


def test_several_statements_in_one_call_are_refused(spark: Any) -> None:
    """The second would not be recorded."""
    with pytest.raises(Exception, match="several statements"):
        spark.sql("CREATE TABLE t (a INT); DROP TABLE t")


def test_many_sessions_at_once(connect: Connect, schema: str) -> None:
    """Nothing is lost, and one table is created once however many say CREATE IF NOT EXISTS."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            session = connect()
            session.sql(f"CREATE TABLE IF NOT EXISTS {schema}.shared (n INT)")
            session.sql(f"CREATE TABLE {schema}.own{number} AS SELECT {number} AS n")
            session.sql(f"INSERT INTO {schema}.shared SELECT n FROM {schema}.own{number}")
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert rows(connect().table(f"{schema}.shared")) == [(number,) for number in range(8)]


def test_a_channel_that_breaks_disturbs_nobody(spark: Any, connect: Connect, schema: str) -> None:
    """Another session goes on, and a new channel finds the workspace as it was."""
    other = connect()
    other.sql(f"CREATE TABLE {schema}.t AS SELECT 1 AS a")
    other.client._channel.close()
    assert rows(spark.table("t")) == [(1,)]
    assert rows(connect().table(f"{schema}.t")) == [(1,)]
    with pytest.raises((ValueError, grpc.RpcError)):
        other.sql("SELECT 1").collect()
    other.client._closed = True


def test_a_create_is_recorded_though_its_client_is_gone(
    service: SparkService, connect: Connect, schema: str
) -> None:
    """The statement runs to its end, and other sessions see the table."""
    import uuid

    from pyspark.sql.connect.proto import ExecutePlanRequest, Plan, SparkConnectServiceStub

    plan = Plan()
    plan.command.sql_command.input.sql.query = (
        f"CREATE TABLE {schema}.late AS SELECT count(*) AS n FROM range(30000000) a WHERE a.id % 7 = 3"
    )
    request = ExecutePlanRequest(session_id=str(uuid.uuid4()), plan=plan, operation_id=str(uuid.uuid4()))
    request.user_context.user_id = "someone"
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        call = SparkConnectServiceStub(channel).ExecutePlan(request, metadata=[("x-lakeflow-token", TOKEN)])
        time.sleep(0.05)
        call.cancel()
    deadline = time.monotonic() + 30
    catalog, name = schema.split(".")
    while service.registry.get(catalog, name, "late") is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert connect().table(f"{schema}.late").count() == 1


def test_use_changes_the_session_only(spark: Any, connect: Connect, schema: str) -> None:
    """USE in all its forms, SQL and API; unqualified names follow."""
    spark.sql("CREATE TABLE t AS SELECT 1 AS a")
    other = connect()
    other.sql("CREATE SCHEMA IF NOT EXISTS bronze.raw")
    other.sql("USE CATALOG bronze")
    other.sql("USE raw")
    assert rows(other.sql("SELECT current_catalog(), current_schema()")) == [("bronze", "raw")]
    other.sql("CREATE OR REPLACE TABLE t AS SELECT 2 AS a")
    assert rows(other.table("t")) == [(2,)]
    assert rows(spark.table("t")) == [(1,)]
    other.catalog.setCurrentCatalog("main")
    assert other.catalog.currentDatabase() == "default"
    other.catalog.setCurrentDatabase(schema)
    assert rows(other.table("t")) == [(1,)]
    for statement in ("USE CATALOG nope", "USE SCHEMA nope", "USE main.nope"):
        with pytest.raises(Exception, match="cannot be found"):
            other.sql(statement)
    assert rows(other.table("t")) == [(1,)]


def test_settings(spark: Any) -> None:
    """SET key = value, SET key, SET TIME ZONE."""
    assert rows(spark.sql("SET spark.sql.shuffle.partitions = 7")) == [("spark.sql.shuffle.partitions", "7")]
    assert spark.conf.get("spark.sql.shuffle.partitions") == "7"
    assert rows(spark.sql("SET spark.sql.shuffle.partitions")) == [("spark.sql.shuffle.partitions", "7")]
    spark.sql("SET TIME ZONE 'Asia/Tokyo'")
    assert rows(spark.sql("SELECT current_timezone()")) == [("Asia/Tokyo",)]


def test_a_client_that_attaches_again_gets_the_answer_once_more(service: SparkService, schema: str) -> None:
    """The statement is not run twice: a second CREATE would fail."""
    import uuid

    from pyspark.sql.connect.proto import (
        ExecutePlanRequest,
        Plan,
        ReattachExecuteRequest,
        SparkConnectServiceStub,
    )

    plan = Plan()
    plan.command.sql_command.input.sql.query = f"CREATE TABLE {schema}.t AS SELECT 1 AS a"
    session, operation = str(uuid.uuid4()), str(uuid.uuid4())
    request = ExecutePlanRequest(session_id=session, plan=plan, operation_id=operation)
    metadata = [("x-lakeflow-token", TOKEN)]
    with grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        stub = SparkConnectServiceStub(channel)
        first = list(stub.ExecutePlan(request, metadata=metadata))
        again = ReattachExecuteRequest(session_id=session, operation_id=operation)
        assert list(stub.ReattachExecute(again, metadata=metadata)) == first
        again.last_response_id = first[0].response_id
        assert list(stub.ReattachExecute(again, metadata=metadata)) == first[1:]
    assert [response.WhichOneof("response_type") for response in first] == [
        "sql_command_result",
        "result_complete",
    ]
