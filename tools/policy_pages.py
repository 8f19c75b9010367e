"""The page about policies: its text from `tools/policy_pages/`, with SQL, settings and columns from the code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools import pages as filled_pages
from tools.reference import _table, _type

TEXTS = Path(__file__).parent / "policy_pages"


def pages() -> dict[str, Callable[[], str]]:
    """Each page's path and what makes it."""
    return filled_pages.pages(
        TEXTS,
        {
            "settings": _settings,
            "columns": _columns,
            "shipped": _shipped,
            "views": _views,
            "rules": _rules,
        },
    )


def _settings(_: str) -> Iterator[str]:
    from lakeflow_job_meta.policies.settings import KEYS

    yield "## Settings"
    yield ""
    yield from _table(
        ("setting", "takes", "what it does"),
        [(f"`{name}`", _type(dict(node), {}), node["description"]) for name, node in KEYS.items()],
    )


def _shipped(_: str) -> Iterator[str]:
    from lakeflow_job_meta.policies.definition import shipped

    for policy in shipped().values():
        yield f"### {policy.name}"
        yield ""
        yield f"{policy.description} Severity {policy.severity}; {policy.on_violation}s above {policy.max_violations}."
        yield ""
        yield "```text"
        yield policy.sql.strip()
        yield "```"
        yield ""


def _columns(name: str) -> Iterator[str]:
    from lakeflow_job_meta.names import TableName
    from lakeflow_job_meta.policies import remediation_tables, tables

    makers: dict[str, Any] = {
        "policy_results": tables.results,
        "policy_violations": tables.violations,
        "remediation_plan": remediation_tables.plan,
        "remediation_log": remediation_tables.log,
    }
    name = name if name in makers else f"policy_{name}"
    yield f"### {name}"
    yield ""
    columns = makers[name](TableName("c", "s", "t")).columns
    yield from _table(
        ("column", "type", "meaning"), [(f"`{one.name}`", one.type, one.comment) for one in columns]
    )


def _rules(_: str) -> Iterator[str]:
    from lakeflow_job_meta.policies.remediation_settings import KEYS

    yield from _table(
        ("setting", "takes", "what it does"),
        [(f"`{name}`", _type(dict(node), {}), node["description"]) for name, node in KEYS.items()],
    )


def _views(_: str) -> Iterator[str]:
    from lakeflow_job_meta.policies.views import VIEWS

    yield from _table(("view", "has"), [(f"`{name}`", text) for name, text in VIEWS.items()])
