from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.metadata import documents
from lakeflow_job_meta.metadata.documents import read_document
from lakeflow_job_meta.metadata.places import YamlMap, descend


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def loader(request, monkeypatch):
    """Every behaviour holds with PyYAML's own parser too, where libyaml is missing."""
    if request.param == "python":
        monkeypatch.setattr(documents, "_Loader", yaml.SafeLoader)
    elif not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")


def value_of(text: str | bytes):
    document = read_document(text if isinstance(text, bytes) else text.encode(), "f")
    assert document.problem is None
    assert document.flaws == ()
    return document.value


def refusal(text: str | bytes) -> str:
    problem = read_document(text if isinstance(text, bytes) else text.encode(), "f").problem
    assert problem is not None
    return str(problem)


def flaws(text: str) -> list[str]:
    document = read_document(text.encode(), "f")
    assert document.problem is None
    return [
        f"{flaw.place[0]}:{flaw.place[1]} {'/'.join(map(str, flaw.tokens))}: {flaw.message}"
        for flaw in document.flaws
    ]


def test_plain_values_with_their_places():
    value = value_of('a: 1\nb:\n  - x\n  - {c: "010"}\n')
    assert value == {"a": 1, "b": ["x", {"c": "010"}]}
    assert descend(value, value.place, ("b", 1, "c")) == (3, (4, 9))
    assert descend(value, value.place, ("b", 1, "c"), at_key=True) == (3, (4, 6))
    assert descend(value, value.place, ("b", 1, "nowhere")) == (2, (4, 5))
    assert descend(value, value.place, ("b", 7)) == (1, (3, 3))


def test_block_texts_and_unicode():
    assert value_of("a: |\n  SELECT 1\n  -- ünï 😀\n") == {"a": "SELECT 1\n-- ünï 😀\n"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_are_read(encoding):
    assert value_of("a: ü\n".encode(encoding)) == {"a": "ü"}


def test_anchors_and_merge_keys():
    value = value_of(
        'base: &b {x: 1, y: 2}\none: {<<: *b, x: 3}\ntwo:\n  <<: [*b, {z: 4}]\nthree: *b\nfour: {"<<": 1}\n'
    )
    assert value["one"] == {"x": 3, "y": 2}
    assert value["two"] == {"x": 1, "y": 2, "z": 4}
    assert value["three"] == {"x": 1, "y": 2}
    assert value["four"] == {"<<": 1}


def test_a_merged_part_keeps_its_place():
    value = value_of("base: &b {x: 1}\none: {<<: *b}\n")
    assert descend(value, value.place, ("one", "x")) == (2, (1, 14))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_nothing_is_none(text):
    assert value_of(text) is None


class TestRefused:
    def test_syntax_with_line_and_column(self):
        assert refusal("a: 1\nb: [1,\n").startswith("f:3:1: YAML syntax: ")

    def test_half_written(self):
        assert refusal('modules:\n  - module_name: "x').startswith("f:2:")

    def test_tabs(self):
        assert refusal("a:\n\tb: 1\n").startswith("f:2:1: YAML syntax: ")

    def test_several_documents(self):
        assert (
            refusal("a: 1\n---\nb: 2\n")
            == "f:2:1: a second document starts here (---): write one document a file"
        )

    def test_other_encodings(self):
        assert (
            refusal("a: b\nc: ü\n".encode("latin-1"))
            == "f:2:4: byte 0xfc is no UTF-8: save the file as UTF-8"
        )

    def test_control_characters(self):
        assert refusal("a: b\nc: x\x00y\n").startswith("f:2:5: the character U+0000 is not allowed")

    def test_unknown_aliases(self):
        assert refusal("a: *b\n").startswith("f:1:4: undefined alias *b")

    def test_an_alias_inside_its_anchor(self):
        assert refusal("a: &x [*x]\n") == "f:1:8: the alias *x stands inside what it names"

    def test_mappings_as_keys(self):
        assert "cannot be a key" in refusal("? {a: 1}\n: 2\n")
        assert "cannot be a key" in refusal("{[a]: 1}\n")

    @pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
    def test_deep_nesting(self, opening):
        started = time.perf_counter()
        assert "f:1:" in refusal(opening * 100_000)
        assert time.perf_counter() - started < 5

    def test_an_alias_bomb_is_refused_quickly(self):
        lines = ['a0: &a0 ["lollollollol"]']
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
        started = time.perf_counter()
        assert "aliases write this file out to more than" in refusal("\n".join(lines))
        assert time.perf_counter() - started < 2

    def test_a_bomb_of_merges(self):
        lines = ["a0: &a0 {k: v}"] + [
            f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: *a{n - 1}}}" for n in range(1, 60)
        ]
        assert "aliases write this file out" in refusal("\n".join(lines))

    def test_a_large_text_many_times(self):
        text = f"a: &a {'x' * 1_000_000}\nb: [{', '.join(['*a'] * 50)}]\n"
        assert "aliases write this file out" in refusal(text)

    def test_a_file_that_is_too_large(self, monkeypatch):
        monkeypatch.setattr(documents, "MAX_BYTES", 10)
        assert "at most 10 are read" in refusal("a: 123456789")


class TestFlaws:
    def test_duplicate_keys_name_both_places(self):
        assert flaws("a: 1\nb: {c: 1,\n    c: 2}\na: 3\n") == [
            '3:5 b/c: duplicate key "c": it is at line 2, column 5 already',
            '4:1 a: duplicate key "a": it is at line 1, column 1 already',
        ]

    def test_the_first_of_two_equal_keys_counts(self):
        assert read_document(b"a: 1\na: 2\n", "f").value == {"a": 1}

    def test_tags(self):
        (flaw,) = flaws("a: !!python/object/apply:os.system [id]\n")
        assert flaw.startswith(
            '1:4 a: the tag "tag:yaml.org,2002:python/object/apply:os.system" is not allowed'
        )
        assert len(flaws("a: !!binary aGk=\nb: !!set {x}\nc: !mine 1\nd: !!timestamp 2024-01-01\n")) == 4

    def test_tags_that_say_what_is_there_anyway(self):
        assert value_of("a: !!str 010\nb: !!int 7\nc: ! 1\nd: !!map {}\ne: !!seq []\nf: !!null ~\ng: !!float 1.5\n") == {
            "a": "010", "b": 7, "c": "1", "d": {}, "e": [], "f": None, "g": 1.5,
        }  # fmt: skip

    def test_surprises_in_values_and_keys(self):
        assert len(flaws("on: 1\na: [yes, 010, 1:30]\n? null\n: x\n")) == 5

    def test_merging_something_else(self):
        assert flaws("a: {<<: 1}\n") == ["1:9 a: << takes a mapping or a list of mappings"]


@settings(max_examples=150)
@given(st.binary(max_size=60))
def test_no_bytes_raise(data):
    read_document(data, "f")


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from("ab:-[]{},&*!|>'\"?#%@` \n\t<~0.1é\ufeff"), max_size=40))
def test_no_yaml_like_text_raises(text):
    document = read_document(text.encode(), "f")
    assert document.problem is None or document.problem.place is not None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8"))
    | st.floats(-1e9, 1e9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=3))
def test_what_yaml_writes_is_read_back(value):
    text = yaml.dump(value, Dumper=_Quoting, allow_unicode=False)
    assert value_of(text) == value


class _Quoting(yaml.SafeDumper):
    """Quotes every text."""

    def ignore_aliases(self, data):
        return True


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def test_a_yaml_map_is_a_dict():
    value = YamlMap((1, 1))
    value["a"] = 1
    assert value == {"a": 1}
