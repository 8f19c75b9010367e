"""What went wrong in the systems that this replaces, one test each, by the number of the defect.

A: the first pipeline, B: its rewrite. Those about the snapshot (C) are in `test_snapshot.py`, but for the
ones that the client answers for.
"""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.dxr import views
from lakeflow_job_meta.dxr.selection import upload_name
from lakeflow_job_meta.dxr.settings import read_dotenv, resolve, token_of
from lakeflow_job_meta.dxr.transport import normalise
from lakeflow_job_meta.errors import (
    DxrNotFound,
    DxrUnauthorized,
    DxrUnavailable,
    StreamCut,
    TableMismatch,
    TablesError,
    UsageError,
    VolumeError,
)
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition
from tests.dxr.world import Clock, World, fault

pytestmark = pytest.mark.slow

CARD = "card 4111 1111 1111 1111"


def parts(world: World, count: int, prefix: str = "f") -> list[str]:
    """So many small files, each with content of its own."""
    return [world.put(f"{prefix}{number:03}.txt", f"file {prefix} {number}") for number in range(count)]


# ---------------------------------------------------------------- A


@pytest.mark.parametrize("base", ["{}", "{}/", "{}/api", "{}/api/", "{}/api/api"])
def test_a1_the_prefix_is_added_once(world: World, base: str) -> None:
    """Whether the base URL has it or not, submit and search both find their endpoint."""
    world.put("x.txt", CARD)
    summary = world.run_once(base_url=base.format(world.dxr.url))
    assert summary.classified == 1
    assert "other" not in world.dxr.counters()["calls"]
    assert normalise("https://h/x/api/") == "https://h/x/api"
    assert normalise("https://h/", "") == "https://h"


def test_a2_a_file_counts_as_done_only_when_it_is(world: World) -> None:
    """A FAILED job's files are sent again; a checkpoint says what became of the file."""
    world.put("x.txt", CARD)
    world.dxr.knobs(fail_first=1, partial_on_fail=0)
    world.ingest()
    assert world.checkpoints()["x.txt"]["state"] == "submitted"
    assert world.collect().failed == 1
    assert world.checkpoints()["x.txt"]["state"] == "failed"
    again = world.run_once()
    assert (again.uploaded, again.classified) == (1, 1)
    assert world.checkpoints()["x.txt"]["attempts"] == 2


def test_a2_a_file_is_not_sent_for_ever(world: World) -> None:
    """After max_attempts it is left alone, and still counted as failed; a new version begins anew."""
    world.put("x.txt", CARD)
    world.dxr.knobs(fail_rate=1, partial_on_fail=0)
    for _ in range(2):
        world.run_once(max_attempts=2)
    third = world.ingest(max_attempts=2)
    assert (third.uploaded, third.failed) == (0, 1)
    world.dxr.knobs(fail_rate=0)
    world.put("x.txt", CARD + " again")
    assert world.run_once(max_attempts=2).classified == 1


def test_a3_collect_polls_until_the_job_ends(world: World) -> None:
    """A job that takes several looks is waited for."""
    world.put("x.txt", CARD)
    world.dxr.knobs(
        state_script=[["UPLOADING_FILES", {"polls": 2}], ["AWAITING_RECRAWL_TO_COMPLETE", {"polls": 3}]]
    )
    world.ingest()
    assert world.collect().classified == 1
    assert world.dxr.counters()["calls"]["job"]["200"] >= 5


def test_a4_collect_finds_its_jobs_in_the_ledger(world: World) -> None:
    """No id needs to be given; one that is given is taken alone, one that nobody knows is refused."""
    parts(world, 4)
    world.ingest(max_files_per_job=2)
    first, second = sorted(row["job_id"] for row in world.jobs())
    assert world.collect(job_id=[first]).classified == 2
    assert {row["job_id"]: row["state"] for row in world.jobs()} == {first: "COLLECTED", second: "SUBMITTED"}
    with pytest.raises(UsageError, match="knows no job 'typo'"):
        world.collect(job_id=["typo"])
    assert world.collect().classified == 2


@pytest.mark.parametrize("echo", ["full", "leading_slash", "basename"])
def test_a5_equal_names_in_two_folders(world: World, echo: str) -> None:
    """Each file gets its own result, whatever Data X-Ray makes of the upload's name."""
    world.dxr.knobs(file_name_echo=echo)
    world.put("a/x.txt", CARD)
    world.put("b/x.txt", "nothing in here")
    assert world.run_once().classified == 2
    found = world.found()
    assert found["a/x.txt"]["annotators"] == ["Payment card"]
    assert found["b/x.txt"]["annotators"] == []


def test_a6_rows_join_back_to_the_volume(world: World) -> None:
    """file_path is the file's path in the volume, and the place is told in parts."""
    path = world.put("a/x.txt", CARD)
    world.run_once()
    [row] = world.rows()
    assert row["file_path"] == path
    assert row["volume_path"] == world.volume
    assert (row["catalog_name"], row["schema_name"], row["volume_name"], row["relative_path"]) == (
        "main",
        "files",
        "inbox",
        "a/x.txt",
    )


def test_a7_one_row_a_source_file(world: World) -> None:
    """A new version replaces the row of the old one, though Data X-Ray gives it another file id."""
    world.put("x.txt", CARD)
    world.run_once()
    [before] = world.rows()
    world.put("x.txt", "now something else")
    world.run_once()
    [after] = world.rows()
    assert after["file_id"] != before["file_id"]
    assert (before["version"], after["version"]) == (1, 2)


def test_a8_every_page_is_read(world: World) -> None:
    """A job of more files than a page has loses none."""
    parts(world, 23)
    assert world.run_once(page_size=5, max_files_per_job=100).classified == 23


def test_a9_jobs_are_bounded_by_files(world: World) -> None:
    parts(world, 7)
    assert world.ingest(max_files_per_job=3).jobs == 3
    assert sorted(row["files"] for row in world.jobs()) == [1, 3, 3]


def test_a9_jobs_are_bounded_by_bytes(world: World) -> None:
    for number in range(5):
        world.put(f"{number}.bin", bytes([number]) * 400)
    world.ingest(max_bytes_per_job=1000)
    assert sorted(row["bytes"] for row in world.jobs()) == [400, 800, 800]


def test_a10_and_b2_a_file_over_the_limit_is_skipped(world: World) -> None:
    """With its reason, and the rest goes on; a higher limit takes it, alone."""
    world.put("big.bin", b"x" * 5000)
    parts(world, 3)
    summary = world.run_once(max_bytes_per_job=1000)
    assert (summary.skipped, summary.classified) == (1, 3)
    assert "5000 bytes" in world.checkpoints()["big.bin"]["reason"]
    again = world.ingest(max_bytes_per_job=1000)
    assert (again.skipped, again.uploaded) == (1, 0)
    assert world.run_once(max_bytes_per_job=1000, max_file_bytes=10_000).classified == 1


def test_a11_and_b15_memory_does_not_grow_with_the_files(world: World) -> None:
    """Files are streamed: ten times the bytes take no more memory."""

    def peak(size: int) -> int:
        world.put("big.bin", os.urandom(size))
        session = world.session(max_bytes_per_job=10**9)
        from lakeflow_job_meta.dxr.ingest import ingest

        tracemalloc.start()
        try:
            assert ingest(session).uploaded_bytes == size
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    world.dxr.knobs(state_script=[["UPLOADING_FILES", None]])
    peak(1_000_000)
    small, large = peak(4_000_000), peak(40_000_000)
    assert large < small + 4_000_000


def test_a12_folders_are_entered_and_edits_of_equal_size_are_seen(world: World) -> None:
    """Sub-folders of any depth; a file of the same size and another time and content is new."""
    world.put("a/b/c/deep.txt", "one", at=1_700_000_000)
    assert world.run_once().classified == 1
    world.put("a/b/c/deep.txt", "two", at=1_700_000_100)
    assert world.ingest().uploaded == 1


def test_a14_a_failed_statement_is_no_success(world: World, sail: Any, spark: Any) -> None:
    """A ledger that cannot be written ends the run; nothing is sent without its intent."""

    class Broken:
        def __init__(self, tables: Any) -> None:
            self.tables = tables

        def __getattr__(self, name: str) -> Any:
            return getattr(self.tables, name)

        def append(self, definition: TableDefinition, rows: Any) -> None:
            raise TablesError("no right to write")

    world.put("x.txt", CARD)
    with pytest.raises(TablesError, match="no right"):
        world.ingest(tables=Broken(world.tables))
    assert world.submitted() == []


def test_a15_each_table_has_its_own_place(world: World) -> None:
    """Tables that are not named lie beside the metadata table, each under its own name."""
    world.put("x.txt", CARD)
    world.run_once()
    assert {len(world.rows(name)) for name in ("dxr_jobs", "dxr_checkpoints", "file_metadata")} == {1}
    settings = resolve({"metadata_table": "c.s.t", "jobs_table": "c.other.ledger"})
    assert str(settings.table("job")) == "c.other.ledger"
    assert str(settings.table("checkpoint")) == "c.s.dxr_checkpoints"


def test_a16_the_checkpoint_outlives_the_run(world: World) -> None:
    """A second run, with ports of its own, sends nothing."""
    world.put("x.txt", CARD)
    world.ingest()
    assert world.ingest().uploaded == 0
    assert len(world.submitted()) == 1


HOSTILE = [
    "it's.txt",
    "back\\slash.txt",
    'a "quoted" one.txt',
    "two\nlines.txt",
    "`ticks`.txt",
    "\U0001f600 ü.txt",
    "..a..",
    "%41.txt",
]


def test_a17_names_are_never_sql(world: World) -> None:
    """Files of any name are sent, kept and joined as what they are."""
    for number, name in enumerate(HOSTILE):
        world.put(f"d';--/{name}", f"content {number}")
    summary = world.run_once()
    assert (summary.classified, summary.skipped) == (len(HOSTILE), 0)
    assert set(world.found()) == {f"d';--/{name}" for name in HOSTILE}
    assert world.ingest().uploaded == 0


@pytest.mark.parametrize("route", ["job", "search", "tags"])
@pytest.mark.parametrize("what", [{"status": 503}, {"status": 429, "retry_after": 0}, {"reset": "before"}])
def test_a18_what_is_safe_to_repeat_is_repeated(world: World, route: str, what: dict[str, Any]) -> None:
    """Two failures of a GET or a search are got over."""
    world.put("x.txt", CARD)
    world.ingest()
    with fault(world, {"route": route, "count": 2, **what}):
        assert world.collect().classified == 1


def test_a18_what_is_refused_is_not_repeated(world: World) -> None:
    """4xx but 408 and 429 is final."""
    client = world.client()
    with pytest.raises(DxrNotFound):
        client.job(200, "none")
    assert world.dxr.counters()["calls"]["job"] == {"404": 1}


def test_a19_a_dry_run_calls_and_writes_nothing(world: World) -> None:
    """Not even tables; it tells what would be sent. A wrong volume is an error, not an empty plan."""
    path = world.put("x.txt", CARD)
    summary = world.ingest(dry_run=True)
    assert (summary.seen, summary.new, summary.uploaded, summary.dry_run) == (1, 1, 0, True)
    assert summary.reasons == [{"path": path, "state": "new", "reason": "would be sent"}]
    assert world.collect(dry_run=True).classified == 0
    assert world.dxr.counters()["calls"] == {}
    assert world.tables.columns(TableName(*world.schema, "dxr_jobs")) is None
    with pytest.raises(VolumeError, match="no such file or folder"):
        world.ingest(dry_run=True, source_volume="/Volumes/main/files/typo")


def test_a19_a_dotenv_file_is_read_before_anything_is_decided(tmp_path: Path) -> None:
    """Flags are stronger than the environment, the environment than the file; the environment stays as it is."""
    (tmp_path / ".env").write_text(
        "DXR_BASE_URL=https://file\nDXR_DATASOURCE_ID=7\nDXR_API_KEY='k'\nDATABRICKS_CATALOG=c\n"
        "DATABRICKS_SCHEMA=s\nDATABRICKS_SOURCE_VOLUME=v\n"
    )
    dotenv = read_dotenv(tmp_path / ".env")
    settings = resolve({"datasource_id": 9}, {"DXR_BASE_URL": "https://environment"}, dotenv)
    assert (settings["base_url"], settings["datasource_id"], settings.volume) == (
        "https://environment",
        (9,),
        "/Volumes/c/s/v",
    )
    assert token_of(dotenv) == "k"
    assert "DXR_API_KEY" not in os.environ
    assert read_dotenv(tmp_path / "none") == {}


@pytest.mark.parametrize("shape", ["flat", "nested_value", "nested_state", "dotted", "status", "job_state"])
def test_a20_and_b9_states_of_any_shape(world: World, shape: str) -> None:
    """The state in the ledger is its name; the scan id is found wherever it stands."""
    world.dxr.knobs(job_shape=shape, scan_id_type="str")
    world.put("x.txt", CARD)
    assert world.run_once().classified == 1
    [job] = world.jobs()
    assert job["dxr_state"] == "FINISHED"


def test_a22_the_checksum_is_that_of_the_bytes_sent(world: World) -> None:
    import hashlib

    world.put("x.txt", CARD)
    world.ingest()
    assert world.checkpoints()["x.txt"]["checksum"] == hashlib.sha256(CARD.encode()).hexdigest()
    # touched, not changed: the hash says so, and nothing is sent
    os.utime(world.folder / "x.txt", (1_700_000_000, 1_700_000_000))
    again = world.ingest()
    assert (again.uploaded, again.unchanged) == (0, 1)
    assert world.checkpoints()["x.txt"]["modification_time"].timestamp() == 1_700_000_000


@pytest.mark.parametrize("kind", ["int", "str", "name", "repeated"])
def test_a23_labels_have_their_names(world: World, kind: str) -> None:
    """From the tags, whose ids are looked up; each once, as JSON and as array."""
    world.dxr.knobs(tag_type=kind)
    world.put("x.txt", CARD)
    world.run_once()
    [row] = world.rows()
    assert "Payment card data" in row["labels"]
    assert len(row["labels"]) == len(set(row["labels"]))
    assert json.loads(row["labels_json"]) == row["labels"]
    assert json.loads(row["tags_json"]) == row["tags"] == row["dxr_tags"]


def test_a23_the_view_of_sensitive_files_is_not_empty(world: World) -> None:
    world.put("x.txt", CARD)
    world.put("y.txt", "nothing")
    world.run_once(views=True, sensitive_labels=["Payment card data", "it's"])
    found = world.rows("v_sensitive_files")
    assert {row["relative_path"] for row in found} == {"x.txt"}
    assert {row["relative_path"] for row in world.rows("v_file_metadata")} == {"x.txt", "y.txt"}


def test_a24_and_b19_files_that_are_gone_are_marked(world: World) -> None:
    """In the checkpoints and in the results; what comes back is sent anew. An empty listing removes nothing."""
    world.put("x.txt", CARD)
    world.put("y.txt", "stays")
    world.run_once(views=True)
    (world.folder / "x.txt").unlink()
    assert world.ingest().deleted == 1
    assert world.found()["x.txt"]["source_deleted_at"] is not None
    assert world.checkpoints()["x.txt"]["state"] == "deleted"
    assert [row["relative_path"] for row in world.rows("v_file_metadata")] == ["y.txt"]
    assert world.ingest().deleted == 0
    world.put("x.txt", CARD)
    assert world.run_once().classified == 1
    assert world.found()["x.txt"]["source_deleted_at"] is None
    for name in ("x.txt", "y.txt"):
        (world.folder / name).unlink()
    assert world.ingest().deleted == 0


# ---------------------------------------------------------------- B


def test_b1_only_what_is_new_or_changed_is_sent(world: World) -> None:
    parts(world, 5)
    assert world.run_once().uploaded == 5
    world.put("f001.txt", "another content")
    world.put("new.txt", "new")
    assert world.run_once().uploaded == 2
    assert len(world.sent()) == 7


def test_b3_an_error_in_one_job_loses_no_other(world: World) -> None:
    """Jobs that were accepted before the error are in the ledger and are collected."""
    parts(world, 6)
    world.dxr.knobs(token_revoked_after=2)
    with pytest.raises(DxrUnauthorized):
        world.ingest(max_files_per_job=1, parallel_jobs=1)
    accepted = len(world.submitted())
    assert 0 < accepted < 6
    world.dxr.knobs(token_revoked_after=None)
    assert world.collect().classified == accepted
    assert world.run_once(max_files_per_job=1).classified == 6 - accepted
    assert len(world.sent()) == 6


def test_b4_no_upload_name_is_used_twice(world: World) -> None:
    """A later run never overwrites what an earlier one sent."""
    world.put("x.txt", CARD)
    world.ingest()
    world.put("x.txt", "another")
    world.ingest()
    names = [name for name, _ in world.received()]
    assert len(names) == len(set(names)) == 2
    assert world.collect().classified == 1  # the newest; the older version is superseded


def test_b5_hits_are_never_given_to_the_first_of_a_name(world: World) -> None:
    """With names cut to their last part and equal names, no row has another file's labels."""
    world.dxr.knobs(file_name_echo="basename", unstable_score_sort=True)
    for number in range(6):
        world.put(f"{number}/report.txt", CARD if number % 2 else "nothing")
    assert world.run_once(page_size=2).classified == 6
    for name, row in world.found().items():
        assert bool(row["annotators"]) == bool(int(name[0]) % 2)


def test_b6_a_run_in_which_jobs_failed_is_no_success(world: World) -> None:
    world.put("x.txt", CARD)
    world.dxr.knobs(fail_rate=1)
    summary = world.run_once()
    assert not summary.good
    assert summary.failed == 1
    assert "FAILED in Data X-Ray: text extraction crashed" in summary.reasons[0]["reason"]


def test_b7_partial_results_are_marked(world: World) -> None:
    """Rows of a FAILED job say so; its files without a row are failed, too."""
    parts(world, 4)
    world.dxr.knobs(fail_rate=1, partial_on_fail=0.5)
    assert world.run_once().failed == 4
    rows = world.found().values()
    assert {row["status"] for row in rows} == {"failed"}
    assert sorted(row["is_partial"] for row in rows) == [False, False, True, True]
    assert all((row["file_id"] is not None) == row["is_partial"] for row in rows)
    assert {row["job_state"] for row in rows} == {"FAILED"}


def test_b8_files_without_a_hit_are_missing(world: World) -> None:
    """By name, in the summary, the results, the checkpoint and the ledger; the next run sends them again."""
    world.put("lost.txt", CARD)
    world.put("found.txt", CARD)
    world.dxr.knobs(lost_files=["lost_*"])
    summary = world.run_once(settle_limit=0.3)
    assert (summary.classified, summary.missing) == (1, 1)
    assert summary.reasons[0]["path"].endswith("/lost.txt")
    assert world.found()["lost.txt"]["status"] == "missing"
    assert world.checkpoints()["lost.txt"]["state"] == "missing"
    assert world.jobs()[0]["missing"] == 1
    world.dxr.knobs(lost_files=[])
    assert world.run_once().classified == 1
    assert world.found()["lost.txt"]["status"] == "classified"


@pytest.mark.parametrize("lag", [{"polls": 3}, 0.4])
def test_b10_the_index_is_waited_for(world: World, lag: Any) -> None:
    parts(world, 5)
    world.dxr.knobs(index_lag=lag, index_early_share=0.4)
    summary = world.run_once()
    assert (summary.classified, summary.missing) == (5, 0)


def test_b10_values_that_come_late_are_waited_for(world: World) -> None:
    """What changes between two looks is looked at again."""
    world.put("x.txt", CARD)
    world.dxr.knobs(label_lag={"polls": 2})
    world.run_once(settle_rounds=4)
    assert "Payment card data" in world.found()["x.txt"]["labels"]


def test_b10_what_models_extract_is_waited_for(world: World) -> None:
    """Up to a limit of its own; without it, what is there is taken."""
    world.put("x.txt", CARD)
    world.dxr.knobs(extraction_lag=1)
    world.run_once(settle_limit=5, extraction_wait=4)
    assert world.found()["x.txt"]["metadata_extraction_status"] == "SUCCESS"
    world.put("x.txt", CARD + ".")
    world.dxr.knobs(extraction_lag=None)
    assert world.run_once(extraction_wait=0.3).classified == 1
    assert world.found()["x.txt"]["metadata_extraction_status"] is None


def test_b11_the_order_of_hits_is_stable(world: World) -> None:
    """An index that shuffles equal scores gives neither doubles nor gaps."""
    world.dxr.knobs(unstable_score_sort=True)
    parts(world, 30)
    assert world.run_once(page_size=7, max_files_per_job=100).classified == 30


def test_b12_a_failed_page_is_asked_for_alone(world: World) -> None:
    """Not from page 0 again; 400 is not repeated."""
    parts(world, 10)
    world.ingest(max_files_per_job=100)
    with fault(world, {"route": "search", "nth": 3, "status": 502}):
        assert world.collect(page_size=5, settle_rounds=2).classified == 10
    calls = world.dxr.counters()["calls"]["search"]
    assert calls["502"] == 1
    assert calls["200"] <= 6


def test_b13_a_failed_look_does_not_end_the_wait(world: World) -> None:
    """More failures than one call gets over only delay."""
    world.put("x.txt", CARD)
    world.ingest()
    with fault(world, {"route": "job", "count": 8, "status": 500}):
        assert world.collect().classified == 1


def test_b14_jobs_are_followed_together(world: World) -> None:
    """One deadline for all; what still runs then stays open for the next run."""
    parts(world, 3)
    world.dxr.knobs(state_script=[["UPLOADING_FILES", None]])
    world.ingest(max_files_per_job=1)
    clock = Clock()
    clock.at = world.session().clock()
    summary = world.collect(deadline=100, poll_interval=10, clock=clock, sleep=clock.sleep)
    assert (summary.open, summary.failed, summary.good) == (3, 0, False)
    assert sum(clock.slept) == pytest.approx(100, abs=2)
    assert world.states() == ["SUBMITTED"] * 3
    # a job that never ends is failed at last, and its files may be sent again
    clock.at = world.session().clock()
    late = world.collect(job_expiry=0, clock=clock, sleep=clock.sleep)
    assert (late.failed, late.open) == (3, 0)
    assert world.states() == ["EXPIRED"] * 3


def test_b14_several_datasources_are_used(world: World) -> None:
    """The jobs are spread over them."""
    parts(world, 8)
    assert world.run_once(datasource_id=[200, 201, 202, 203], max_files_per_job=1).classified == 8
    assert {row["datasource_id"] for row in world.jobs()} == {200, 201, 202, 203}


def test_b16_equal_relative_names_below_two_prefixes(world: World) -> None:
    """The prefix is part of the path that a row is kept under."""
    world.put("a/x.txt", CARD)
    world.put("b/x.txt", "nothing")
    assert world.run_once(prefix="a").classified == 1
    assert world.run_once(prefix="b").classified == 1
    assert set(world.found()) == {"a/x.txt", "b/x.txt"}


def test_b17_a_prefix_may_name_a_file(world: World) -> None:
    world.put("a/x.txt", CARD)
    world.put("a/y.txt", "other")
    summary = world.run_once(prefix="a/x.txt")
    assert (summary.seen, summary.classified) == (1, 1)
    with pytest.raises(UsageError, match="leads out"):
        world.ingest(prefix="../other")
    with pytest.raises(VolumeError):
        world.ingest(prefix="typo")


def test_b18_links_and_unreadable_folders(world: World) -> None:
    """A circle of links ends; what cannot be listed or read is told, and the rest goes on."""
    world.put("a/x.txt", CARD)
    (world.folder / "a" / "loop").symlink_to(world.folder)
    (world.folder / "a" / "dangling.txt").symlink_to(world.folder / "nowhere")

    class Guarded(FuseVolumes):
        def open(self, path: str) -> Any:
            if path.endswith("locked.txt"):
                raise VolumeError(f"cannot read {path}: permission denied; ask for access to it")
            return super().open(path)

    world.put("locked.txt", "secret")
    summary = world.run_once(volumes=Guarded(world.root))
    assert (summary.classified, summary.skipped) == (1, 1)
    assert "permission denied" in world.checkpoints()["locked.txt"]["reason"]
    assert world.run_once().classified == 1


def test_b18_a_file_that_vanishes_does_not_end_the_run(world: World) -> None:
    """Between the listing and the upload."""

    class Vanishing(FuseVolumes):
        def open(self, path: str) -> Any:
            if path.endswith("gone.txt"):
                world.folder.joinpath("gone.txt").unlink(missing_ok=True)
            return super().open(path)

    world.put("gone.txt", "soon")
    parts(world, 3)
    summary = world.run_once(volumes=Vanishing(world.root))
    assert (summary.classified, summary.skipped) == (3, 1)
    assert len(world.submitted()) == 1


def test_b20_tables_and_views_of_any_name(world: World) -> None:
    """Names are quoted."""
    world.put("x.txt", CARD)
    odd = TableName(*world.schema, "select-from")
    world.run_once(metadata_table=odd.quoted, views=True)
    assert len(world.rows("select-from")) == 1
    text = views.texts(odd, odd, ["it's", "back\\slash"])["v_sensitive_files"]
    assert "`select-from`" in text
    assert r"'it\'s', 'back\\slash'" in text


def test_b21_names_instead_of_numbers(world: World) -> None:
    """Annotators and extractors have their names, beside their ids."""
    world.put("x.txt", CARD)
    world.run_once()
    [row] = world.rows()
    assert row["annotators"] == ["Payment card"]
    [annotator] = json.loads(row["annotators_json"])
    assert (annotator["id"], annotator["name"], annotator["count"]) == ("18", "Payment card", 1)
    extracted = {one["name"]: one["value"] for one in json.loads(row["extracted_metadata_json"])}
    assert "Document type" in extracted
    assert json.loads(row["annotation_stats_json"])["18"]["count"] == 1


def test_b22_phrases_and_text_stay_out(world: World) -> None:
    """Unless they are asked for."""
    world.put("x.txt", CARD)
    world.run_once()
    [row] = world.rows()
    assert "4111" not in json.dumps(row, default=str)
    world.put("x.txt", CARD + ".")
    world.run_once(keep_phrases=True, keep_raw_text=True)
    [row] = world.rows()
    assert "4111" in row["annotations"]
    assert "4111" in json.loads(row["metadata_json"])["dxr#raw_text"]


def test_b23_a_file_that_changes_while_it_is_sent(world: World) -> None:
    """Is noticed, not sent as what it was, and sent whole by the next run; the others go on."""

    class Changing(FuseVolumes):
        def open(self, path: str) -> Any:
            if path.endswith("live.log"):
                with (world.folder / "live.log").open("a") as file:
                    file.write("more\n")
            return super().open(path)

    world.put("live.log", "line\n")
    world.put("x.txt", CARD)
    summary = world.run_once(volumes=Changing(world.root))
    assert (summary.classified, summary.skipped) == (1, 1)
    assert world.run_once().classified == 1
    assert world.found()["live.log"]["file_size"] == (world.folder / "live.log").stat().st_size


def test_b23_a_document_with_another_hash_is_no_result(world: World) -> None:
    """The hash that Data X-Ray computed is held against that of the bytes sent."""
    world.put("x.txt", CARD)
    world.ingest()
    world.dxr.simulator.store.database.write("UPDATE dxr_files SET sha256 = ?", "0" * 64)
    summary = world.collect(settle_limit=0.3)
    assert summary.ambiguous == 1
    assert world.found()["x.txt"]["status"] == "ambiguous"


def test_b25_secrets_and_local_runs(world: World) -> None:
    """The token comes from a secret, or from the environment; without either the run says what to do."""

    class Vault:
        def get(self, scope: str, key: str) -> str:
            assert (scope, key) == ("dxr", "token")
            return world.dxr.token

    world.put("x.txt", CARD)
    summary = world.ingest(secret_scope="dxr", secret_key="token", secrets=Vault, environment={})
    assert summary.uploaded == 1
    with pytest.raises(UsageError, match="no Data X-Ray token"):
        world.ingest(environment={})
    with pytest.raises(UsageError, match="go together"):
        world.ingest(secret_scope="dxr")


def test_b26_an_index_that_never_ends(world: World) -> None:
    """A server that answers the same full page for ever is read to its result window, no further."""
    page = {"hits": {"hits": [{"_id": "1", "_source": {"ds#file_name": "x"}}] * 50}}
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["pageNumber"])
        return httpx.Response(200, json=page)

    client = world.client()
    client._transport._http = httpx.Client(transport=httpx.MockTransport(answer))
    assert len(list(client.search({}, page_size=50))) == 1
    assert asked == list(range(200))


def test_an_older_table_is_refused_by_name(world: World) -> None:
    """A table with other columns is told, with what is missing, before anything is sent."""
    world.put("x.txt", CARD)
    definition = TableDefinition(
        world.metadata_table, (Column("file_id", "STRING"), Column("labels", "STRING"))
    )
    world.tables.create_table(definition)
    with pytest.raises(TableMismatch, match="labels is STRING"):
        world.run_once()


# ---------------------------------------------------------------- C, as far as the client answers for it


def lines(world: World, query: str | None = None, **more: Any) -> list[bytes]:
    with world.client().files(query, **more) as found:
        return list(found)


def test_c5_lines_end_at_newline_bytes_only(world: World) -> None:
    """U+2028 and the like inside a text do not cut it."""
    world.put("x.txt", CARD)
    world.run_once()
    world.dxr.knobs(stream_faults=[{"kind": "line_separators"}])
    found = lines(world)
    assert any("\u2028".encode() in line for line in found)
    assert all("fileName" in json.loads(line) for line in found)


def test_c6_the_head_of_a_stream_is_repeated(world: World) -> None:
    world.put("x.txt", CARD)
    world.run_once()
    with fault(world, {"route": "files", "count": 2, "status": 503}):
        assert len(lines(world)) == 1


@pytest.mark.parametrize("kind", ["premature_eof", "reset", "stall"])
def test_c6_and_c7_a_broken_stream_says_so(world: World, kind: str) -> None:
    parts(world, 3)
    world.run_once()
    world.dxr.knobs(stream_faults=[{"kind": kind, "after_rows": 1, "seconds": 3}])
    with pytest.raises(StreamCut), world.client(timeout=1).files() as found:
        list(found)


def test_c7_a_trickle_ends(world: World) -> None:
    """There is a limit for the whole stream, too."""
    parts(world, 3)
    world.run_once()
    ticks = iter(range(0, 1000, 10))
    client = world.client(clock=lambda: float(next(ticks)))
    with pytest.raises(StreamCut, match="longer than it may"), client.files(seconds=5) as found:
        list(found)


def test_c16_the_answer_is_closed(world: World) -> None:
    """Also when the reader stops early: the connection is free for the next call."""
    parts(world, 3)
    world.run_once()
    client = world.client()
    for _ in range(40):  # more than the pool has
        with client.files() as found:
            next(found)


def test_nothing_is_sent_while_data_x_ray_takes_nothing(world: World) -> None:
    """After three jobs in a row the run stops, and says that nothing is lost."""
    parts(world, 8)
    with (
        fault(world, {"route": "submit", "status": 503}),
        pytest.raises(DxrUnavailable, match="nothing is lost"),
    ):
        world.ingest(max_files_per_job=1, parallel_jobs=1)
    assert world.run_once(max_files_per_job=1, unclear_wait=0.1).classified == 8


def test_upload_names_are_safe_and_unique() -> None:
    """No folder, no quote, no control character; the token stands before the extension."""
    made = [upload_name(f"/Volumes/a/b/c/{name}", "ab" * 16, number) for number, name in enumerate(HOSTILE)]
    assert len(set(made)) == len(made)
    for name in made:
        assert not set(name) & set("/\\\"'`\n\r%*?:;")
    assert upload_name("/x/report.pdf", "ab" * 16, 3) == f"report_{'ab' * 16}00003.pdf"
    assert upload_name("/x/" + "y" * 300 + ".tar.gz", "ab" * 16, 0).endswith("00000.gz")
    assert len(upload_name("/x/" + "y" * 300, "ab" * 16, 0)) < 120
