"""Stages, explicit dependencies and barriers: what waits for what, and that barriers keep the meaning."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.errors import MetadataError
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from tests.jobs.modules import module, rendered, source, tasks

RUN_IFS = (
    "ALL_SUCCESS",
    "ALL_DONE",
    "NONE_FAILED",
    "AT_LEAST_ONE_SUCCESS",
    "ALL_FAILED",
    "AT_LEAST_ONE_FAILED",
)


def edges(job: dict[str, dict[str, Any]]) -> set[tuple[str, str]]:
    return {(e["task_key"], key) for key, task in job.items() for e in task.get("depends_on", [])}


def wide(first: int, second: int, **task: Any) -> ModuleDefinition:
    return module(
        *(source(f"a{n}", 1) for n in range(first)),
        *(source(f"b{n}", 2, **task) for n in range(second)),
    )


class TestStages:
    def test_a_stage_waits_for_the_whole_stage_before(self):
        job = tasks(module(source("a"), source("b"), source("c", 2), source("d", 2), source("e", 3)))
        assert edges(job) == {("a", "c"), ("b", "c"), ("a", "d"), ("b", "d"), ("c", "e"), ("d", "e")}
        assert "depends_on" not in job["a"]

    def test_empty_orders_between_do_not_count(self):
        """Gaps in execution_order, and orders below zero, are fine: only stages with sources count."""
        assert edges(tasks(module(source("a", -5), source("b", 100)))) == {("a", "b")}

    def test_explicit_edges_replace_the_stage_s(self):
        job = tasks(
            module(source("a"), source("b"), source("c", 2, depends_on=["a"]), source("d", 2, depends_on=[]))
        )
        assert edges(job) == {("a", "c")}

    def test_the_next_stage_waits_for_sources_with_edges_of_their_own(self):
        job = tasks(module(source("a"), source("b", 2, depends_on=[]), source("c", 3)))
        assert edges(job) == {("b", "c")}

    def test_explicit_edges_name_source_ids_and_keep_outcomes(self):
        """depends_on names sources; the wire gets their task keys, with the outcome."""
        job = tasks(
            module(
                source("ist neu?"),
                source("b", 1, depends_on=[{"source_id": "ist neu?", "outcome": "true"}]),
                source("c", 1, depends_on=[{"task_key": "ist neu?", "outcome": "false"}]),
            )
        )
        assert job["b"]["depends_on"] == [{"task_key": "ist_neu_", "outcome": "true"}]
        assert job["c"]["depends_on"] == [{"task_key": "ist_neu_", "outcome": "false"}]

    def test_the_order_of_sources_does_not_matter(self):
        """Equal metadata gives byte-identical settings, however the rows come."""
        sources = [source("b", 2), source("a"), source("c", 2, depends_on=["a"])]
        results = {str(rendered(module(*order)).settings) for order in itertools.permutations(sources)}
        assert len(results) == 1
        hashes = {rendered(module(*order)).spec_hash for order in itertools.permutations(sources)}
        assert len(hashes) == 1


class TestBarriers:
    def test_up_to_200_edges_stay(self):
        assert len(edges(tasks(wide(20, 10)))) == 200
        assert len(tasks(wide(20, 10))) == 30

    def test_above_200_edges_one_barrier(self):
        """n x m edges become n + m; the barrier is a condition task that is always true, without compute."""
        job = tasks(wide(20, 11))
        barrier = job["stage_2_barrier"]
        assert len(edges(job)) == 31
        assert barrier["condition_task"] == {"op": "EQUAL_TO", "left": "1", "right": "1"}
        assert not set(barrier) & {"job_cluster_key", "new_cluster", "existing_cluster_id", "environment_key"}
        assert job["b0"]["depends_on"] == [{"task_key": "stage_2_barrier", "outcome": "true"}]

    def test_two_stages_of_499(self):
        job = tasks(wide(499, 499))
        assert len(job) == 999
        assert len(edges(job)) < 1100

    def test_barriers_count_towards_a_thousand_tasks(self):
        assert len(tasks(wide(500, 499))) == 1000
        with pytest.raises(MetadataError, match=r"1001 tasks .1000 sources and 1 barriers.*allows 1000"):
            tasks(wide(500, 500))

    def test_a_barrier_s_key_collides_with_no_source(self):
        definition = wide(20, 11)
        taken = module(*definition.sources, source("stage_2_barrier", 2), source("stage_2_barrier_", 2))
        assert "stage_2_barrier__" in tasks(taken)

    def test_explicit_sources_are_not_behind_the_barrier(self):
        definition = module(*wide(20, 11).sources, source("free", 2, depends_on=["a3"]))
        assert tasks(definition)["free"]["depends_on"] == [{"task_key": "a3"}]

    def test_one_barrier_for_each_run_if(self):
        definition = module(
            *(source(f"a{n}", 1) for n in range(50)),
            *(source(f"b{n}", 2) for n in range(5)),
            *(source(f"c{n}", 2, run_if="ALL_DONE") for n in range(5)),
            source("d", 2, run_if="AT_LEAST_ONE_FAILED"),
        )
        job = tasks(definition)
        assert job["stage_2_barrier"]["run_if"] == "ALL_SUCCESS"
        assert job["stage_2_barrier_all_done"]["run_if"] == "ALL_DONE"
        assert job["c0"]["run_if"] == "ALL_DONE"
        assert len(job["d"]["depends_on"]) == 50
        assert job["d"]["run_if"] == "AT_LEAST_ONE_FAILED"

    @pytest.mark.parametrize("run_if", [None, *RUN_IFS])
    def test_the_run_if_that_was_given_stays_on_the_task_unless_it_wants_failures(self, run_if):
        given = {} if run_if is None else {"run_if": run_if}
        task = tasks(wide(20, 11, **given))["b0"]
        expected = "ALL_SUCCESS" if run_if in ("ALL_FAILED", "AT_LEAST_ONE_FAILED") else run_if
        assert task.get("run_if") == expected


# ---------------------------------------------------------------- the law: a barrier keeps the meaning

#: How a task can end by itself, and how it ends when its run_if is not met.
OWN = ("SUCCESS", "FAILED", "EXCLUDED", "DISABLED", "CANCELED")


def met(run_if: str, ends: list[str]) -> str:
    """RUN, or how a task ends without running (docs: "Configure task dependencies", run_if).

    Excluded and disabled dependencies count as successes; all of them excluded excludes the task.
    """
    if all(end == "EXCLUDED" for end in ends):
        return "EXCLUDED"
    failed = [end in ("FAILED", "UPSTREAM_FAILED", "CANCELED", "UPSTREAM_CANCELED") for end in ends]
    unmet = "UPSTREAM_CANCELED" if {"CANCELED", "UPSTREAM_CANCELED"} & set(ends) else "UPSTREAM_FAILED"
    rules = {
        "ALL_SUCCESS": ("RUN" if not any(failed) else unmet),
        "ALL_DONE": "RUN",
        "NONE_FAILED": ("RUN" if not any(failed) else unmet),
        "AT_LEAST_ONE_SUCCESS": ("RUN" if not all(failed) else unmet),
        "ALL_FAILED": ("RUN" if all(failed) else "EXCLUDED"),
        "AT_LEAST_ONE_FAILED": ("RUN" if any(failed) else "EXCLUDED"),
    }
    return rules[run_if]


def simulate(job: dict[str, dict[str, Any]], ends: dict[str, str]) -> dict[str, str]:
    """How every task ends, given how the tasks that run end; condition tasks of barriers succeed."""
    result: dict[str, str] = {}

    def end(key: str) -> str:
        if key not in result:
            task = job[key]
            verdict = "RUN"
            if task.get("depends_on"):
                verdict = met(
                    task.get("run_if") or "ALL_SUCCESS", [end(e["task_key"]) for e in task["depends_on"]]
                )
            result[key] = ends.get(key, "SUCCESS") if verdict == "RUN" else verdict
        return result[key]

    for key in job:
        end(key)
    return result


@settings(max_examples=150, deadline=None)
@given(
    ends=st.lists(st.sampled_from(OWN), min_size=21, max_size=21),
    run_ifs=st.lists(st.sampled_from(RUN_IFS), min_size=12, max_size=12),
)
def test_barriers_keep_the_meaning(ends, run_ifs):
    """Whatever the first stage's tasks do, each task behind a barrier runs, fails or is excluded as without it."""
    before = [source(f"a{n}", 1) for n in range(21)]
    behind = [source(f"b{n}", 2, run_if=run_if) for n, run_if in enumerate(run_ifs)]
    wired = tasks(module(*before, *behind))
    plain = {f"a{n}": {} for n in range(21)} | {
        one.source_id: {
            "run_if": one.task["run_if"],
            "depends_on": [{"task_key": f"a{n}"} for n in range(21)],
        }
        for one in behind
    }
    given_ends = {f"a{n}": end for n, end in enumerate(ends)}
    with_barriers = simulate(wired, given_ends)
    without = simulate(plain, given_ends)
    assert {key: with_barriers[key] for key in plain} == without
