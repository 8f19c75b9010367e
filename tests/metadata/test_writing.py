"""Definitions written as YAML read back as the same definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.files import read_metadata
from lakeflow_job_meta.metadata.writing import write_metadata

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path for path in EXAMPLES.rglob("*.yaml") if "modules:" in path.read_text(encoding="utf-8"))

HOSTILE = """\
modules:
  - module_name: "odd: name # 'x'"
    description: "two\\nlines"
    is_active: false
    drift: ignore
    run_on_change: true
    default_warehouse_id: "007"
    job:
      tags: {"on": "yes", "1": "2", "null": "~"}
      permissions: [{user_name: a@example.com, level: CAN_VIEW}]
      parameters: [{name: p, default: "1e3"}]
    sources:
      - source_id: "a b/ä"
        source_type: "no"
        execution_order: -3
        source_config: {a: [1, 2.5, true, null, "true"], b: {c: "$${var.x}"}}
        target_config: {"y": "0x1F"}
        transformation_config:
          task_type: sql_query
          depends_on: []
          sql_task: {sql_query: "SELECT '${x}'\\n  -- end", parameters: {t: "12:30"}, apply_auto_limit: true}
"""


def read(text: str) -> dict[str, ModuleDefinition]:
    found = read_metadata(text.encode(), "f.yaml", {})
    assert found.problems == ()
    return dict(found.definitions)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_examples_round_trip(path: Path) -> None:
    """Every module of examples/, its variables and defaults written out."""
    before = read(path.read_text(encoding="utf-8"))
    text = write_metadata(before.values(), ["a comment\nof two lines"])
    assert read(text) == before
    assert text.startswith("# a comment of two lines\nmetadata_version: '1.0'\n")


def test_hostile_values_round_trip() -> None:
    """Texts that look like something else, options, permissions, an inactive module."""
    before = read(HOSTILE)
    assert read(write_metadata(before.values())) == before
    [module] = before.values()
    assert not module.active
    active = HOSTILE.replace("    is_active: false\n", "")
    assert read(write_metadata(read(active).values())) == read(active)


def test_written_twice_is_the_same() -> None:
    """The text depends on the definitions alone."""
    text = write_metadata(read(HOSTILE).values())
    assert write_metadata(read(text).values()) == text
