"""Walking, looking at and reading files as streams: the mounted folder and the Files API alike."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.files_volumes import FilesVolumes
from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.ports import Volumes

_NUMBERS = itertools.count(1)


@pytest.fixture(params=["mounted", "files api"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Volumes, str, Path]:
    """An adapter, a volume of this test alone, and the folder behind it."""
    if request.param == "mounted":
        root = tmp_path
        volumes: Volumes = FuseVolumes(root)
    else:
        workspace: Connection = request.getfixturevalue("workspace")
        client: Any = request.getfixturevalue("workspace_client")
        root = Path(workspace.directory) / "Volumes"
        volumes = FilesVolumes(lambda: client, local=FuseVolumes(None))
    name = f"streams{next(_NUMBERS)}"
    folder = root / "main" / "files" / name
    folder.mkdir(parents=True)
    return volumes, f"/Volumes/main/files/{name}", folder


def test_the_walk_meets_what_the_listing_has(pair: tuple[Volumes, str, Path]) -> None:
    """Every file once; a file's path gives itself; what is not there is an error."""
    volumes, path, folder = pair
    for name in ("b.txt", "a/deep/c.txt", "a/b.txt", "odd/a b&#%?'ü\U0001f600.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")
    (folder / "empty" / "inner").mkdir(parents=True)
    assert sorted(volumes.walk(path)) == volumes.list(path)
    assert len(volumes.list(path)) == 4
    [one] = volumes.walk(f"{path}/b.txt")
    assert one == volumes.list(f"{path}/b.txt")[0]
    with pytest.raises(VolumeError):
        list(volumes.walk(f"{path}/none"))


def test_a_file_is_looked_at(pair: tuple[Volumes, str, Path]) -> None:
    """Its size and time, the time perhaps in whole seconds."""
    volumes, path, folder = pair
    (folder / "x.txt").write_bytes(b"12345")
    os.utime(folder / "x.txt", (1_700_000_000.5, 1_700_000_000.5))
    found = volumes.stat(f"{path}/x.txt")
    assert (found.path, found.size) == (f"{path}/x.txt", 5)
    assert found.modified_at in (1_700_000_000_500, 1_700_000_000_000)
    for name in ("none.txt", ""):
        with pytest.raises(VolumeError):
            volumes.stat(f"{path}/{name}".rstrip("/"))


def test_a_file_is_read_as_a_stream(pair: tuple[Volumes, str, Path]) -> None:
    """Whole and in order, with memory for a block."""
    volumes, path, folder = pair
    data = os.urandom(1_000_000)
    with (folder / "large.bin").open("wb") as file:
        for _ in range(24):
            file.write(data)
    tracemalloc.start()
    try:
        total = 0
        with volumes.open(f"{path}/large.bin") as file:
            while block := file.read(100_000):
                assert block in (data + data) or len(block) < 100_000 or total % 1_000_000
                total += len(block)
        assert total == 24_000_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    with pytest.raises(VolumeError), volumes.open(f"{path}/none.bin") as file:
        file.read(1)


def test_folders_that_cannot_be_listed_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk goes on behind them; without somebody to tell, it raises."""
    folder = tmp_path / "c" / "s" / "v"
    for name in ("a/x.txt", "locked/y.txt", "z.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)  # root may read everything
    told: list[str] = []
    volumes = FuseVolumes(tmp_path)
    found = [info.path for info in volumes.walk("/Volumes/c/s/v", lambda path, error: told.append(path))]
    assert found == ["/Volumes/c/s/v/z.txt", "/Volumes/c/s/v/a/x.txt"]
    assert told == ["/Volumes/c/s/v/locked"]
    with pytest.raises(VolumeError, match="permission denied"):
        list(volumes.walk("/Volumes/c/s/v"))


def test_a_link_inside_the_root_is_followed_and_one_out_of_it_is_not(tmp_path: Path) -> None:
    """However the path is written."""
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    folder = tmp_path / "root" / "c" / "s" / "v"
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("x")
    (folder / "inner.txt").symlink_to(folder / "x.txt")
    (folder / "outer.txt").symlink_to(outside)
    volumes = FuseVolumes(tmp_path / "root")
    assert volumes.read("/Volumes/c/s/v/inner.txt") == b"x"
    for path in ("/Volumes/c/s/v/outer.txt", "/Volumes/c/s/v/../../../../outside.txt"):
        with pytest.raises(VolumeError, match="leads out"):
            volumes.read(path)
