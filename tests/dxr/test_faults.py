"""Faults of Data X-Ray and of what lies in between, over real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from lakeflow_job_meta.dxr.tasks import perform
from lakeflow_job_meta.errors import (
    DxrNotFound,
    DxrRefused,
    DxrRunFailed,
    DxrUnauthorized,
    DxrUnavailable,
    UsageError,
)
from tests.dxr.world import World, fault

pytestmark = pytest.mark.slow

CARD = "card 4111 1111 1111 1111"


def parts(world: World, count: int) -> None:
    for number in range(count):
        world.put(f"{number % 2}/f{number}.txt", f"{CARD}, part {number}")


@pytest.mark.parametrize(
    "what",
    [
        {"status": 500},
        {"status": 502, "body": "html"},
        {"status": 503, "body": "empty"},
        {"status": 429, "retry_after": 0},
        {"status": 408},
        {"reset": "before"},
        {"reset": "upload", "after_bytes": 500},
    ],
    ids=str,
)
def test_a_submit_that_failed_is_sent_again_under_new_names(world: World, what: dict[str, Any]) -> None:
    """Two failures are got over; every file is accepted once, and the ledger tells all tries."""
    parts(world, 4)
    with fault(world, {"route": "submit", "count": 2, **what}):
        summary = world.ingest()
    assert (summary.uploaded, summary.jobs, summary.failed) == (4, 1, 0)
    names = [name for name, _ in world.received()]
    assert len(names) == len(set(names)) == 4
    assert world.states()[-2:] == ["UNCLEAR", "UNCLEAR"] or world.states()[:2] == ["DROPPED", "DROPPED"]
    assert world.collect().classified == 4


def test_an_unclear_submit_that_was_accepted(world: World) -> None:
    """The answer is lost after Data X-Ray took the job: the repeat has other names, and its results count alone."""
    parts(world, 3)
    with fault(world, {"route": "submit", "count": 1, "reset": "after"}):
        assert world.ingest().uploaded == 3
    assert len(world.submitted()) == 2
    assert len({name for name, _ in world.received()}) == 6
    assert world.states() == ["SUBMITTED", "UNCLEAR"]
    summary = world.collect()
    assert (summary.classified, summary.ambiguous) == (3, 0)
    assert len(world.rows()) == 3


@pytest.mark.parametrize("body", ["html", "text", "empty", "json"])
def test_an_answer_without_a_job_id_is_unclear(world: World, body: str) -> None:
    """2xx from something in between is no acceptance."""
    parts(world, 2)
    with fault(world, {"route": "submit", "count": 1, "status": 200, "body": body}):
        assert world.ingest().uploaded == 2
    assert world.collect().classified == 2


def test_retry_after_is_followed(world: World) -> None:
    """The server's time is waited for, not ours."""
    parts(world, 1)
    world.ingest()
    slept: list[float] = []
    client = world.client(sleep=slept.append)
    with fault(world, {"route": "job", "count": 2, "status": 429, "retry_after": 7}):
        assert client.job(200, world.jobs()[0]["job_id"]).state
    assert len(slept) == 2
    assert all(7 <= seconds < 10 for seconds in slept)


def test_a_replaced_token_stops_and_keeps_what_was_done(world: World) -> None:
    """In ingest and in collect; with the new token the next run goes on, and nothing is sent twice."""
    parts(world, 6)
    world.dxr.knobs(token_revoked_after=3)
    with pytest.raises(DxrUnauthorized, match="replaced") as caught:
        world.ingest(max_files_per_job=1, parallel_jobs=1)
    assert world.dxr.token not in str(caught.value)
    before = len(world.submitted())
    assert 0 < before < 6
    states = world.states()
    assert states.count("SUBMITTED") == before
    assert "PLANNED" not in states
    world.dxr.knobs(token_revoked_after=None)
    assert world.ingest(max_files_per_job=1).uploaded == 6 - before
    world.dxr.knobs(token_revoked_after=4)
    with pytest.raises(DxrUnauthorized):
        world.collect()
    world.dxr.knobs(token_revoked_after=None)
    world.collect()
    assert {row["status"] for row in world.rows()} == {"classified"}
    assert len(world.rows()) == len(world.sent()) == 6


def test_a_run_that_ends_while_it_collects_tells_what_it_sent(world: World) -> None:
    """The summary of a failed run-once has the counts of its ingest."""
    parts(world, 2)
    with (
        fault(world, {"route": "job", "status": 401}),
        pytest.raises(DxrRunFailed, match="replaced") as failed,
    ):
        perform("dxr_run_once", world.session())
    found = failed.value.summary
    assert (found["seen"], found["uploaded"], found["jobs"], found["classified"]) == (2, 2, 1, 0)
    [row] = world.rows("dxr_runs")
    assert (row["outcome"], row["uploaded"]) == ("failed", 2)


@pytest.mark.parametrize("when", ["submit", "running", "terminal"])
def test_scan_ids_come_early_or_late(world: World, when: str) -> None:
    parts(world, 3)
    world.dxr.knobs(scan_id_when=when)
    assert world.run_once().classified == 3


def test_a_job_without_a_scan_id(world: World) -> None:
    """The files are found by their names instead."""
    parts(world, 3)
    world.dxr.knobs(scan_id_when="never")
    summary = world.run_once(settle_limit=0.3)
    assert summary.classified == 3
    assert all("Payment card data" in row["labels"] for row in world.rows())


def test_a_job_that_data_x_ray_forgot(world: World) -> None:
    """It is LOST; files that the index still has are taken, the others failed and sent again."""
    parts(world, 2)
    world.ingest()
    world.dxr.simulator.store.database.write("DELETE FROM dxr_jobs")
    world.dxr.simulator.store.database.write("DELETE FROM dxr_files")
    summary = world.collect(settle_limit=0.3)
    assert summary.failed == 2
    assert world.states() == ["LOST"]
    assert "does not know the job" in world.rows()[0]["status_reason"]
    assert world.run_once().classified == 2


def test_two_documents_of_one_name(world: World) -> None:
    """A file that two documents claim to be is ambiguous, not guessed."""
    parts(world, 2)
    world.ingest()
    world.dxr.knobs(same_name="keep_both")
    database = world.dxr.simulator.store.database
    from tests.local.dxr.conftest import wait_for

    wait_for(lambda: database.read("SELECT 1 FROM dxr_files WHERE indexed_at IS NOT NULL"))
    [first, second] = [row["name"] for row in database.read("SELECT name FROM dxr_files ORDER BY seq")]
    database.write("UPDATE dxr_files SET name = ? WHERE name = ?", first, second)
    # the hash says which of the two it is
    assert world.collect(settle_limit=0.3, job_id=[world.jobs()[0]["job_id"]]).missing == 1
    assert world.run_once().classified == 1
    # without a hash nobody can say
    world.put("third.txt", "third")
    world.put("fourth.txt", "fourth")
    world.ingest()
    wait_for(lambda: len(database.read("SELECT 1 FROM dxr_files WHERE indexed_at IS NOT NULL")) >= 5)
    [third, fourth] = [row["name"] for row in database.read("SELECT name FROM dxr_files ORDER BY seq")][-2:]
    database.write("UPDATE dxr_files SET sha256 = '', name = ? WHERE name IN (?, ?)", third, third, fourth)
    summary = world.collect(settle_limit=0.3)
    assert (summary.ambiguous, summary.missing) == (1, 1)


@pytest.mark.parametrize("limit", [{"max_files": 2}, {"max_bytes": 1200}])
def test_a_job_that_is_too_much_is_split(world: World, limit: dict[str, int]) -> None:
    """Until Data X-Ray takes it."""
    parts(world, 5)
    world.dxr.knobs(**limit)
    summary = world.run_once()
    assert (summary.classified, summary.skipped) == (5, 0)


def test_a_file_that_data_x_ray_refuses_is_skipped(world: World) -> None:
    """The others of its job go on."""
    parts(world, 4)
    world.put("big.txt", "x" * 9000)
    world.dxr.knobs(max_file_bytes=5000)
    summary = world.run_once()
    assert (summary.classified, summary.skipped) == (4, 1)
    assert "413" in world.checkpoints()["big.txt"]["reason"]


def test_a_wrong_datasource_stops_the_run(world: World) -> None:
    """At once, naming it; nothing is lost."""
    parts(world, 3)
    with pytest.raises(DxrNotFound, match="datasource 999"):
        world.ingest(datasource_id=999)
    assert world.states() == ["REFUSED"]
    assert world.run_once().classified == 3


def test_an_empty_403(world: World) -> None:
    parts(world, 1)
    with (
        fault(world, {"route": "submit", "status": 403, "body": "empty"}),
        pytest.raises(DxrRefused, match="ask for the permission"),
    ):
        world.ingest()


def test_names_that_cannot_be_asked_for(world: World) -> None:
    """A label without a name keeps its id; a refusal is not remembered as a name."""
    parts(world, 1)
    world.ingest()
    with fault(world, {"route": "tags", "status": 403, "body": "empty"}):
        world.collect()
    [row] = world.rows()
    assert row["labels"] == row["tags"] != []
    client = world.client()
    with fault(world, {"route": "tags", "status": 403, "body": "empty"}):
        assert client.label("7") is None
    assert client.label("7") == "Personal data"
    asked = world.dxr.counters()["calls"]["tags"]["200"]
    assert client.label("7") == "Personal data"
    assert world.dxr.counters()["calls"]["tags"]["200"] == asked


def test_html_instead_of_an_api(world: World) -> None:
    """A page of something in between is told as what it is."""
    parts(world, 1)
    world.ingest()
    client = world.client(attempts=2)
    job_id = world.jobs()[0]["job_id"]
    with (
        fault(world, {"route": "job", "status": 200, "body": "html"}),
        pytest.raises(DxrUnavailable, match="is the base URL right") as caught,
    ):
        client.job(200, job_id)
    assert "<html" not in str(caught.value)


def test_nothing_is_done_with_a_wrong_setting(world: World) -> None:
    """Before any table is made, with the name of the setting."""
    for wrong, said in (
        ({"since": "yesterday"}, "since must be"),
        ({"source_volume": "/tmp/x"}, "source_volume must be"),
        ({"max_files_per_job": 20_000}, "at most 10000"),
        ({"include": ["/"]}, "pattern is empty"),
        ({"base_url": "ftp://x"}, "https://host"),
        ({"ca_bundle": "/no/such/file"}, "CA bundle"),
    ):
        with pytest.raises(UsageError, match=said):
            world.ingest(**wrong)
    assert world.dxr.counters()["calls"] == {}
