"""Notebooks as files: Databricks source files and .ipynb, read into cells."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

SUFFIXES = (".ipynb", ".py", ".sql", ".scala", ".r", ".R")
_HEADERS = {
    "# Databricks notebook source": "python",
    "-- Databricks notebook source": "sql",
    "// Databricks notebook source": "scala",
}
_COMMENT = {"python": "#", "sql": "--", "scala": "//"}
_LANGUAGES = ("python", "sql", "md", "sh", "fs", "run", "pip", "scala", "r")
_MAGIC = re.compile(r"\s*%{1,2}(" + "|".join(_LANGUAGES) + r")\b[ \t]*(.*)", re.DOTALL)


class NotebookError(Exception):
    """A notebook that is not there or that cannot be read."""


@dataclass(frozen=True)
class Cell:
    """One command: its language (or magic), the rest of the magic's line, and the text."""

    language: str
    line: str
    text: str


def find(path: str) -> str:
    """The file of the notebook at `path`, which is usually written without a suffix.

    Raises:
        NotebookError: there is none.
    """
    for candidate in (path, *(path + suffix for suffix in SUFFIXES)):
        if os.path.isfile(candidate):
            return candidate
    raise NotebookError(f"no notebook at {path}: import it into the workspace first")


def read(path: str, shown: str = "") -> list[Cell]:
    """The cells of a notebook file.

    Args:
        path: the file.
        shown: the path to name in errors.

    Raises:
        NotebookError: it is no notebook, or in a language that cannot run here.
    """
    name = shown or path
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as e:
        raise NotebookError(f"cannot read the notebook {name}: {e}") from e
    if path.endswith(".ipynb") or (not path.endswith(SUFFIXES) and text.lstrip().startswith("{")):
        return _ipynb(text, name)
    first, _, rest = text.lstrip("\ufeff").partition("\n")
    language = _HEADERS.get(first.strip())
    if language is None:
        raise NotebookError(
            f"{name} is a file, not a notebook: its first line must be '# Databricks notebook source'"
        )
    if language == "scala":
        raise NotebookError(f"{name} is a Scala notebook: the embedded workspace runs only Python and SQL")
    return _source(rest, language)


def _source(text: str, language: str) -> list[Cell]:
    mark = re.escape(_COMMENT[language])
    cells = []
    for part in re.split(rf"^{mark} COMMAND -+[ \t]*$", text, flags=re.MULTILINE):
        lines = [line for line in part.strip("\n").split("\n") if not re.match(rf"{mark} DBTITLE\b", line)]
        magic = re.compile(rf"{mark} MAGIC ?")
        if any(magic.match(line) for line in lines):
            lines = [magic.sub("", line, count=1) if magic.match(line) else line for line in lines]
        cells.append(_cell("\n".join(lines), language))
    return [cell for cell in cells if cell.text.strip() or cell.line]


def _ipynb(text: str, name: str) -> list[Cell]:
    try:
        body = json.loads(text)
        cells = body["cells"]
    except (ValueError, KeyError, TypeError) as e:
        raise NotebookError(f"{name} is no valid .ipynb notebook: {e}") from e
    databricks = body.get("metadata", {}).get("application/vnd.databricks.v1+notebook", {})
    language = str(databricks.get("language") or "python").lower()
    if language not in ("python", "sql"):
        raise NotebookError(
            f"{name} is a {language} notebook: the embedded workspace runs only Python and SQL"
        )
    found = []
    for cell in cells:
        if cell.get("cell_type") == "code":
            source = cell.get("source", "")
            found.append(_cell("".join(source) if isinstance(source, list) else source, language))
    return [cell for cell in found if cell.text.strip() or cell.line]


def _cell(text: str, language: str) -> Cell:
    match = _MAGIC.match(text)
    if match is None:
        return Cell(language, "", text)
    line, _, rest = match[2].partition("\n")
    if match[1] in ("run", "pip") and rest.strip():
        return Cell("python", "", text)  # more lines follow: each line magic runs where it stands
    if match[1] == "python":
        return Cell("python", "", f"{line}\n{rest}" if line.strip() else rest)
    return Cell(match[1], line.strip(), rest)
