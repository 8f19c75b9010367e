"""The Files API through the SDK: real files below DIR/Volumes."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path

import pytest
from databricks.sdk.errors import AlreadyExists, BadRequest, InvalidParameterValue, NotFound

NAMES = [
    "plain.yaml",
    "with space.yml",
    "quo'te\".txt",
    "hash#tag?.txt",
    "100%.txt",
    "umläut 😀.bin",
    "a+b&c=d;e.txt",
]


@pytest.fixture
def volume(plain, unique):
    """Path of a new volume: any c/s/v folder is one."""
    (Path(plain.directory) / "Volumes" / "main" / "default" / unique).mkdir(parents=True)
    return f"/Volumes/main/default/{unique}"


@pytest.mark.parametrize("name", NAMES)
def test_names_survive(client, plain, volume, name):
    """A file of any name is written, listed, read and deleted, and is a real file of that name."""
    data = os.urandom(1000)
    client.files.upload(f"{volume}/sub/{name}", io.BytesIO(data))
    assert Path(plain.directory, volume.lstrip("/"), "sub", name).read_bytes() == data
    (entry,) = client.files.list_directory_contents(f"{volume}/sub")
    assert (entry.name, entry.path, entry.file_size, entry.is_directory) == (
        name,
        f"{volume}/sub/{name}",
        1000,
        False,
    )
    assert abs(entry.last_modified / 1000 - time.time()) < 60
    assert client.files.download(entry.path).contents.read() == data
    metadata = client.files.get_metadata(entry.path)
    assert metadata.content_length == 1000
    client.files.delete(entry.path)
    with pytest.raises(NotFound):
        client.files.download(entry.path)


def test_overwrite_is_said(client, volume):
    client.files.upload(f"{volume}/f", io.BytesIO(b"1"))
    with pytest.raises(AlreadyExists):
        client.files.upload(f"{volume}/f", io.BytesIO(b"2"))
    assert client.files.download(f"{volume}/f").contents.read() == b"1"
    client.files.upload(f"{volume}/f", io.BytesIO(b"3"), overwrite=True)
    assert client.files.download(f"{volume}/f").contents.read() == b"3"


def test_nobody_sees_half_a_file(plain, volume):
    """A body that breaks off leaves no file behind."""
    import http.client

    connection = http.client.HTTPConnection(plain.host.removeprefix("http://"))
    connection.putrequest("PUT", f"/api/2.0/fs/files{volume}/half")
    connection.putheader("Authorization", f"Bearer {plain.token}")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"x" * 500_000)
    connection.close()
    uploads = Path(plain.directory, ".workspace", "uploads")
    deadline = time.monotonic() + 5
    while any(path.is_file() for path in uploads.iterdir()) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert not any(path.is_file() for path in uploads.iterdir())
    assert list(Path(plain.directory, volume.lstrip("/")).iterdir()) == []


def test_large_files_go_in_parts(client, plain, volume):
    """From 50 MB the SDK uploads and downloads in parts through signed URLs."""
    data = os.urandom(1024 * 1024) * 60
    client.files.upload(f"{volume}/big", io.BytesIO(data))
    assert Path(plain.directory, volume.lstrip("/"), "big").read_bytes() == data
    assert client.files.download(f"{volume}/big").contents.read() == data
    with pytest.raises(AlreadyExists):
        client.files.upload(f"{volume}/big", io.BytesIO(data))


def test_a_range_is_answered(plain, volume, client):
    import urllib.request

    client.files.upload(f"{volume}/f", io.BytesIO(b"0123456789"))
    request = urllib.request.Request(
        f"{plain.host}/api/2.0/fs/files{volume}/f",
        headers={"Authorization": f"Bearer {plain.token}", "Range": "bytes=3-5"},
    )
    with urllib.request.urlopen(request) as response:
        assert response.status == 206
        assert response.read() == b"345"


def test_listing_has_pages(client, plain, volume):
    """1000 entries a page; only a missing token ends."""
    folder = Path(plain.directory, volume.lstrip("/"))
    for number in range(1105):
        (folder / f"{number:04}").touch()
    (folder / "sub").mkdir()
    raw = client.api_client.do("GET", f"/api/2.0/fs/directories{volume}")
    assert len(raw["contents"]) == 1000
    assert raw["next_page_token"]
    entries = list(client.files.list_directory_contents(volume))
    assert [entry.name for entry in entries] == [f"{n:04}" for n in range(1105)] + ["sub"]
    assert entries[-1].is_directory
    assert len(list(client.files.list_directory_contents(volume, page_size=100))) == 1106


def test_directories(client, volume):
    client.files.create_directory(f"{volume}/a/b")
    client.files.create_directory(f"{volume}/a/b")
    client.files.get_directory_metadata(f"{volume}/a/b")
    with pytest.raises(BadRequest, match="not empty"):
        client.files.delete_directory(f"{volume}/a")
    client.files.delete_directory(f"{volume}/a/b")
    client.files.delete_directory(f"{volume}/a")
    with pytest.raises(NotFound):
        client.files.get_directory_metadata(f"{volume}/a")
    with pytest.raises(NotFound):
        list(client.files.list_directory_contents(f"{volume}/a"))
    with pytest.raises(InvalidParameterValue, match="volume"):
        client.files.delete_directory(volume)


def test_there_is_no_way_out(client, plain, volume, tmp_path):
    """Neither `..` nor a symlink leads out of the workspace's volumes."""
    (tmp_path / "secret").write_text("s")
    Path(plain.directory, volume.lstrip("/"), "link").symlink_to(tmp_path)
    for path in (f"{volume}/link/secret", f"{volume}/../../../../.workspace/token", "/etc/passwd"):
        with pytest.raises((InvalidParameterValue, NotFound)):
            client.files.download(path)
    with pytest.raises(NotFound, match="Volume"):
        client.files.upload("/Volumes/main/default/nowhere/f", io.BytesIO(b""))
    with pytest.raises(InvalidParameterValue):
        client.files.upload("/Volumes/main/f", io.BytesIO(b""))
