from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.metadata.scalars import plain, plain_key


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-7", -7),
        ("9223372036854775807", 2**63 - 1),
        ("5.0", 5.0),
        ("1e3", 1000.0),
        ("-2.5E-3", -0.0025),
        (".5", 0.5),
        ("abc", "abc"),
        ("1abc", "1abc"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("1.2.3", "1.2.3"),
        ("10:30 Uhr", "10:30 Uhr"),
        ("-", "-"),
        ("=", "="),
        ("y", "y"),
        ("N", "N"),
        ("yesterday", "yesterday"),
        ("0 0 2 * * ?", "0 0 2 * * ?"),
        ("16.4.x-scala2.12", "16.4.x-scala2.12"),
        ("a:b", "a:b"),
    ],
)
def test_what_a_plain_scalar_means(text, value):
    got, problem = plain(text)
    assert (got, problem) == (value, "")
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        *((word, f'write "{word}" in quotes for the text, or true') for word in ("yes", "Yes", "ON")),
        *((word, f'write "{word}" in quotes for the text, or false') for word in ("no", "No", "off")),
        ("010", 'write "010" in quotes for the text, or 10 for the number'),
        ("007", 'write "007" in quotes for the text, or 7 for the number'),
        ("08", "8 for the number"),
        ("0x1F", "31 for the number"),
        ("0b101", "5 for the number"),
        ("0o17", "15 for the number"),
        ("1_000", "1000 for the number"),
        ("1_000.5", "1000.5 for the number"),
        ("+5", "5 for the number"),
        ("1:30", "the number in full"),
        ("190:20:30", "the number in full"),
        (".inf", "no number that JSON knows"),
        ("-.INF", "no number that JSON knows"),
        (".NaN", "no number that JSON knows"),
        ("1e999", "too large"),
        ("123456789012345678901", "64-bit"),
        ("-0", "64-bit"),
        ("01.5", "1.5 for the number"),
    ],
)
def test_surprises_of_yaml_1_1_say_what_to_write(text, remedy):
    value, problem = plain(text)
    assert value == text
    assert remedy in problem


@pytest.mark.parametrize("text", ["on", "Yes", "NO", "true", "null", "~", ""])
def test_keys_that_are_no_texts_must_be_quoted(text):
    assert "in quotes" in plain_key(text)


@pytest.mark.parametrize("text", ["a", "010", "1", "2024", "1:30", "y", "n"])
def test_numbers_as_keys_are_the_text_that_was_written(text):
    assert plain_key(text) == ""


@given(st.text())
def test_no_text_raises_and_all_values_are_json(text):
    value, _ = plain(text)
    json.dumps(value, allow_nan=False)
    plain_key(text)
