"""Paths of a workspace, and the way out that there is none."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder


@pytest.fixture
def folder(tmp_path):
    made = Folder.at(tmp_path / "w")
    made.prepare()
    return made


def test_volume_paths(folder):
    assert folder.volume_path("/Volumes/c/s/v/x y.txt") == folder.root / "Volumes/c/s/v/x y.txt"
    assert folder.volume_path("/Volumes/c/s/v/../w") == folder.root / "Volumes/c/s/w"
    assert folder.volume_path("/Volumes") == folder.volumes
    for wrong in (
        "/Volumes/../x",
        "/Volumes/a/../../../etc",
        "/volumes/c",
        "Volumes/c",
        "/VolumesX/c",
        "/Volumes/a\0b",
    ):
        with pytest.raises(LocalError):
            folder.volume_path(wrong)


def test_workspace_paths(folder):
    """`/Workspace` in front may be left out, as on the platform."""
    expected = folder.root / "Workspace/Users/a@b/n"
    assert (
        folder.workspace_path("/Workspace/Users/a@b/n") == folder.workspace_path("/Users/a@b/n") == expected
    )
    assert folder.workspace_path("/Workspace") == folder.workspace_path("/") == folder.workspace
    for wrong in ("Users/a", "/Volumes/c/s/v", "/Workspace/../Volumes/x"):
        with pytest.raises(LocalError):
            folder.workspace_path(wrong)


def test_links_that_lead_out_are_not_followed(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (folder.volumes / "link").symlink_to(tmp_path / "outside")
    (folder.volumes / "inside").symlink_to(folder.volumes)
    with pytest.raises(LocalError, match="leaves"):
        folder.volume_path("/Volumes/link/x")
    assert folder.volume_path("/Volumes/inside/x") == folder.volumes / "x"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalError, match="choose a folder"):
        Folder.at(tmp_path / "file" / "sub").prepare()
