"""The importer of bundles: their jobs as modules. Reads files only, and needs no workspace."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lakeflow_job_meta.errors import MetadataError, Place, Problem, UsageError
from lakeflow_job_meta.importer import Import, Imported, Skipped
from lakeflow_job_meta.metadata.bundle_document import built, deployed, from_root, put_together
from lakeflow_job_meta.metadata.documents import read_document
from lakeflow_job_meta.metadata.files import MetadataFile, read_metadata
from lakeflow_job_meta.reconcile.transcription import with_stages

JsonObject = dict[str, Any]


def import_bundle(
    path: Path,
    variables: Mapping[str, str],
    *,
    target: str | None = None,
    root: str = "",
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> Import:
    """The jobs of a Databricks Asset Bundle as modules; its included files are read too. Needs no workspace.

    Args:
        path: databricks.yml, or the folder that it lies in.
        variables: values of the bundle's variables; they win over its defaults and its target's.
        target: name of the target whose overrides hold; None: the bundle's default.
        root: workspace folder that the bundle's files are deployed to, for its relative paths; default: what the
            bundle's workspace.file_path or root_path says.

    Raises:
        UsageError: there is no such bundle or target.
        MetadataError: a file does not parse, or a job cannot be read; every problem is listed.
    """
    path = path / "databricks.yml" if path.is_dir() else path
    parts, nothing = _parts(path, read)
    main, *included = parts.values()
    if "jobs" in main and "resources" not in main:  # lakeflow-jobs-meta 0.2
        file = read_metadata(read(path), str(path), variables)
        if file.problems:
            raise MetadataError(file.problems)
        return _modules_of(file, path.name)
    whole = put_together(main, included, target, variables)
    if whole.problems:
        raise UsageError(f"{path}: {'; '.join(whole.problems)}")
    if not whole.value["resources"]["jobs"]:
        raise UsageError(
            f"{path} has no jobs: they stand under resources.jobs, in it or in a file that it includes"
        )
    notes = [*nothing, *whole.notes]
    strays: list[str] = []
    value = deployed(whole.value, (root or whole.root).rstrip("/"), strays)
    notes += [f"{name} is built or brought by the bundle: say where it lies" for name in built(value)]
    outside = sorted({one for one in strays if one.startswith("../")})
    if outside:
        raise UsageError(
            f"{path}: {', '.join(outside)}: outside of the bundle's folder, from where nothing is deployed with it; "
            "write the path that the file has in the workspace"
        )
    if strays:
        raise UsageError(
            f"{path}: {', '.join(sorted(set(strays)))}: paths inside the bundle; say which workspace folder its files "
            "are deployed to, with --root /Workspace/..."
        )
    file = read_metadata(json.dumps(value).encode(), str(path), variables)
    problems = [replace(problem, place=Place(str(path), key=problem.pointer)) for problem in file.problems]
    if not file.definitions or not all(problem.module for problem in problems):
        raise MetadataError(problems)
    refused: dict[str, list[str]] = {}
    for problem in problems:
        refused.setdefault(problem.module, []).append(str(problem))
    skipped = tuple(Skipped(None, name, "; ".join(reasons)) for name, reasons in sorted(refused.items()))
    origin = f"{path.name}, target {whole.target}" if whole.target else path.name
    return replace(_modules_of(file, origin, notes), skipped=skipped)


def _parts(path: Path, read: Callable[[Path], bytes]) -> tuple[dict[Path, JsonObject], list[str]]:
    """The bundle's file and those that it includes, by path; and notes on includes that name nothing."""
    documents = {path: _document(path, read)}
    notes = []
    patterns = documents[path].get("include") or []
    for pattern in patterns if isinstance(patterns, list) else [patterns]:
        if Path(str(pattern)).is_absolute():
            raise UsageError(f"{path}: include: {pattern} must be a path beside the bundle")
        names = sorted(path.parent.glob(str(pattern)))
        if not names:
            notes.append(f"include: {pattern} matches no file")
        for name in names:
            documents.setdefault(name, _document(name, read))
    folders = {name: os.path.relpath(name.parent, path.parent) for name in documents}
    return {name: from_root(value, folders[name]) for name, value in documents.items()}, notes


def _modules_of(file: MetadataFile, origin: str, notes: Sequence[str] = ()) -> Import:
    """The modules of a file whose tasks all have explicit dependencies."""
    modules = [
        Imported(name, with_stages(one), job_name=str(one.job.get("name") or name), origin=origin)
        for name, one in sorted(file.definitions.items())
    ]
    return Import(tuple(modules), notes=tuple(notes))


def _document(path: Path, read: Callable[[Path], bytes]) -> JsonObject:
    try:
        document = read_document(read(path), str(path))
    except OSError as e:
        raise UsageError(f"cannot read the bundle {path}: {e.strerror}") from e
    problems = [document.problem] if document.problem is not None else []
    problems += [Problem(flaw.message, Place(str(path), *flaw.place)) for flaw in document.flaws]
    if not problems and not isinstance(document.value, dict):
        problems.append(
            Problem("a bundle is a mapping with bundle, resources and the like", Place(str(path), 1, 1))
        )
    if problems:
        raise MetadataError(problems)
    value: JsonObject = document.value
    return value
