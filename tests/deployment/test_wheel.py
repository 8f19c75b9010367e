"""Wheels: where they lie, when two are the same, and what is none of ours."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lakeflow_job_meta import __version__
from lakeflow_job_meta.deployment import wheel
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName

TABLE = TableName("main", "etl", "etl_control")


def pack(path: Path, *, code: str = "x = 1", maker: str = "setuptools", date: int = 2024) -> Path:
    """A wheel of ours with this code, made by this tool at this time."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {
            "lakeflow_job_meta/__init__.py": code,
            "lakeflow_job_meta-0.1.0.dist-info/entry_points.txt": "[console_scripts]\nlakeflow-job-meta-monitor = m:main\n",
            "lakeflow_job_meta-0.1.0.dist-info/WHEEL": f"Generator: {maker}\n",
        }.items():
            archive.writestr(zipfile.ZipInfo(name, (date, 1, 1, 0, 0, 0)), text)
    return path


def test_the_same_code_built_again_is_the_same_wheel(tmp_path: Path) -> None:
    """The tool and the time of a build do not matter; one changed line does."""
    name = "lakeflow_job_meta-0.1.0-py3-none-any.whl"
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    first = wheel.read(pack(tmp_path / "a" / name))
    again = wheel.read(pack(tmp_path / "b" / name, maker="flit", date=2025))
    other = wheel.read(pack(tmp_path / "c" / name, code="x = 2"))
    volume = wheel.packages_volume(TABLE)
    assert first.path_in(volume) == again.path_in(volume) != other.path_in(volume)
    assert first.path_in(volume).startswith("/Volumes/main/etl/etl_control_packages/")
    assert first.path_in(volume).endswith(f"/{name}")


def test_this_installation_is_a_wheel_of_this_version() -> None:
    """What is running, without a build tool."""
    made = wheel.of_this_installation()
    assert made.name == f"lakeflow_job_meta-{__version__}-py3-none-any.whl"
    assert made.mark == wheel.of_this_installation().mark


@pytest.mark.parametrize(
    "name", ["other-0.1.0-py3-none-any.whl", "lakeflow_job_meta.whl", "lakeflow_job_meta.zip"]
)
def test_a_file_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """Installers take distribution and version from the name."""
    with pytest.raises(UsageError, match="is no wheel of lakeflow_job_meta"):
        wheel.read(pack(tmp_path / name))
