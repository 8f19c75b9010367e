"""Volumes over the Files API, for where `/Volumes` is not mounted. Plain local paths pass to another adapter."""

from __future__ import annotations

import io
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, BinaryIO

from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.ports import FileInfo, FileState, HashedStream, Readable, Volumes, file_sha256

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.files import DirectoryEntry, FilesAPI

_MOUNT = "/Volumes"
_BLOCK = 1024 * 1024


class FilesVolumes:
    """`ports.Volumes` over the SDK's Files API (pages of 1000; only a missing token ends a listing).

    Args:
        client: databricks-sdk's client, or a callable that makes it when it is first needed.
        local: takes the paths that are not below `/Volumes`; None: they are refused.
    """

    def __init__(
        self, client: WorkspaceClient | Callable[[], WorkspaceClient], local: Volumes | None = None
    ) -> None:
        self._client = client
        self._local = local

    def list(self, path: str) -> list[FileInfo]:
        if self._is_local(path):
            return self._elsewhere(path).list(path)
        top = path.rstrip("/")
        try:
            entries = self._entries(top)
        except VolumeError as error:
            one = self._file(top) if _is_no_folder(error) else None
            if one is None:
                raise
            return [one]
        return sorted(self._walk(top, entries))

    def walk(
        self, path: str, unreadable: Callable[[str, VolumeError], None] | None = None
    ) -> Iterator[FileInfo]:
        if self._is_local(path):
            yield from self._elsewhere(path).walk(path, unreadable)
            return
        top = path.rstrip("/")
        try:
            entries = self._entries(top)
        except VolumeError as error:
            one = self._file(top) if _is_no_folder(error) else None
            if one is None:
                raise
            yield one
            return
        yield from self._walk(top, entries, unreadable)

    def stat(self, path: str) -> FileInfo:
        if self._is_local(path):
            return self._elsewhere(path).stat(path)
        with _edge("read", path):
            found = self._files.get_metadata(path)
        moment = parsedate_to_datetime(found.last_modified).timestamp() if found.last_modified else 0
        return FileInfo(path, found.content_length or 0, int(moment * 1000))

    def inspect(self, path: str, below: str = "") -> FileState | None:
        if self._is_local(path):
            return self._elsewhere(path).inspect(path, below)
        from databricks.sdk.errors import NotFound

        # Volumes have no links. A folder has no metadata as a file: it is told from nothing by asking for it.
        with _edge("read", path):
            try:
                found = self._files.get_metadata(path)
            except NotFound:
                if self._is_folder(path):
                    raise VolumeError(f"cannot use {path}: it is a folder; name a file") from None
                return None
        size, modified = found.content_length or 0, found.last_modified or ""
        moment = parsedate_to_datetime(modified).timestamp() if modified else 0
        return FileState(
            path, size, int(moment) * 1_000_000_000, None, path, f"{size}:{modified}", exact=False
        )

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        if self._is_local(path):
            with self._elsewhere(path).open(path) as file:
                yield file
            return
        with _edge("read", path):
            contents = self._files.download(path).contents
            if contents is None:
                yield io.BytesIO()
                return
            try:
                yield contents
            finally:
                contents.close()

    def read(self, path: str) -> bytes:
        if self._is_local(path):
            return self._elsewhere(path).read(path)
        with _edge("read", path):
            contents = self._files.download(path).contents
            return contents.read() if contents is not None else b""

    def write(self, path: str, data: bytes) -> None:
        if self._is_local(path):
            self._elsewhere(path).write(path, data)
            return
        with _edge("write", path):
            self._files.upload(path, io.BytesIO(data), overwrite=True)

    def delete(self, path: str) -> None:
        if self._is_local(path):
            self._elsewhere(path).delete(path)
            return
        from databricks.sdk.errors import NotFound

        with _edge("delete", path):
            try:
                self._files.delete(path)
            except NotFound:
                return

    def upload(self, path: str, source: Readable) -> None:
        if self._is_local(path):
            self._elsewhere(path).upload(path, source)
            return
        # A file of this machine: the SDK reads what it sends twice when it repeats a part.
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(source, copy, _BLOCK)
            copy.seek(0)
            with _edge("write", path):
                self._files.upload(path, copy, overwrite=True)

    def create(self, path: str, source: Readable, sha256: str, *, durable: bool = True) -> bool:
        if self._is_local(path):
            return self._elsewhere(path).create(path, source, sha256, durable=durable)
        from databricks.sdk.errors import AlreadyExists, ResourceConflict

        with tempfile.TemporaryFile() as copy:
            stream = HashedStream(source)
            shutil.copyfileobj(stream, copy, _BLOCK)
            if stream.sha256 != sha256:
                raise VolumeError(f"cannot write {path}: the bytes are not the wanted ones")
            copy.seek(0)
            with _edge("write", path):
                try:
                    self._files.upload(path, copy, overwrite=False)
                except (AlreadyExists, ResourceConflict):
                    return False
        if file_sha256(self, path) != sha256:
            self.delete(path)
            raise VolumeError(f"cannot write {path}: the bytes read back are not the wanted ones")
        return True

    def remove_partials(self, folder: str) -> None:
        if self._is_local(folder):
            self._elsewhere(folder).remove_partials(folder)
        # The Files API shows a file when it is whole: there are none.

    def delete_unchanged(self, state: FileState) -> bool:
        if self._is_local(state.path):
            return self._elsewhere(state.path).delete_unchanged(state)
        from databricks.sdk.errors import NotFound

        with _edge("delete", state.path):
            there = self.inspect(state.path)
            if there is None or there.version != state.version:
                return False
            try:
                self._files.delete(state.path)
            except NotFound:
                return False
        return True

    def set_facts(self, path: str, *, modified_ns: int, mode: int | None) -> bool:
        if self._is_local(path):
            return self._elsewhere(path).set_facts(path, modified_ns=modified_ns, mode=mode)
        return False

    def delete_folder(self, path: str) -> None:
        if self._is_local(path):
            self._elsewhere(path).delete_folder(path)
            return
        from databricks.sdk.errors import NotFound

        top = path.rstrip("/")
        try:
            with _edge("delete", top):
                entries = list(self._files.list_directory_contents(top))
        except VolumeError as error:
            if isinstance(error.__cause__, NotFound):
                return
            raise
        for entry in entries:
            below = f"{top}/{entry.name}"
            if entry.is_directory:
                self.delete_folder(below)
            else:
                self.delete(below)
        with _edge("delete", top):
            try:
                self._files.delete_directory(top)
            except NotFound:
                return

    @property
    def _files(self) -> FilesAPI:
        client = self._client() if callable(self._client) else self._client
        return client.files

    def _is_local(self, path: str) -> bool:
        if path != _MOUNT and not path.startswith(_MOUNT + "/"):
            return True
        if ".." in path.split("/"):
            raise VolumeError(f"{path} leads out of {_MOUNT}: write the path without ..")
        if "\x00" in path:
            raise VolumeError(f"{path!r} is not a path: it holds a NUL character")
        return False

    def _elsewhere(self, path: str) -> Volumes:
        if self._local is None:
            raise VolumeError(f"{path} is not below {_MOUNT}: only volumes are reached from here")
        return self._local

    def _walk(
        self,
        top: str,
        entries: Sequence[DirectoryEntry],
        unreadable: Callable[[str, VolumeError], None] | None = None,
    ) -> Iterator[FileInfo]:
        folders: list[str] = []
        folder, listed = top, entries
        while True:
            below: list[str] = []
            for entry in listed:
                path = f"{folder}/{entry.name}"
                if entry.is_directory:
                    below.append(path)
                else:
                    yield _info(path, entry)
            folders += reversed(below)
            listed = ()
            while folders and not listed:
                folder = folders.pop()
                try:
                    listed = self._entries(folder)
                except VolumeError as error:
                    if unreadable is None:
                        raise
                    unreadable(folder, error)
            if not listed:
                return

    def _entries(self, folder: str) -> Sequence[DirectoryEntry]:
        with _edge("list", folder):
            return list(self._files.list_directory_contents(folder))

    def _is_folder(self, path: str) -> bool:
        from databricks.sdk.errors import NotFound

        try:
            self._files.get_directory_metadata(path)
        except NotFound:
            return False
        return True

    def _file(self, path: str) -> FileInfo | None:
        """The file of this path, from its folder's listing (a file's own metadata has whole seconds only)."""
        folder, name = posixpath.split(path)
        try:
            entries = self._entries(folder)
        except VolumeError:
            return None
        for entry in entries:
            if entry.name == name and not entry.is_directory:
                return _info(path, entry)
        return None


def _is_no_folder(error: VolumeError) -> bool:
    from databricks.sdk.errors import BadRequest, NotFound

    return isinstance(error.__cause__, (NotFound, BadRequest))


def _info(path: str, entry: DirectoryEntry) -> FileInfo:
    return FileInfo(path, entry.file_size or 0, entry.last_modified or 0)


@contextmanager
def _edge(verb: str, path: str) -> Iterator[None]:
    from lakeflow_job_meta.adapters.databricks_errors import CALL_ERRORS, translate

    try:
        yield
    except CALL_ERRORS as error:
        translated = translate(error, f"{verb} {path}", write=verb in {"write", "delete"})
        raise VolumeError(str(translated)) from error
