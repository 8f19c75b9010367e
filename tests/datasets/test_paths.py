"""Paths of landed files: which are ours, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakeflow_job_meta.datasets.paths import check_path, landed_path
from lakeflow_job_meta.errors import DatasetError

LANDING = "/Volumes/main/etl/datasets"
GOOD = f"{LANDING}/acme/b1d5/1.parquet"


def test_a5_nothing_of_the_client_is_in_the_path() -> None:
    """Tenant, dataset and version make the path; what the tenant is called cannot lead anywhere."""
    assert landed_path(LANDING, "../../x", "b1d5", 3) == f"{LANDING}/x/b1d5/3.parquet"


@pytest.mark.parametrize(
    "path",
    [
        f"{LANDING}/acme/../other/b1d5/1.parquet",
        "acme/b1d5/1.parquet",
        "/etc/passwd.parquet",
        f"{LANDING}/acme/b1d5\\1.parquet",
        f"{LANDING}/acme/b1d5/1\0.parquet",
        f"{LANDING}/acme/%2e%2e/b1d5/1.parquet",
        f"{LANDING}/acme//1.parquet",
        f"{LANDING}/acme/./1.parquet",
        f"{LANDING}/acme/b1d5/1.csv",
        f"{LANDING}/acme/b1d5/1\n.parquet",
    ],
)
def test_h2_other_paths_are_refused(path: str) -> None:
    """`..`, relative, absolute elsewhere, backslash, NUL, encoded, empty parts, another ending."""
    with pytest.raises(DatasetError):
        check_path(path, LANDING, "acme")


def test_h2_two_dots_in_a_name_are_allowed() -> None:
    assert check_path(f"{LANDING}/acme/a..b/1.parquet", LANDING, "acme").endswith("a..b/1.parquet")


def test_h2_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A symbolic link to another tenant's file is no file of this tenant."""
    other = tmp_path / "victim" / "d1" / "1.parquet"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"PAR1")
    own = tmp_path / "acme" / "d2" / "1.parquet"
    own.parent.mkdir(parents=True)
    own.symlink_to(other)
    with pytest.raises(DatasetError, match="link"):
        check_path(str(own), str(tmp_path), "acme")
    own.unlink()
    own.write_bytes(b"PAR1")
    assert check_path(str(own), str(tmp_path), "acme", "d2") == str(own)


def test_e5_another_tenants_folder_is_refused() -> None:
    """A path below another tenant's folder, or another dataset's, is none of the dataset's."""
    assert check_path(GOOD, LANDING, "acme", "b1d5") == GOOD
    with pytest.raises(DatasetError, match="outside"):
        check_path(GOOD, LANDING, "attacker")
    with pytest.raises(DatasetError, match="outside"):
        check_path(GOOD, LANDING, "acme", "other")
