"""Volumes over the Files API: the real SDK against the embedded workspace, and a scripted service."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import errors as sdk
from databricks.sdk.service.files import DirectoryEntry

from lakeflow_job_meta.adapters.files_volumes import FilesVolumes
from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.ports import FileInfo

_NUMBERS = itertools.count(1)


@pytest.fixture
def volume(workspace: Connection) -> tuple[str, Path]:
    """A volume of this test alone: its path, and the folder behind it."""
    name = f"v{next(_NUMBERS)}"
    folder = Path(workspace.directory) / "Volumes" / "main" / "files" / name
    folder.mkdir(parents=True)
    return f"/Volumes/main/files/{name}", folder


@pytest.fixture
def volumes(workspace_client: Any) -> FilesVolumes:
    return FilesVolumes(lambda: workspace_client, local=FuseVolumes(None))


def test_it_lists_as_the_mounted_volume_does(
    workspace: Connection, volumes: FilesVolumes, volume: tuple[str, Path]
) -> None:
    """Same paths, sizes and times, recursive, odd names too."""
    path, folder = volume
    for name in ("b.yaml", "a/deep/c.yaml", ".hidden", "sp ace/a b&#%?'ü\U0001f600+%20.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"12345")
    (folder / "empty").mkdir()
    mounted = FuseVolumes(Path(workspace.directory) / "Volumes")
    assert volumes.list(path) == mounted.list(path)
    assert len(volumes.list(path)) == 4
    assert volumes.list(path + "/") == mounted.list(path)
    for info in mounted.list(path):
        assert volumes.list(info.path) == [info]
        assert volumes.read(info.path) == b"12345"
    assert volumes.list(f"{path}/empty") == []


def test_every_page_is_read(volumes: FilesVolumes, volume: tuple[str, Path]) -> None:
    """The service gives 1,000 entries a page."""
    path, folder = volume
    for number in range(2100):
        (folder / f"{number:05}").touch()
    assert [info.path for info in volumes.list(path)] == [f"{path}/{number:05}" for number in range(2100)]


def test_files_are_written_read_and_deleted(volumes: FilesVolumes, volume: tuple[str, Path]) -> None:
    """With their folders; replacing; deleting twice is fine."""
    path, folder = volume
    data = bytes(range(256)) * 5000
    volumes.write(f"{path}/new/a.bin", b"old")
    volumes.write(f"{path}/new/a.bin", data)
    assert volumes.read(f"{path}/new/a.bin") == data == (folder / "new/a.bin").read_bytes()
    volumes.write(f"{path}/empty", b"")
    assert volumes.read(f"{path}/empty") == b""
    volumes.delete(f"{path}/new/a.bin")
    volumes.delete(f"{path}/new/a.bin")
    assert [info.path for info in volumes.list(path)] == [f"{path}/empty"]


def test_what_is_not_there_is_an_error(volumes: FilesVolumes, volume: tuple[str, Path]) -> None:
    """Never an empty list."""
    path, _ = volume
    for call in (
        lambda: volumes.list(f"{path}/no"),
        lambda: volumes.list("/Volumes/main/files/no_such_volume"),
        lambda: volumes.list("/Volumes/main/files/no_such_volume/x.yaml"),
        lambda: volumes.read(f"{path}/no"),
        lambda: volumes.read(path),
        lambda: volumes.write("/Volumes/main/files/no_such_volume/x", b""),
    ):
        with pytest.raises(VolumeError, match=r"cannot|tried to"):
            call()


def test_paths_stay_below_volumes(volumes: FilesVolumes) -> None:
    """.. and NUL are refused before anything is sent."""
    for path in ("/Volumes/main/../../x", "/Volumes/main/files/v/..", "/Volumes/main/files/\x00"):
        with pytest.raises(VolumeError):
            volumes.read(path)


def test_local_paths_pass_to_the_local_adapter(
    volumes: FilesVolumes, workspace_client: Any, tmp_path: Path
) -> None:
    """Where there is one."""
    (tmp_path / "a.yaml").write_bytes(b"x")
    [info] = volumes.list(str(tmp_path))
    assert volumes.read(info.path) == b"x"
    volumes.write(f"{tmp_path}/b", b"y")
    volumes.delete(f"{tmp_path}/b")
    with pytest.raises(VolumeError, match="only volumes"):
        FilesVolumes(workspace_client).list(str(tmp_path))


class Files:
    """A scripted Files API: folders by path; an exception is raised."""

    def __init__(self, **folders: Any) -> None:
        self.folders = {path.replace("_", "/"): content for path, content in folders.items()}
        self.files = self

    def list_directory_contents(self, path: str) -> Any:
        content = self.folders[path.removeprefix("/Volumes/")]
        if isinstance(content, Exception):
            raise content
        for entry in content:
            if isinstance(entry, Exception):
                raise entry
            yield entry


def entry(name: str, *, folder: bool = False) -> DirectoryEntry:
    return DirectoryEntry(
        name=name, path=f"ignored/{name}", is_directory=folder, file_size=1, last_modified=2
    )


@pytest.mark.parametrize(
    "failure",
    [sdk.NotFound("gone"), sdk.InternalError("boom"), sdk.PermissionDenied("no"), TimeoutError("slow")],
)
@pytest.mark.parametrize("where", ["folder", "page"])
def test_a_listing_that_breaks_off_is_an_error(failure: Exception, where: str) -> None:
    """In a folder inside it, or between two pages: never a shorter list."""
    broken = failure if where == "folder" else [entry("x"), failure]
    files = Files(v=[entry("a"), entry("sub", folder=True)], v_sub=broken)
    with pytest.raises(VolumeError) as caught:
        FilesVolumes(files).list("/Volumes/v")  # type: ignore[arg-type]
    assert caught.value.__cause__ is failure


def test_entries_are_told_by_name() -> None:
    """Whatever the service says their path is."""
    files = Files(v=[entry("b"), entry("a", folder=True)], v_a=[entry("c")])
    found = FilesVolumes(files).list("/Volumes/v")  # type: ignore[arg-type]
    assert found == [FileInfo("/Volumes/v/a/c", 1, 2), FileInfo("/Volumes/v/b", 1, 2)]
