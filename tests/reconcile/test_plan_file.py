"""Saved plans and staleness."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.errors import PlanError, StalePlan
from lakeflow_job_meta.reconcile.actions import Action, Plan
from lakeflow_job_meta.reconcile.plan_file import check_fresh, dump, parse


def plan(*marks: str, table: str = "c.s.t") -> Plan:
    return Plan(
        table, "1", tuple(Action(f"m{n}", "update", fingerprint=mark) for n, mark in enumerate(marks))
    )


def test_a_plan_survives_the_file() -> None:
    """What was saved is fresh against the same plan, and remembers how it was made."""
    reviewed = parse(dump(plan("a", "b"), {"yaml": ["x.yaml"]}), "plan.json")
    assert reviewed.request == {"yaml": ["x.yaml"]}
    check_fresh(reviewed, plan("a", "b"))


@pytest.mark.parametrize(
    "now", [plan("a", "c"), plan("a"), plan("a", "b", "c"), plan("a", "b", table="c.s.other")]
)
def test_a_plan_that_moved_is_stale(now: Plan) -> None:
    """Another decision, a module more or less, another table: refused."""
    with pytest.raises(StalePlan):
        check_fresh(parse(dump(plan("a", "b"), {}), "plan.json"), now)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 1, "plan": 3}', "null"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    """Any other text is one sentence, with what to do."""
    with pytest.raises(PlanError, match="plan"):
        parse(text, "plan.json")
