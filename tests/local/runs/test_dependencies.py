"""run_if, outcomes, exclusion, disabled tasks: the platform's table of verdicts."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.local.runs.dependencies import downstream, judge, leaves, select, upstream
from lakeflow_job_meta.local.runs.states import run_result

S, F, T, C, E, D, U = "SUCCESS", "FAILED", "TIMEDOUT", "CANCELED", "EXCLUDED", "DISABLED", "UPSTREAM_FAILED"


def verdict(run_if: str, *results: str) -> str:
    keys = [f"t{index}" for index in range(len(results))]
    task = {"run_if": run_if, "depends_on": [{"task_key": key} for key in keys]}
    return judge(task, dict(zip(keys, results, strict=True)), {}).result or "RUN"


@pytest.mark.parametrize(
    ("run_if", "results", "expected"),
    [
        ("ALL_SUCCESS", (S, S), "RUN"),
        ("ALL_SUCCESS", (S, F), "UPSTREAM_FAILED"),
        ("ALL_SUCCESS", (S, T), "UPSTREAM_FAILED"),
        ("ALL_SUCCESS", (S, U), "UPSTREAM_FAILED"),
        ("ALL_SUCCESS", (S, C), "UPSTREAM_CANCELED"),
        ("ALL_SUCCESS", (F, C), "UPSTREAM_FAILED"),
        ("ALL_SUCCESS", (S, E), "RUN"),
        ("ALL_SUCCESS", (E, E), "EXCLUDED"),
        ("ALL_SUCCESS", (S, D), "DISABLED"),
        ("ALL_DONE", (F, C), "RUN"),
        ("ALL_DONE", (D,), "RUN"),
        ("ALL_DONE", (E,), "EXCLUDED"),
        ("NONE_FAILED", (S, E), "RUN"),
        ("NONE_FAILED", (S, D), "RUN"),
        ("NONE_FAILED", (D, D), "DISABLED"),
        ("NONE_FAILED", (S, F), "UPSTREAM_FAILED"),
        ("AT_LEAST_ONE_SUCCESS", (S, F), "RUN"),
        ("AT_LEAST_ONE_SUCCESS", (S, D), "RUN"),
        ("AT_LEAST_ONE_SUCCESS", (F, F), "UPSTREAM_FAILED"),
        ("AT_LEAST_ONE_SUCCESS", (C, C), "UPSTREAM_CANCELED"),
        ("ALL_FAILED", (F, T), "RUN"),
        ("ALL_FAILED", (S, F), "EXCLUDED"),
        ("AT_LEAST_ONE_FAILED", (S, F), "RUN"),
        ("AT_LEAST_ONE_FAILED", (S, C), "RUN"),
        ("AT_LEAST_ONE_FAILED", (S, S), "EXCLUDED"),
        ("AT_LEAST_ONE_FAILED", (D, F), "RUN"),
    ],
)
def test_run_if(run_if: str, results: tuple[str, ...], expected: str) -> None:
    """What each condition makes of the results of the dependencies."""
    assert verdict(run_if, *results) == expected


def test_outcome() -> None:
    """A dependency with an outcome holds only when the condition came out so."""
    task = {"depends_on": [{"task_key": "c", "outcome": "true"}]}
    assert judge(task, {"c": S}, {"c": "true"}).runs
    assert judge(task, {"c": S}, {"c": "false"}).result == "EXCLUDED"
    assert judge(task, {"c": F}, {}).result == "UPSTREAM_FAILED"


def test_join_behind_branches() -> None:
    """A task behind both branches runs with NONE_FAILED, whichever branch was taken."""
    task = {"run_if": "NONE_FAILED", "depends_on": [{"task_key": "yes"}, {"task_key": "no"}]}
    assert judge(task, {"yes": S, "no": E}, {}).runs


def test_edge_that_does_not_match_beside_others() -> None:
    """With ALL_SUCCESS an outcome that does not match excludes the task, whatever else it depends on."""
    task = {"depends_on": [{"task_key": "c", "outcome": "true"}, {"task_key": "a"}]}
    assert judge(task, {"c": S, "a": S}, {"c": "false"}).result == "EXCLUDED"
    assert judge({**task, "run_if": "AT_LEAST_ONE_SUCCESS"}, {"c": S, "a": S}, {"c": "false"}).runs


def test_disabled() -> None:
    """A disabled task never runs, dependencies or not."""
    assert judge({"disabled": True}, {}, {}).result == "DISABLED"


def test_dependency_outside_the_run() -> None:
    """What `only` left out does not hold back the rest."""
    assert judge({"depends_on": [{"task_key": "left_out"}]}, {}, {}).runs


@pytest.mark.parametrize(
    ("ends", "all_results", "expected"),
    [
        ([S], [S, S], "SUCCESS"),
        ([S], [F, S], "SUCCESS_WITH_FAILURES"),
        ([S, F], [S, F], "FAILED"),
        ([U], [F, U], "FAILED"),
        ([T], [T], "TIMEDOUT"),
        ([C], [C], "CANCELED"),
        ([E, S], [E, S], "SUCCESS"),
        ([D], [S, D], "SUCCESS"),
        ([E], [F, E], "SUCCESS_WITH_FAILURES"),
    ],
)
def test_result_of_the_run(ends: list[str], all_results: list[str], expected: str) -> None:
    """The leaves decide; failures above good leaves are mentioned."""
    assert run_result(ends, all_results) == expected


TASKS = [
    {"task_key": "a"},
    {"task_key": "b", "depends_on": [{"task_key": "a"}]},
    {"task_key": "c", "depends_on": [{"task_key": "b"}]},
    {"task_key": "d", "depends_on": [{"task_key": "a"}]},
]


def test_graph() -> None:
    """Leaves, what is above, what is below."""
    assert leaves(TASKS) == {"c", "d"}
    assert upstream(TASKS, ["c"]) == {"a", "b", "c"}
    assert downstream(TASKS, ["b"]) == {"b", "c"}


@pytest.mark.parametrize(
    ("only", "expected"),
    [(["b"], {"b"}), (["+b"], {"a", "b"}), (["b+"], {"b", "c"}), (["+b+"], {"a", "b", "c"}), ([], set())],
)
def test_only(only: list[str], expected: set[str]) -> None:
    """`only` of run-now with its plus signs."""
    assert select(TASKS, only) == expected


def test_only_unknown() -> None:
    """A key that no task has is an error."""
    with pytest.raises(KeyError, match="nope"):
        select(TASKS, ["nope"])
