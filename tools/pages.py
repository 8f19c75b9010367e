"""Pages written by hand, with parts from the code in the places marked `{{kind}}` or `{{kind name}}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tools.reference import NOTE

#: Makes the lines of one part, given the name behind its kind (empty when there is none).
Maker = Callable[[str], Iterator[str]]
_PLACE = re.compile(r"\{\{(\w+)(?: (\w+))?\}\}")


def pages(texts: Path, makers: Mapping[str, Maker]) -> dict[str, Callable[[], str]]:
    """Each page's path below the project and what makes it.

    Args:
        texts: a folder of Markdown files; `docs/` gets a page of each one's name.
        makers: by kind.
    """

    def filled(match: re.Match[str]) -> str:
        kind, name = match.groups()
        return "\n".join(makers[kind](name or ""))

    def maker(path: Path) -> Callable[[], str]:
        return lambda: f"{NOTE}\n{_PLACE.sub(filled, path.read_text(encoding='utf-8'))}"

    return {f"docs/{path.name}": maker(path) for path in sorted(texts.glob("*.md"))}
