"""Ingest: over real HTTP into the simulator, with Delta tables on Sail."""

from __future__ import annotations

from tests.dxr.world import World


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
