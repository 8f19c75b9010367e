"""`/Volumes` and `/Workspace` as a task sees them, on a machine that has no such mounts."""

from __future__ import annotations

import builtins
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import Any

#: Functions of os whose first argument is a path, and those whose first two are.
_ONE_PATH = [
    "stat",
    "lstat",
    "listdir",
    "scandir",
    "mkdir",
    "rmdir",
    "remove",
    "unlink",
    "access",
    "chmod",
    "chown",
    "lchown",
    "utime",
    "open",
    "readlink",
    "truncate",
    "chdir",
    "statvfs",
    "listxattr",
    "getxattr",
    "setxattr",
    "removexattr",
]
_TWO_PATHS = ("rename", "replace", "link", "symlink")


class Paths:
    """Where the mounts of a workspace are on this machine.

    Args:
        volumes: the folder behind `/Volumes`.
        workspace: the folder behind `/Workspace`.
    """

    def __init__(self, volumes: str, workspace: str) -> None:
        self._roots = {"/Volumes": volumes, "/Workspace": workspace}
        # What the machine really has there (macOS mounts its disks on /Volumes) stays reachable.
        self._real = {mount: _names(mount) for mount in self._roots}

    def local(self, path: str) -> str:
        """The file behind a path; paths outside the mounts are returned as they are."""
        for mount, root in self._roots.items():
            if path == mount:
                return path if self._real[mount] else root
            if path.startswith(mount + "/"):
                rest = path[len(mount) + 1 :].lstrip("/")
                return path if rest.split("/", 1)[0] in self._real[mount] else os.path.join(root, rest)
        return path

    def shown(self, path: str) -> str:
        """The path under `/Volumes` or `/Workspace` of a local file, as users write it."""
        for mount, root in self._roots.items():
            if path == root or path.startswith(root.rstrip("/") + "/"):
                return mount + path[len(root.rstrip("/")) :]
        return path

    def install(self) -> None:
        """Makes open(), os and imports of this process see the mounts, as they do under FUSE.

        Only Python's own file functions: a library that opens files in C sees the real machine.
        """
        mapped = {name: self._first(getattr(os, name)) for name in _ONE_PATH if hasattr(os, name)}
        mapped["scandir"] = self._scandir(os.scandir)
        mapped |= {name: self._both(getattr(os, name)) for name in _TWO_PATHS}
        for name, function in mapped.items():
            setattr(os, name, function)
        builtins.open = io.open = self._first(io.open)
        for owner in _keepers():
            for name in vars(owner).keys() & mapped.keys():
                opens_file = owner.__name__ == "_NormalAccessor" and name == "open"
                setattr(owner, name, staticmethod(io.open if opens_file else mapped[name]))
        sys.path_hooks.insert(0, self._finder)

    def _finder(self, entry: str) -> FileFinder:
        local = self.local(entry)
        if local == entry:
            raise ImportError("not under a mount")
        return FileFinder(local, (SourceFileLoader, SOURCE_SUFFIXES))

    def _map(self, path: Any) -> Any:
        if isinstance(path, os.PathLike):
            path = os.fspath(path)
        return self.local(path) if isinstance(path, str) and path.startswith("/") else path

    def _first(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def mapped(*args: Any, **keywords: Any) -> Any:
            if args:
                args = (self._map(args[0]), *args[1:])
            elif "path" in keywords:
                keywords["path"] = self._map(keywords["path"])
            return function(*args, **keywords)

        return mapped

    def _scandir(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """os.scandir whose entries have the path that was asked for."""

        @functools.wraps(function)
        def mapped(path: Any = ".") -> Any:
            local = self._map(path)
            return (
                function(path)
                if local is path or local == path
                else _Entries(function(local), os.fspath(path))
            )

        return mapped

    def _both(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def mapped(*args: Any, **keywords: Any) -> Any:
            return function(*[self._map(arg) for arg in args[:2]], *args[2:], **keywords)

        return mapped


class _Entries:
    """What os.scandir returns, its entries below another folder."""

    def __init__(self, entries: Any, folder: str) -> None:
        self._entries = entries
        self._folder = folder

    def __iter__(self) -> Iterator[_Entry]:
        return (_Entry(entry, os.path.join(self._folder, entry.name)) for entry in self._entries)

    def __next__(self) -> _Entry:
        entry = next(self._entries)
        return _Entry(entry, os.path.join(self._folder, entry.name))

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries.close()


class _Entry:
    """An os.DirEntry with another path."""

    def __init__(self, entry: Any, path: str) -> None:
        self._entry = entry
        self.path = path

    def __fspath__(self) -> str:
        return self.path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _keepers() -> list[Any]:
    """Classes of pathlib and glob that took functions of os for themselves when they were imported."""
    names = (
        ("pathlib", "_NormalAccessor"),
        ("glob", "_GlobberBase"),
        ("glob", "_StringGlobber"),
        ("glob", "_Globber"),
    )
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return [owner for owner in found if owner is not None]
