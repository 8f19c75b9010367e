"""Remediation over the Files API, as from a machine where `/Volumes` is not mounted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lakeflow_job_meta.adapters.files_volumes import FilesVolumes
from lakeflow_job_meta.local.connection import Connection
from tests.policies.remediation_world import TARGET, RemediationWorld


def test_archived_and_undone(
    workspace: Connection, workspace_client: Any, tables: Any, schema: tuple[str, str]
) -> None:
    """Bytes and names come back; times cannot be set over the API, and undo says so. An edit in between is seen."""
    root = Path(workspace.directory) / "Volumes"
    world = RemediationWorld(tables, schema, root)
    mounted, api = world.volumes, FilesVolumes(lambda: workspace_client)
    paths = world.put_many({"a.txt": b"same", "sub/b.txt": b"same", "keep.txt": b"same", "x.txt": b"other"})
    world.violate(*paths)
    before = world.facts()
    world.volumes = api
    plan = world.remediate(execute=False)
    world.folder("a.txt").write_bytes(b"Same")
    done = world.remediate(plan_run=plan["run"])
    assert (done["planned"], done["done"], done["skipped"], done["errors"]) == (2, 1, 1, 0)
    assert world.folder("a.txt").read_bytes() == b"Same"
    assert sorted(world.facts()) == ["a.txt", "keep.txt", "sub/b.txt.archived.txt", "x.txt"]
    undone = world.undo(done["run"])
    assert undone["errors"] == 0
    after = world.facts()
    assert {path: data for path, (data, _, _) in after.items()} == {
        path: (b"Same" if path == "a.txt" else data) for path, (data, _, _) in before.items()
    }
    assert any("modification time" in note["note"] for note in undone["notes"])
    assert world.facts(TARGET) == {}
    world.volumes = mounted
