"""What a policy's SQL may be: one SELECT that only reads; everything else is refused with its place."""

from __future__ import annotations

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.errors import PolicyError
from lakeflow_job_meta.policies.statement import check


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "-- why\nSELECT a FROM t WHERE b = 'DROP TABLE x; DELETE' -- because;",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a;",
        "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1",
        "SELECT v:a.b::int FROM t",
        "SELECT count(*) FILTER (WHERE x) FROM t LATERAL VIEW explode(a) q AS z",
        "SELECT * FROM main.s.t VERSION AS OF 3",
        "SELECT exists(l, x -> x = 'a'), `update`, `delete` FROM t QUALIFY row_number() OVER (ORDER BY a) = 1",
        "SELECT a FROM t EXCEPT SELECT b FROM u",
        "SELECT * FROM t TABLESAMPLE (10 PERCENT) LIMIT 5;;",
    ],
)
def test_accepted(sql: str) -> None:
    """One SELECT, with CTEs, set operations and what Databricks' SQL has."""
    assert check(sql).sql.rstrip(";") == check(sql).sql


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("", "1:1: there is no statement"),
        ("-- only a comment", "1:1: there is no statement"),
        ("SELECT 1; SELECT 2", "1:11: a second statement"),
        ("-- c\nSELECT 1;\n  DROP TABLE x", "3:3: a second statement"),
        ("INSERT INTO t SELECT 1", "1:1: a policy only reads, INSERT"),
        ("UPDATE t SET a = 1", "1:1: a policy only reads, UPDATE"),
        ("DELETE FROM t", "1:1: a policy only reads, DELETE"),
        ("MERGE INTO t USING s ON 1=1 WHEN MATCHED THEN DELETE", "1:1: a policy only reads, MERGE"),
        ("CREATE TABLE a AS SELECT 1", "1:1: a policy only reads, CREATE"),
        ("\n\n  drop table t", "3:3: a policy only reads, DROP"),
        ("ALTER TABLE t ADD COLUMN a INT", "ALTER"),
        ("TRUNCATE TABLE t", "TRUNCATE"),
        ("OPTIMIZE t", "OPTIMIZE"),
        ("COPY INTO t FROM 'x'", "COPY"),
        ("CALL p()", "CALL"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("SET x = 1", "SET"),
        ("EXECUTE IMMEDIATE 'SELECT 1'", "EXECUTE"),
        ("BEGIN SELECT 1; END", "1:17: a second statement"),
        ("VALUES (1)", "VALUES"),
        ("WITH x AS (INSERT INTO t SELECT 1) SELECT * FROM x", "1:12: it writes with INSERT"),
        ("WITH a AS (SELECT 1) DELETE FROM t", "is no SELECT"),
        ("FROM t INSERT INTO u SELECT *", "1:"),
        ("SELECT a INTO x FROM t", "1:10: SELECT INTO writes"),
        ("SELECT TRANSFORM(a) USING 'cat' AS (b) FROM t", "TRANSFORM runs a program"),
        ("SELECT * FROM t FOR UPDATE", "FOR UPDATE locks"),
        ("SELECT\n  reflect('java.lang.Runtime', 'x')", "2:3: reflect() does more than read"),
        ("SELECT http_request(conn => 'a')", "http_request() does more"),
        ("SELECT 1 FROM", "no SQL that can be read"),
        ("SELECT 'abc", "not closed"),
        ("SELECT * FROM t WHERE a = ${x}", "write a named parameter"),
        ("SELECT * FROM t WHERE a = ?", "a parameter without a name"),
    ],
)
def test_refused(sql: str, told: str) -> None:
    """Each says where, why and what to do, before anything runs."""
    with pytest.raises(PolicyError) as refused:
        check(sql, {"x"}, "mine.sql")
    message = str(refused.value)
    assert message.startswith("mine.sql:")
    assert told in message
    assert "\x1b" not in message


def test_parameters() -> None:
    """Names of markers are found, those inside texts are not; every one without a value is told with its place."""
    sql = "SELECT ':no' FROM t\nWHERE a > :one AND b = :two AND c = :one"
    assert check(sql, {"one", "two", "more"}).parameters == ("one", "two")
    with pytest.raises(PolicyError) as refused:
        check(sql, {"three"}, "p.sql")
    assert "p.sql:2:12: parameter :one has no value" in str(refused.value)
    assert "p.sql:2:25: parameter :two has no value (given: three)" in str(refused.value)


def test_relations() -> None:
    """Tables of one word are told; CTEs of the statement and full names are not."""
    sql = (
        "WITH mine AS (SELECT * FROM Snapshot) SELECT * FROM mine JOIN history JOIN main.s.t JOIN delta.`/x`"
    )
    assert check(sql).relations == {"snapshot", "history"}
    assert not check("WITH snapshot AS (SELECT 1) SELECT * FROM snapshot").relations
    own = "WITH snapshot AS (SELECT * FROM snapshot WHERE size > 1), b AS (SELECT * FROM snapshot) SELECT * FROM b"
    assert check(own).relations == {"snapshot"}
    assert not check(
        "WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b WHERE x IN (SELECT 1 FROM a)"
    ).relations
    assert check("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) JOIN a").relations == {"a"}
    assert not check("WITH a AS (SELECT 1) (SELECT * FROM a) UNION ALL (SELECT * FROM a)").relations


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What is refused is told once, by us."""
    with caplog.at_level(logging.DEBUG), pytest.raises(PolicyError):
        check("SELECT 1 UNION SHOW TABLES")
    assert not caplog.records


@given(st.text(max_size=60))
def test_any_text_is_a_statement_or_refused(text: str) -> None:
    """Nothing else than PolicyError comes out, whatever is written."""
    try:
        told = check(f"SELECT {text}").sql
    except PolicyError as e:
        told = str(e)
    assert told.startswith(("SELECT", "SQL:"))


def test_a_large_statement_is_quick() -> None:
    """2,000 conditions are read in seconds."""
    started = time.monotonic()
    check("SELECT * FROM t WHERE " + " OR ".join(f"a = {n}" for n in range(2000)))
    assert time.monotonic() - started < 10
