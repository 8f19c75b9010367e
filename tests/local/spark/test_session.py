"""SQL for the server's own use."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lakeflow_job_meta.errors import LocalError, TableNotFound, TablesError, TablesUnavailable
from lakeflow_job_meta.local.spark.engine import SparkService
from lakeflow_job_meta.local.spark.session import SparkSql, SqlResult


@pytest.fixture
def sql(service: SparkService) -> Iterator[SparkSql]:
    found = SparkSql(service.remote)
    yield found
    found.close()


def test_values_are_text_as_the_statement_api_gives_them(sql: SparkSql) -> None:
    """Timestamps in UTC with Z, binary in Base64, nested values as JSON, NULL as None."""
    result = sql.run(
        "SELECT 1 AS i, 'x' AS s, 1.50 AS d, 2.5D AS f, TIMESTAMP '2025-01-01 00:00:00' AS t, DATE '2020-02-03' AS day, "
        "X'4142' AS b, array(1, NULL) AS a, map('k', 1.5) AS m, named_struct('x', 1, 'y', TIMESTAMP "
        "'2025-01-01 12:00:00.1239') AS st, CAST(NULL AS INT) AS n, true AS yes, CAST('nan' AS DOUBLE) AS nan"
    )
    assert result.columns == [
        ("i", "INT"), ("s", "STRING"), ("d", "DECIMAL(3,2)"), ("f", "DOUBLE"), ("t", "TIMESTAMP"), ("day", "DATE"),
        ("b", "BINARY"), ("a", "ARRAY<INT>"), ("m", "MAP<STRING, DECIMAL(2,1)>"),
        ("st", "STRUCT<x: INT, y: TIMESTAMP>"), ("n", "INT"), ("yes", "BOOLEAN"), ("nan", "DOUBLE"),
    ]  # fmt: skip
    assert result.rows == [
        [
            "1", "x", "1.50", "2.5", "2025-01-01T00:00:00.000Z", "2020-02-03", "QUI=", "[1,null]", '{"k":"1.5"}',
            '{"x":1,"y":"2025-01-01T12:00:00.123Z"}', None, "true", "NaN",
        ]
    ]  # fmt: skip


def test_parameters_have_types(sql: SparkSql, schema: str) -> None:
    """Text by default; with a type they are cast, in queries and in DML."""
    catalog, name = schema.split(".")
    sql.run("CREATE TABLE t (n INT, day DATE, s STRING)", {}, catalog, name)
    sql.run(
        "INSERT INTO t VALUES (:n, :day, :s)",
        {"n": ("5", "INT"), "day": ("2020-01-02", "DATE"), "s": "it's", "unused": "x"},
        catalog,
        name,
    )
    found = sql.run(f"SELECT * FROM {schema}.t WHERE n = :n OR :x IS NULL", {"n": ("5", "INT"), "x": None})
    assert found.rows == [["5", "2020-01-02", "it's"]]
    with pytest.raises(LocalError, match="unknown type"):
        sql.run("SELECT :n", {"n": ("1", "INT); DROP TABLE t")})
    with pytest.raises(TablesError):
        sql.run("SELECT :n + 1", {"n": ("x", "INT")})


def test_statements_share_no_session(sql: SparkSql, schema: str) -> None:
    """Catalog and schema hold for one statement; temporary views and USE leave nothing behind."""
    catalog, name = schema.split(".")
    assert sql.run("SELECT current_schema()", {}, catalog, name).rows == [[name]]
    sql.run(f"USE {schema}")
    sql.run("CREATE TEMPORARY VIEW tv AS SELECT 1 AS a")
    assert sql.run("SELECT current_schema()").rows == [["default"]]
    with pytest.raises(TableNotFound):
        sql.run("SELECT * FROM tv")


def test_a_script_runs_in_one_session_up_to_its_first_error(sql: SparkSql, schema: str) -> None:
    """Statements are split outside strings and comments; each has a result."""
    results = sql.script(
        f"USE {schema}; -- a comment;\nCREATE TEMPORARY VIEW tv AS SELECT ';' AS s;\n"
        "CREATE TABLE t AS SELECT s, :n AS n FROM tv; SELECT * FROM t;",
        {"n": ("7", "INT")},
    )
    assert results[0] == SqlResult()
    assert results[-1].rows == [[";", "7"]]
    with pytest.raises(TableNotFound):
        sql.script(
            f"INSERT INTO {schema}.t VALUES ('a', 1); SELECT * FROM nowhere; INSERT INTO {schema}.t VALUES ('b', 2)"
        )
    assert sql.run(f"SELECT s FROM {schema}.t ORDER BY s").rows == [[";"], ["a"]]


def test_errors_are_ours(sql: SparkSql, schema: str) -> None:
    """Not found is told from the rest."""
    for statement in ("SELECT * FROM nowhere", "SELECT * FROM main.nowhere.t", "DROP TABLE nowhere"):
        with pytest.raises(TableNotFound):
            sql.run(statement)
    with pytest.raises(TablesError, match="divide by zero") as caught:
        sql.run("SELECT 1 / 0")
    assert not isinstance(caught.value, TableNotFound)


def test_no_answer_is_an_error_of_its_own() -> None:
    """A workspace that is down is not a statement that is wrong."""
    with pytest.raises(TablesUnavailable):
        SparkSql("sc://127.0.0.1:1/;user_id=x").run("SELECT 1")


def test_threads_may_share_it(sql: SparkSql, schema: str) -> None:
    """No row is lost."""
    sql.run(f"CREATE TABLE {schema}.t (n INT)")
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for n in range(first, first + 3):
                sql.run(f"INSERT INTO {schema}.t VALUES (:n)", {"n": (str(n), "INT")})
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(10 * i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert sql.run(f"SELECT count(DISTINCT n), count(*) FROM {schema}.t").rows == [["18", "18"]]
