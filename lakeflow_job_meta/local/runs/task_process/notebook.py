"""Runs a notebook in this process, cell by cell, in IPython's shell."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from typing import Any

from . import source
from .dbutils import DBUtils, NotebookExit
from .paths import Paths
from .session import display, session


class Runner:
    """One notebook with the notebooks that it includes by %run.

    Args:
        names: what its cells find without an import.
        dbutils: theirs.
        paths: where the mounts are.
        scratch: a folder for what %pip installs.
    """

    def __init__(self, names: dict[str, Any], dbutils: DBUtils, paths: Paths, scratch: str) -> None:
        self._dbutils = dbutils
        self._paths = paths
        self._scratch = scratch
        self._folders: list[str] = []
        os.environ.setdefault("IPYTHONDIR", os.path.join(scratch, "ipython"))
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        shell: Any = InteractiveShell  # hardly typed
        self._shell = shell.instance(config=config)
        self._shell.push(names)
        self._shell.set_custom_exc((NotebookExit,), lambda *_, **__: None)
        for name, magic in (("run", self._run), ("pip", self._pip)):
            self._shell.register_magic_function(magic, "line", name)
        for name, cell_magic in (("sql", self._sql), ("sh", self._sh), ("fs", self._fs), ("md", self._md)):
            self._shell.register_magic_function(cell_magic, "line_cell", name)

    def run(self, file: str, shown: str) -> str | None:
        """Runs the notebook in `file`.

        Returns:
            The value of `dbutils.notebook.exit`, None when it was not called.

        Raises:
            BaseException: what a cell raised.
        """
        try:
            self._cells(file, shown)
        except NotebookExit as e:
            return e.value
        return None

    def _cells(self, file: str, shown: str) -> None:
        self._folders.append(os.path.dirname(shown))
        for cell in source.read(file, shown):
            if cell.language == "python":
                self._python(cell.text)
            elif cell.language == "run":
                self._run(cell.line)
            elif cell.language == "pip":
                self._pip(cell.line)
            elif cell.language in ("sql", "sh", "fs", "md"):
                getattr(self, f"_{cell.language}")(cell.line, cell.text)
            else:
                raise source.NotebookError(
                    f"%{cell.language} in {shown}: the embedded workspace runs only Python and SQL cells"
                )
        self._folders.pop()

    def _python(self, text: str) -> None:
        result = self._shell.run_cell(text, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise error

    def _md(self, line: str, cell: str = "") -> None:
        """Text: nothing to run."""

    def _run(self, line: str) -> None:
        words = shlex.split(line)
        if not words:
            raise source.NotebookError("%run needs the path of a notebook")
        path = (
            words[0]
            if words[0].startswith("/")
            else os.path.normpath(os.path.join(self._folders[-1], words[0]))
        )
        for word in words[1:]:
            name, _, value = word.lstrip("$").partition("=")
            self._dbutils.widgets.give(name, value)
        mount = path if path.startswith(("/Workspace/", "/Volumes/")) else "/Workspace" + path
        self._cells(source.find(self._paths.local(mount)), path)

    def _sql(self, line: str, cell: str = "") -> None:
        text = f"{line}\n{cell}".strip()
        if not text:
            return
        found: Any = None
        for statement in statements(text):
            names = set(re.findall(r"(?<![:\w]):(\w+)", statement))
            arguments = {key: value for key, value in self._dbutils.widgets.getAll().items() if key in names}
            found = session().sql(statement, args=arguments) if arguments else session().sql(statement)
        if found is not None and found.columns:
            self._shell.push({"_sqldf": found})
            display(found)

    def _sh(self, line: str, cell: str = "") -> None:
        sys.stdout.flush()
        subprocess.run(["/bin/sh", "-c", f"{line}\n{cell}"], check=False)

    def _fs(self, line: str, cell: str = "") -> None:
        name, *arguments = shlex.split(f"{line} {cell}")
        found = getattr(self._dbutils.fs, name)(*arguments)
        for item in found if isinstance(found, list) else [found]:
            print(item)

    def _pip(self, line: str) -> None:
        """`%pip install`: wheels go on the path of this process; nothing comes from the network."""
        command, *arguments = shlex.split(line)
        if command != "install":
            subprocess.run([sys.executable, "-m", "pip", command, *arguments], check=True)
            return
        target = tempfile.mkdtemp(prefix="pip-", dir=self._scratch)
        mapped = [self._paths.local(word.removeprefix("dbfs:")) for word in arguments]
        found = (
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "install",
                    "--no-index",
                    "--no-deps",
                    "--disable-pip-version-check",
                    "--quiet",
                    "--target",
                    target,
                    *self._missing(mapped),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            if self._missing(mapped)
            else None
        )
        if found is not None and found.returncode:
            raise RuntimeError(
                f"%pip install {' '.join(arguments)}: the embedded workspace installs without the network; "
                f"give a wheel, or install it beside lakeflow-job-meta. {found.stderr.strip()[-500:]}"
            )
        sys.path.insert(0, target)

    def _missing(self, arguments: list[str]) -> list[str]:
        """What of the arguments is not there yet: files, and requirements that nothing installed meets."""
        from importlib import metadata

        wanted = []
        for argument in arguments:
            if argument.startswith("-"):
                continue
            try:
                from packaging.requirements import InvalidRequirement, Requirement

                requirement = Requirement(argument)
                if requirement.specifier.contains(metadata.version(requirement.name), prereleases=True):
                    continue
            except (ImportError, InvalidRequirement, metadata.PackageNotFoundError):
                pass
            wanted.append(argument)
        return wanted


def statements(text: str) -> list[str]:
    """The statements of a SQL cell, split at semicolons outside of strings and comments."""
    found, start, position = [], 0, 0
    pattern = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|;", re.DOTALL)
    while (match := pattern.search(text, position)) is not None:
        position = match.end()
        if match[0] == ";":
            found.append(text[start : match.start()])
            start = position
    found.append(text[start:])
    comment = re.compile(r"--[^\n]*|/\*.*?\*/|\s+", re.DOTALL)
    return [part.strip() for part in found if comment.sub("", part)]
