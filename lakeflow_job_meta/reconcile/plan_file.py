"""Reviewed plans: saved as a file, and matched later against a plan made anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.errors import PlanError, StalePlan
from lakeflow_job_meta.reconcile.actions import Plan

FORMAT = 1


@dataclass(frozen=True, slots=True)
class ReviewedPlan:
    """A plan as it was reviewed.

    Args:
        fingerprints: what each module's decision rested on.
        request: how it was made (yaml paths, variables, modules), so that it can be made again.
    """

    control_table: str
    workspace_id: str
    fingerprints: Mapping[str, tuple[str, str]]
    request: Mapping[str, Any] = field(default_factory=dict)


def dump(plan: Plan, request: Mapping[str, Any]) -> str:
    """The plan as text for a file: readable JSON, ends with a newline."""
    fingerprints = {action.module: [action.kind, action.fingerprint] for action in plan.actions}
    value = {"format": FORMAT, "request": dict(request), "fingerprints": fingerprints, "plan": plan.as_json()}
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def parse(text: str, path: str) -> ReviewedPlan:
    """A saved plan. Raises PlanError when the text is none."""
    try:
        value = json.loads(text)
        if value["format"] != FORMAT:
            raise PlanError(
                f"{path}: a plan of format {value['format']}, this version reads {FORMAT}; make it anew"
            )
        return ReviewedPlan(
            control_table=value["plan"]["control_table"],
            workspace_id=value["plan"]["workspace_id"],
            fingerprints={module: (kind, mark) for module, (kind, mark) in value["fingerprints"].items()},
            request=value["request"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(
            f"{path} is not a saved plan: make one with `lakeflow-job-meta plan --out {path}`"
        ) from error


def check_fresh(reviewed: ReviewedPlan, plan: Plan) -> None:
    """Raise StalePlan, naming every module whose decision would be another one now."""
    if (reviewed.control_table, reviewed.workspace_id) != (plan.control_table, plan.workspace_id):
        raise StalePlan(
            f"the plan is for {reviewed.control_table} in workspace {reviewed.workspace_id}, "
            f"not for {plan.control_table} in {plan.workspace_id}"
        )
    now = {action.module: (action.kind, action.fingerprint) for action in plan.actions}
    moved = sorted(
        module
        for module in {*now, *reviewed.fingerprints}
        if now.get(module) != reviewed.fingerprints.get(module)
    )
    if moved:
        shown = ", ".join(moved[:10]) + (f" and {len(moved) - 10} more" if len(moved) > 10 else "")
        raise StalePlan(f"the plan is stale, plan again: something changed for {shown}")
