"""Where an embedded workspace keeps what on disk, and the paths that may be reached from outside."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from lakeflow_job_meta.errors import LocalError

MARKER = "lakeflow-job-meta-workspace"
"""A file below `.workspace` that says the folder is ours: `reset` deletes nothing without it."""


@dataclass(frozen=True)
class Folder:
    """The folder of one embedded workspace.

    Args:
        root: the folder's path; made absolute by `Folder.at`.
    """

    root: Path

    @classmethod
    def at(cls, directory: str | os.PathLike[str]) -> Folder:
        """The folder at `directory`, `~` and symlinks resolved, whether it exists or not."""
        return cls(Path(directory).expanduser().resolve())

    @property
    def private(self) -> Path:
        """What the process keeps for itself (mode 0700: it has the token and the secrets)."""
        return self.root / ".workspace"

    @property
    def marker(self) -> Path:
        return self.private / MARKER

    @property
    def state(self) -> Path:
        return self.private / "state.sqlite"

    @property
    def lock(self) -> Path:
        """JSON with pid, ports and token of the process that holds the lock on it."""
        return self.private / "server.lock"

    @property
    def log(self) -> Path:
        return self.private / "server.log"

    @property
    def token(self) -> Path:
        return self.private / "token"

    @property
    def environments(self) -> Path:
        return self.private / "environments"

    @property
    def runs(self) -> Path:
        return self.private / "runs"

    @property
    def dxr(self) -> Path:
        """State of the Data X-Ray simulator."""
        return self.private / "dxr"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse"

    @property
    def volumes(self) -> Path:
        return self.root / "Volumes"

    @property
    def workspace(self) -> Path:
        return self.root / "Workspace"

    @property
    def is_ours(self) -> bool:
        """Whether an embedded workspace was made here."""
        return self.marker.is_file()

    def prepare(self) -> None:
        """Makes what is missing.

        Raises:
            LocalError: the folder cannot be made or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.private.mkdir(mode=0o700, exist_ok=True)
            for path in (self.environments, self.runs, self.warehouse, self.volumes, self.workspace):
                path.mkdir(exist_ok=True)
            if not self.marker.exists():
                self.marker.write_text("An embedded workspace of lakeflow-job-meta; safe to reset.\n")
        except OSError as e:
            raise LocalError(
                f"cannot make a workspace in {self.root}: {e.strerror}; choose a folder that you can write"
            ) from e

    def volume_path(self, path: str) -> Path:
        """The file behind `/Volumes/<catalog>/<schema>/<volume>/...`.

        Raises:
            LocalError: not a volume path, or one that leaves the folder (`..`, symlinks).
        """
        clean = _normal(path)
        if clean != "/Volumes" and not clean.startswith("/Volumes/"):
            raise LocalError(f"{path!r} is no volume path: it must start with /Volumes/")
        return _confined(self.volumes, clean[len("/Volumes/") :], path)

    def workspace_path(self, path: str) -> Path:
        """The file behind `/Workspace/...`, or the same path without that first part.

        Raises:
            LocalError: not an absolute workspace path, or one that leaves the folder.
        """
        clean = _normal(path)
        if clean == "/Volumes" or clean.startswith("/Volumes/"):
            raise LocalError(f"{path!r} is a volume path, not a workspace path")
        if clean == "/Workspace" or clean.startswith("/Workspace/"):
            clean = clean[len("/Workspace") :]
        return _confined(self.workspace, clean.lstrip("/"), path)


def _normal(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise LocalError(f"{path!r} is no absolute path: it must start with /")
    return "/" + posixpath.normpath(path).lstrip("/")


def _confined(root: Path, relative: str, shown: str) -> Path:
    base = root.resolve()
    try:
        target = (base / relative).resolve() if relative else base
    except (OSError, RuntimeError, ValueError) as e:
        raise LocalError(f"{shown!r} cannot be resolved: {e}") from e
    if target != base and base not in target.parents:
        raise LocalError(f"{shown!r} leaves {root.name}: links out of the workspace are not followed")
    return target
