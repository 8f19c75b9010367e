"""Writes the files that are made from the code: the JSON Schema and the reference pages of docs/.

`python -m tools.generate` writes them, with `--check` it only says which are out of date (exit code 1).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import dataset_items, dxr_pages, dxr_task_types, policy_pages, policy_task_types, reference

ROOT = Path(__file__).parents[1]


def schema() -> str:
    """What lakeflow_job_meta/metadata/schema.json holds: made from the installed databricks-sdk."""
    from lakeflow_job_meta.metadata.reflection import shipped_text

    return shipped_text()


FILES: Mapping[str, Callable[[], str]] = {
    "lakeflow_job_meta/metadata/dxr_task_types.json": dxr_task_types.text,  # before those made of it
    "lakeflow_job_meta/metadata/policy_task_types.json": policy_task_types.text,
    "lakeflow_job_meta/metadata/schema.json": schema,
    "docs/settings.md": reference.settings,
    "docs/cli.md": reference.command_line,
    "docs/task_types.md": reference.task_types,
    "docs/drift_rules.md": reference.drift_rules,
    "docs/dxr_knobs.md": reference.dxr_knobs,
    "docs/datasets_items.md": dataset_items.page,
    **dxr_pages.pages(),
    **policy_pages.pages(),
}


def stale() -> list[str]:
    """The generated files that are not what the code makes now."""
    return [
        name
        for name, make in FILES.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != make()
    ]


def main() -> int:
    """Write what is out of date; with `--check` only name it."""
    if "--check" in sys.argv[1:]:
        names = stale()
        for name in names:
            print(f"{name} is out of date: run `make generate`")
        return 1 if names else 0
    for name, make in FILES.items():
        text = make()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text:
            (ROOT / name).write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
