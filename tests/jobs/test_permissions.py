"""What permissions come to, given the owner that is there."""

from __future__ import annotations

from lakeflow_job_meta.jobs.permissions import expected, for_query

OWNER = {"user_name": "me", "level": "IS_OWNER"}
VIEW = {"group_name": "g", "level": "CAN_VIEW"}


def test_the_owner_that_is_there_stays():
    assert expected([VIEW], [OWNER]) == [VIEW, OWNER]


def test_a_named_owner_takes_over():
    new = {"user_name": "you", "level": "IS_OWNER"}
    assert expected([new], [OWNER, VIEW]) == [new]


def test_the_owner_is_not_lowered():
    assert expected([{"user_name": "me", "level": "CAN_VIEW"}], [OWNER]) == [OWNER]


def test_other_entries_that_are_there_go():
    assert expected([], [VIEW, OWNER]) == [OWNER]


def test_the_job_s_owner_may_manage_its_queries():
    levels = ["CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"]
    entries = [{"group_name": "g", "level": level} for level in levels]
    assert [entry["level"] for entry in for_query(entries)] == [*levels[:3], "CAN_MANAGE"]
