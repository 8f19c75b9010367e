"""Answers of Data X-Ray in every form, and in no form at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.dxr.ledger import SentFile
from lakeflow_job_meta.dxr.matching import Matcher, Seen, decide
from lakeflow_job_meta.dxr.responses import (
    Hit,
    error_text,
    hit_of_file,
    integer,
    matches,
    moment,
    read_job,
    read_page,
    texts,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("answer", "state", "scan_id", "message"),
    [
        ({"id": 7, "state": "FINISHED", "datasourceScanId": 4812}, "FINISHED", 4812, ""),
        ({"id": "a", "state": {"value": "FINISHED", "datasourceScanId": "4812"}}, "FINISHED", 4812, ""),
        ({"id": "a", "state": {"state": "failed", "errorMessage": "x"}}, "FAILED", None, "x"),
        ({"id": "a", "state": "FAILED", "state.datasourceScanId": 3, "error": "y"}, "FAILED", 3, "y"),
        ({"job": {"id": "a", "state": "Done", "datasourceScanId": -1}}, "DONE", None, ""),
        ({"id": "a", "status": "running"}, "RUNNING", None, ""),
        ({"id": "a", "jobState": "CANCELLED", "message": "z"}, "CANCELLED", None, "z"),
        ([], "", None, ""),
    ],
)
def test_jobs(answer: Any, state: str, scan_id: int | None, message: str) -> None:
    job = read_job(answer)
    assert (job.state, job.scan_id, job.message) == (state, scan_id, message)
    assert job.ended == (state in {"FINISHED", "FAILED", "DONE", "CANCELLED"})


@given(JSON)
def test_no_answer_breaks(answer: Any) -> None:
    """Whatever it is, a job, a page and a file are read without an exception."""
    read_job(answer)
    read_page({"hits": {"hits": [{"_source": answer} if isinstance(answer, dict) else answer]}})
    moment(answer)
    texts(answer)
    if isinstance(answer, dict):
        hit_of_file(answer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-04T10:16:02.123456789Z", "2026-03-04T10:16:02.123456+00:00"),
        ("2026-03-04T10:16:02+0200", "2026-03-04T08:16:02+00:00"),
        ("2026-03-04 10:16", "2026-03-04T10:16:00+00:00"),
        ("2026-13-04T10:16:02Z", None),
        ("soon", None),
        (17, None),
    ],
)
def test_times(text: Any, expected: str | None) -> None:
    found = moment(text)
    assert (found and found.isoformat()) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "no reason given"),
        ('{"status":"error","error":{"code":"NOT_FOUND","message":"no file"}}', "no file"),
        ('{"error":"Tag not found"}', "Tag not found"),
        ("no viable alternative at input 'x'", "no viable alternative at input 'x'"),
        ("<html><script>x</script></html>", "an HTML page, so something in between answered"),
        ("[1, 2]", "[1, 2]"),
        ("x" * 1000, "x" * 297 + "..."),
    ],
)
def test_errors(body: str, said: str) -> None:
    assert error_text(body) == said


def test_matches_with_commas_and_brackets() -> None:
    """The phrases are read from the right."""
    text = "[Doe, John [CEO], 1, 17, 9][ana@ex.org, 20, 30, 25]"
    assert list(matches(text)) == [("Doe, John [CEO]", 1, 17, "9"), ("ana@ex.org", 20, 30, "25")]
    assert list(matches("[]")) == []


def test_integers() -> None:
    assert [integer(value) for value in ("7", 7, 7.0, True, "x", 2**70, None)] == [
        7,
        7,
        7,
        None,
        None,
        None,
        None,
    ]


TOKEN = "ab" * 16
FILES = [SentFile(f"/v/{n}", 1, 0, f"x_{TOKEN}{n:05x}.txt", f"{n:064x}") for n in range(3)] + [
    SentFile("/v/3", 1, 0, f"x_{TOKEN}00003.txt", f"{2:064x}")
]


@pytest.mark.parametrize(
    ("name", "sha256", "expected"),
    [
        (f"x_{TOKEN}00001.txt", "", (1, True)),
        (f"/x_{TOKEN}00001.txt", "", (1, True)),
        (f"some/folder/X_{TOKEN.upper()}00002.TXT", "", (2, True)),
        (f"x_{TOKEN}00009.txt", "", None),
        (f"x_{'cd' * 16}00001.txt", "", None),
        ("other.txt", f"{1:064x}", (1, False)),
        ("other.txt", f"{2:064x}", None),
        ("x.txt", "", None),
        ("", "", None),
    ],
)
def test_hits_are_matched_or_left(name: str, sha256: str, expected: Any) -> None:
    """By name, token, then hash; a hash that two files share says nothing."""
    hit = Hit("1", {"ds#file_name": name, "dxr#sha_256_hash": sha256})
    assert Matcher(TOKEN, FILES).match(hit) == expected


def test_doubts() -> None:
    """Several claims are settled by the hash, or not at all."""
    file = FILES[1]
    right, wrong, bare = (
        Seen(str(n), bytes([n]), sha, True) for n, sha in enumerate((file.sha256, "0" * 64, ""))
    )
    stray = Seen("9", b"9", file.sha256, by_name=False)
    assert decide(file, []) == (None, "")
    assert decide(file, [right]) == (right, "")
    assert decide(file, [bare]) == (bare, "")
    assert decide(file, [wrong, right]) == (right, "")
    assert decide(file, [stray]) == (stray, "")
    assert decide(file, [stray, bare]) == (bare, "")
    assert decide(file, [right, right])[1].startswith("2 documents")
    assert "other content" in decide(file, [wrong])[1]
