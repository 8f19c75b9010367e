"""Commits: one write, repeated with jitter while other writers win.

Delta commits are optimistic. Every write of this room is a MERGE or an append that is right to
repeat as it stands, so a `CommitConflict` (nothing was written) is answered by doing it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_none, wait_random_exponential

from lakeflow_job_meta.errors import CommitConflict

#: Tries of one write. With waits of at most 8 s, some 40 s under constant fire.
ATTEMPTS = 12
_WAIT = wait_random_exponential(multiplier=0.1, max=8)
_waiting = True


def commit(write: Callable[[], None]) -> None:
    """Do `write` until it is committed.

    Raises:
        CommitConflict: after ATTEMPTS losses in a row; nothing was written.
        TablesError: whatever else the write raises, at once.
    """
    for attempt in Retrying(
        retry=retry_if_exception_type(CommitConflict),
        stop=stop_after_attempt(ATTEMPTS),
        wait=_WAIT if _waiting else wait_none(),
        reraise=True,
    ):
        with attempt:
            write()


@contextmanager
def without_waiting() -> Iterator[None]:
    """For tests: inside, repeats follow one another at once."""
    global _waiting
    before, _waiting = _waiting, False
    try:
        yield
    finally:
        _waiting = before
