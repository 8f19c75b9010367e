"""Files that are made without overwriting, looked at themselves, and removed only unchanged: both adapters alike."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.files_volumes import FilesVolumes
from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.ports import FileState, Volumes

_NUMBERS = itertools.count(1)
DATA = b"the record"
SHA256 = hashlib.sha256(DATA).hexdigest()
Pair = tuple[Volumes, str, Path]


@pytest.fixture(params=["mounted", "files api"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    """An adapter, a volume of this test alone, and the folder behind it."""
    if request.param == "mounted":
        root = tmp_path
        volumes: Volumes = FuseVolumes(root)
    else:
        workspace: Connection = request.getfixturevalue("workspace")
        client: Any = request.getfixturevalue("workspace_client")
        root = Path(workspace.directory) / "Volumes"
        volumes = FilesVolumes(lambda: client, local=FuseVolumes(None))
    name = f"exclusive{next(_NUMBERS)}"
    folder = root / "main" / "files" / name
    folder.mkdir(parents=True)
    return volumes, f"/Volumes/main/files/{name}", folder


def look(volumes: Volumes, path: str) -> FileState:
    """The file that is there."""
    found = volumes.inspect(path)
    assert found is not None
    return found


def test_created_once(pair: Pair) -> None:
    """The second one changes nothing and says so; nothing else is left in the folder."""
    volumes, path, folder = pair
    assert volumes.create(f"{path}/a/b.bin", io.BytesIO(DATA), SHA256)
    other = b"another"
    assert not volumes.create(f"{path}/a/b.bin", io.BytesIO(other), hashlib.sha256(other).hexdigest())
    assert (folder / "a/b.bin").read_bytes() == DATA
    assert [one.name for one in (folder / "a").iterdir()] == ["b.bin"]


def test_bytes_that_are_not_the_wanted_ones_do_not_appear(pair: Pair) -> None:
    volumes, path, folder = pair
    with pytest.raises(VolumeError, match="not the wanted"):
        volumes.create(f"{path}/a.bin", io.BytesIO(b"others"), SHA256)
    assert list(folder.iterdir()) == []


def test_a_source_that_fails_leaves_nothing(pair: Pair) -> None:
    volumes, path, folder = pair

    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        volumes.create(f"{path}/a.bin", Broken(), SHA256)  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []


def test_a_folder_of_that_name_stays(pair: Pair) -> None:
    volumes, path, folder = pair
    (folder / "a.bin").mkdir()
    try:
        assert not volumes.create(f"{path}/a.bin", io.BytesIO(DATA), SHA256)
    except VolumeError:
        pass
    assert (folder / "a.bin").is_dir()


def test_inspected(pair: Pair) -> None:
    """Size, time and a version that a change changes; nothing is None, a folder an error."""
    volumes, path, folder = pair
    (folder / "x.txt").write_bytes(DATA)
    os.utime(folder / "x.txt", ns=(0, 1_700_000_000_123_456_789))
    found = look(volumes, f"{path}/x.txt")
    assert (found.path, found.size) == (f"{path}/x.txt", len(DATA))
    assert found.modified_ns in (1_700_000_000_123_456_789, 1_700_000_000_000_000_000)
    assert found == volumes.inspect(f"{path}/x.txt")
    (folder / "x.txt").write_bytes(DATA + b"!")
    assert look(volumes, f"{path}/x.txt").version != found.version
    assert volumes.inspect(f"{path}/none.txt") is None
    assert volumes.inspect(f"{path}/x.txt/below") is None
    (folder / "folder").mkdir()
    for wrong in (f"{path}/folder", path, f"{path}/../{folder.name}/x.txt"):
        with pytest.raises(VolumeError):
            volumes.inspect(wrong)


def test_deleted_only_unchanged(pair: Pair) -> None:
    volumes, path, folder = pair
    (folder / "x.txt").write_bytes(DATA)
    state = look(volumes, f"{path}/x.txt")
    (folder / "x.txt").write_bytes(DATA + b"!")
    assert not volumes.delete_unchanged(state)
    assert (folder / "x.txt").exists()
    assert volumes.delete_unchanged(look(volumes, f"{path}/x.txt"))
    assert not (folder / "x.txt").exists()
    assert not volumes.delete_unchanged(state)


def test_times_are_set_where_the_platform_can(pair: Pair) -> None:
    volumes, path, folder = pair
    (folder / "x.txt").write_bytes(DATA)
    done = volumes.set_facts(f"{path}/x.txt", modified_ns=1_600_000_000_123_456_789, mode=0o640)
    status = (folder / "x.txt").stat()
    assert done == (status.st_mtime_ns == 1_600_000_000_123_456_789)
    assert done is isinstance(volumes, FuseVolumes)
    if done:
        assert status.st_mode & 0o777 == 0o640


def test_links_are_not_files(tmp_path: Path) -> None:
    """Neither a link to a file nor a file behind a linked folder; a replaced file of the same bytes is another one."""
    folder = tmp_path / "c" / "s" / "v"
    (folder / "real").mkdir(parents=True)
    (folder / "real" / "a.txt").write_bytes(DATA)
    (folder / "a.txt").symlink_to(folder / "real" / "a.txt")
    (folder / "linked").symlink_to(folder / "real")
    os.link(folder / "real" / "a.txt", folder / "hard.txt")
    volumes = FuseVolumes(tmp_path)
    for wrong in ("a.txt", "linked/a.txt"):
        with pytest.raises(VolumeError, match="link"):
            volumes.inspect(f"/Volumes/c/s/v/{wrong}")
        with pytest.raises(VolumeError, match="link"):
            FuseVolumes(None).inspect(str(folder / wrong), str(folder))
    one, two = (look(volumes, f"/Volumes/c/s/v/{name}") for name in ("real/a.txt", "hard.txt"))
    assert one.identity == two.identity
    assert one.version == two.version
    (folder / "new").write_bytes(DATA)
    os.utime(folder / "new", ns=(0, one.modified_ns))
    (folder / "new").replace(folder / "real" / "a.txt")
    assert not volumes.delete_unchanged(one)


def test_without_hard_links_a_name_is_still_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a FUSE mount: what is there stays, what is new is whole."""

    def refused(*given: Any, **more: Any) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)  # a file system without hard links is not to be had here
    (tmp_path / "c/s/v").mkdir(parents=True)
    volumes = FuseVolumes(tmp_path)
    assert volumes.create("/Volumes/c/s/v/a", io.BytesIO(DATA), SHA256)
    assert not volumes.create("/Volumes/c/s/v/a", io.BytesIO(DATA), SHA256)
    assert (tmp_path / "c/s/v/a").read_bytes() == DATA
    assert len(list((tmp_path / "c/s/v").iterdir())) == 1


def test_what_dead_creates_left_is_removed(pair: Pair) -> None:
    """In the folder itself, and nothing else there; a folder that is not there is none to clean."""
    volumes, path, folder = pair
    if not isinstance(volumes, FuseVolumes):
        volumes.remove_partials(path)
        return
    (folder / "below").mkdir()
    for name in (f".{'a' * 32}.new", f".{'a' * 32}.tmp", "x.new", f"below/.{'b' * 32}.new"):
        (folder / name).write_bytes(DATA)
    volumes.remove_partials(path)
    volumes.remove_partials(f"{path}/none")
    left = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert left == [f".{'a' * 32}.tmp", f"below/.{'b' * 32}.new", "x.new"]
