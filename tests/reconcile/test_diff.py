"""Differences, the server's quirks among them, and the three-way merge."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.reconcile.diff import diff, merge
from lakeflow_job_meta.reconcile.rules import PRESENCE, SERVER_DEFAULTS, SETS

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
)
tasks = st.lists(
    st.fixed_dictionaries(
        {"task_key": st.sampled_from("abcd")},
        optional={
            "timeout_seconds": st.integers(0, 3),
            "notebook_task": st.dictionaries(st.sampled_from("pq"), scalars)
            | st.fixed_dictionaries({"source": st.sampled_from(["GIT", "WORKSPACE"])}),
        },
    ),
    max_size=4,
    unique_by=lambda task: task["task_key"],
)
job_settings = st.fixed_dictionaries(
    {"name": st.text("nm", min_size=1, max_size=2)},
    optional={
        "tasks": tasks,
        "tags": st.dictionaries(st.sampled_from("tu"), st.text("v", max_size=2)),
        "timeout_seconds": st.integers(0, 2),
        "email_notifications": st.fixed_dictionaries(
            {}, optional={"on_failure": st.lists(st.sampled_from("ef"), max_size=2)}
        ),
        "schedule": values,
        "continuous": st.fixed_dictionaries(
            {}, optional={"pause_status": st.sampled_from(["PAUSED", "UNPAUSED"])}
        ),
        "git_source": st.just({"git_url": "u"}),
    },
)


def paths(old: Any, new: Any) -> list[str]:
    return [change.path for change in diff(old, new)]


@given(values)
def test_nothing_differs_from_itself(value: Any) -> None:
    """diff(a, a) is empty."""
    assert diff(value, copy.deepcopy(value)) == []


@given(job_settings, job_settings)
def test_taking_the_merge_leaves_nothing_to_do(desired: Any, actual: Any) -> None:
    """Applying what differs between actual and desired yields desired."""
    assert diff(merge(actual, desired, actual), desired) == []


@given(job_settings, job_settings)
def test_merge_without_a_change_of_ours_leaves_the_workspace_alone(wanted: Any, actual: Any) -> None:
    """What the metadata did not change stays as the workspace has it."""
    assert merge(wanted, wanted, actual) == actual


@given(job_settings, job_settings, job_settings)
def test_merge_takes_no_input_apart(base: Any, wanted: Any, actual: Any) -> None:
    """The three inputs are never changed in place."""
    before = copy.deepcopy((base, wanted, actual))
    merge(base, wanted, actual)
    assert before == (base, wanted, actual)


def test_lists_are_compared_by_key() -> None:
    """The order of tasks, parameters and edges means nothing; an element is named by its key."""
    one = {
        "tasks": [{"task_key": "a", "depends_on": [{"task_key": "x"}, {"task_key": "y"}]}, {"task_key": "b"}]
    }
    other = {
        "tasks": [{"task_key": "b"}, {"task_key": "a", "depends_on": [{"task_key": "y"}, {"task_key": "x"}]}]
    }
    assert diff(one, other) == []
    other["tasks"][1]["max_retries"] = 3  # type: ignore[assignment]
    assert paths(one, other) == ["tasks[a].max_retries"]
    assert paths({"tasks": [{"task_key": "a"}]}, {"tasks": []}) == ["tasks[a]"]


def test_a_permission_is_named_by_its_principal() -> None:
    """One entry for each principal: a changed level is one path."""
    old = [{"group_name": "eng", "level": "CAN_VIEW"}, {"user_name": "a@b.c", "level": "CAN_MANAGE"}]
    new = [{"user_name": "a@b.c", "level": "CAN_MANAGE"}, {"group_name": "eng", "level": "CAN_MANAGE_RUN"}]
    found = diff(old, new, path="permissions", pattern="permissions")
    assert [str(change) for change in found] == [
        'permissions[group_name=eng].level: "CAN_VIEW" -> "CAN_MANAGE_RUN"'
    ]


@pytest.mark.parametrize(
    "default", [d for d in SERVER_DEFAULTS if "[]" not in d.path and isinstance(d.value, (str, int))]
)
def test_server_defaults_are_no_difference(default: Any) -> None:
    """What the server fills in by itself is no change; another value is."""
    *parents, field = default.path.split(".")
    actual: dict[str, Any] = {field: default.value}
    for parent in reversed(parents):
        actual = {parent: actual}
    silent: dict[str, Any] = {name: {} for name in parents if name in PRESENCE}
    assert diff(actual, silent) == []
    other: dict[str, Any] = {field: "something else"}
    for parent in reversed(parents):
        other = {parent: other}
    assert paths(other, silent) == [default.path]


def test_defaults_hold_in_tasks_and_inside_for_each() -> None:
    """The inner task of a for_each task has the defaults of a task."""
    filled = {
        "task_key": "t",
        "run_if": "ALL_SUCCESS",
        "notebook_task": {"notebook_path": "/x", "source": "WORKSPACE"},
    }
    bare = {"task_key": "t", "notebook_task": {"notebook_path": "/x"}}
    assert diff({"tasks": [filled]}, {"tasks": [bare]}) == []
    looped = {"task_key": "l", "for_each_task": {"inputs": "[1]", "task": filled}}
    bare_loop = {"task_key": "l", "for_each_task": {"inputs": "[1]", "task": bare}}
    assert diff({"tasks": [looped]}, {"tasks": [bare_loop]}) == []


def test_a_pause_made_in_the_workspace_is_no_difference_unless_the_metadata_says_one() -> None:
    """pause_status counts only where the metadata names it."""
    paused = {
        "schedule": {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC", "pause_status": "PAUSED"}
    }
    silent = {"schedule": {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}}
    assert diff(paused, silent) == []
    said = {"schedule": {**silent["schedule"], "pause_status": "UNPAUSED"}}
    assert paths(paused, said) == ["schedule.pause_status"]


def test_a_block_that_says_something_by_being_there() -> None:
    """A job that is to run without end any more, or not any more, changes, however little stands in the block."""
    endless = {"continuous": {"pause_status": "UNPAUSED", "task_retry_mode": "NEVER"}}
    assert paths({}, {"continuous": {}}) == ["continuous"]
    assert paths(endless, {}) == ["continuous"]
    assert paths(endless, {"continuous": {}}) == []
    assert "continuous" in paths(endless, {"schedule": {"quartz_cron_expression": "0 0 2 * * ?"}})
    assert merge({"continuous": {}}, {}, endless) == {}
    assert merge({}, {"continuous": {}}, {}) == {"continuous": {}}
    assert merge({}, {}, endless) == endless, "what the workspace added is the workspace's"


def test_something_added_in_the_workspace_is_named() -> None:
    """A schedule, a tag or a recipient that somebody added shows with its path."""
    assert paths({"schedule": {"quartz_cron_expression": "x"}}, {}) == ["schedule.quartz_cron_expression"]
    assert paths({"tags": {"team": "x"}}, {"tags": {}}) == ["tags.team"]
    assert paths({"email_notifications": {"on_failure": ["a"]}}, {}) == ["email_notifications.on_failure"]


def test_sets_have_no_order() -> None:
    """Webhooks and recipients come back in any order."""
    assert SETS
    one = {"webhook_notifications": {"on_start": [{"id": "1"}, {"id": "2"}]}}
    other = {"webhook_notifications": {"on_start": [{"id": "2"}, {"id": "1"}]}}
    assert diff(one, other) == []


def test_zero_is_not_false() -> None:
    """JSON tells 0 from false, and so does a difference."""
    assert paths({"x": 0}, {"x": False}) == ["x"]


def test_merge_keeps_what_the_workspace_added_and_adds_what_we_changed() -> None:
    """Under report and ignore a write is actual plus what changed in desired, path by path."""
    base = {"name": "n", "tasks": [{"task_key": "a", "max_retries": 1}]}
    actual = {
        "name": "by hand",
        "tags": {"team": "x"},
        "tasks": [{"task_key": "a", "max_retries": 1, "run_if": "ALL_DONE"}],
    }
    wanted = {"name": "n", "tasks": [{"task_key": "a", "max_retries": 2}, {"task_key": "b"}]}
    assert merge(base, wanted, actual) == {
        "name": "by hand",
        "tags": {"team": "x"},
        "tasks": [{"task_key": "a", "max_retries": 2, "run_if": "ALL_DONE"}, {"task_key": "b"}],
    }


def test_merge_removes_what_we_removed() -> None:
    """A task or field that left the metadata leaves the job; one removed in the workspace stays away."""
    base = {"timeout_seconds": 5, "tasks": [{"task_key": "a"}, {"task_key": "b"}, {"task_key": "c"}]}
    actual = {"timeout_seconds": 5, "tasks": [{"task_key": "a"}, {"task_key": "b"}]}
    wanted = {"tasks": [{"task_key": "a"}, {"task_key": "c"}]}
    assert merge(base, wanted, actual) == {"tasks": [{"task_key": "a"}]}


def test_with_a_git_source_the_default_source_of_a_task_is_git() -> None:
    """The server fills in GIT then; WORKSPACE is a change, and the other way round without a git_source."""

    def job(**task: str) -> dict[str, object]:
        return {"tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "n", **task}}]}

    git = {"git_source": {"git_url": "u"}}
    assert diff({**job(source="GIT"), **git}, {**job(), **git}) == []
    assert [c.path for c in diff({**job(source="WORKSPACE"), **git}, {**job(), **git})] == [
        "tasks[a].notebook_task.source"
    ]
    assert diff(job(source="WORKSPACE"), job()) == []
    assert [c.path for c in diff(job(source="GIT"), job())] == ["tasks[a].notebook_task.source"]


def _beside_git(git: bool, *, inner: bool = False, **task: str) -> dict[str, Any]:
    one: dict[str, Any] = {"task_key": "a", "notebook_task": {"notebook_path": "n", **task}}
    if inner:
        one = {"task_key": "l", "for_each_task": {"inputs": "[1]", "task": one}}
    return {"tasks": [one], **({"git_source": {"git_url": "u"}} if git else {})}


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize(
    ("base", "wanted", "actual", "source"),
    [
        # What the metadata newly says is taken, though it is what a job without a git_source has anyhow.
        ((True, ""), (True, "WORKSPACE"), (True, "GIT"), "WORKSPACE"),
        ((True, "WORKSPACE"), (True, ""), (True, "WORKSPACE"), ""),
        ((False, "WORKSPACE"), (True, ""), (False, "WORKSPACE"), ""),
        # The git_source comes or goes: what the server filled in before is left to be filled in anew.
        ((False, ""), (True, ""), (False, "WORKSPACE"), ""),
        ((True, ""), (False, ""), (True, "GIT"), ""),
        # What somebody set in the workspace stays.
        ((True, ""), (True, ""), (True, "WORKSPACE"), "WORKSPACE"),
        ((False, ""), (True, ""), (False, "GIT"), "GIT"),
    ],
)
def test_merge_knows_the_source_beside_a_git_source(
    base: tuple[bool, str], wanted: tuple[bool, str], actual: tuple[bool, str], source: str, inner: bool
) -> None:
    """Silent means GIT beside a git_source, WORKSPACE without one (drift: report and ignore)."""

    def job(given: tuple[bool, str]) -> dict[str, Any]:
        return _beside_git(given[0], inner=inner, **({"source": given[1]} if given[1] else {}))

    assert merge(job(base), job(wanted), job(actual)) == job((wanted[0], source))


def test_a_task_added_in_the_workspace_keeps_its_source_when_a_git_source_comes() -> None:
    """It is not ours: what its source says is what somebody meant."""
    added = {"task_key": "b", "notebook_task": {"notebook_path": "n", "source": "WORKSPACE"}}
    actual = _beside_git(False, source="WORKSPACE")
    actual["tasks"].append(added)
    merged = merge(_beside_git(False), _beside_git(True), actual)
    assert merged["tasks"] == [*_beside_git(True)["tasks"], added]


def test_elements_of_sets_may_say_null_for_what_is_absent() -> None:
    """Servers differ in whether they return nulls; inside a set, too, null is absent."""
    old = {"tasks": [{"task_key": "a", "libraries": [{"whl": "w", "maven": None}]}]}
    new = {"tasks": [{"task_key": "a", "libraries": [{"whl": "w"}]}]}
    assert diff(old, new) == []
