"""The states of a sync, and which may follow which. Pure.

A sync of a dataset is a *round*: it is asked for (`pending`) or begins with a run (`syncing`), and ends `synced`
or `failed`. All events of one run belong to one round, so that the event of an older run never overrides a newer
round or version: statuses are ordered by (version, round, seq).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lakeflow_job_meta.datasets.model import EventRow, Status

#: What may open a round. A run that nobody asked for (a schedule, the job's own button) opens one by `syncing`,
#: or, when it died before its first task, by the `failed` that is recorded for it.
OPENING = frozenset({Status.PENDING, Status.SYNCING, Status.FAILED, Status.NOT_SYNCED})

#: What may follow within a round. `failed` -> `syncing` is another attempt or a repair of the same run, and
#: `failed` -> `synced` the record of a run that was given up too early.
WITHIN: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.SYNCING, Status.FAILED}),
    Status.SYNCING: frozenset({Status.SYNCING, Status.SYNCED, Status.FAILED}),
    Status.FAILED: frozenset({Status.SYNCING, Status.SYNCED}),
    Status.SYNCED: frozenset(),
    Status.NOT_SYNCED: frozenset(),
}


def place(last: Sequence[EventRow], event: EventRow) -> EventRow | None:
    """The event with its round and seq; None when it may not follow what happened (then it is not written).

    Args:
        last: the last event of each round of the dataset, in any order. Its `run_id` is the round's.
        event: without a round it gets the round of its run, else the open one of its version, else a new one.
    """
    round_ = event.round or _round_of(last, event)
    former = next((one for one in last if one.round == round_), None) if round_ else None
    if former is None:
        if event.status not in OPENING or (event.status is Status.PENDING and _waits(last, event)):
            return None
        return replace(event, round=round_ or _highest(last) + 1, seq=1)
    if event.status not in WITHIN[former.status]:
        return None
    if former.run_id and event.run_id and former.run_id != event.run_id:
        return None
    return replace(event, round=round_, seq=former.seq + 1, run_id=event.run_id or former.run_id)


def order(event: EventRow) -> tuple[int, int, int, float, str]:
    """Sort key: the highest is the dataset's status."""
    return (event.version, event.round, event.seq, event.at.timestamp(), event.event_id)


def _round_of(last: Sequence[EventRow], event: EventRow) -> int:
    """The round that the event belongs to; 0 when it opens one."""
    if event.status in (Status.PENDING, Status.NOT_SYNCED):
        return 0
    if event.run_id:
        for one in last:
            if one.run_id == event.run_id:
                return one.round
    mine = [one for one in last if one.version == event.version]
    newest = max(mine, key=order, default=None)
    if newest is None:
        return 0
    if newest.status is Status.PENDING or (newest.status is Status.SYNCING and not event.run_id):
        return newest.round
    return 0


def _waits(last: Sequence[EventRow], event: EventRow) -> bool:
    """Whether the sync that is asked for is asked for already, or the version is older than the newest one."""
    newest = max(last, key=order, default=None)
    if newest is None:
        return False
    same = newest.version == event.version and newest.status is Status.PENDING
    return same or event.version < newest.version


def _highest(last: Sequence[EventRow]) -> int:
    return max((one.round for one in last), default=0)
