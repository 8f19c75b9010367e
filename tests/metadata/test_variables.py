from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakeflow_job_meta.metadata.variables import escape, resolve, resolve_text

PIECES = st.lists(
    st.sampled_from(["$", "{", "}", "var.", "a", "b", "${var.a}", "$${var.a}", "${var.", "é"])
).map("".join)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("x", "x"),
        ("${var.a}", "1"),
        ("<${var.a}${var.b.c}>", "<1two>"),
        ("$${var.a}", "${var.a}"),
        ("$$${var.a}", "$${var.a}"),
        ("${module.x} ${a} $var.a {{job.id}}", "${module.x} ${a} $var.a {{job.id}}"),
    ],
)
def test_replacing(text, result):
    assert resolve_text(text, {"a": "1", "b.c": "two"}) == (result, [])


def test_what_is_wrong():
    values = {"env": "dev"}
    assert resolve_text("${var.evn}", values) == (
        "${var.evn}",
        ['unknown variable "evn" (did you mean "env"?)'],
    )
    assert "has no value" in resolve_text("${var.x}", values, ["x"])[1][0]
    assert "${var.NAME}" in resolve_text("${var.a b}", values)[1][0]
    assert len(resolve_text("${var.q1} ${var.q2}", values)[1]) == 2


def test_a_text_cannot_be_made_endless():
    text, wrong = resolve_text("${var.a}" * 100, {"a": "x" * 1_000_000})
    assert len(text) < 1000
    assert "longer than" in wrong[0]


@given(PIECES)
@example("$${var.")
def test_an_escaped_text_resolves_to_itself(text):
    assert resolve_text(escape(text), {"a": "1"}) == (text, [])


@given(PIECES, PIECES)
def test_two_steps_put_a_value_in_once(text, value):
    """A file's step and a row's step: what the first put in, the second leaves alone, whatever it looks like."""
    once, wrong = resolve_text(text, {"a": value, "b": "never"})
    if not wrong:
        assert resolve_text(escape(once), {"a": "other", "b": "other"}) == (once, [])


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.none(), max_size=3),
    st.text(),
)
def test_only_texts_change_and_keys_never(tree, value):
    tree = {**tree, "${var.v}": ["${var.v}", {"k": "a${var.v}"}]}
    result = resolve(tree, {"v": value}, lambda path, message: None)
    assert list(result) == list(tree)
    assert result["${var.v}"] == [value, {"k": f"a{value}"}]


def test_untouched_parts_are_the_same_objects():
    tree = {"a": {"b": ["x"]}, "c": ["${var.v}"]}
    result = resolve(tree, {"v": "1"}, lambda path, message: None)
    assert result["a"] is tree["a"]
    assert tree["c"] == ["${var.v}"]


def test_problems_say_where():
    told = []
    resolve({"a": [{"b": "${var.x}"}]}, {}, lambda path, message: told.append(path))
    assert told == [("a", 0, "b")]
