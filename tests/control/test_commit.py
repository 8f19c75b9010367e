"""Commits are repeated while other writers win, and nothing else is."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.control.commit import ATTEMPTS, commit
from lakeflow_job_meta.errors import CommitConflict, TablesError


class Losing:
    """A write that loses so many times."""

    def __init__(self, losses: int, error: type[TablesError] = CommitConflict) -> None:
        self.calls = 0
        self.losses = losses
        self.error = error

    def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self.losses:
            raise self.error("lost")


def test_a_conflict_is_repeated_until_it_is_won() -> None:
    """Nothing was written by the attempts that lost."""
    write = Losing(3)
    commit(write)
    assert write.calls == 4


def test_it_gives_up_with_the_conflict() -> None:
    """After so many losses in a row."""
    write = Losing(ATTEMPTS)
    with pytest.raises(CommitConflict, match="lost"):
        commit(write)
    assert write.calls == ATTEMPTS


def test_other_errors_are_raised_at_once() -> None:
    """What may have been written is not written twice."""
    write = Losing(1, TablesError)
    with pytest.raises(TablesError):
        commit(write)
    assert write.calls == 1
