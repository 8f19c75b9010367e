"""The brake: a plan that would retire too much is held back (DESIGN 5). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lakeflow_job_meta.reconcile.actions import Action
from lakeflow_job_meta.reconcile.plan import hold_back
from lakeflow_job_meta.settings import Settings


def brake(
    actions: Sequence[Action], settings: Settings, *, live: int, empty: bool, force: bool
) -> tuple[Action, ...]:
    """The actions, mass retirements turned into refusals; everything else goes on.

    Args:
        live: jobs that are live before this plan.
        empty: the control table has no row at all, or is not there.
        force: retire whatever the numbers say.
    """
    retiring = [action for action in actions if action.kind == "retire"]
    if force or not retiring:
        return tuple(actions)
    limit, minimum = settings["retire_limit_percent"], settings["retire_limit_minimum"]
    if empty:
        reason = (
            f"the control table is empty, which would retire {len(retiring)} jobs: nothing is retired; "
            "say `modules: []` in the file, or use --force"
        )
    elif live >= minimum and 100 * len(retiring) > limit * live:
        reason = (
            f"{len(retiring)} of {live} jobs would be retired, more than {limit:g} %: "
            "none of them is; use --force if that is meant"
        )
    else:
        return tuple(actions)
    return tuple(hold_back(action, reason) if action.kind == "retire" else action for action in actions)
