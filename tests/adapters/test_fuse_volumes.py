"""Volumes as a file system, below a folder that stands for /Volumes."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.ports import FileInfo

VOLUME = "/Volumes/main/etl/metadata"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Volumes"
    folder.joinpath(*VOLUME.split("/")[2:]).mkdir(parents=True)
    return folder


@pytest.fixture
def folder(root: Path) -> Path:
    return root.joinpath(*VOLUME.split("/")[2:])


@pytest.fixture
def volumes(root: Path) -> FuseVolumes:
    return FuseVolumes(root)


def test_listing_is_recursive_and_sorted(volumes: FuseVolumes, folder: Path) -> None:
    """Absolute paths as the caller would open them, bytes, and milliseconds; hidden files too."""
    for name in ("b.yaml", "a/deep/c.yaml", ".hidden", "a b&#%?'ü\U0001f600.yaml"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    (folder / "empty").mkdir()
    names = [".hidden", "a b&#%?'ü\U0001f600.yaml", "a/deep/c.yaml", "b.yaml"]
    expected = [FileInfo(f"{VOLUME}/{name}", 5, 1_700_000_000_123) for name in names]
    assert volumes.list(VOLUME) == expected
    assert volumes.list(VOLUME + "/") == expected
    assert volumes.list(f"{VOLUME}/b.yaml") == expected[-1:]
    assert volumes.list(f"{VOLUME}/empty") == []


def test_what_is_not_there_is_an_error(volumes: FuseVolumes) -> None:
    """Never an empty list."""
    for call in (
        lambda: volumes.list(f"{VOLUME}/no"),
        lambda: volumes.list("/Volumes/no/such/volume"),
        lambda: volumes.read(f"{VOLUME}/no"),
    ):
        with pytest.raises(VolumeError, match="no such file or folder"):
            call()
    with pytest.raises(VolumeError, match="a folder"):
        volumes.read(VOLUME)


def test_writing_makes_folders_and_replaces(volumes: FuseVolumes, folder: Path) -> None:
    """And nobody sees half a file, nor what it was made of."""
    volumes.write(f"{VOLUME}/new/a.yaml", b"one")
    volumes.write(f"{VOLUME}/new/a.yaml", b"two")
    assert (folder / "new/a.yaml").read_bytes() == volumes.read(f"{VOLUME}/new/a.yaml") == b"two"
    assert [info.path for info in volumes.list(VOLUME)] == [f"{VOLUME}/new/a.yaml"]


def test_deleting_twice_is_fine(volumes: FuseVolumes, folder: Path) -> None:
    (folder / "a").write_bytes(b"x")
    volumes.delete(f"{VOLUME}/a")
    volumes.delete(f"{VOLUME}/a")
    assert not (folder / "a").exists()


@pytest.mark.parametrize(
    "path",
    ["/Volumes/../secret", f"{VOLUME}/../../../../secret", f"{VOLUME}/out/secret", f"{VOLUME}/linked"],
)
def test_nothing_leads_out(volumes: FuseVolumes, root: Path, folder: Path, path: str) -> None:
    """Neither .. nor links, to files or folders, whatever is done."""
    outside = root.parent
    (outside / "secret").write_text("s3cret")
    (folder / "out").symlink_to(outside)
    (folder / "linked").symlink_to(outside / "secret")
    for call in (
        lambda: volumes.read(path),
        lambda: volumes.list(path),
        lambda: volumes.write(path, b"x"),
        lambda: volumes.delete(path),
    ):
        with pytest.raises(VolumeError, match="leads out of /Volumes"):
            call()
    assert (outside / "secret").read_text() == "s3cret"
    assert volumes.list(VOLUME) == []


def test_without_a_root_dots_do_not_lead_out_either() -> None:
    """Where /Volumes itself is mounted."""
    with pytest.raises(VolumeError, match="leads out"):
        FuseVolumes(None).read("/Volumes/main/../../etc/passwd")


def test_links_inside_are_fine_and_loops_do_not_hang(volumes: FuseVolumes, folder: Path) -> None:
    """A link to a file is a file; links to folders are not followed."""
    (folder / "a.yaml").write_text("x")
    (folder / "b.yaml").symlink_to(folder / "a.yaml")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to(folder / "nothing")
    assert [info.path for info in volumes.list(VOLUME)] == [f"{VOLUME}/a.yaml", f"{VOLUME}/b.yaml"]


def test_very_deep_folders(volumes: FuseVolumes, folder: Path) -> None:
    """Deeper than Python likes to call itself."""
    deep = folder
    descriptor = os.open(deep, os.O_RDONLY)
    try:
        for _ in range(1200):
            os.mkdir("d", dir_fd=descriptor)
            below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        with os.fdopen(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor), "w") as file:
            file.write("x")
    finally:
        os.close(descriptor)
    try:
        assert len(volumes.list(VOLUME)) == 1
    finally:
        # pytest's own cleaning calls itself once a folder
        subprocess.run(["rm", "-rf", str(folder / "d")], check=True)


def test_a_folder_that_vanishes_during_the_listing(
    volumes: FuseVolumes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is an error: what was listed so far would look like files that were removed."""
    (folder / "sub").mkdir()
    (folder / "a.yaml").write_text("x")
    scandir = os.scandir

    def vanishing(path: Path) -> object:
        if path.name == "sub":
            path.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    with pytest.raises(VolumeError, match="cannot list"):
        volumes.list(VOLUME)


def test_plain_local_paths_pass(volumes: FuseVolumes, tmp_path: Path) -> None:
    """Wherever they lie."""
    volumes.write(f"{tmp_path}/x/a.yaml", b"x")
    [info] = volumes.list(str(tmp_path / "x"))
    assert info.path == f"{tmp_path}/x/a.yaml"
    assert volumes.read(info.path) == b"x"


def test_impossible_names(volumes: FuseVolumes) -> None:
    """End in our error."""
    for path in (f"{VOLUME}/\x00", f"{VOLUME}/" + "x" * 300, "/local/\x00"):
        with pytest.raises(VolumeError):
            volumes.read(path)


def test_readers_never_see_half_a_file(volumes: FuseVolumes) -> None:
    """While it is written again and again."""
    path, contents = f"{VOLUME}/a.yaml", {b"a" * 100_000, b"b" * 200_000}
    volumes.write(path, b"a" * 100_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                volumes.write(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert {volumes.read(path) for _ in range(200)} <= contents
    finally:
        stop.set()
        writer.join(10)
