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
    from lakeflow_job_meta.jobs.render import check_size
    from lakeflow_job_meta.metadata.files import read_metadata
    from lakeflow_job_meta.metadata.lint import cross_check
    from lakeflow_job_meta.settings import resolve

    values = resolve({"variables": variables or None}, os.environ).variables
    files = [read_metadata(_read(path), path, values) for path in yaml_files(paths)]
    # What a load of exactly these files into an empty table would refuse: two files with one module, too.
    load = decide(files, {}, [], listed=None, hand=True, take_over=False, now=datetime.now(timezone.utc))
    problems = list(load.problems)
    refused = {problem.module for problem in problems}
    definitions, places = {}, {}
    for file in files:
        for module, definition in file.definitions.items():
            if module not in refused:
                definitions[module], places[module] = definition, file.places
                too_large = check_size(definition, file.module_places[module])
                problems += [too_large] if too_large is not None else []
    modules = {module for file in files for module in file.modules}
    problems += cross_check(definitions, known=modules, places=places)
    sources = sum(file.sources for file in files)
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
