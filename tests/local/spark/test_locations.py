"""Folders of tables and paths into volumes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark import locations
from lakeflow_job_meta.local.spark.errors import Refused


@given(st.text(st.characters(exclude_categories=("Cs", "Lu")), min_size=1))
def test_a_name_comes_back_from_its_folder(name: str) -> None:
    """Every name has a folder of its own, made of characters that Sail gets right."""
    folder = locations.folder_name(name.lower())
    assert locations.name_of(folder) == name.lower()
    assert folder.isascii()
    assert "/" not in folder
    assert "%" not in folder


def test_plain_names_are_their_own_folders() -> None:
    """What people look for on disk is where they expect it."""
    assert locations.folder_name("sales_2024-q1") == "sales_2024-q1"
    assert locations.folder_name("a b") == "a_x0020_b"
    assert locations.name_of(locations.folder_name("a_x0020_b")) == "a_x0020_b"


@pytest.mark.parametrize(
    "text", ["/Volumes/main/s/v/x.csv", "dbfs:/Volumes/main/s/v/x.csv", "file:/Volumes/main/s/v/x.csv"]
)
def test_volume_paths_are_local_ones(tmp_path: Path, text: str) -> None:
    """With and without a scheme."""
    found = locations.Locations(Folder.at(tmp_path)).volume(text)
    assert found == str(tmp_path.resolve() / "Volumes/main/s/v/x.csv")


def test_a_volume_path_cannot_leave_the_volumes(tmp_path: Path) -> None:
    """Neither with dots nor through a link."""
    found = locations.Locations(Folder.at(tmp_path))
    with pytest.raises(Refused):
        found.volume("/Volumes/../../etc/passwd")
    (tmp_path / "Volumes/main").mkdir(parents=True)
    (tmp_path / "Volumes/main/s").symlink_to("/etc")
    with pytest.raises(Refused):
        found.volume("/Volumes/main/s/passwd")


def test_other_paths_are_left_alone(tmp_path: Path) -> None:
    """Only volumes are mapped."""
    assert locations.Locations(Folder.at(tmp_path)).volume("/tmp/Volumes/x") is None


@pytest.mark.parametrize("text", ["/Volumes/main/s/v", "dbfs:/Volumes/main/s/v", "s3://bucket/x", "x/y"])
def test_tables_have_local_absolute_locations(tmp_path: Path, text: str) -> None:
    """As Unity Catalog, it takes no volume; a cloud store is not there."""
    with pytest.raises(Refused):
        locations.Locations(Folder.at(tmp_path)).external(text)
