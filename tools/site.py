"""Hooks of the docs' site: pages and files outside of docs/, pages that the navigation does not name, colours of code.

On the forge a page links to `../examples/README.md`; on the site that page is `examples/README.md` beside the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from properdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "bench/RESULTS.md", "bench/growth.png")
_LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")
_HEADING = re.compile(r"^# (.+)$", re.MULTILINE)
_SKIPPED = {"__pycache__", ".ipynb_checkpoints"}


def on_config(config: Any) -> Any:
    """Put every page that the navigation does not name behind the one whose name it begins with, or at the end."""
    named = set(_pages_of(config.nav))
    for path in sorted(DOCS.glob("*.md")):
        if path.name not in named:
            _insert(config.nav, path.stem, {_title(path): path.name})
    examples = sorted((ROOT / "examples").glob("*/README.md"))
    section = {
        "Examples": [
            {"Overview": "examples/README.md"},
            *({_title(path): path.relative_to(ROOT).as_posix()} for path in examples),
        ]
    }
    config.nav.insert(len(config.nav) - 2, section)
    return config


def _pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for inner in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _pages_of(inner)


def _insert(nav: list[Any], stem: str, item: dict[str, str]) -> None:
    for section in nav:
        pages = next(iter(section.values()))
        if isinstance(pages, list):
            stems = [next(iter(page.values())).removesuffix(".md") for page in pages]
            before = [number for number, one in enumerate(stems) if stem.startswith(one)]
            if before:
                pages.insert(before[-1] + 1, item)
                return
    nav.append(item)


def _title(path: Path) -> str:
    match = _HEADING.search(path.read_text(encoding="utf-8"))
    return match[1] if match else path.stem


def _place(path: Path) -> str:
    """The path that a file of the repository has on the site. README of the root is not the site's index."""
    place = path.relative_to(ROOT).as_posix().removeprefix("docs/")
    return "readme.md" if place == "README.md" else place


def on_files(files: Files, config: Any) -> Files:
    """Add the examples, the pages in the root of the repository, and the style of code."""
    paths = [path for name in _PAGES if (path := ROOT / name).exists()]
    paths += [path for path in sorted((ROOT / "examples").rglob("*")) if path.is_file()]
    for path in paths:
        if not _SKIPPED & set(path.parts):
            files.append(File.generated(config, _place(path), abs_src_path=str(path)))
    style = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="monokai").get_style_defs('[data-bs-theme="dark"] .highlight')
    files.append(File.generated(config, "code.css", content=f"{style}\n{dark}"))
    files.append(File.generated(config, "site.css", abs_src_path=str(Path(__file__).with_name("site.css"))))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as the site has them: docs/ is its root, and a folder links to what is in it."""
    here = Path(page.file.src_uri)
    folder = (ROOT if page.file.generated_by is not None else DOCS) / here.parent

    def site_link(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            return match[0]
        if target.is_dir():
            index = target / "README.md"
            inside = sorted(path for path in target.iterdir() if path.is_file())
            target = index if index.exists() else inside[0] if inside else target
        return f"{match[1]}{'../' * len(here.parent.parts)}{_place(target)}"

    return _LINK.sub(site_link, markdown)
