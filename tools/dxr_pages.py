"""The pages about Data X-Ray: texts of `tools/dxr_pages/`, with settings and columns from the code in their places."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools import dxr_defects
from tools import pages as filled_pages
from tools.reference import _table

TEXTS = Path(__file__).parent / "dxr_pages"


def pages() -> dict[str, Callable[[], str]]:
    """Each page's path and what makes it."""
    return filled_pages.pages(
        TEXTS,
        {
            "settings": _settings,
            "columns": _columns,
            "variables": _variables,
            "defects": lambda _: dxr_defects.table(),
            "faults": lambda _: dxr_defects.faults(),
        },
    )


def _settings(task: str) -> Iterator[str]:
    yield "## Settings"
    yield ""
    if task == "notify":
        from lakeflow_job_meta.metadata.task_types import TASK_TYPES

        keys = TASK_TYPES[task].keys
        rows = [(f"`{name}`", node.get("type", ""), node["description"]) for name, node in keys.items()]
        yield from _table(("setting", "takes", "what it does"), rows)
        return
    from lakeflow_job_meta.dxr.settings import for_task

    yield from _table(
        ("setting", "takes", "default", "environment", "what it does"),
        [
            (
                f"`{one.name}`",
                " or ".join(f"`{choice}`" for choice in one.choices) or one.kind,
                _default(one.default),
                ", ".join(f"`{name}`" for name in one.environment),
                one.doc,
            )
            for one in for_task(task).values()
        ],
    )


def _default(value: Any) -> str:
    return "" if value in (None, (), {}) else f"`{json.dumps(value)}`"


def _variables(_: str) -> Iterator[str]:
    from lakeflow_job_meta.dxr.settings import SETTINGS

    yield from _table(
        ("environment variable", "setting"),
        [
            (", ".join(f"`{name}`" for name in one.environment), f"`{one.name}`")
            for one in SETTINGS
            if one.environment
        ],
    )


def _columns(name: str) -> Iterator[str]:
    from lakeflow_job_meta.dxr import copies, label_places, snapshot_rows, tables
    from lakeflow_job_meta.names import TableName

    makers: dict[str, tuple[str, Callable[[TableName], Any]]] = {
        "checkpoints": ("dxr_checkpoints", tables.checkpoints),
        "jobs": ("dxr_jobs", tables.jobs),
        "runs": ("dxr_runs", tables.runs),
        "metadata": ("The metadata table", tables.metadata),
        "copies": ("dxr_copies", copies.copies_table),
        "labels": ("dxr_labels", label_places.label_table),
        "snapshot": ("dxr_snapshot", snapshot_rows.snapshot_table),
    }
    title, make = makers[name]
    yield f"### {title}"
    yield ""
    columns = make(TableName("c", "s", "t")).columns
    yield from _table(
        ("column", "type", "meaning"), [(f"`{one.name}`", one.type, one.comment) for one in columns]
    )
