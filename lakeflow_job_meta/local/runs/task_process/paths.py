"""`/Volumes` and `/Workspace` as a task sees them, on a machine that has no such mounts."""

from __future__ import annotations

import builtins
import functools
import io
import os
import sys
from collections.abc import Callable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import Any


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
        builtins.open = io.open = self._first(io.open)
        one = "stat lstat listdir scandir mkdir rmdir remove unlink access chmod utime open readlink truncate chdir walk"
        for name in one.split():
            setattr(os, name, self._first(getattr(os, name)))
        for name in ("rename", "replace", "link", "symlink"):
            setattr(os, name, self._both(getattr(os, name)))
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

    def _both(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def mapped(*args: Any, **keywords: Any) -> Any:
            return function(*[self._map(arg) for arg in args[:2]], *args[2:], **keywords)

        return mapped


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
