"""What deployments made, so that destroying takes away that and nothing else.

Kept as events of the deployment's own table (`<control table>_deployment_events`). What is about to be
made is written down before, as intents, in one commit; what was made, after it, in another. A deployment
that died in between leaves intents. Whether it came to one of them, the thing itself says: schemas, volumes
and tables that a deployment makes carry its mark in their comment, so that nothing of the same name that
somebody else made meanwhile is taken for ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.records import Event
from lakeflow_job_meta.names import TableName

Kind = Literal["schema", "volume", "folder", "table", "wheel", "setting"]
#: Kinds whose comment in Unity Catalog has the mark. A wheel's path says what is in it, a setting is compared with
#: its value, and a folder goes only when it is empty: none of these needs one.
MARKED: tuple[Kind, ...] = ("schema", "volume", "table")
#: More events than any deployment has; the newest are read first.
_LIMIT = 100_000
_INTENT, _MADE, _UNMADE = "making", "made", "unmade"


@dataclass(frozen=True, slots=True)
class Made:
    """One thing that a deployment made.

    Args:
        name: full name, path, or name of the setting.
        former: of a setting: the value before, None when it had none.
        value: of a setting: the value that was set.
        fresh: of a setting: there was no settings row before.
        is_certain: False for an intent: the deployment may have died before it came to it.
    """

    kind: Kind
    name: str
    former: Any = None
    value: Any = None
    fresh: bool = False
    is_certain: bool = True


def mark(control_table: TableName, workspace_id: str) -> str:
    """The end of the comments of what a deployment made."""
    return f"(made by lakeflow-job-meta deploy for {control_table}, workspace {workspace_id})"


class Ledger:
    """The things made for one control table, from one workspace.

    Args:
        events: of the deployment's table.
    """

    def __init__(self, events: Events, clock: Callable[[], datetime]) -> None:
        self._events = events
        self._clock = clock

    def intend(self, things: Sequence[Made]) -> None:
        """Write down what is about to be made, in one commit."""
        self._append(_INTENT, things)

    def add(self, made: Sequence[Made]) -> None:
        """Write down what was made just now, in one commit."""
        self._append(_MADE, made)

    def forget(self, things: Sequence[Made]) -> None:
        """Write down what was taken away, in one commit."""
        self._append(_UNMADE, things)

    def _append(self, kind: str, things: Sequence[Made]) -> None:
        now = self._clock()
        self._events.append(
            [
                Event(
                    kind,
                    now + timedelta(microseconds=number),  # they are read back in this order
                    message=f"{one.kind} {one.name}",
                    detail={
                        "kind": one.kind,
                        "name": one.name,
                        "former": one.former,
                        "value": one.value,
                        "fresh": one.fresh,
                    },
                )
                for number, one in enumerate(things)
            ]
        )

    def made(self) -> list[Made]:
        """Everything made, or meant to be, and not taken away since; the oldest first, each once."""
        found: dict[tuple[str, str], Made] = {}
        for event in sorted(self._events.recent(_LIMIT), key=lambda event: event.at):
            detail = event.detail
            if event.kind not in (_INTENT, _MADE, _UNMADE):
                continue
            key = (detail["kind"], detail["name"])
            if event.kind == _UNMADE:
                found.pop(key, None)
                continue
            one = Made(
                *key,
                former=detail.get("former"),
                value=detail.get("value"),
                fresh=bool(detail.get("fresh")),
                is_certain=event.kind == _MADE,
            )
            before = found.get(key)
            if before is not None:
                # Of a setting that was set twice, what was there before the first time is put back.
                one = replace(
                    one,
                    former=before.former,
                    fresh=before.fresh,
                    is_certain=one.is_certain or before.is_certain,
                )
            found[key] = one
        return list(found.values())
