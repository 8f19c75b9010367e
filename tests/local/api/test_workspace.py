"""The Workspace API through the SDK: notebooks and files are real files below DIR/Workspace."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from databricks.sdk.errors import BadRequest, DatabricksError, NotFound, ResourceAlreadyExists
from databricks.sdk.service.workspace import ImportFormat, Language, ObjectType


@pytest.fixture
def folder(client, unique):
    path = f"/Workspace/Shared/{unique}"
    client.workspace.mkdirs(path)
    return path


def on_disk(plain, path):
    return Path(plain.directory, path.lstrip("/"))


def test_a_notebook_is_addressed_without_its_extension(client, plain, folder):
    """SOURCE PYTHON becomes name.py with the notebook's first line, and is a NOTEBOOK called name."""
    client.workspace.upload(
        f"{folder}/n", io.BytesIO(b"print(1)"), format=ImportFormat.SOURCE, language=Language.PYTHON
    )
    assert on_disk(plain, f"{folder}/n.py").read_bytes() == b"# Databricks notebook source\nprint(1)"
    status = client.workspace.get_status(f"{folder}/n")
    assert status.object_type == ObjectType.NOTEBOOK
    assert status.language == Language.PYTHON
    assert status.path == f"{folder}/n".removeprefix("/Workspace")
    assert [item.path for item in client.workspace.list(folder)] == [status.path]
    assert client.workspace.download(f"{folder}/n").read().endswith(b"print(1)")
    client.workspace.delete(f"{folder}/n")
    with pytest.raises(NotFound):
        client.workspace.get_status(f"{folder}/n")


def test_jupyter_and_plain_files(client, plain, folder):
    """JUPYTER becomes name.ipynb; AUTO keeps a file as it is."""
    notebook = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    client.workspace.import_(
        f"{folder}/j", content=base64.b64encode(notebook).decode(), format=ImportFormat.JUPYTER
    )
    assert on_disk(plain, f"{folder}/j.ipynb").read_bytes() == notebook
    assert client.workspace.get_status(f"{folder}/j").object_type == ObjectType.NOTEBOOK
    data = bytes(range(256)) + b"\r\n\r"
    client.workspace.upload(f"{folder}/data.bin", io.BytesIO(data), format=ImportFormat.AUTO)
    assert on_disk(plain, f"{folder}/data.bin").read_bytes() == data
    status = client.workspace.get_status(f"{folder}/data.bin")
    assert (status.object_type, status.size) == (ObjectType.FILE, 259)
    client.workspace.upload(f"{folder}/m.py", io.BytesIO(b"x = 1"), format=ImportFormat.AUTO)
    assert client.workspace.get_status(f"{folder}/m.py").object_type == ObjectType.FILE
    assert base64.b64decode(client.workspace.export(f"{folder}/m.py").content) == b"x = 1"


def test_overwrite_is_said(client, folder):
    client.workspace.upload(f"{folder}/f.txt", io.BytesIO(b"1"), format=ImportFormat.AUTO)
    with pytest.raises(ResourceAlreadyExists, match="already exists"):
        client.workspace.upload(f"{folder}/f.txt", io.BytesIO(b"2"), format=ImportFormat.AUTO)
    client.workspace.upload(f"{folder}/f.txt", io.BytesIO(b"3"), format=ImportFormat.AUTO, overwrite=True)
    assert client.workspace.download(f"{folder}/f.txt").read() == b"3"


def test_folders(client, folder):
    client.workspace.mkdirs(f"{folder}/a/b")
    client.workspace.upload(f"{folder}/a/b/f", io.BytesIO(b"1"), format=ImportFormat.AUTO)
    found = sorted(item.path for item in client.workspace.list(folder, recursive=True))
    assert found == [f"{folder}/a/b/f".removeprefix("/Workspace")]
    with pytest.raises(BadRequest, match="not empty"):
        client.workspace.delete(f"{folder}/a")
    client.workspace.delete(f"{folder}/a", recursive=True)
    assert list(client.workspace.list(folder)) == []
    with pytest.raises(NotFound, match="parent folder"):
        client.workspace.upload(f"{folder}/no/f", io.BytesIO(b"1"), format=ImportFormat.AUTO)
    with pytest.raises(NotFound):
        list(client.workspace.list(f"{folder}/no"))
    home = f"/Users/{client.current_user.me().user_name}"
    assert client.workspace.get_status(home).object_type == ObjectType.DIRECTORY


def test_there_is_no_way_out(client, plain, folder, tmp_path):
    on_disk(plain, f"{folder}/link").symlink_to(tmp_path)
    for path in (f"{folder}/link/x", "/Workspace/../.workspace/token", "relative"):
        with pytest.raises(DatabricksError):
            client.workspace.upload(path, io.BytesIO(b"1"), format=ImportFormat.AUTO)
    assert list(tmp_path.iterdir()) == []
