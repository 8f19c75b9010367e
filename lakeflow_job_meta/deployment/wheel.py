"""The wheel that the monitor and our own tasks run: read from a file, or packed from this very installation."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from lakeflow_job_meta.deployment.monitor_jobs import ENTRY_POINT
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName, digest

#: PEP 427: the file name says distribution, version and tags; installers refuse another one.
_NAME = re.compile(r"lakeflow_job_meta-[^-]+(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl", re.IGNORECASE)

#: Files in which a wheel differs by the tool that made it, and not by what it does.
_MAKERS = (".dist-info/RECORD", ".dist-info/WHEEL", ".dist-info/top_level.txt")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of this package.

    Args:
        name: the file's name, which has the version.
    """

    name: str
    data: bytes = field(repr=False)

    def path_in(self, volume: TableName) -> str:
        """Where it lies in a volume: in a folder by content, since one version may be built many times."""
        root = f"/Volumes/{volume.catalog}/{volume.schema}/{volume.table}"
        return f"{root}/{self.mark}/{self.name}"

    @property
    def mark(self) -> str:
        """Hash of what the wheel installs: the same code built again is the same wheel."""
        with zipfile.ZipFile(BytesIO(self.data)) as archive:
            files = {
                name: digest(archive.read(name))
                for name in archive.namelist()
                if not name.endswith(_MAKERS) and not name.endswith("/")
            }
        return digest(files, 12)


def packages_volume(control_table: TableName) -> TableName:
    """The volume of a control table's wheels: not the one that is watched, where an upload would be news."""
    return control_table.companion("packages")


def is_intact(path: str, data: bytes) -> bool:
    """Whether an uploaded wheel still is what its folder's name says."""
    folder, name = path.split("/")[-2:]
    try:
        return Wheel(name, data).mark == folder
    except zipfile.BadZipFile:
        return False


def read(path: Path) -> Wheel:
    """The wheel of a file.

    Raises:
        UsageError: it cannot be read, or is no wheel of this package.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read the wheel {path}: {error.strerror}; build one with `make wheel`"
        ) from error
    if not _NAME.fullmatch(path.name) or ENTRY_POINT not in _entry_points(data):
        raise UsageError(
            f"{path} is no wheel of lakeflow_job_meta with the entry point {ENTRY_POINT}: build one with `make wheel`"
        )
    return Wheel(path.name, data)


def of_this_installation() -> Wheel:
    """The code that is running, as a wheel: what deploys is what runs."""
    from lakeflow_job_meta.local.runs import own_wheel

    with TemporaryDirectory() as folder:
        path = own_wheel.build(Path(folder))
        return Wheel(path.name, path.read_bytes())


def _entry_points(data: bytes) -> str:
    """The text of the wheel's entry_points.txt; empty when there is none, or it is no archive."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
            return archive.read(names[0]).decode("utf-8", errors="replace") if names else ""
    except zipfile.BadZipFile:
        return ""
