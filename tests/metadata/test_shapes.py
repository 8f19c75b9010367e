from __future__ import annotations

from functools import cache

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.metadata import schema
from lakeflow_job_meta.metadata.shapes import Finding, judge, shape, tokens
from lakeflow_job_meta.metadata.task_types import TASK_TYPES

NAMES = [f"task.{name}" for name in TASK_TYPES] + [
    "job",
    "job_row",
    "permissions",
    "defaults",
    "source_columns",
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([1.5, 2.0, -0.0]),
    st.sampled_from(["", "7", "true", "1.5", "${module.x}", "ALL_DONE", "é\n'\"`"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["a", "name", "task_type"]), st.integers(), max_size=2),
)


def judged(name: str, value: object) -> tuple[object, list[Finding]]:
    found: list[Finding] = []
    return judge(shape(name), value, found), found


def messages(name: str, value: object) -> list[str]:
    return [finding.message for finding in judged(name, value)[1]]


@st.composite
def near(draw, node, depth=0):
    """A value that mostly fits this part of the schema, and sometimes does not."""
    while "$ref" in node:
        target = schema.document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    if draw(st.integers(0, 60)) == 0:
        return draw(JUNK)
    if "anyOf" in node:
        return draw(near(draw(st.sampled_from(node["anyOf"])), depth))
    if "const" in node or "enum" in node:
        return draw(st.sampled_from([node["const"]] if "const" in node else node["enum"]))
    kind = node.get("type")
    if kind == "object":
        properties = node.get("properties", {})
        optional = [name for name in properties if name not in node.get("required", ())]
        chosen = (
            draw(st.lists(st.sampled_from(optional), max_size=max(0, 4 - depth), unique=True))
            if optional
            else []
        )
        chosen += [name for name in node.get("required", ()) if draw(st.integers(0, 30)) != 0]
        value = {name: draw(near(properties[name], depth + 1)) for name in chosen}
        if isinstance(node.get("additionalProperties"), dict):
            value.update(
                draw(
                    st.dictionaries(
                        st.text(max_size=3), near(node["additionalProperties"], depth + 1), max_size=2
                    )
                )
            )
        elif draw(st.integers(0, 25)) == 0:
            value["unheard_of"] = 1
        return value
    if kind == "array":
        return draw(st.lists(near(node.get("items", {}), depth + 1), max_size=2))
    simple = {
        "string": st.text(max_size=4),
        "integer": st.integers(-9, 9),
        "number": st.floats(-5, 5),
        "boolean": st.booleans(),
    }
    return draw(simple.get(str(kind), JUNK))


def has_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(has_null(inner) for inner in value.values())
    if isinstance(value, list):
        return any(has_null(inner) for inner in value)
    return value is None


@cache
def authority(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema.document()["$defs"]})


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_jsonschema_comes_to_the_same_verdict(data):
    """What is let pass is valid by the schema, once converted; what the schema lets pass is never refused nor changed."""
    name = data.draw(st.sampled_from(NAMES))
    value = data.draw(near({"$ref": f"#/$defs/{name}"}))
    result, found = judged(name, value)
    if not found:
        assert authority(name).is_valid(result)
    if authority(name).is_valid(value):
        assert not found
        if not has_null(value):
            assert result == value


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_judging_leaves_the_value_alone_and_is_idempotent(data):
    name = data.draw(st.sampled_from(NAMES))
    value = data.draw(near({"$ref": f"#/$defs/{name}"}))
    before = repr(value)
    result, found = judged(name, value)
    assert repr(value) == before
    if not found:
        again, none = judged(name, result)
        assert none == []
        assert again is result


class TestConversions:
    def test_whole_numbers_and_booleans_become_text_in_maps_of_texts(self):
        value = {
            "task_type": "notebook",
            "notebook_path": "/a",
            "base_parameters": {"n": 3, "b": True, "t": "x"},
        }
        result, found = judged("task.notebook", value)
        assert found == []
        assert result["base_parameters"] == {"n": "3", "b": "true", "t": "x"}

    def test_a_decimal_in_a_map_of_texts_must_be_quoted(self):
        """5.0 and 5.00 are one number and two texts: nobody but the author knows which."""
        value = {"task_type": "notebook", "notebook_path": "/a", "base_parameters": {"threshold": 5.0}}
        assert messages("task.notebook", value) == [
            '"threshold" must be text, not 5.0: write "5.0" in quotes'
        ]

    def test_null_in_a_map_of_texts_is_an_error(self):
        assert messages("job", {"tags": {"a": None}}) == ['"a" must be text, not null']

    @pytest.mark.parametrize(("given_value", "wanted"), [("3", 3), ("-1", -1), (3.0, 3)])
    def test_a_text_that_is_a_number_counts_as_one(self, given_value, wanted):
        """Variables are texts."""
        value = {"task_type": "notebook", "notebook_path": "/a", "max_retries": given_value}
        result, found = judged("task.notebook", value)
        assert found == []
        assert result["max_retries"] == wanted
        assert isinstance(result["max_retries"], int)

    @pytest.mark.parametrize("given_value", ["03", "1e3", "three", " 3", "", True, 1.5, [3]])
    def test_anything_less_exact_does_not(self, given_value):
        value = {"task_type": "notebook", "notebook_path": "/a", "max_retries": given_value}
        (message,) = messages("task.notebook", value)
        assert message.startswith('"max_retries" must be a whole number, not ')

    def test_texts_of_booleans(self):
        assert judged("job", {"queue": {"enabled": "true"}}) == ({"queue": {"enabled": True}}, [])
        assert messages("job", {"queue": {"enabled": "yes"}}) == [
            '"enabled" must be true or false, not "yes"'
        ]

    def test_the_outcome_of_a_condition_may_be_a_boolean(self):
        value = {
            "task_type": "notebook",
            "notebook_path": "/a",
            "depends_on": [{"source_id": "c", "outcome": True}],
        }
        result, found = judged("task.notebook", value)
        assert found == []
        assert result["depends_on"] == [{"source_id": "c", "outcome": "true"}]

    def test_a_number_where_text_is_wanted_must_be_quoted(self):
        value = {"task_type": "sql_query", "sql_task": {"warehouse_id": 123, "sql_query": "SELECT 1"}}
        assert messages("task.sql_query", value) == [
            '"warehouse_id" must be text, not 123: write "123" in quotes'
        ]

    def test_null_is_a_field_that_is_not_set(self):
        value = {"task_type": "notebook", "notebook_path": "/a", "max_retries": None}
        assert judged("task.notebook", value) == ({"task_type": "notebook", "notebook_path": "/a"}, [])


class TestMessages:
    def test_an_unknown_key_comes_with_the_one_that_was_meant(self):
        value = {"task_type": "notebook", "notebook_path": "/a", "max_retry": 1}
        assert messages("task.notebook", value) == ['unknown key "max_retry" (did you mean "max_retries"?)']

    def test_or_with_the_keys_that_exist(self):
        value = {"schedule": {"quartz_cron_expression": "x", "timezone_id": "UTC", "foo": 1}}
        (message,) = messages("job", value)
        assert message == (
            'unknown key "foo" (known here: pause_status, quartz_cron_expression, sql_condition, timezone_id)'
        )

    def test_a_choice_names_what_there_is(self):
        value = {"task_type": "notebook", "notebook_path": "/a", "run_if": "all_succes"}
        (message,) = messages("task.notebook", value)
        assert '"ALL_DONE"' in message
        assert message.endswith('not "all_succes" (did you mean "ALL_SUCCESS"?)')

    def test_every_finding_says_where(self):
        value = {"job_clusters": [{"job_cluster_key": "a", "new_cluster": {"num_workers": "x"}}]}
        ((_, found),) = [judged("job", value)]
        assert tokens(found[0].path) == ("job_clusters", 0, "new_cluster", "num_workers")

    def test_all_at_once(self):
        value = {"task_type": "notebook", "a": 1, "b": 2, "max_retries": "x"}
        assert len(messages("task.notebook", value)) == 3

    def test_the_alternative_that_was_meant_is_explained(self):
        value = {"task_type": "notebook", "notebook_path": "/a", "depends_on": [{"source": "a"}]}
        (message,) = messages("task.notebook", value)
        assert message == 'unknown key "source" (did you mean "source_id"?)'

    def test_a_long_value_is_cut(self):
        value = {"task_type": "notebook", "notebook_path": "/a", "run_if": "x" * 10_000_000}
        (message,) = messages("task.notebook", value)
        assert len(message) < 500
