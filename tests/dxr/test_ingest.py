"""Ingest: over real HTTP into the simulator, with Delta tables on Sail."""

from __future__ import annotations

from lakeflow_job_meta.dxr.ledger import Checkpoints, Ledger, submitted_rows
from tests.dxr.world import World, now


def test_new_files_are_sent_and_the_second_run_sends_nothing(world: World) -> None:
    """Every file once; a run with nothing new uploads nothing and reads the checkpoints once."""
    world.put("a/x.txt", "card 4111 1111 1111 1111")
    world.put("b/x.txt", "nothing here")
    world.put("notes.csv", "name,mail\nAna,ana@example.org\n")
    summary = world.ingest()
    assert (summary.seen, summary.new, summary.uploaded, summary.jobs) == (3, 3, 3, 1)
    assert summary.uploaded_bytes == sum(len(path.read_bytes()) for path in world.folder.rglob("*.*"))
    found = world.collect()
    assert (found.classified, found.missing, found.ambiguous, found.failed) == (3, 0, 0, 0)
    again = world.ingest()
    assert (again.seen, again.new, again.uploaded, again.unchanged) == (3, 0, 0, 3)


def test_a_collect_beside_the_ingest_is_not_undone(world: World) -> None:
    """A checkpoint that already says what became of a submission is not set back to submitted."""
    world.put("x.txt", "x")
    world.run_once()
    session = world.session()
    ledger = Ledger(world.tables, session.settings.table("job"))
    checkpoints = Checkpoints(world.tables, session.settings.table("checkpoint"))
    [job] = ledger.open_jobs(job_ids=[world.jobs()[0]["job_id"]])
    files = ledger.files_of([job.submission_id])[job.submission_id]
    from dataclasses import replace

    checkpoints.save(submitted_rows(replace(job, files=files), now()))
    assert world.checkpoints()["x.txt"]["state"] == "classified"
    assert world.ingest().uploaded == 0


def test_an_idle_run_writes_nothing_and_reads_the_checkpoints_once(world: World) -> None:
    """However many files there are; files that were skipped before are not written again."""
    world.put("big.bin", b"x" * 2000)
    for number in range(30):
        world.put(f"{number}.txt", f"{number}")
    world.run_once(max_bytes_per_job=1000)
    asked: list[str] = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            def call(*args: object, **more: object) -> object:
                asked.append(f"{name} {args[0]}")
                return getattr(world.tables, name)(*args, **more)

            return call

    before = world.dxr.counters()["calls"]
    assert world.ingest(tables=Watched(), max_bytes_per_job=1000).uploaded == 0
    assert world.dxr.counters()["calls"] == before
    assert not [one for one in asked if one.startswith(("append", "merge", "create"))]
    assert len([one for one in asked if one.startswith("query") and "dxr_checkpoints" in one]) == 1


def test_collecting_a_job_again(world: World) -> None:
    """A job that has ended may be named: its rows are made anew from what Data X-Ray says now."""
    world.put("x.txt", "card 4111 1111 1111 1111")
    world.run_once()
    job_id = world.jobs()[0]["job_id"]
    world.tables.query(f"DELETE FROM {world.metadata_table.quoted}")
    assert world.rows() == []
    assert world.collect(job_id=[job_id]).classified == 1
    assert len(world.rows()) == 1
    assert world.collect().jobs == 0
