"""Parameters as literals."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.local.spark import literals
from lakeflow_job_meta.local.spark.errors import Refused
from lakeflow_job_meta.local.spark.lexer import words

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HOSTILE = [
    "'",
    "\\",
    "\\'",
    "'; DROP TABLE x; --",
    "a\nb",
    "\0",
    "%_\\%",
    "/*",
    "é😀",
    "\u2028",
    ":a ? `",
    "\\u0041",
]


@given(ANY_TEXT)
def test_no_text_can_leave_its_literal(value: str) -> None:
    """A literal is one string or one cast of one, whatever the text; nothing of it becomes SQL."""
    literal = literals.string_literal(value)
    found = words(f"SELECT {literal} AS x")
    kinds = [(word.kind, word.text) for word in found]
    if literal.startswith("'"):
        assert kinds == [("name", "SELECT"), ("string", value), ("name", "AS"), ("name", "x")]
    else:
        shape = ["SELECT", "CAST", "(", "unbase64", "(", None, ")", "AS", "STRING", ")", "AS", "x"]
        assert [text if i != 5 else None for i, (_, text) in enumerate(kinds)] == shape
        assert kinds[5][0] == "string"
        assert kinds[5][1].replace("+", "").replace("/", "").replace("=", "").isalnum()


@given(ANY_TEXT, ANY_TEXT)
def test_binding_changes_only_the_markers(before: str, value: str) -> None:
    """A marker inside a string or a comment is no marker; one outside is replaced."""
    quoted = literals.string_literal(before)
    sql = f"SELECT {quoted}, ':p', `:p` /* :p */ -- :p\n, :p, x::int"
    bound = literals.bind(sql, {"p": literals.string_literal(value)}, [])
    head, tail = sql.rsplit(":p", 1)
    assert bound == f"{head} {literals.string_literal(value)} {tail}"


def test_a_surrogate_is_refused() -> None:
    """Text that is no Unicode cannot be a SQL string."""
    with pytest.raises(Refused, match="surrogate"):
        literals.string_literal("\ud800")


def test_a_marker_without_a_value_is_refused() -> None:
    """As on Databricks, with its condition."""
    with pytest.raises(Refused, match=r"UNBOUND_SQL_PARAMETER.*missing"):
        literals.bind("DELETE FROM t WHERE a = :missing", {"other": "1"}, [])
    with pytest.raises(Refused, match="UNBOUND_SQL_PARAMETER"):
        literals.bind("INSERT INTO t VALUES (?, ?)", {}, ["1"])


def test_a_path_into_json_is_no_marker() -> None:
    """`column:field` stays."""
    assert literals.bind("SELECT c:a, f(x):b, :a", {"a": "1", "b": "2"}, []) == "SELECT c:a, f(x):b,  1 "


VALUES: dict[str, Any] = {
    "boolean": True,
    "negative": -5,
    "long": 2**40,
    "double": -1.5e30,
    "infinity": float("inf"),
    "decimal": decimal.Decimal("-12.340"),
    "small": decimal.Decimal("0.001"),
    "date": dt.date(1, 1, 1),
    "timestamp": dt.datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=dt.timezone.utc),
    "old": dt.datetime(1890, 1, 1, 1, 1, 1, tzinfo=dt.timezone.utc),
    "bytes": b"\x00\xff'",
    "list": [1, 2],
    "texts": ["it's", None, "\\"],
}


@pytest.mark.parametrize("kind", list(VALUES))
def test_a_value_bound_in_dml_is_what_a_query_gets(spark: Any, kind: str) -> None:
    """A parameter of CREATE TABLE AS (bound here) equals the one of a SELECT (bound by Sail)."""
    value = VALUES[kind]
    spark.sql("CREATE TABLE bound AS SELECT :v AS v", args={"v": value})
    assert spark.table("bound").collect() == spark.sql("SELECT :v AS v", args={"v": value}).collect()


def test_null_and_typed_null(spark: Any) -> None:
    """None is NULL; a cast gives it a type."""
    from pyspark.sql.connect import functions

    spark.sql("CREATE TABLE n (a INT, b STRING)")
    arguments = {"a": None, "b": functions.lit(None).cast("string")}
    spark.sql("INSERT INTO n VALUES (:a, :b)", args=arguments)
    assert [tuple(row) for row in spark.table("n").collect()] == [(None, None)]


def test_hostile_texts_arrive_as_they_were(spark: Any) -> None:
    """INSERT, UPDATE, MERGE and DELETE with quotes, backslashes, newlines, NUL, emoji."""
    spark.sql("CREATE TABLE t (k INT, v STRING)")
    for i, value in enumerate(HOSTILE):
        spark.sql("INSERT INTO t VALUES (:k, :v)", args={"k": i, "v": value})
    assert dict(spark.table("t").collect()) == dict(enumerate(HOSTILE))
    worst = "".join(HOSTILE)
    spark.sql("UPDATE t SET v = :v WHERE v = :old", args={"v": worst, "old": HOSTILE[3]})
    spark.sql(
        "MERGE INTO t USING (SELECT :v AS v) s ON t.v = s.v WHEN MATCHED THEN UPDATE SET k = :k",
        args={"v": worst, "k": 100},
    )
    assert spark.sql("SELECT k FROM t WHERE v = :v", args={"v": worst}).collect()[0].k == 100
    spark.sql("DELETE FROM t WHERE v = :v", args={"v": worst})
    assert spark.table("t").count() == len(HOSTILE) - 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANY_TEXT)
def test_any_text_arrives_as_it_was(spark: Any, value: str) -> None:
    """The same for texts that nobody thought of."""
    spark.sql("CREATE TABLE IF NOT EXISTS any_text (v STRING)")
    spark.sql("INSERT OVERWRITE any_text VALUES (:v)", args={"v": value})
    assert spark.table("any_text").collect()[0].v == value


def test_positional_parameters(spark: Any) -> None:
    """`?` is bound in order."""
    spark.sql("CREATE TABLE q (a INT, b STRING)")
    spark.sql("INSERT INTO q VALUES (?, ?)", args=[1, "?"])
    assert [tuple(row) for row in spark.table("q").collect()] == [(1, "?")]
