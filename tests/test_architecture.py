"""The rooms: contracts between them, and the docstrings that say what may live where."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lakeflow_job_meta"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "demo_files" not in path.parts)
#: Names that explain nothing.
NAMELESS = {"utils", "util", "helpers", "helper", "common", "constants", "misc", "tools"}
#: The most lines that a module may have; about 400 is the aim.
LINES = 500


def test_contracts_between_rooms() -> None:
    """Rooms import only from rooms below them, and only the composition root picks an adapter."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.name == "__init__.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_package_docstring_is_a_contract(path: Path) -> None:
    """Each package says what lives there."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "a package without a contract"
    assert len(docstring.splitlines()) >= 2


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_has_a_name_a_docstring_and_a_size(path: Path) -> None:
    """A module is a noun of the domain with a docstring, and of a size that one can read."""
    text = path.read_text(encoding="utf-8")
    assert path.stem not in NAMELESS
    assert ast.get_docstring(ast.parse(text)), "a module without a docstring"
    assert len(text.splitlines()) <= LINES


def test_architecture_page_names_every_room() -> None:
    """docs/architecture.md has every room that exists."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {
        p.stem if p.is_file() else p.name
        for p in PACKAGE.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    missing = {room for room in rooms - {"__init__"} if not re.search(rf"`{room}/?`", page)}
    assert not missing


def test_architecture_page_gives_every_dependency_a_reason() -> None:
    """docs/architecture.md names each dependency of a cluster and of the embedded workspace with its reason."""
    try:
        import tomllib
    except ImportError:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = project["dependencies"] + project["optional-dependencies"]["local"]
    for requirement in named:
        name = re.split(r"[<>=!; \[]", requirement)[0]
        assert re.search(rf"^\| .*\b{re.escape(name)}\b.*\|.*\|.*\|$", page, re.MULTILINE), (
            f"{name} has no reason"
        )


def test_nothing_names_the_machine_it_was_made_on() -> None:
    """No file of the repository has a path of somebody's machine or the address of a registry in it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words = re.compile("|".join(("/" + "root/", "/" + "work/", "pypi" + r"\.org")))
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if (
            path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".json", ".sql", ".ipynb", ".sh", ""}
            and path.is_file()
        ):
            found += [
                f"{name}: {match.group()}"
                for match in words.finditer(path.read_text(encoding="utf-8", errors="replace"))
            ]
    assert not found
