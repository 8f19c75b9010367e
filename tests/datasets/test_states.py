"""Which status may follow which, and what a failure is: G1, F7. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta import errors
from lakeflow_job_meta.datasets import states
from lakeflow_job_meta.datasets.failures import StepFailed, classify
from lakeflow_job_meta.datasets.model import EventRow, Phase, Status
from tests.datasets.test_events import AT, event

#: Every pair that is legal within one run; all others are not.
LEGAL = {
    (Status.PENDING, Status.SYNCING),
    (Status.PENDING, Status.FAILED),
    (Status.SYNCING, Status.SYNCING),
    (Status.SYNCING, Status.SYNCED),
    (Status.SYNCING, Status.FAILED),
    (Status.FAILED, Status.SYNCING),
    (Status.FAILED, Status.SYNCED),
}


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_g1_only_legal_transitions_within_a_run(before: Status, after: Status) -> None:
    """The table of the state machine, pair by pair."""
    former = event(before, run_id="7", round=1, seq=3)
    placed = states.place([former], event(after, 1, run_id="7", round=1))
    assert (placed is not None) == ((before, after) in LEGAL)
    if placed is not None:
        assert (placed.round, placed.seq) == (1, 4)


def test_g1_what_opens_a_sync() -> None:
    """Asked for, begun by a run, failed before it began, or taken out; it cannot begin with its end."""
    opened = {status for status in Status if states.place([], event(status)) is not None}
    assert opened == {Status.PENDING, Status.SYNCING, Status.FAILED, Status.NOT_SYNCED}


def test_b7_asking_twice_is_asking_once() -> None:
    """A second `pending` while one waits is not written; while a run is under way it opens the next round."""
    waiting = event(Status.PENDING, round=1, seq=1)
    assert states.place([waiting], event(Status.PENDING, 1)) is None
    running = event(Status.SYNCING, round=1, seq=2, run_id="7")
    again = states.place([running], event(Status.PENDING, 1))
    assert again is not None
    assert again.round == 2
    assert states.place([event(Status.PENDING, version=2, round=1, seq=1)], event(Status.PENDING, 1)) is None


def test_the_run_joins_the_round_that_asked_for_it() -> None:
    """A run's first event takes the waiting round; its later ones stay in it whatever was asked for since."""
    waiting = event(Status.PENDING, round=4, seq=1)
    first = states.place([waiting], event(Status.SYNCING, 1, run_id="7"))
    assert first is not None
    assert first.round == 4
    asked = event(Status.PENDING, 2, round=5, seq=1)
    late = states.place([first, asked], event(Status.SYNCED, 3, run_id="7"))
    assert late is not None
    assert late.round == 4
    assert max([first, asked, late], key=states.order) is asked


def test_another_run_cannot_speak_for_a_round() -> None:
    """An event that names a round of another run is not written."""
    taken = event(Status.SYNCING, round=1, seq=2, run_id="7")
    assert states.place([taken], event(Status.FAILED, 1, run_id="8", round=1)) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Status)), st.integers(1, 3), st.sampled_from(["", "7", "8", "9"])),
        max_size=30,
    )
)
def test_g1_any_history_is_legal(wanted: list[tuple[Status, int, str]]) -> None:
    """Whatever is tried in whatever order, what is kept is legal, and the status is of the newest version kept."""
    last: dict[int, EventRow] = {}
    kept: list[EventRow] = []
    for number, (status, version, run_id) in enumerate(wanted):
        placed = states.place(list(last.values()), event(status, number, version=version, run_id=run_id))
        if placed is None:
            continue
        former = last.get(placed.round)
        if former is None:
            assert placed.status in states.OPENING
            assert placed.seq == 1
        else:
            assert (former.status, placed.status) in LEGAL
            assert placed.seq == former.seq + 1
            assert not former.run_id or former.run_id == placed.run_id
        last[placed.round] = placed
        kept.append(placed)
    if kept:
        newest = max(kept, key=states.order)
        assert newest.version == max(one.version for one in kept)


def test_events_in_one_second_have_an_order() -> None:
    """Time does not decide, the sequence does."""
    one = event(Status.SYNCING, round=1, seq=2, run_id="7")
    two = replace(one, status=Status.SYNCED, seq=3, at=AT - timedelta(minutes=1))
    assert max([one, two], key=states.order) is two


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "error_class", "retryable"),
    [
        (errors.Throttled("429"), "workspace_unavailable", True),
        (errors.Unavailable("503"), "workspace_unavailable", True),
        (errors.UnclearOutcome("reset"), "workspace_unavailable", True),
        (errors.TablesUnavailable("no connection"), "engine_unavailable", True),
        (errors.CommitConflict("lost"), "commit_conflict", True),
        (errors.TablesError("executor lost"), "engine", True),
        (errors.TablesError("[CAST_INVALID_INPUT] x"), "engine", False),
        (errors.TablesError("PERMISSION_DENIED: no"), "engine", False),
        (errors.TableNotFound("t"), "table_missing", False),
        (errors.TableMismatch("t"), "table_mismatch", False),
        (errors.PermissionDenied("403"), "permission", False),
        (errors.InvalidRequest("400"), "workspace_refused", False),
        (errors.DatasetError("path"), "refused", False),
        (errors.UsageError("flag"), "refused", False),
        (errors.VolumeError("busy"), "volume", True),
        (_caused(errors.VolumeError("gone"), FileNotFoundError()), "file_missing", False),
        (StepFailed("row_limit", "too many"), "row_limit", False),
        (MemoryError("much"), "unexpected", True),
    ],
)
def test_f7_transient_and_permanent(error: Exception, error_class: str, retryable: bool) -> None:
    """429, 503 and connections are tried again; validation, rights and missing things are not."""
    failure = classify(error)
    assert (failure.error_class, failure.retryable) == (error_class, retryable)
    assert failure.error


def test_phases_are_the_steps_of_the_task_type() -> None:
    """The job's tasks and the runner's phases are the same words."""
    from lakeflow_job_meta.metadata.task_types import TASK_TYPES

    assert TASK_TYPES["dataset_sync"].steps == tuple(phase.value for phase in Phase)
