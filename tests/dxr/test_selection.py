"""Which files are taken, and what is done with each."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.dxr.ledger import Checkpoint, to_milliseconds, to_time
from lakeflow_job_meta.dxr.selection import Selection, glob, judge, same_time, upload_name
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.ports import FileInfo
from tests.dxr.world import World

AT = datetime(2026, 3, 4, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.pdf", "a/b/c.pdf", True),
        ("*.pdf", "c.pdf", True),
        ("*.pdf", "c.pdf.txt", False),
        ("finance/**", "finance/q1/x.txt", True),
        ("finance/", "finance/x.txt", True),
        ("finance/*", "finance/q1/x.txt", False),
        ("/finance/*.txt", "finance/x.txt", True),
        ("**/q?/*.txt", "a/q1/x.txt", True),
        ("q[12]/*", "q3/x.txt", False),
        ("q[!12]/*", "q3/x.txt", True),
        ("a+b(c).txt", "x/a+b(c).txt", True),
        ("[", "x/[", True),
        ("*", "two\nlines", True),
    ],
)
def test_globs(pattern: str, path: str, fits: bool) -> None:
    assert bool(glob(pattern).fullmatch(path)) is fits


@given(st.text(min_size=1).filter(lambda one: one.strip().strip("/")))
def test_no_pattern_breaks(pattern: str) -> None:
    """Any text is a pattern, or is refused as one."""
    with contextlib.suppress(UsageError):
        glob(pattern).fullmatch("a/b.txt")


@given(st.text(min_size=1), st.integers(0, 9999))
def test_every_name_becomes_a_safe_one(name: str, number: int) -> None:
    made = upload_name(f"/Volumes/a/b/c/{name}", "0f" * 16, number)
    assert f"{'0f' * 16}{number:05x}" in made
    assert "/" not in made
    assert '"' not in made
    assert made == made.strip()
    assert all(character.isprintable() for character in made)


def test_the_sample_is_always_the_same() -> None:
    """And about as large as asked for."""
    paths = [f"f{number}" for number in range(2000)]
    info = FileInfo("x", 1, 0)
    first = [path for path in paths if Selection(sample_percent=10).takes(path, info)]
    assert first == [path for path in paths if Selection(sample_percent=10).takes(path, info)]
    assert 120 < len(first) < 280
    assert not [path for path in paths if Selection(sample_percent=0).takes(path, info)]


def test_a21_what_is_taken(world: World) -> None:
    """Include, exclude, since and sampling together; what is not taken is not seen."""
    world.put("a/old.txt", "old", at=(AT - timedelta(days=30)).timestamp())
    world.put("a/new.txt", "new", at=AT.timestamp())
    world.put("a/new.pdf", "new", at=AT.timestamp())
    world.put("b/new.txt", "new", at=AT.timestamp())
    summary = world.ingest(include="*.txt", exclude="b/**", since="2026-03-01")
    assert (summary.seen, summary.uploaded) == (1, 1)
    assert list(world.checkpoints()) == ["a/new.txt"]
    assert world.ingest(max_files=1).uploaded == 1
    assert world.ingest(since="2026-03-01", reprocess=True).uploaded == 1  # the two sent are still under way
    world.collect()
    assert world.ingest(since="2026-03-01", reprocess=True).uploaded == 3


def known(state: str, **more: object) -> Checkpoint:
    values = {"size": 3, "modified_at": 1000, "checksum": "ab", "reason": "", "attempts": 1, "version": 1}
    return Checkpoint(**{**values, "state": state, "submission_id": "s", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("checkpoint", "options", "verdict"),
    [
        (None, {}, "new"),
        (known("classified"), {}, "unchanged"),
        (known("classified", size=4), {}, "new"),
        (known("classified", modified_at=9000), {}, "hash"),
        (known("classified", modified_at=9000, checksum=""), {}, "new"),
        (known("classified"), {"reprocess": True}, "new"),
        (known("submitted"), {"in_flight": True}, "unchanged"),
        (known("submitted"), {"in_flight": True, "reprocess": True}, "unchanged"),
        (known("submitted"), {}, "new"),
        (known("failed"), {}, "new"),
        (known("missing", attempts=3), {}, "given_up"),
        (known("failed", attempts=3), {"reprocess": True}, "new"),
        (known("failed", attempts=3, size=9), {}, "new"),
        (known("skipped"), {}, "new"),
        (known("deleted"), {}, "new"),
    ],
)
def test_verdicts(checkpoint: Checkpoint | None, options: dict[str, bool], verdict: str) -> None:
    info = FileInfo("/Volumes/a/b/c/x", 3, 1000)
    assert judge(info, checkpoint, **{"in_flight": False, **options}) == verdict


def test_times_cut_to_seconds_are_equal() -> None:
    """The Files API tells a single file's time in whole seconds."""
    assert same_time(1500, 1500)
    assert same_time(1500, 1000)
    assert not same_time(1500, 1400)
    assert not same_time(None, 1000)


@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_round_trip(milliseconds: int) -> None:
    assert to_milliseconds(to_time(milliseconds)) == milliseconds
