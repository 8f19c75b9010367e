"""Where tables lie on disk, and the paths under which Sail is told of them.

Sail writes a Delta table's log and its data to two different folders when the path has a space, a
percent sign or a letter outside ASCII. So a table with such a name gets an encoded folder, and a
workspace whose own path has them is shown to Sail through a symbolic link.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark.errors import Refused, unsupported

_SAFE_PATH = re.compile(r"/[A-Za-z0-9_./+=@,-]*")
_ESCAPED = re.compile(r"_x([0-9a-f]{4,6})_")
_NEEDS_ESCAPE = re.compile(r"[^a-z0-9_-]|_(?=x[0-9a-f]{4,6}_)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
VOLUME = re.compile(r"(?:dbfs:|file:)?(/+Volumes/.*)", re.DOTALL)


def folder_name(name: str) -> str:
    """The folder of a schema or table: its name, each odd character as `_x0020_`."""
    return _NEEDS_ESCAPE.sub(lambda match: f"_x{ord(match.group()):04x}_", name)


def name_of(folder: str) -> str:
    """The schema or table whose folder this is; the reverse of `folder_name`."""
    return _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), folder)


class Locations:
    """Paths of one workspace.

    Args:
        folder: the workspace's folder.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._alias = (
            folder.warehouse if _SAFE_PATH.fullmatch(str(folder.warehouse)) else _link(folder.warehouse)
        )

    def table(self, catalog: str, schema: str, table: str) -> Path:
        """The folder of a managed table."""
        return self._folder.warehouse / folder_name(catalog) / folder_name(schema) / folder_name(table)

    def for_sail(self, location: Path) -> str:
        """The path under which Sail reads and writes a table.

        Raises:
            Refused: an external location with characters that Sail gets wrong.
        """
        if location.is_relative_to(self._folder.warehouse):
            location = self._alias / location.relative_to(self._folder.warehouse)
        path = str(location)
        if not _SAFE_PATH.fullmatch(path):
            raise unsupported(
                f"the table location {path!r}", "use a path of ASCII letters, digits and _ . + = @ , - only"
            )
        return path

    def external(self, text: str) -> Path:
        """The path of a LOCATION clause or a `path` option of a table.

        Raises:
            Refused: a volume, a cloud store, or a relative path.
        """
        if VOLUME.fullmatch(text):
            raise Refused(
                f"a table cannot be defined on files inside a volume ({text}); leave LOCATION out, "
                "or use a path outside /Volumes",
                condition="UC_FILE_SCHEME_FOR_TABLE_CREATION_NOT_SUPPORTED",
            )
        path = re.sub(r"^file:(//)?(?=/)", "", text)
        if _SCHEME.match(path) or not path.startswith("/"):
            raise unsupported(f"the table location {text!r}", "use an absolute path of this machine")
        return Path(os.path.normpath(path))

    def volume(self, text: str) -> str | None:
        """The local path of a `/Volumes/...` path, with or without `dbfs:` or `file:`; None for another.

        Raises:
            Refused: it leaves the workspace's volumes.
        """
        match = VOLUME.fullmatch(text)
        if match is None:
            return None
        try:
            return str(self._folder.volume_path("/" + match.group(1).lstrip("/")))
        except LocalError as e:
            raise Refused(str(e)) from e


def _link(target: Path) -> Path:
    """A symbolic link to `target` whose own path is safe, the same one at every start."""
    name = f"lakeflow-job-meta-{os.getuid()}-{hashlib.sha256(os.fsencode(target)).hexdigest()[:16]}"
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - the link's owner is checked
        link = parent / name
        if not _SAFE_PATH.fullmatch(str(link)):
            continue
        try:
            if not link.is_symlink():
                link.symlink_to(target, target_is_directory=True)
            if link.lstat().st_uid == os.getuid() and link.readlink() == target:
                return link
        except OSError:
            continue
    raise LocalError(
        f"the path {target} has characters that Sail cannot use, and no link to it could be made in "
        f"{tempfile.gettempdir()}; choose a workspace folder whose path has only ASCII letters and digits"
    )
