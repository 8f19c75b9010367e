"""`dbutils.fs` on `/Volumes`, `dbfs:/Volumes`, `/Workspace` and local paths."""

from __future__ import annotations

import os
import shutil
from typing import Any, NamedTuple

from .paths import Paths

_SAMPLE = 65536


class FileInfo(NamedTuple):
    """An entry of `dbutils.fs.ls`: size in bytes, modificationTime in ms since 1970."""

    path: str
    name: str
    size: int
    modificationTime: int  # noqa: N815  # the platform's name

    def isDir(self) -> bool:  # noqa: N802
        return self.path.endswith("/")

    def isFile(self) -> bool:  # noqa: N802
        return not self.isDir()


class FileSystem:
    """`dbutils.fs`.

    Args:
        paths: where the mounts are.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def ls(self, dir: str) -> list[FileInfo]:
        """What is in a folder; for a file, itself."""
        local = self._local(dir)
        if os.path.isfile(local):
            return [self._info(local)]
        return [self._info(entry.path) for entry in sorted(os.scandir(local), key=lambda entry: entry.name)]

    def head(self, file: str, maxBytes: int = _SAMPLE) -> str:  # noqa: N803
        """At most the first `maxBytes` bytes as text."""
        with open(self._local(file), "rb") as source:
            return source.read(maxBytes).decode("utf-8", errors="ignore")

    def put(self, file: str, contents: str, overwrite: bool = False) -> bool:
        """Writes text to a file."""
        local = self._local(file)
        if os.path.exists(local) and not overwrite:
            raise FileExistsError(f"{file} exists already: pass overwrite=True")
        os.makedirs(os.path.dirname(local), exist_ok=True)
        data = contents.encode()
        with open(local, "wb") as target:
            target.write(data)
        print(f"Wrote {len(data)} bytes.")
        return True

    def cp(self, from_: str, to: str, recurse: bool = False) -> bool:
        """Copies a file, or a folder with recurse=True."""
        source, target = self._local(from_), self._local(to)
        if os.path.isdir(source):
            if not recurse:
                raise IsADirectoryError(f"{from_} is a folder: pass recurse=True")
            shutil.copytree(source, target, dirs_exist_ok=True)
            return True
        if os.path.isdir(target) or to.endswith("/"):
            target = os.path.join(target, os.path.basename(source))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        return True

    def mv(self, from_: str, to: str, recurse: bool = False) -> bool:
        """Moves a file, or a folder with recurse=True."""
        self.cp(from_, to, recurse)
        return self.rm(from_, recurse)

    def rm(self, dir: str, recurse: bool = False) -> bool:
        """Removes a file or an empty folder, or a whole folder with recurse=True; False when it was not there."""
        local = self._local(dir)
        if not os.path.lexists(local):
            return False
        if os.path.isdir(local) and not os.path.islink(local):
            if recurse:
                shutil.rmtree(local)
            else:
                os.rmdir(local)
        else:
            os.remove(local)
        return True

    def mkdirs(self, dir: str) -> bool:
        os.makedirs(self._local(dir), exist_ok=True)
        return True

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"dbutils.fs.{name} does not exist in the embedded workspace")

    def _local(self, path: str) -> str:
        for scheme in ("dbfs:", "file:"):
            if path.startswith(scheme):
                path = "/" + path[len(scheme) :].lstrip("/")
                if scheme == "dbfs:" and not path.startswith(("/Volumes/", "/Workspace/")):
                    raise ValueError(
                        f"dbfs:{path}: the embedded workspace has no DBFS root; use /Volumes/..."
                    )
                break
        else:
            if "://" in path:
                raise ValueError(f"{path}: the embedded workspace reaches no cloud storage; use /Volumes/...")
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is no absolute path")
        return self._paths.local(path)

    def _info(self, local: str) -> FileInfo:
        shown = self._paths.shown(local)
        is_folder = os.path.isdir(local)
        status = os.stat(local)
        scheme = "dbfs:" if shown.startswith("/Volumes/") else "file:"
        end = "/" if is_folder else ""
        return FileInfo(
            f"{scheme}{shown}{end}",
            os.path.basename(local) + end,
            0 if is_folder else status.st_size,
            status.st_mtime_ns // 1_000_000,
        )
