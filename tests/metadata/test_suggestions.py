from __future__ import annotations

import time

import pytest

from lakeflow_job_meta.metadata.suggestions import did_you_mean, hint, quoted, shown


def test_the_nearest_word():
    assert did_you_mean("extarct", ["load", "extract"]) == ' (did you mean "extract"?)'
    assert did_you_mean("EXTRACT", ["extract"]) == ' (did you mean "extract"?)'
    assert did_you_mean("zebra", ["load"]) == ""


@pytest.mark.parametrize("word", [None, 7, "", "x" * 1000])
def test_what_is_no_word_has_none(word):
    assert did_you_mean(word, ["load"]) == ""


def test_a_few_known_words_are_listed():
    assert hint("zebra", ["b", "a"]) == " (known here: a, b)"
    assert hint("zebra", [f"n{n}" for n in range(50)]) == ""


def test_among_thousands_it_stays_quick():
    known = [f"module_{n:05}" for n in range(20_000)]
    started = time.perf_counter()
    for _ in range(20):
        did_you_mean("module_0123x", known)
    assert time.perf_counter() - started < 5


def test_values_are_shown_on_one_line_and_cut():
    assert shown("a\nb") == '"a\\nb"'
    assert len(shown("x" * 10_000)) < 200
    assert shown({"a": 1}) == "a mapping with 1 keys"
    assert shown(5.0) == "5.0"
    assert quoted('a"b') == '"a\\"b"'
    assert len(quoted("x" * 10_000)) < 300
