from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.metadata.defaults import merge, with_defaults

TREES = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MAPS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(MAPS, MAPS)
def test_what_is_on_top_wins_everywhere(under, over):
    def wins(value, merged):
        if isinstance(value, dict) and isinstance(merged, dict):
            return all(key in merged and wins(inner, merged[key]) for key, inner in value.items())
        return value == merged

    assert wins(over, merge(under, over))


@given(MAPS)
def test_nothing_under_or_over_changes_nothing(value):
    assert merge({}, value) == value
    assert merge(value, {}) == value
    assert merge(value, value) == value


@given(MAPS, st.sampled_from("abc"))
def test_null_removes(value, key):
    assert merge(value, {key: None}) == (
        {name: inner for name, inner in value.items() if name != key}
        if key in value
        else {**value, key: None}
    )


def test_merging_changes_nothing_that_it_is_given():
    under, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    merge(under, over)
    assert (under, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def test_keys_of_other_task_types_stay_out():
    layers = [{"transformation_config": {"sql_task": {"warehouse_id": "w"}, "max_retries": 1}}]
    notebook = with_defaults({"transformation_config": {"task_type": "notebook"}}, layers)
    assert notebook["transformation_config"] == {"task_type": "notebook", "max_retries": 1}
    raw = with_defaults({"transformation_config": {"task_type": "sql"}}, layers)
    assert raw["transformation_config"]["sql_task"] == {"warehouse_id": "w"}


def test_an_unknown_task_type_keeps_all_of_them():
    layers = [{"transformation_config": {"sql_task": {"warehouse_id": "w"}}}]
    for config in ({"task_type": "nonsense"}, {"task_type": 7}, {}):
        assert with_defaults({"transformation_config": config}, layers)["transformation_config"] == {
            **config,
            **layers[0]["transformation_config"],
        }


def test_a_config_that_is_no_mapping_is_left_to_the_judge():
    assert with_defaults({"transformation_config": 7}, [{"transformation_config": {"a": 1}}]) == {
        "transformation_config": 7
    }
