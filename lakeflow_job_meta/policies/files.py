"""What a remediation does to one file: look at it, copy it checked, remove it unchanged, bring it back.

Nothing here overwrites, and nothing removes a file whose bytes were not just seen elsewhere or told to go for good.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from lakeflow_job_meta.errors import VolumeError
from lakeflow_job_meta.names import digest
from lakeflow_job_meta.policies.plan import Item
from lakeflow_job_meta.policies.remediation_settings import MOVE, STUB_MESSAGE
from lakeflow_job_meta.ports import FileState, HashedStream, Volumes, file_sha256

#: A stub is a short text; what is longer is none.
_STUB_LIMIT = 64 * 1024


class Stays(Exception):
    """No error of the program: the file is not what was planned, and stays as it is."""


def copy(volumes: Volumes, source: str, target: str, sha256: str) -> bool:
    """Copy a file whose content must have this hash; False when a whole copy is there already.

    Without a new copy the source was perhaps not read: what it holds is then for the caller to see.

    Raises:
        Stays: the source has another content; nothing appeared at the target.
        VolumeError: it cannot be read or written, or something else is at the target.
    """
    if _create(volumes, source, target, sha256):
        return True
    there = volumes.inspect(target)
    if there is not None and there.size == 0 and not there.exact:
        # On a mounted volume, which has no hard links, an empty file takes the name first; who did so died.
        volumes.delete_unchanged(there)
        if _create(volumes, source, target, sha256):
            return True
    if file_sha256(volumes, target) != sha256:
        raise VolumeError(f"{target} is there already, with another content: it is not overwritten")
    return False


def _create(volumes: Volumes, source: str, target: str, sha256: str) -> bool:
    with volumes.open(source) as file:
        stream = HashedStream(file)
        try:
            return volumes.create(target, stream, sha256)
        except VolumeError:
            if stream.ended and stream.sha256 != sha256:
                raise Stays("its content changed since it was scanned") from None
            raise


@dataclass
class Handling:
    """One file's way out, and what was seen of other files on the way.

    Args:
        seen: files that have the content that they must have, by path, as they were then: keepers and targets.
    """

    volumes: Volumes
    seen: dict[str, FileState] = field(default_factory=dict)

    def prepare(self, item: Item, *, again: bool = False) -> FileState:
        """See that the file is what was planned and, where it goes somewhere, that a verified copy is there.

        Args:
            again: an earlier process may have made the copy already.

        Returns:
            the file as it was when it was read.

        Raises:
            Stays: it is not there, or another one, or its keeper is.
            VolumeError: a file cannot be read or written.
        """
        kept = self.check_keeper(item)
        file = self.volumes.inspect(item.path, item.root)
        if file is None:
            raise Stays("it is not there (any more)")
        if file.size != item.size:
            raise Stays(f"it changed since it was planned: {item.size} bytes then, {file.size} now")
        if kept is not None and kept.identity == file.identity:
            raise Stays(f"it is another name of its keeper {item.keeper}")
        is_read = False
        if item.target and item.target not in self.seen:
            is_read = copy(self.volumes, item.path, item.target, item.sha256)
            if not is_read and item.action == MOVE and not again:
                raise VolumeError(f"{item.target} is there already: it is not overwritten; plan anew")
            self._see(item.target, item.sha256, checked=True)
        if not is_read and file_sha256(self.volumes, item.path) != item.sha256:
            raise Stays("its content changed since it was scanned")
        if self.volumes.inspect(item.path, item.root) != file:
            raise Stays("it changed while it was read")
        return file

    def remove(self, item: Item, file: FileState | None) -> None:
        """Remove the original, of which a verified copy is in place.

        Args:
            file: as `prepare` saw it; None when that was in a process that is gone.

        Raises:
            Stays: it is not what was copied, or its keeper is not what it was.
            VolumeError: the copy is not in place, or the platform refused.
        """
        there = self.volumes.inspect(item.path, item.root)
        if file is None or (there is not None and not there.exact):
            # Seen by a process that died, or on a platform whose times are too coarse to tell.
            if there is not None and file_sha256(self.volumes, item.path) != item.sha256:
                raise Stays("it changed since it was copied")
            file = there
        self.check_target(item)
        if file is None:
            return  # the process that died had removed it
        self.check_keeper(item)
        if there is None:
            raise Stays("somebody else removed it since it was copied")
        if not self.volumes.delete_unchanged(file):
            raise Stays("it changed since it was copied")

    def check_target(self, item: Item) -> None:
        """That the copy is in place. Raises VolumeError."""
        if item.target and self._with(item.target, item.sha256, item.size) is None:
            raise VolumeError(f"the copy {item.target} is not there or damaged: the original stays as it is")

    def check_keeper(self, item: Item) -> FileState | None:
        """The keeper, which is there with the same content; None when there is to be none. Raises Stays."""
        if not item.keeper:
            return None
        kept = self._with(item.keeper, item.sha256, item.size)
        if kept is None:
            raise Stays(f"its keeper {item.keeper} is gone or changed: run the policy again")
        return kept

    def _with(self, path: str, sha256: str, size: int) -> FileState | None:
        """The file, when it has the content; it is read once, and looked at every time."""
        there = self.volumes.inspect(path)
        if there is None or there.size != size:
            return None
        return there if self.seen.get(path) == there else self._see(path, sha256)

    def _see(self, path: str, sha256: str, *, checked: bool = False) -> FileState | None:
        before = self.volumes.inspect(path)
        if before is None or not (checked or file_sha256(self.volumes, path) == sha256):
            return None
        if self.volumes.inspect(path) != before:
            return None
        self.seen[path] = before
        return before


# ---------------------------------------------------------------- stubs


def stub_text(item: Item, run_id: str, message: str = STUB_MESSAGE) -> bytes:
    """The text of a file's stub: the same every time, and no other file's."""
    done = {"archive": "archived", "quarantine": "quarantined", "move": "moved", "delete": "deleted"}
    lines = [
        message,
        "",
        f"File: {item.path}",
        f"Action: {done.get(item.action, item.action)}",
        f"Content SHA-256: {item.sha256}",
        f"Size: {item.size} bytes",
        *([f"Stored at: {item.target}"] if item.target else []),
        *([f"Kept copy: {item.keeper}"] if item.keeper else []),
        f"Run: {run_id}",
        f"To bring it back: lakeflow-job-meta policy undo {run_id}",
        "",
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def leave_stub(volumes: Volumes, item: Item, text: bytes) -> str:
    """Leave the stub where nothing is; why there is none, empty when there is one."""
    try:
        if volumes.create(item.stub, io.BytesIO(text), digest(text), durable=False):
            return ""
        if _is_stub(volumes, item.stub, text) is not None:
            return ""
    except VolumeError as error:
        return f"no stub: {error}"
    return f"no stub: {item.stub} is there already"


def remove_stub(volumes: Volumes, path: str, text: bytes) -> str:
    """Remove the stub if it is still ours; why it stays, empty when it is gone."""
    file = _is_stub(volumes, path, text)
    if file is None:
        return "" if volumes.inspect(path) is None else f"{path} was changed and stays"
    return "" if volumes.delete_unchanged(file) else f"{path} was changed and stays"


def _is_stub(volumes: Volumes, path: str, text: bytes) -> FileState | None:
    """The stub as it is, when it has just this text."""
    file = volumes.inspect(path)
    if file is None or file.size != len(text) or file.size > _STUB_LIMIT:
        return None
    return file if volumes.read(path) == text else None
