"""Volumes as a mounted file system: `/Volumes` in a task, a folder that stands for it elsewhere."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.ports import FileInfo, FileState, Readable, sha256_of

_MOUNT = "/Volumes"
_BLOCK = 1024 * 1024
#: What `create` writes before it gives the file its name.
_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.new")
#: What a file system without hard links, such as a FUSE mount, answers to one.
_NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EMLINK,
    errno.EXDEV,
}


class FuseVolumes:
    """`ports.Volumes` over the file system; plain local paths pass as they are.

    Args:
        root: the folder that stands for `/Volumes`; None where `/Volumes` itself is mounted.
            Paths are then confined to it: neither `..` nor a symbolic link leads out.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root.resolve() if root is not None else None

    def list(self, path: str) -> list[FileInfo]:
        with _edge("list", path):
            there = self._local(path)
            status = there.stat()
            if not stat.S_ISDIR(status.st_mode):
                return [_info(path, status)]
            return sorted(self._walk(there, path, None))

    def walk(
        self, path: str, unreadable: Callable[[str, VolumeError], None] | None = None
    ) -> Iterator[FileInfo]:
        with _edge("list", path):
            there = self._local(path)
            status = there.stat()
        if stat.S_ISDIR(status.st_mode):
            yield from self._walk(there, path, unreadable)
        else:
            yield _info(path, status)

    def stat(self, path: str) -> FileInfo:
        with _edge("read", path):
            status = self._local(path).stat()
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(path)
            return _info(path, status)

    def inspect(self, path: str, below: str = "") -> FileState | None:
        with _edge("read", path):
            there = self._itself(path, below)
            try:
                status = os.lstat(there)
            except (FileNotFoundError, NotADirectoryError):
                return None
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "no regular file"
            raise VolumeError(f"cannot use {path}: it is {kind}; name the file itself")
        return self._state(path, status)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        # Unbuffered: callers read in large blocks, and an error of a read is told as one of the path.
        with _edge("read", path), self._local(path).open("rb", buffering=0) as file:
            yield file

    def read(self, path: str) -> bytes:
        with _edge("read", path):
            return self._local(path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        with _edge("write", path):
            there = self._local(path)
            there.parent.mkdir(parents=True, exist_ok=True)
            # Readers see the old bytes or the new ones: FUSE mounts rename within a folder atomically.
            partial = there.with_name(f".{uuid.uuid4().hex}.tmp")
            try:
                partial.write_bytes(data)
                partial.replace(there)
            finally:
                partial.unlink(missing_ok=True)

    def upload(self, path: str, source: Readable) -> None:
        with _edge("write", path):
            there = self._local(path)
            there.parent.mkdir(parents=True, exist_ok=True)
            partial = there.with_name(f".{uuid.uuid4().hex}.tmp")
            target = partial.open("wb")
        try:
            with target:
                while block := source.read(_BLOCK):
                    with _edge("write", path):
                        target.write(block)
                with _edge("write", path):
                    target.flush()
                    os.fsync(target.fileno())
            with _edge("write", path):
                partial.replace(there)
        finally:
            partial.unlink(missing_ok=True)

    def create(self, path: str, source: Readable, sha256: str, *, durable: bool = True) -> bool:
        with _edge("write", path):
            there = self._local(path)
            if os.path.lexists(there):
                return False
            _make_folder(there.parent)
            partial = there.with_name(f".{uuid.uuid4().hex}.new")
            target = partial.open("xb")
        try:
            with target:
                while block := source.read(_BLOCK):
                    with _edge("write", path):
                        target.write(block)
                with _edge("write", path):
                    target.flush()
                    if durable:
                        os.fsync(target.fileno())
            with _edge("write", path):
                with partial.open("rb", buffering=0) as written:
                    if sha256_of(written) != sha256:
                        raise VolumeError(f"cannot write {path}: the bytes read back are not the wanted ones")
                if not _publish(partial, there):
                    return False
                if durable:
                    _sync_folder(there.parent)
            return True
        finally:
            partial.unlink(missing_ok=True)

    def remove_partials(self, folder: str) -> None:
        with _edge("list", folder):
            try:
                left = [entry for entry in os.scandir(self._local(folder)) if _PARTIAL.fullmatch(entry.name)]
            except (FileNotFoundError, NotADirectoryError):
                return
            for entry in left:
                Path(entry.path).unlink(missing_ok=True)

    def delete(self, path: str) -> None:
        with _edge("delete", path):
            self._local(path).unlink(missing_ok=True)

    def delete_unchanged(self, state: FileState) -> bool:
        with _edge("delete", state.path):
            there = self._local(state.path)
            try:
                if self._state(state.path, os.lstat(there)).version != state.version:
                    return False
                there.unlink()
            except FileNotFoundError:
                return False
            return True

    def set_facts(self, path: str, *, modified_ns: int, mode: int | None) -> bool:
        with _edge("write", path):
            there = self._local(path)
            try:
                if mode is not None:
                    there.chmod(mode)
                os.utime(there, ns=(modified_ns, modified_ns))
            except OSError as error:
                if error.errno in {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}:
                    return False
                raise
            return there.stat().st_mtime_ns == modified_ns

    def delete_folder(self, path: str) -> None:
        with _edge("delete", path):
            there = self._local(path)
            if there == self._root or path.rstrip("/") in {"", _MOUNT}:
                raise VolumeError(f"cannot delete {path}: it holds every volume")
            try:
                shutil.rmtree(there)
            except FileNotFoundError:
                return

    def _local(self, path: str) -> Path:
        """Where the path lies in the file system. Raises VolumeError when it leads out of the root."""
        if "\x00" in path:
            raise VolumeError(f"{path!r} is not a path: it holds a NUL character")
        if not _is_mounted(path):
            return Path(path)
        if self._root is None:
            resolved = os.path.normpath(path)
            if resolved != _MOUNT and not resolved.startswith(_MOUNT + "/"):
                raise VolumeError(f"{path} leads out of {_MOUNT}: write the path without ..")
            return Path(path)
        plain = self._without_links(path)
        if plain is not None:
            return plain
        there = (self._root / path[len(_MOUNT) :].lstrip("/")).resolve()
        if there != self._root and self._root not in there.parents:
            raise VolumeError(
                f"{path} leads out of {_MOUNT} (to {there}): no .. and no links out of a volume"
            )
        return there

    def _itself(self, path: str, below: str) -> Path:
        """Where the path lies, no link followed. Raises VolumeError when a folder above it is a link."""
        if ".." in path.split("/"):
            raise VolumeError(f"cannot use {path}: write the path without ..")
        plain = self._without_links(path) if self._root is not None and _is_mounted(path) else None
        if plain is not None:
            return plain
        there = self._local(path)
        top = Path(below) if below else there.parent
        if _is_mounted(path):
            top = self._root or Path(_MOUNT)
            there = Path(f"{top}/{path[len(_MOUNT) :].strip('/')}")
        for folder in there.parents:
            if top not in folder.parents:
                break
            if folder.is_symlink():
                raise VolumeError(
                    f"cannot use {path}: it is reached through the link {folder.name}; name the file itself"
                )
        return there

    def _state(self, path: str, status: os.stat_result) -> FileState:
        if self._root is None and _is_mounted(path):
            # A mounted volume has neither links nor modes, and inode numbers that come and go.
            version = f"{status.st_size}:{status.st_mtime_ns}"
            return FileState(path, status.st_size, status.st_mtime_ns, None, path, version, exact=False)
        identity = f"{status.st_dev}:{status.st_ino}"
        version = f"{identity}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
        mode = stat.S_IMODE(status.st_mode)
        return FileState(path, status.st_size, status.st_mtime_ns, mode, identity, version, exact=True)

    def _without_links(self, path: str) -> Path | None:
        """Where the path lies if no link and no `..` is on the way: ten times as quick as resolving it."""
        there = str(self._root)
        for part in path[len(_MOUNT) :].split("/"):
            if part in {"", "."}:
                continue
            if part == "..":
                return None
            there = f"{there}/{part}"
            try:
                if stat.S_ISLNK(os.lstat(there).st_mode):
                    return None
            except OSError:
                return None
        return Path(there)

    def _walk(
        self, top: Path, shown: str, unreadable: Callable[[str, VolumeError], None] | None
    ) -> Iterator[FileInfo]:
        """Files below `top`; links are not followed into folders, nor out of the root."""
        folders = [(top, shown.rstrip("/"))]
        while folders:
            folder, prefix = folders.pop()
            try:
                with _edge("list", prefix), os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except VolumeError as error:
                if unreadable is None or folder == top:
                    raise
                unreadable(prefix, error)
                continue
            below: list[tuple[Path, str]] = []
            for entry in entries:
                path, there = f"{prefix}/{entry.name}", folder / entry.name
                if entry.is_dir(follow_symlinks=False):
                    below.append((there, path))
                    continue
                if entry.is_symlink() and self._leads_out(there):
                    continue
                try:
                    with _edge("list", path):
                        status = entry.stat()
                except VolumeError as error:
                    if not isinstance(error.__cause__, FileNotFoundError):
                        if unreadable is None:
                            raise
                        unreadable(path, error)
                    continue  # gone since the scan, or a link to nothing
                if stat.S_ISREG(status.st_mode):
                    yield _info(path, status)
            folders += reversed(below)

    def _leads_out(self, link: Path) -> bool:
        if self._root is None or self._root not in link.parents:
            return False
        return self._root not in link.resolve().parents


def _info(path: str, status: os.stat_result) -> FileInfo:
    return FileInfo(path, status.st_size, status.st_mtime_ns // 1_000_000)


def _is_mounted(path: str) -> bool:
    return path == _MOUNT or path.startswith(_MOUNT + "/")


def _publish(partial: Path, there: Path) -> bool:
    """Give the file its name, unless that is taken: False then. Atomic where there are hard links."""
    try:
        os.link(partial, there, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The name is taken by an empty file first, which is then replaced: nobody else's can be.
        try:
            os.close(os.open(there, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        partial.replace(there)
    return True


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it, lastingly."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    """Write the folder's names to disk; not every file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _edge(verb: str, path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise VolumeError(f"cannot {verb} {path}: there is no such file or folder") from error
    except PermissionError as error:
        raise VolumeError(f"cannot {verb} {path}: permission denied; ask for access to it") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise VolumeError(f"cannot {verb} {path}: it is {_kind(error)}") from error
    except (OSError, UnicodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VolumeError(f"cannot {verb} {path}: {reason}") from error


def _kind(error: OSError) -> str:
    return "a folder" if isinstance(error, IsADirectoryError) else "below something that is no folder"
