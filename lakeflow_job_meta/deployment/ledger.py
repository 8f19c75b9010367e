"""What deployments made, so that destroying takes away that and nothing else.

Kept as events of the deployment's own table (`<control table>_deployment_events`), each written right
after the thing was made: a deployment that broke off is known as far as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.records import Event

Kind = Literal["schema", "volume", "folder", "table", "wheel", "setting"]
#: More events than any deployment has; the newest are read first.
_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Made:
    """One thing that a deployment made.

    Args:
        name: full name, path, or name of the setting.
        former: of a setting: the value before, None when it had none.
        value: of a setting: the value that was set.
    """

    kind: Kind
    name: str
    former: Any = None
    value: Any = None


class Ledger:
    """The things made for one control table, from one workspace.

    Args:
        events: of the deployment's table.
    """

    def __init__(self, events: Events, clock: Callable[[], datetime]) -> None:
        self._events = events
        self._clock = clock

    def add(self, made: Sequence[Made]) -> None:
        """Write down what was made just now, in one commit."""
        now = self._clock()
        self._events.append(
            [
                Event(
                    "made",
                    now,
                    message=f"{one.kind} {one.name}",
                    detail={"kind": one.kind, "name": one.name, "former": one.former, "value": one.value},
                )
                for one in made
            ]
        )

    def made(self) -> list[Made]:
        """Everything made and not destroyed since, the oldest first, each once."""
        found: dict[tuple[str, str], Made] = {}
        events = sorted(self._events.recent(_LIMIT), key=lambda event: event.at)
        for event in events:
            if event.kind == "destroyed":
                found.clear()
            elif event.kind == "made":
                detail = event.detail
                one = Made(detail["kind"], detail["name"], detail.get("former"), detail.get("value"))
                before = found.get((one.kind, one.name))
                # Of a setting that was set twice, what was there before the first time is put back.
                former = before.former if before is not None else one.former
                found[one.kind, one.name] = Made(one.kind, one.name, former, one.value)
        return list(found.values())

    def clear(self) -> None:
        """Say that everything was taken away."""
        self._events.append([Event("destroyed", self._clock())])
