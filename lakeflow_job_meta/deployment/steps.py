"""What a deployment does beside jobs, as values: shown before it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lakeflow_job_meta.reconcile.actions import KINDS, Action, ActionResult, Plan

JsonObject = dict[str, Any]
Verb = Literal["create", "upload", "set", "delete", "cancel", "keep"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is made, changed, taken away or left as it is.

    Args:
        kind: schema, volume, folder, table, wheel, setting, run.
        name: full name, path, name of the setting, or the run's id.
        detail: what a reader should know: how many files go with it, why it is kept.
    """

    verb: Verb
    kind: str
    name: str
    detail: str = ""

    @property
    def changes(self) -> bool:
        return self.verb != "keep"

    def as_json(self) -> JsonObject:
        return {"step": self.verb, "kind": self.kind, "name": self.name, "detail": self.detail}

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Outline:
    """What would be done, in order: `before` (or after, when destroying) and the plan of the jobs.

    Args:
        plan: of the monitor's jobs.
        modules: of the control table's own modules, whose jobs go with it; empty but when destroying.
        runs: of the monitor, which end so that what was deployed takes their place: (job id, run id).
    """

    steps: tuple[Step, ...]
    plan: Plan
    modules: Plan | None = None
    runs: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        return (*self.plan.actions, *(self.modules.actions if self.modules is not None else ()))

    @property
    def changes(self) -> bool:
        return any(step.changes for step in self.steps) or any(
            action.kind not in ("unchanged", "refused") for action in self.actions
        )

    @property
    def exit_code(self) -> int:
        """As a plan's: 0 no change, 2 changes, 1 something was refused."""
        return 1 if any(action.kind == "refused" for action in self.actions) else 2 if self.changes else 0

    def as_json(self, control_table: str) -> JsonObject:
        """The plan's JSON, and the steps."""
        return {
            **self.plan.as_json(),
            "control_table": control_table,
            "actions": [action.as_json() for action in self.actions],
            "summary": _summary(self.actions),
            "notes": [*self.plan.notes, *self.notes],
            "steps": [step.as_json() for step in self.steps],
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an outline.

    Args:
        results: of the jobs.
        writes: things and jobs that were made, changed or taken away.
        errors: what could not be done, beside failed jobs.
        jobs: the monitor's job ids, by module.
    """

    outline: Outline
    results: tuple[ActionResult, ...]
    writes: int
    errors: tuple[str, ...] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return 1 if self.errors or any(result.error for result in self.results) else 0

    def as_json(self, control_table: str) -> JsonObject:
        return {
            **self.outline.as_json(control_table),
            "actions": [result.as_json() for result in self.results],
            "writes": self.writes,
            "notes": [*self.outline.plan.notes, *self.outline.notes, *self.notes],
            "errors": list(self.errors),
        }


def _summary(actions: tuple[Action, ...]) -> JsonObject:
    counts: JsonObject = dict.fromkeys(KINDS, 0)
    for action in actions:
        counts[action.kind] += 1
    return counts
