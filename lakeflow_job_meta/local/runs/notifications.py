"""Which notifications a run would have sent. Nothing is sent; they stand in the run's record."""

from __future__ import annotations

from typing import Any

from lakeflow_job_meta.local.runs.states import State

Json = dict[str, Any]

_ON_FAILURE = frozenset({"FAILED", "TIMEDOUT"})


def note(settings: Json, state: State, task_key: str, time: int) -> list[Json]:
    """The notifications of a job or task for a state, one entry a receiver.

    Args:
        settings: with `email_notifications` and `webhook_notifications`.
        state: a state to start with, or one that it ended in.
        task_key: empty for the job itself.
        time: ms since 1970.
    """
    event = _event(state)
    if not event:
        return []
    emails = (settings.get("email_notifications") or {}).get(event) or []
    hooks = (settings.get("webhook_notifications") or {}).get(event) or []
    entry = {"event": event, "task_key": task_key, "time": time}
    return [{**entry, "email": email} for email in emails] + [
        {**entry, "webhook_id": hook.get("id", "")} for hook in hooks
    ]


def _event(state: State) -> str:
    if not state.ended:
        return "on_start"
    if state.succeeded:
        return "on_success"
    return "on_failure" if state.result in _ON_FAILURE else ""
