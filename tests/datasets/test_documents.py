"""What is written about datasets is true: items, statements, troubleshooting, set-up."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from lakeflow_job_meta.datasets.badges import badge
from lakeflow_job_meta.datasets.model import Status
from tests.embedded import ROOT, environment

#: Items of the specification, by section.
ITEMS = {"A": 11, "B": 9, "C": 7, "D": 9, "E": 7, "F": 10, "G": 14, "H": 6, "I": 3, "J": 8, "K": 5}
PAGE = ROOT / "docs" / "datasets.md"
TABLE = ROOT / "docs" / "datasets_items.md"


def written_tests() -> set[str]:
    """`file::function` of every test, paths below tests/."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{path.relative_to(ROOT / 'tests').as_posix()}::{node.name}")
    return found


def rows() -> dict[str, tuple[str, str, list[str]]]:
    """Item: what it is, kinds of its tests, and the tests."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\| ([A-K]\d+) \| (.*) \| ([LGFPWdoc/]+) \| (.*) \|$", line)
        if match:
            item, what, kinds, tests = match.groups()
            assert item not in found, f"{item} stands there twice"
            found[item] = (what, kinds, re.findall(r"`([^`]+::[^`]+)`", tests))
    return found


def test_every_item_has_a_test() -> None:
    """All 89 items, each with at least one test that exists."""
    table, tests = rows(), written_tests()
    assert set(table) == {
        f"{section}{number}" for section, count in ITEMS.items() for number in range(1, count + 1)
    }
    assert len(table) == 89
    assert [item for item, (_, _, named) in table.items() if not named] == []
    assert sorted({name for _, _, named in table.values() for name in named} - tests) == []


def test_every_test_of_an_item_is_in_the_table() -> None:
    """A test that is named after an item stands in its row."""
    table = rows()
    for name in written_tests():
        path, _, function = name.partition("::")
        match = re.match(r"test((?:_[a-k]\d{1,2})+)_", function)
        if match is None or not (path.startswith("datasets/") or path == "cli/test_dataset.py"):
            continue
        for item in re.findall(r"[a-k]\d{1,2}", match.group(1)):
            assert name in table[item.upper()][2], f"{name} is not in the row of {item.upper()}"


def test_h5_key_rotation_is_described() -> None:
    """Where a credential is changed, and that nothing is deployed again."""
    text = PAGE.read_text(encoding="utf-8")
    part = text[text.index("## Credentials") : text.index("## Troubleshooting")]
    assert "To change a credential" in part
    assert "nothing is deployed again" in part


def test_j7_what_is_out_of_scope_is_said() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert re.search(r"[Ff]ederation .* and streaming .* are out of scope", text)


def test_j8_cost_by_tenant_is_described() -> None:
    """The page has the query on system.billing.usage, by the tags that the jobs have."""
    text = PAGE.read_text(encoding="utf-8")
    assert "system.billing.usage" in text
    assert "custom_tags['tenant']" in text


def test_what_replaces_the_endpoints_is_said() -> None:
    """Every route of the older product has a row."""
    text = PAGE.read_text(encoding="utf-8")
    part = text[text.index("## What replaces the older endpoints") :]
    for route in (
        "POST /datasets/upload",
        "POST /datasets/ingest",
        "GET /datasets/{id}/preview",
        "POST /datasets/{id}/query",
        "GET /datasets/{id}/databricks/status",
        "POST /datasets/{id}/sync",
        "GET /internal/storage/datasets/{file}",
    ):
        assert route in part, route


def test_k1_set_up_is_a_few_commands() -> None:
    """The page's first block has no more than four commands and needs no server; test_docs runs it."""
    block = re.search(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    commands = [line for line in block.group(1).splitlines() if line.strip()]
    assert 2 <= len(commands) <= 4
    assert not re.search(r"docker|temporal|postgres", block.group(1), re.IGNORECASE)


def test_k2_without_a_workspace_the_smoke_test_says_so() -> None:
    """It is skipped, loudly, with what to set; an end-to-end test on the real engine always runs."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "-p",
            "no:cacheprovider",
            "tests/datasets/test_workspace.py",
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "1 skipped" in done.stdout, done.stdout + done.stderr
    assert "LAKEFLOW_JOB_META_TEST_PROFILE" in done.stdout
    whole = ROOT / "tests" / "datasets" / "test_sync_end_to_end.py"
    assert "skip" not in whole.read_text(encoding="utf-8").lower()


def test_k4_troubleshooting_names_tests() -> None:
    """Seven cases, each shown by a test that exists."""
    text = PAGE.read_text(encoding="utf-8")
    part = text[text.index("## Troubleshooting") : text.index("## What replaces")]
    named = re.findall(r"\| `(test_\w+)` \|$", part, re.MULTILINE)
    assert len(named) == 7
    assert sorted(set(named) - {name.partition("::")[2] for name in written_tests()}) == []


def test_k5_statements_of_the_page() -> None:
    """Statuses, badges and keys on the page are those of the code."""
    text = PAGE.read_text(encoding="utf-8")
    for status in Status:
        found = badge(status.value)
        assert f"| `{status.value}` | {found.label}, {found.color} |" in text
    assert "the ten keys" in text
    assert Path(ROOT / "examples" / "datasets" / "revenue.csv").exists()
