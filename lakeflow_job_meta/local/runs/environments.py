"""Cached Python environments for tasks: wheels over this interpreter's packages, without the network."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs import own_wheel

_READY = "ready"
_NESTING = 10
#: Lines of a requirements file that say where to look; here nothing is looked for anywhere.
_INDEX_OPTIONS = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--pre",
                  "--trusted-host", "--prefer-binary", "--only-binary", "--no-binary", "--use-feature")  # fmt: skip
#: Distributions that bring the same import packages under another name.
_SAME: Mapping[str, tuple[str, ...]] = {
    "pyspark": ("pyspark-client", "pyspark-connect"),
    "databricks-connect": ("pyspark-client",),
}


@dataclass(frozen=True)
class Wheel:
    """A wheel file with its content's hash and the extras that were asked for."""

    path: Path
    digest: str
    name: str
    version: str
    extras: tuple[str, ...] = ()


class Environments:
    """Environments of the workspace.

    Args:
        folder: of the workspace; environments lie in its `.workspace/environments`.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def python(self, dependencies: Sequence[str]) -> Path:
        """The interpreter of an environment with these dependencies, made at its first use.

        Args:
            dependencies: lines of a requirements file: wheels (`/Volumes/...`, `/Workspace/...` or a
                path of this machine), requirements, `-r file`.

        Raises:
            LocalError: a dependency that is not there; the message lists all of them.
        """
        wheels, requirements = self._resolve(dependencies)
        key = _key(wheels, requirements)
        target = self._folder.environments / key
        python = target / "bin" / "python"
        if (target / _READY).exists():
            os.utime(target / _READY)
            return python
        self._folder.environments.mkdir(parents=True, exist_ok=True)
        with _locked(self._folder.environments / f"{key}.lock"):
            if not (target / _READY).exists():
                shutil.rmtree(target, ignore_errors=True)
                _build(target, wheels)
        return python

    def _resolve(self, dependencies: Sequence[str]) -> tuple[list[Wheel], list[str]]:
        wheels: list[Wheel] = []
        wanted: list[Requirement] = []
        problems: list[str] = []
        for line, base in self._lines(dependencies, None, 0):
            try:
                found = self._wheel(line, base)
                if found is None:
                    wanted.append(Requirement(line))
                elif all(wheel.path != found.path for wheel in wheels):
                    wheels.append(found)
            except InvalidRequirement:
                problems.append(f"{line}: only wheels, requirements and '-r file' can be installed")
            except LocalError as e:
                problems.append(str(e))
        wheels += self._own(wheels, wanted)
        problems += _unmet(wheels, wanted)
        if problems:
            raise LocalError(
                "cannot install the libraries of the task (the embedded workspace uses no network): "
                + "; ".join(problems)
            )
        return wheels, sorted(str(requirement) for requirement in wanted)

    def _own(self, wheels: Sequence[Wheel], wanted: Sequence[Requirement]) -> list[Wheel]:
        """This package's own wheel, where a task asks for it and only an editable install is there."""
        asked = any(canonicalize_name(requirement.name) == own_wheel.NAME for requirement in wanted)
        if not asked or any(wheel.name == own_wheel.NAME for wheel in wheels):
            return []
        if _installed(own_wheel.NAME) != "":
            return []
        made = self._wheel(str(own_wheel.build(self._folder.environments)), None)
        return [made] if made is not None else []

    def _lines(
        self, lines: Iterable[str], base: Path | None, depth: int
    ) -> Iterator[tuple[str, Path | None]]:
        """The lines that name something to install, `-r` files read."""
        if depth > _NESTING:
            raise LocalError("requirements files include one another without end")
        for raw in lines:
            line = raw.split(" #", 1)[0].strip()
            if not line or line.startswith("#"):
                continue
            option, _, value = (
                line.replace("=", " ", 1).partition(" ") if line.startswith("--") else line.partition(" ")
            )
            if option in ("-r", "--requirement") or (line.startswith("-r") and not value):
                file = self._file(value.strip() or line[2:], base)
                if not file.is_file():
                    raise LocalError(f"requirements file {value or line[2:]} does not exist")
                yield from self._lines(file.read_text(encoding="utf-8").splitlines(), file.parent, depth + 1)
            elif option in _INDEX_OPTIONS:
                continue
            else:
                yield line, base

    def _wheel(self, line: str, base: Path | None) -> Wheel | None:
        """The wheel that a line names; None when it is a plain requirement."""
        text, extras = line, ""
        if " @ " in line:
            head, _, text = line.partition(" @ ")
            extras = head.partition("[")[2].rstrip("] ")
        elif text.endswith("]") and ".whl[" in text:
            text, _, extras = text[:-1].partition("[")
        text = text.split(";")[0].strip().removeprefix("file://")
        if not text.endswith(".whl"):
            return None
        path = self._file(text, base)
        if not path.is_file():
            raise LocalError(f"wheel {text} does not exist")
        try:
            name, version, _, _ = parse_wheel_filename(path.name)
        except (InvalidWheelFilename, InvalidVersion) as e:
            raise LocalError(f"{text} is no wheel: {e}") from e
        return Wheel(
            path,
            hashlib.sha256(path.read_bytes()).hexdigest(),
            name,
            str(version),
            tuple(sorted(extra.strip() for extra in extras.split(",") if extra.strip())),
        )

    def _file(self, path: str, base: Path | None) -> Path:
        path = path.strip().strip("\"'").removeprefix("dbfs:")
        if path.startswith("/Volumes/"):
            return self._folder.volume_path(path)
        if path.startswith("/Workspace/"):
            return self._folder.workspace_path(path)
        if path.startswith("/"):
            # /Users/... and /Shared/... are short for /Workspace/...; else it is a path of this machine.
            inside = self._folder.workspace_path(path)
            return inside if inside.exists() else Path(path)
        if base is None:
            raise LocalError(f"{path}: give an absolute path, /Volumes/... or /Workspace/...")
        return base / path


def dependencies_of(task: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str] | None:
    """The dependency lines of a task: its environment's and its libraries'; None when it has neither.

    Raises:
        LocalError: a kind of library that cannot be installed here, or an environment that is missing.
    """
    found: list[str] = []
    key = task.get("environment_key")
    if key:
        spec = next(
            (
                item.get("spec") or {}
                for item in settings.get("environments") or []
                if item["environment_key"] == key
            ),
            None,
        )
        if spec is None:
            raise LocalError(f"environment {key!r} is not defined in the job's environments")
        found += spec.get("dependencies") or []
        for name in ("java_dependencies", "base_environment", "project_environment"):
            if spec.get(name):
                raise LocalError(
                    f"environment {key!r}: the embedded workspace cannot use {name}; run it on Databricks"
                )
    for library in task.get("libraries") or []:
        if library.get("whl"):
            found.append(library["whl"])
        elif library.get("pypi"):
            found.append(library["pypi"]["package"])
        elif library.get("requirements"):
            found.append(f"-r {library['requirements']}")
        else:
            kind = next(iter(library), "empty")
            raise LocalError(f"the embedded workspace cannot install a {kind} library; run it on Databricks")
    return found if key or found else None


def _key(wheels: Sequence[Wheel], requirements: Sequence[str]) -> str:
    content = {
        "wheels": sorted([wheel.path.name, wheel.digest] for wheel in wheels),
        "requirements": requirements,
        "python": [sys.version, sys.executable],
        "packages": _packages(),
    }
    return hashlib.sha256(orjson.dumps(content)).hexdigest()[:24]


def _packages() -> list[str]:
    """The folders with this interpreter's packages."""
    return list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))


def _unmet(wheels: Sequence[Wheel], wanted: Sequence[Requirement]) -> list[str]:
    """What is neither among the wheels nor installed beside the workspace."""
    problems = []
    given = {wheel.name: wheel.version for wheel in wheels}
    for requirement in wanted:
        problem = _problem(requirement, given)
        if problem:
            problems.append(problem)
    for wheel in wheels:
        for requirement in _needs(wheel):
            problem = _problem(requirement, given)
            if problem:
                problems.append(f"{wheel.path.name} needs {problem}")
    return problems


def _problem(requirement: Requirement, given: Mapping[str, str]) -> str:
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return ""
    name = canonicalize_name(requirement.name)
    found = given.get(name) or _installed(name)
    if found is None:
        return (
            f"{requirement}, which is not installed beside the workspace: install it there, or give its wheel"
        )
    if found and requirement.specifier.contains(found, prereleases=True):
        return ""
    if not found:
        return f"{requirement}, which is only installed in editable mode: build its wheel and give that"
    return f"{requirement}, but version {found} is installed"


def _installed(name: str) -> str | None:
    """The version beside the workspace; None: none; empty: an editable one, which environments don't see."""
    for candidate in (name, *_SAME.get(name, ())):
        try:
            distribution = metadata.distribution(candidate)
        except metadata.PackageNotFoundError:
            continue
        origin = distribution.read_text("direct_url.json")
        if origin and (orjson.loads(origin).get("dir_info") or {}).get("editable"):
            return ""
        return distribution.version
    return None


def _needs(wheel: Wheel) -> list[Requirement]:
    """The requirements of a wheel and of its extras."""
    try:
        with zipfile.ZipFile(wheel.path) as archive:
            name = next(
                n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1
            )
            headers = HeaderParser().parsestr(archive.read(name).decode("utf-8", errors="replace"))
    except (zipfile.BadZipFile, StopIteration, OSError) as e:
        raise LocalError(f"{wheel.path.name} is no wheel: {e or 'it has no METADATA'}") from e
    found = []
    for text in headers.get_all("Requires-Dist") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wheel.extras)):
            requirement.marker = None
            found.append(requirement)
    return found


def _build(target: Path, wheels: Sequence[Wheel]) -> None:
    """Makes the environment; `ready` appears in it last, and at once."""
    try:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(target)
        if wheels:
            _install(target, wheels)
        packages = next((target / "lib").glob("python*/site-packages"))
        # After pip, which would take what stands there for its own; a plain path runs no .pth file of theirs.
        (packages / "beside_the_workspace.pth").write_text("\n".join(_packages()) + "\n")
        (target / f"{_READY}.new").write_text("")
        (target / f"{_READY}.new").rename(target / _READY)
    except (OSError, subprocess.SubprocessError) as e:
        raise LocalError(f"cannot make the environment {target.name}: {e}") from e


def _install(target: Path, wheels: Sequence[Wheel]) -> None:
    # Without PYTHONPATH: pip would take what it finds there (this package's own sources) for installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory(dir=target) as staging:
        for wheel in wheels:  # a copy: the original may be replaced at any time
            copy = Path(staging) / wheel.path.name
            shutil.copyfile(wheel.path, copy)
            if hashlib.sha256(copy.read_bytes()).hexdigest() != wheel.digest:
                raise LocalError(
                    f"wheel {wheel.path.name} changed while it was installed; run the task again"
                )
        done = subprocess.run(
            [
                *_pip(),
                "--python",
                str(target / "bin" / "python"),
                "--isolated",
                "--disable-pip-version-check",
                "install",
                "--no-index",
                "--no-deps",
                "--no-compile",
                "--quiet",
                *(str(Path(staging) / wheel.path.name) for wheel in wheels),
            ],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    if done.returncode:
        names = ", ".join(wheel.path.name for wheel in wheels)
        raise LocalError(f"cannot install {names}: {done.stderr.strip()[-1000:]}")


def _pip() -> list[str]:
    """The pip of this interpreter, or the one that Python carries for new environments."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    ensurepip = importlib.util.find_spec("ensurepip")
    folder = Path(ensurepip.origin).parent / "_bundled" if ensurepip and ensurepip.origin else Path()
    found = sorted(folder.glob("pip-*.whl"))
    if not found:
        raise LocalError("pip is missing beside the workspace: install it with `python -m ensurepip`")
    return [sys.executable, str(found[-1] / "pip")]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
