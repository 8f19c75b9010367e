"""Wrong input: a clear error before anything is lost, and the run goes on where it can."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.dxr.organise import organise
from lakeflow_job_meta.dxr.tasks import perform
from lakeflow_job_meta.errors import (
    DxrNotFound,
    DxrRunFailed,
    NotFound,
    UsageError,
    VolumeError,
)
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import FileInfo
from tests.dxr.catalog import FakeCatalog
from tests.dxr.world import World

CARD = "card 4111 1111 1111 1111"


class Vault:
    """A secret scope that holds nothing."""

    def get(self, scope: str, key: str) -> str:
        raise NotFound(f"cannot read the secret {key!r} of scope {scope!r}: it does not exist", status=404)


def nothing_happened(world: World) -> bool:
    """No call to Data X-Ray, no table."""
    made = [world.tables.columns(TableName(*world.schema, name)) for name in ("dxr_jobs", "dxr_checkpoints")]
    return world.dxr.counters()["calls"] == {} and made == [None, None]


@pytest.mark.parametrize("task", ["ingest", "collect"])
def test_a_missing_secret(world: World, task: str) -> None:
    """Named with its scope, before a table is made or a call goes out."""
    world.put("x.txt", CARD)
    with pytest.raises(NotFound, match=r"'token' of scope 'dxr'"):
        getattr(world, task)(secret_scope="dxr", secret_key="token", secrets=Vault, environment={})
    assert nothing_happened(world)


def test_no_token_at_all(world: World) -> None:
    world.put("x.txt", CARD)
    with pytest.raises(UsageError, match="DXR_API_KEY"):
        world.ingest(environment={})
    assert nothing_happened(world)


def test_a_wrong_datasource(world: World) -> None:
    """Data X-Ray knows no such datasource: named, nothing is sent to another, and the right one takes all."""
    world.put("x.txt", CARD)
    world.put("y.txt", CARD)
    with pytest.raises(DxrNotFound, match="datasource 999"):
        world.ingest(datasource_id=999)
    assert world.submitted() == []
    assert world.run_once().classified == 2


def test_a_volume_that_is_not_there(world: World) -> None:
    """An error, not "all files were deleted": the checkpoints and the results stay as they are."""
    world.put("x.txt", CARD)
    world.run_once()
    away = world.folder.with_name("away")
    world.folder.rename(away)
    missing = world.root / "main" / "files" / "inbox"
    assert not missing.exists()
    with pytest.raises(VolumeError, match="inbox: there is no such file or folder"):
        world.ingest()
    assert world.checkpoints()["x.txt"]["state"] == "classified"
    assert world.found()["x.txt"]["source_deleted_at"] is None
    away.rename(missing)
    assert world.ingest().unchanged == 1


class Locked(FuseVolumes):
    """One file cannot be read, one folder not be listed: what root sees of permissions, others see."""

    def open(self, path: str) -> Any:
        if path.endswith("locked.txt"):
            raise VolumeError(f"cannot read {path}: permission denied; ask for access to it")
        return super().open(path)

    def walk(
        self, path: str, unreadable: Callable[[str, VolumeError], None] | None = None
    ) -> Iterator[FileInfo]:
        for info in super().walk(path, unreadable):
            if "/closed/" not in info.path:
                yield info
        assert unreadable is not None
        unreadable(f"{path}/closed", VolumeError(f"cannot list {path}/closed: permission denied"))


def test_an_unreadable_file_and_folder(world: World) -> None:
    """Each is told with its reason, the rest goes on, and nothing below the folder counts as deleted."""
    world.put("closed/a.txt", CARD)
    world.put("x.txt", CARD)
    world.run_once()
    world.put("locked.txt", "secret")
    world.put("y.txt", CARD)
    (world.folder / "x.txt").unlink()
    summary = world.ingest(volumes=Locked(world.root))
    assert (summary.uploaded, summary.skipped, summary.deleted) == (1, 2, 0)
    reasons = {row["path"].removeprefix(world.volume): row["reason"] for row in summary.reasons}
    assert "permission denied" in reasons["/locked.txt"]
    assert "permission denied" in reasons["/closed"]
    assert world.checkpoints()["closed/a.txt"]["state"] == "classified"
    whole = world.run_once()
    assert (whole.uploaded, whole.classified) == (1, 2)
    states = {name: row["state"] for name, row in world.checkpoints().items()}
    assert states["x.txt"] == "deleted"
    assert states["closed/a.txt"] == states["locked.txt"] == states["y.txt"] == "classified"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_permissions_of_the_file_system(world: World) -> None:
    """The same with real permissions."""
    world.put("closed/a.txt", CARD)
    world.put("locked.txt", CARD)
    world.put("x.txt", CARD)
    (world.folder / "locked.txt").chmod(0)
    (world.folder / "closed").chmod(0)
    try:
        assert (world.ingest().uploaded, world.ingest().skipped) == (1, 2)
    finally:
        (world.folder / "closed").chmod(0o755)


OURS = ("file_metadata", "dxr_jobs", "dxr_checkpoints", "dxr_runs", "dxr_copies", "dxr_labels")


@pytest.mark.parametrize("table", OURS)
def test_a_table_with_another_schema(world: World, table: str) -> None:
    """Whichever of ours it is: named, with what differs; what was in it stays, and nothing is sent twice."""
    world.put("x.txt", CARD)
    name = TableName(*world.schema, table).quoted
    world.tables.query(f"CREATE TABLE {name} (file_path STRING, job_id BIGINT, label STRING) USING delta")
    world.tables.query(f"INSERT INTO {name} VALUES ('theirs', 7, 'l')")
    organising = table in {"dxr_copies", "dxr_labels"}
    if organising:
        world.run_once()
    session = world.session()
    catalog = FakeCatalog(world.root)
    session.catalog = lambda: catalog
    with pytest.raises(DxrRunFailed, match=rf"{table}.*another table.* is missing"):
        perform("dxr_organise" if organising else "dxr_run_once", session)
    assert [row["file_path"] for row in world.rows(table)] == ["theirs"]
    assert len(world.submitted()) == organising
    assert not [path for path in world.folder.parent.iterdir() if path.name.startswith("dxr_label")]


HOSTILE = [
    "it's.txt",
    'a "quoted" one.txt',
    "`ticks`.txt",
    "two\nlines\r.txt",
    "\U0001f600 ü é.txt",
    "..a..",
    "...",
    "back\\slash.txt",
    "%41%2e%2e%2f.txt",
    "${x}; DROP TABLE t; --",
]


def test_names_of_any_kind(world: World) -> None:
    """Quotes, backticks, newlines, emoji and dots: through ingest, collect and organise, and back, byte for byte."""
    names = [f"d`'\n{number}/{name}" for number, name in enumerate(HOSTILE)]
    for name in names:
        world.put(name, f"{CARD} {name}")
    assert world.run_once().classified == len(names)
    assert set(world.found()) == set(world.checkpoints()) == set(names)
    session = world.session(only_labels=["Payment card data"])
    catalog = FakeCatalog(world.root)
    session.catalog = lambda: catalog
    summary, facts = organise(session)
    assert (facts["copied"], summary.failed) == (len(names), 0)
    copies = world.folder.parent / "dxr_label_payment_card_data"
    for name in names:
        assert (copies / name).read_bytes() == f"{CARD} {name}".encode()
    assert world.ingest().uploaded == 0
    assert organise(session)[1]["copied"] == 0


def test_a_path_that_leads_out(world: World, tmp_path: Path) -> None:
    """`..` and links never leave the volume: refused, or not followed."""
    (tmp_path / "outside.txt").write_text("secret")
    world.put("x.txt", CARD)
    (world.folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    assert world.run_once().seen == 1
    for wrong in ("../other", "a/../../other", "/etc"):
        with pytest.raises((UsageError, VolumeError)):
            world.ingest(prefix=wrong)
    assert len(world.sent()) == 1
