"""`validate`: YAML files checked offline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lakeflow_job_meta.cli import display, errors
from lakeflow_job_meta.cli.options import existing_paths, format_option, variables_option
from lakeflow_job_meta.errors import Problem, UsageError
from lakeflow_job_meta.ports import FileInfo


@dataclass(frozen=True)
class Judgement:
    """What came of checking files: how much there is, and every problem in order of place."""

    files: int
    modules: int
    sources: int
    problems: tuple[Problem, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "modules": self.modules,
            "sources": self.sources,
            "errors": [errors.problem_json(problem) for problem in self.problems],
        }


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@variables_option
@format_option
@click.pass_context
def validate(ctx: click.Context, paths: tuple[str, ...], variables: dict[str, str], json: bool) -> None:
    """Check YAML files, without any workspace: every problem at once, with file, line and column.

    PATH is a file or a folder. Exit code 1 when there are errors.
    """
    found = judge(existing_paths(paths), variables)
    if json:
        display.print_json(found.as_json())
    else:
        for problem in found.problems:
            click.echo(errors.printable(str(problem)))
        counts = ", ".join(
            display.count(number, word)
            for number, word in ((found.files, "file"), (found.modules, "module"), (found.sources, "source"))
        )
        if found.problems:
            click.echo(f"{counts}: {display.count(len(found.problems), 'error')}", err=True)
        else:
            click.echo(f"ok: {counts}")
    ctx.exit(1 if found.problems else 0)


def judge(paths: Sequence[str], variables: dict[str, str]) -> Judgement:
    """All that can be known of the files without a workspace.

    Raises:
        UsageError: a file cannot be read.
    """
    from datetime import datetime, timezone

    from lakeflow_job_meta.control.loading import decide
    from lakeflow_job_meta.metadata.build import define
    from lakeflow_job_meta.metadata.files import read_metadata
    from lakeflow_job_meta.metadata.lint import cross_check
    from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
    from lakeflow_job_meta.settings import resolve

    settings = resolve({"variables": variables or None}, os.environ)
    files = [read_metadata(_read(path), path, settings.variables) for path in yaml_files(paths)]
    load = decide(
        files,
        {},
        [],
        listed=[file.path for file in files],
        hand=True,
        take_over=False,
        now=datetime.now(timezone.utc),
    )
    problems = list(load.problems)
    by_module: dict[str, list[Row]] = {}
    places = {}
    for file in files:
        for row in file.rows:
            by_module.setdefault(row.module_name or "", []).append(row)
            places[row.module_name or ""] = file.places
    refused = {problem.module for problem in problems if problem.module}
    definitions = {}
    for module, rows in by_module.items():
        defined = define(rows, table="", settings=settings, places=places[module], open_settings=True)
        problems += [problem for problem in defined.problems if problem not in problems]
        if defined.definition is not None and module not in refused:
            definitions[module] = defined.definition
    problems += [problem for problem in cross_check(definitions) if problem not in problems]
    sources = sum(1 for rows in by_module.values() for row in rows if row.source_id != JOB_ROW)
    modules = {module for file in files for module in file.modules}
    ordered = sorted(problems, key=lambda problem: (problem.place is None, problem.place, problem.message))
    return Judgement(len(files), len(modules), sources, tuple(ordered))


def yaml_files(paths: Sequence[str]) -> list[str]:
    """The files that the paths name: themselves, or every YAML file below a folder; each once, sorted by path."""
    from lakeflow_job_meta.control.reading import metadata_files

    found: dict[str, None] = {}
    for path in paths:
        listed = _below(path) if Path(path).is_dir() else [FileInfo(path, 0, 0)]
        found.update(dict.fromkeys(info.path for info in metadata_files(listed, path)))
    return list(found)


def _below(folder: str) -> list[FileInfo]:
    return sorted(
        FileInfo(str(Path(inside) / name), 0, 0)
        for inside, _, names in os.walk(folder, onerror=_unreadable)
        for name in names
    )


def _unreadable(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}") from e
