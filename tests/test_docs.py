"""README and docs: every block runs or is valid, every link leads somewhere, the generated pages are current.

Blocks marked `bash`, `sql`, `python`, `yaml` and `json` are checked, in the order of the page; `console`, `text`
and `mermaid` are for people. All pages share one embedded workspace; each has a folder of its own. The program that they call
is warm (`tests.warm`): the same code, without a second of imports for each command.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from lakeflow_job_meta import errors
from lakeflow_job_meta.cli.program import COMMANDS
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.settings import SETTINGS
from tests.embedded import ROOT, environment, run, running
from tests.warm import warm

pytestmark = pytest.mark.slow

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Pages whose SQL is about other tables than a control table; a test beside the code runs it.
OWN_SQL = {"docs/policies.md"}  # tests/policies/test_queries.py
KINDS = {"bash", "sql", "python", "yaml", "json", "console", "text", "mermaid"}
#: What a page of the site loads by itself.
LOADED = re.compile(r"""<(?:link|script|img|iframe)\b[^>]*?\b(?:href|src)=["']([^"']+)""")
#: `plan` says with 2 that there are changes: in a script of the docs that is no failure.
PROLOGUE = """set -euo pipefail
lakeflow-job-meta() { command lakeflow-job-meta "$@" || { local code=$?; [ "$1:$code" = plan:2 ] || return $code; }; }
"""


#: A control table that SQL blocks find, with every companion beside it.
SEED = """modules:
  - module_name: seeded
    sources:
      - source_id: one
        source_type: sql
        execution_order: 1
        transformation_config: {task_type: sql_query, sql_task: {warehouse_id: local, sql_query: SELECT 1}}
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    line: int
    kind: str
    text: str


def _blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2))
        for match in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in _blocks(page)]


def _of(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


def _name(block: Block) -> str:
    return f"{block.page}:{block.line}"


# ---------------------------------------------------------------- what is written


def test_pages_are_there() -> None:
    """The pages that README promises exist, and the test sees them."""
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/METADATA_MANAGEMENT.md",
        "docs/PACKAGING_AND_DEPLOYMENT.md",
        "docs/cli.md",
        "docs/deploy.md",
        "docs/import.md",
        "docs/index.md",
        "docs/limits.md",
        "docs/migration.md",
        "docs/operations.md",
        "docs/security.md",
        "docs/tutorial.md",
    } <= set(PAGES)
    assert len(_of("bash")) >= 6


@pytest.mark.parametrize("block", BLOCKS, ids=_name)
def test_block_says_what_it_is(block: Block) -> None:
    """A block without a kind, or with an unknown one, would never be checked."""
    assert block.kind in KINDS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every link to a file of the repository is right."""
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_first_screen_of_readme() -> None:
    """The first screen says what it is, has code, and has the two commands."""
    screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "Databricks Jobs" in screen
    assert "modules:" in screen
    assert "INSERT INTO" in screen
    assert "`make demo`" in screen
    assert "`make test`" in screen


def test_ci_runs_the_test_command_of_readme() -> None:
    """CI calls what README says."""
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    """Every `make TARGET` that a page names is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z]+)", text)) | set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE))
    assert named <= targets


def test_readme_names_every_command() -> None:
    """README's table has all commands, and no other."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| command | does |") :].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert {name for cell in cells for name in re.findall(r"`([a-z]+)", cell)} == set(COMMANDS)


def test_every_setting_is_documented() -> None:
    """docs/settings.md has a row for each setting."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert all(f"| `{setting.name}` |" in page for setting in SETTINGS)


def test_every_error_is_documented() -> None:
    """docs/errors.md has a row, with a remedy, for each error."""
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.LakeflowJobMetaError)
    }
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == tree


def test_every_task_type_is_documented() -> None:
    """docs/task_types.md has a part for each task type."""
    from lakeflow_job_meta.metadata.task_types import TASK_TYPES

    page = (ROOT / "docs" / "task_types.md").read_text(encoding="utf-8")
    assert all(f"## {name}\n" in page for name in TASK_TYPES)


def test_generated_files_are_current() -> None:
    """`make generate` would change nothing."""
    done = run("python", "-m", "tools.generate", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="ProperDocs' dependencies need Python 3.11")
def test_site_builds(tmp_path: Path) -> None:
    """`make docs` builds every page without a warning: links, anchors and navigation are right on the site too."""
    done = run("properdocs", "build", "--strict", "--site-dir", str(tmp_path / "site"))
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / "site" / f"{page.stem}.html").exists()
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert all(
        f'href="{page.stem}.html"' in home for page in (ROOT / "docs").glob("*.md") if page.stem != "index"
    )
    pages = list((tmp_path / "site").rglob("*.html"))
    loaded = {found for page in pages for found in LOADED.findall(page.read_text(encoding="utf-8"))}
    assert {one for one in loaded if "//" in one} == set(), "a page loads something from another host"
    assert {one for one in loaded if one.endswith("site.css")}


# ---------------------------------------------------------------- what is run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Connection]]:
    """One embedded workspace for all pages."""
    folder = tmp_path_factory.mktemp("docs") / "workspace"
    with running(folder) as connection:
        yield folder, connection


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the warm program, for the head of PATH."""
    with warm(tmp_path_factory.mktemp("warm")) as folder:
        yield folder


def _environment(program: Path, connection: Connection | None, **more: str) -> dict[str, str]:
    env = environment(connection, **more)
    return {**env, "PATH": f"{program}{os.pathsep}{env['PATH']}"}


def _folder_for(page: str, root: Path, workspace: Path) -> Path:
    """Where a page's commands run: the examples are there, and `.lakeflow` is the workspace."""
    folder = root / re.sub(r"\W", "_", page)
    if not folder.exists():
        folder.mkdir()
        shutil.copytree(ROOT / "examples", folder / "examples")
        (folder / ".lakeflow").symlink_to(workspace)
    return folder


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.kind in {"bash", "python"} for b in _blocks(page))]
)
def test_commands_of_page_run(
    page: str, workspace: tuple[Path, Connection], program: Path, tmp_path: Path
) -> None:
    """The shell and Python blocks of a page run in order, in one shell's environment."""
    folder = _folder_for(page, tmp_path, workspace[0])
    kept = _environment(program, None, HOME=str(tmp_path))
    for block in _blocks(page):
        if block.kind == "bash":
            script = f"{PROLOGUE}{block.text}\nenv -0 > '{tmp_path}/environment'\n"
            done = run("bash", "-c", script, env=kept, cwd=folder)
            assert done.returncode == 0, f"{_name(block)}\n{done.stdout}\n{done.stderr}"
            pairs = (tmp_path / "environment").read_text().split("\0")
            kept = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        elif block.kind == "python":
            script_file = tmp_path / "block.py"
            script_file.write_text(block.text)
            done = run("python", str(script_file), env={**kept, **workspace[1].environment()}, cwd=folder)
            assert done.returncode == 0, f"{_name(block)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in OWN_SQL and any(b.kind == "sql" for b in _blocks(page))]
)
def test_sql_of_page_runs_and_plans(
    page: str, workspace: tuple[Path, Connection], program: Path, tmp_path: Path
) -> None:
    """The SQL blocks of a page run in order on a fresh control table, and what they say is sound."""
    table = f"main.docs.{re.sub(r'[^a-z]', '_', page.lower())}"
    env = _environment(program, workspace[1])
    (tmp_path / "seed.yaml").write_text(SEED)
    done = run(
        "lakeflow-job-meta", "apply", "--control-table", table, "--yaml", str(tmp_path / "seed.yaml"), env=env
    )
    assert done.returncode == 0, done.stderr
    for block in _blocks(page):
        if block.kind == "sql":
            assert "main.etl.control" in block.text
            statement = block.text.replace("main.etl.control", table)
            done = run("lakeflow-job-meta", "local", "sql", "--dir", str(workspace[0]), statement, env=env)
            assert done.returncode == 0, f"{_name(block)}\n{done.stdout}\n{done.stderr}"
    done = run("lakeflow-job-meta", "plan", "--control-table", table, "--format", "json", env=env)
    assert done.returncode in {0, 2}, done.stdout + done.stderr
    assert json.loads(done.stdout)["summary"]["refused"] == 0


@pytest.mark.parametrize("block", _of("yaml"), ids=_name)
def test_yaml_is_valid_and_plans(
    block: Block, workspace: tuple[Path, Connection], program: Path, tmp_path: Path
) -> None:
    """Each YAML block is a whole file that validates and plans to jobs that would be made."""
    path = tmp_path / "block.yaml"
    path.write_text(block.text)
    modules = yaml.safe_load(block.text)["modules"]
    env = _environment(program, workspace[1])
    done = run("lakeflow-job-meta", "validate", str(path), "--format", "json", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["modules"] == len(modules)
    command = ("plan", "--control-table", "main.nowhere.control", "--yaml", str(path), "--format", "json")
    done = run("lakeflow-job-meta", *command, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert json.loads(done.stdout)["summary"]["create"] == len(modules)


@pytest.mark.parametrize("block", _of("json"), ids=_name)
def test_json_parses(block: Block) -> None:
    """Each JSON block is JSON."""
    json.loads(block.text)
