from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.metadata.edges import find_cycle
from tests.metadata.given import NOTEBOOK, built, row, sound, wrong

CONDITION = {"task_type": "condition", "condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"}}


def waiting(name: str, *needs: object, order: int = 1):
    return row(name, {**NOTEBOOK, "depends_on": list(needs)}, order=order)


def test_dependencies_name_sources_in_each_form():
    definition = sound(
        row("c", CONDITION),
        row("a"),
        waiting("b", "a", {"source_id": "c", "outcome": "false"}, {"task_key": "d"}),
        row("d"),
    )
    (source,) = [source for source in definition.sources if source.source_id == "b"]
    assert source.task["depends_on"] == [
        {"task_key": "a"},
        {"outcome": "false", "task_key": "c"},
        {"task_key": "d"},
    ]


def test_an_unknown_one_gets_a_suggestion():
    assert wrong(row("extract"), waiting("load", "extarct")) == [
        'source "load" depends on unknown source "extarct" (did you mean "extract"?)'
    ]


def test_a_source_with_problems_may_be_the_one_that_was_meant():
    messages = wrong(row("extract", {"task_type": "x"}), waiting("load", "extarct"))
    assert 'source "load" depends on unknown source "extarct" (did you mean "extract"?)' in messages


def test_itself_twice_inactive_and_nothing():
    assert wrong(waiting("a", "a")) == ['source "a" depends on itself']
    assert wrong(row("b"), waiting("a", "b", "b")) == ['source "a" names "b" twice in depends_on']
    assert "which is inactive" in wrong(row("b", is_active=False), waiting("a", "b"))[0]
    assert 'needs "source_id"' in wrong(waiting("a", {"outcome": "true"}))[0]
    assert (
        "different sources" in wrong(row("b"), row("c"), waiting("a", {"source_id": "b", "task_key": "c"}))[0]
    )


def test_both_outcomes_of_one_condition_are_two_dependencies():
    assert sound(
        row("c", CONDITION),
        waiting("a", {"source_id": "c", "outcome": "true"}, {"source_id": "c", "outcome": "false"}),
    )


def test_outcomes_are_for_conditions():
    (message,) = wrong(row("b"), waiting("a", {"source_id": "b", "outcome": "true"}))
    assert '"b" is a notebook source' in message


def test_a_circle_names_everyone_in_it():
    (message,) = wrong(waiting("a", "b"), waiting("b", "c"), waiting("c", "a"), row("d"))
    assert message == 'sources wait for one another in a circle: "a" -> "b" -> "c" -> "a"'


def test_a_circle_through_a_stage():
    """`a` of stage 1 waits for `b`, which is in stage 2 and so waits for all of stage 1."""
    (message,) = wrong(waiting("a", "b"), row("b", order=2))
    assert "circle" in message
    assert "stage 1" in message


def test_a_dependency_on_a_later_stage_is_fine_where_it_closes_no_circle():
    assert sound(waiting("a", "b"), waiting("b", order=2), row("x", order=3))


def test_a_chain_of_a_thousand_and_two_wide_stages_are_quick():
    chain = [waiting("s0")] + [waiting(f"s{n}", f"s{n - 1}") for n in range(1, 1000)]
    wide = [row(f"a{n}") for n in range(500)] + [row(f"b{n}", order=2) for n in range(500)]
    started = time.perf_counter()
    sound(*chain)
    sound(*wide)
    assert time.perf_counter() - started < 5
    assert wrong(*chain[1:], waiting("s0", "s999"))


@given(st.dictionaries(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=3), max_size=9))
def test_a_cycle_is_found_exactly_when_there_is_one(graph):
    cycle = find_cycle(graph)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(later in graph[one] for one, later in itertools.pairwise(cycle))
    else:
        left = dict(graph)
        while free := [node for node, below in left.items() if not any(one in left for one in below)]:
            for node in free:
                del left[node]
        assert not left


def test_problems_point_at_the_dependency():
    (problem,) = built(row("extract"), waiting("load", "extract", "x")).problems
    assert problem.pointer == "/transformation_config/depends_on/1"
    assert problem.source_id == "load"
