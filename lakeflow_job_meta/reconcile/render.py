"""A plan as lines that read like a diff. Pure: text with the name of a style, no colours, no printing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lakeflow_job_meta.names import canonical_json
from lakeflow_job_meta.reconcile.actions import Action, ActionKind, Change, Plan

Style = Literal["create", "update", "retire", "revive", "refused", "unchanged", "drift", "plain"]
SIGNS: dict[ActionKind, str] = {
    "create": "+",
    "update": "~",
    "retire": "-",
    "revive": "^",
    "refused": "!",
    "unchanged": "=",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `indent` in steps of four columns."""

    text: str
    style: Style = "plain"
    indent: int = 0

    def __str__(self) -> str:
        return " " * 4 * self.indent + self.text


def render_plan(plan: Plan, *, unchanged: bool = False) -> Iterator[Line]:
    """The plan, one block a module, then the summary.

    Args:
        unchanged: also name the modules that stay as they are.
    """
    for action in plan.actions:
        if action.kind != "unchanged" or unchanged or (action.reasons and _notable(action)):
            yield from render_action(action)
    yield from (Line(f"note: {note}", "drift") for note in plan.notes)
    counts = ", ".join(f"{count} {kind}" for kind, count in plan.summary.items() if count)
    if not plan.actions:
        yield Line(f"{plan.control_table} names no module yet")
    elif not plan.changing and not plan.refused:
        yield Line(f"nothing to do: {counts}", "unchanged")
    else:
        yield Line(f"plan: {counts}")


def render_action(action: Action) -> Iterator[Line]:
    """One module: its sign and name, every change as `path: old -> new`, every reason."""
    job = f" (job {action.job_id})" if action.job_id is not None else ""
    yield Line(f"{SIGNS[action.kind]} {action.kind} {action.module}{job}", action.kind)
    for change in action.changes:
        yield from _change(change)
    for reason in action.reasons:
        for line in reason.splitlines() or [""]:
            yield Line(
                line,
                "refused" if action.kind == "refused" else "drift" if line.startswith("drift:") else "plain",
                1,
            )


def _notable(action: Action) -> bool:
    return any(reason.startswith(("drift:", "job ")) for reason in action.reasons)


def _change(change: Change) -> Iterator[Line]:
    note = "   (changed in the workspace)" if change.drift else ""
    style: Style = "drift" if change.drift else "plain"
    if _long(change.old) or _long(change.new):
        yield Line(f"{change.path}:{note}", style, 1)
        yield from (Line(f"- {line}", "retire", 2) for line in _lines(change.old))
        yield from (Line(f"+ {line}", "create", 2) for line in _lines(change.new))
    else:
        yield Line(f"{change.path}: {_short(change.old)} -> {_short(change.new)}{note}", style, 1)


def _long(value: object) -> bool:
    return isinstance(value, (dict, list)) or (isinstance(value, str) and ("\n" in value or len(value) > 60))


def _short(value: object) -> str:
    return "absent" if value is None else canonical_json(value)


def _lines(value: object, limit: int = 20) -> list[str]:
    if value is None:
        return []
    lines = value.splitlines() if isinstance(value, str) else _fields(value)
    return lines if len(lines) <= limit else [*lines[:limit], f"... {len(lines) - limit} more lines"]


def _fields(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}: {canonical_json(item)}" for name, item in value.items()] or ["{}"]
    return [canonical_json(item) for item in value] if isinstance(value, list) else [canonical_json(value)]
