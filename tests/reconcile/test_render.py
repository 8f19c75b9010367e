"""A plan as people read it."""

from __future__ import annotations

from lakeflow_job_meta.reconcile.actions import Action, Change, Plan
from lakeflow_job_meta.reconcile.render import render_plan


def text(*actions: Action, notes: tuple[str, ...] = ()) -> str:
    return "\n".join(str(line) for line in render_plan(Plan("c.s.t", "1", actions, notes)))


def test_a_plan_reads_like_a_diff() -> None:
    """One block a module with its sign, one line a path, long texts line by line, the counts last."""
    shown = text(
        Action("a", "create"),
        Action(
            "b",
            "update",
            (
                Change("queries[q].query_text", "SELECT 1\nFROM t", "SELECT 2\nFROM t"),
                Change("timeout_seconds", 5, None, drift=True),
            ),
            job_id=7,
        ),
        Action("c", "refused", reasons=("f.yaml:3:5: bad",)),
        Action("d", "unchanged"),
    )
    assert shown.splitlines() == [
        "+ create a",
        "~ update b (job 7)",
        "    queries[q].query_text:",
        "        - SELECT 1",
        "        - FROM t",
        "        + SELECT 2",
        "        + FROM t",
        "    timeout_seconds: 5 -> absent   (changed in the workspace)",
        "! refused c",
        "    f.yaml:3:5: bad",
        "plan: 1 create, 1 update, 1 unchanged, 1 refused",
    ]


def test_a_plan_without_changes_says_so() -> None:
    """Nothing to do is one line."""
    assert text(Action("d", "unchanged")) == "nothing to do: 1 unchanged"


def test_drift_that_is_left_is_shown() -> None:
    """An unchanged module with reported drift is named, and so is a job that no module claims."""
    shown = text(
        Action("d", "unchanged", reasons=("drift: tags.x: 1 -> absent (left: drift=report)",)),
        notes=("job 9 ...",),
    )
    assert shown.splitlines()[:3] == [
        "= unchanged d",
        "    drift: tags.x: 1 -> absent (left: drift=report)",
        "note: job 9 ...",
    ]


def test_an_empty_control_table_says_so() -> None:
    """A plan over nothing does not look like a success of something."""
    assert "names no module yet" in text()
