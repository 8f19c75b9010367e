"""Sections of results: printed, kept in results.json, written as RESULTS.md.

results.json keeps each section's last figures, so that one section can be measured again by itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT = HERE / "results.json"
PAGE = HERE / "RESULTS.md"
HEAD = """# Results

Made by `make bench` (`python -m bench`, one section: `make bench SECTIONS=growth`); do not edit. Ratios and counts are the
claims: seconds differ from machine to machine, and from hour to hour on a shared one.
"""


@dataclass(frozen=True)
class Claim:
    """What is promised, and what was measured."""

    what: str
    required: str
    measured: str
    kept: bool


@dataclass(frozen=True)
class Table:
    """Figures: a header and rows of texts."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """What one section found.

    Args:
        name: as given to `make bench SECTIONS=`.
        notes: paragraphs (Markdown): how it was measured.
        failed: it could not be measured, and why.
    """

    name: str
    title: str
    claims: Sequence[Claim] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    picture: str = ""
    failed: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        return not self.failed and all(claim.kept for claim in self.claims)


def keep(section: Section, machine: dict[str, str], path: Path = KEPT) -> None:
    """Remember a section's results in place of its last ones."""
    known = _known(path)
    date = datetime.now(timezone.utc).date().isoformat()
    known[section.name] = {**asdict(section), "machine": machine, "date": date}
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def write_page(order: Sequence[str], kept: Path = KEPT, page: Path = PAGE) -> None:
    """RESULTS.md from all that is remembered."""
    known = _known(kept)
    names = [name for name in order if name in known]
    parts = [HEAD, "## Claims\n"]
    claims = [
        [claim["what"], claim["required"], claim["measured"], "yes" if claim["kept"] else "**no**"]
        for name in names
        for claim in known[name]["claims"]
    ]
    parts.append(_markdown(Table(["claim", "required", "measured", "kept"], claims)))
    machines: dict[str, list[str]] = {}
    for name in names:
        machines.setdefault(json.dumps(known[name]["machine"]), []).append(f"{name} ({known[name]['date']})")
    parts.append("## Machine\n")
    for text, sections in machines.items():
        rows = [[key, value] for key, value in json.loads(text).items()]
        rows.append(["sections", ", ".join(sections)])
        parts.append(_markdown(Table(["", ""], rows)))
    for name in names:
        one = known[name]
        parts.append(f"## {one['title']}\n")
        if one["failed"]:
            parts.append(f"**Not measured:** {one['failed']}\n")
        parts += [f"{note}\n" for note in one["notes"]]
        parts += [_markdown(Table(**table)) for table in one["tables"]]
        if one["picture"]:
            parts.append(f"![{one['title']}]({one['picture']})\n")
    page.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def show(section: Section) -> None:
    """Print tables and claims."""
    print(f"\n== {section.title}", flush=True)
    if section.failed:
        print(f"   NOT MEASURED: {section.failed}")
    for table in section.tables:
        print(_aligned(table))
    for claim in section.claims:
        verdict = "ok  " if claim.kept else "FAIL"
        print(f"   {verdict} {claim.what}: {claim.measured} (required: {claim.required})")


def _known(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _markdown(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _aligned(table: Table) -> str:
    rows = [table.header, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    return "\n".join(
        "   " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
