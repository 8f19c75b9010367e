"""Words of SQL texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.local.spark import lexer


def test_scripts_are_split_outside_strings_names_and_comments() -> None:
    """A `;` inside a string, a quoted name or a comment ends nothing."""
    script = "SELECT ';' -- ; no\n, `a;b`; /* ; */ SHOW TABLES LIKE 'x;y';; SELECT \"it\\\"s;\""
    assert lexer.split(script) == [
        "SELECT ';' -- ; no\n, `a;b`",
        "/* ; */ SHOW TABLES LIKE 'x;y'",
        'SELECT "it\\"s;"',
    ]


@pytest.mark.parametrize("script", ["", ";", " ;; ", "-- nothing", "/* nothing */;"])
def test_a_script_without_statements_is_empty(script: str) -> None:
    """Comments and stray semicolons are no statements."""
    assert lexer.split(script) == []


def test_an_unclosed_string_is_an_error() -> None:
    """It is not guessed where a string might have ended."""
    with pytest.raises(lexer.LexicalError):
        lexer.split("SELECT 'a; SELECT 2")


def test_words_know_their_kind_and_place() -> None:
    """Names, strings, numbers and symbols, each with the span that it takes."""
    sql = "select `a``b`.c, 5L, r'\\n' from main.2024_x where x = :p"
    found = lexer.words(sql)
    assert [(word.kind, word.text) for word in found[:6]] == [
        ("name", "select"),
        ("name", "a`b"),
        ("symbol", "."),
        ("name", "c"),
        ("symbol", ","),
        ("number", "5L"),
    ]
    assert ("string", "\\n") in [(word.kind, word.text) for word in found]
    assert [chain.parts for chain in lexer.chains(found)][3] == ("main", "2024_x")
    assert all(sql[word.start : word.end].strip("`'r") != "" for word in found)


def test_keywords_that_sqlglot_joins_are_single_words() -> None:
    """`CLUSTER  BY` is two words, whatever stands between."""
    assert [word.keyword for word in lexer.words("cluster  by ( a )")][:2] == ["CLUSTER", "BY"]


def test_a_quoted_name_is_never_a_keyword() -> None:
    """A table may be called `select`."""
    assert lexer.words("`select`")[0].keyword == ""


@given(st.lists(st.text("abc`'; .\n", max_size=8), min_size=1, max_size=4))
def test_quoted_names_survive_whatever_is_in_them(names: list[str]) -> None:
    """A name that was quoted by doubling its backticks is read back as it was."""
    from lakeflow_job_meta.local.spark.literals import identifier

    names = [name or "x" for name in names]
    sql = f"SELECT * FROM {identifier(*names)} AS t"
    assert tuple(names) in [chain.parts for chain in lexer.chains(lexer.words(sql))]


def test_edits_replace_spans() -> None:
    """Edits are made by offset, in any order."""
    edits = [lexer.Edit(7, 8, "zz"), lexer.Edit(0, 6, "SELECT")]
    assert lexer.edited("select a from t", edits) == "SELECT zz from t"
