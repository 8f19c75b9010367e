"""Plans as values: what will be done to each module's job, why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lakeflow_job_meta.errors import Problem
from lakeflow_job_meta.names import canonical_json, digest
from lakeflow_job_meta.settings import Settings

JsonObject = dict[str, Any]
ActionKind = Literal["create", "update", "retire", "revive", "unchanged", "refused"]
KINDS: tuple[ActionKind, ...] = ("create", "update", "retire", "revive", "unchanged", "refused")


@dataclass(frozen=True, slots=True)
class Change:
    """One path of the settings that differs.

    Args:
        path: dotted, list elements by key: `tasks[load].notebook_task.notebook_path`,
            `schedule.quartz_cron_expression`, `permissions[group_name=data-eng].level`, `queries[customers].query_text`.
        old: value in the workspace (None: not there).
        new: value wanted (None: to be removed).
        drift: the workspace was changed behind our back; the metadata did not move.
    """

    path: str
    old: Any
    new: Any
    drift: bool = False

    def as_json(self) -> JsonObject:
        return {"path": self.path, "old": self.old, "new": self.new}

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.old)} -> {_shown(self.new)}"


def _shown(value: Any, width: int = 120) -> str:
    text = "absent" if value is None else canonical_json(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to one module.

    Args:
        kind: the one word for it.
        changes: path by path, sorted; of a create and of unchanged empty, unless drift is only reported.
        reasons: sentences: every reason of a refusal, what brought an update about, drift that is left.
        problems: the reasons of a refusal with their places.
        job_id: the job that is there already.
        work: what apply executes, opaque to readers (see `reconcile.apply`).
        fingerprint: hash of all that the decision rests on; a reviewed plan is stale when it moved.
    """

    module: str
    kind: ActionKind
    changes: tuple[Change, ...] = ()
    reasons: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    job_id: int | None = None
    job_name: str = ""
    work: Any = field(default=None, repr=False, compare=False)
    fingerprint: str = ""

    def as_json(self) -> JsonObject:
        return {
            "module": self.module,
            "action": self.kind,
            "changes": [change.as_json() for change in self.changes],
            "reasons": list(self.reasons),
            "job_id": self.job_id,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """Every module of the control table with its action, in order of module name.

    Args:
        settings: in force when it was made.
        notes: sentences about the workspace that are no module's: jobs of ours that no module claims.
        syncs_datasets: whether any row of the control table syncs a dataset.
    """

    control_table: str
    workspace_id: str
    actions: tuple[Action, ...]
    notes: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings, repr=False, compare=False)
    syncs_datasets: bool = False

    @property
    def summary(self) -> Mapping[ActionKind, int]:
        counts: dict[ActionKind, int] = dict.fromkeys(KINDS, 0)
        for action in self.actions:
            counts[action.kind] += 1
        return counts

    @property
    def changing(self) -> tuple[Action, ...]:
        """The actions that will change the workspace."""
        return tuple(a for a in self.actions if a.kind not in ("unchanged", "refused"))

    @property
    def refused(self) -> tuple[Action, ...]:
        return tuple(a for a in self.actions if a.kind == "refused")

    @property
    def exit_code(self) -> int:
        """0 no change, 2 changes, 1 something was refused."""
        return 1 if self.refused else 2 if self.changing else 0

    @property
    def fingerprint(self) -> str:
        return digest(
            [
                self.control_table,
                self.workspace_id,
                [[a.module, a.kind, a.fingerprint] for a in self.actions],
            ],
            32,
        )

    def as_json(self) -> JsonObject:
        return {
            "control_table": self.control_table,
            "workspace_id": self.workspace_id,
            "fingerprint": self.fingerprint,
            "actions": [action.as_json() for action in self.actions],
            "summary": dict(self.summary),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What came of one action; `error` is empty when it was done."""

    action: Action
    job_id: int | None = None
    run_id: int | None = None
    error: str = ""

    def as_json(self) -> JsonObject:
        return {
            **self.action.as_json(),
            "job_id": self.job_id,
            "run_id": self.run_id,
            "error": self.error or None,
        }


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What came of a plan.

    Args:
        writes: the number of calls that changed the workspace.
    """

    plan: Plan
    results: tuple[ActionResult, ...]
    writes: int

    @property
    def exit_code(self) -> int:
        """0 all done, 1 something was refused or failed."""
        return 1 if self.plan.refused or any(result.error for result in self.results) else 0

    def as_json(self) -> JsonObject:
        return {
            **self.plan.as_json(),
            "actions": [result.as_json() for result in self.results],
            "writes": self.writes,
        }
