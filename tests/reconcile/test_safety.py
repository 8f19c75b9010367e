"""The brake on mass retirement."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.reconcile.actions import Action
from lakeflow_job_meta.reconcile.safety import brake
from lakeflow_job_meta.settings import resolve


def retire(count: int) -> list[Action]:
    return [Action(f"m{number}", "retire", work=object()) for number in range(count)]


@pytest.mark.parametrize(
    ("live", "retiring", "held"),
    [(10, 3, False), (10, 4, True), (9, 9, False), (100, 30, False), (100, 31, True)],
)
def test_more_than_30_percent_of_10_or_more_is_held_back(live: int, retiring: int, held: bool) -> None:
    """Small fleets and small shares pass; a mass retirement needs force."""
    actions = brake(
        [*retire(retiring), Action("a", "create")], resolve(), live=live, empty=False, force=False
    )
    assert [action.kind for action in actions[:-1]] == ["refused" if held else "retire"] * retiring
    assert actions[-1].kind == "create", "the rest goes on"
    if held:
        assert all(action.work is None and "--force" in action.reasons[0] for action in actions[:-1])


def test_an_empty_control_table_retires_nothing() -> None:
    """A table that was emptied or made anew by accident costs no job."""
    (action,) = brake(retire(1), resolve(), live=1, empty=True, force=False)
    assert action.kind == "refused"
    assert "empty" in action.reasons[0]


def test_force_lifts_the_brake() -> None:
    """--force retires whatever the numbers say."""
    assert [a.kind for a in brake(retire(20), resolve(), live=20, empty=True, force=True)] == ["retire"] * 20


def test_the_limit_is_a_setting() -> None:
    """retire_limit_percent and retire_limit_minimum move the brake."""
    settings = resolve({"retire_limit_percent": 50, "retire_limit_minimum": 2})
    assert [a.kind for a in brake(retire(1), settings, live=2, empty=False, force=False)] == ["retire"]
    assert [a.kind for a in brake(retire(2), settings, live=3, empty=False, force=False)] == ["refused"] * 2
