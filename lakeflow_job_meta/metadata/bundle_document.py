"""A whole Databricks Asset Bundle as one document with variables and `resources.jobs`, for one target. Pure.

`metadata.bundles` reads jobs; this puts together what a bundle spreads over files and targets, as the Databricks CLI
does: included files are merged, then the target's overrides; lists with keys (tasks, clusters, ...) by key.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

_KEYS: Mapping[str, str] = {
    "tasks": "task_key",
    "job_clusters": "job_cluster_key",
    "parameters": "name",
    "environments": "environment_key",
}
#: What may stand in a bundle and says nothing about its jobs' settings.
_IGNORED = ("bundle", "sync", "artifacts", "include", "targets", "experimental", "scripts")
_READ = ("variables", "workspace", "resources", "run_as", "permissions", "presets")
_OWN = re.compile(r"\$\{bundle\.(name|target|environment)\}")
#: A value that is nothing but a variable, or a part of one: only so can a mapping take its place.
_WHOLE = re.compile(r"\$\{var\.([A-Za-z0-9_-]+)((?:\.[A-Za-z0-9_-]+)*)\}")


@dataclass(slots=True)
class BundleDocument:
    """What is left of a bundle once it is put together.

    Args:
        value: a document that `metadata.files.read_metadata` reads.
        target: name of the target that was applied; empty for none.
        root: workspace folder of the bundle's files, as far as it is plain text; else empty.
        notes: what of the bundle is not read, a sentence each.
        problems: why it cannot be put together.
    """

    value: JsonObject = field(default_factory=dict)
    target: str = ""
    root: str = ""
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def put_together(
    main: Mapping[str, Any],
    included: Iterable[Mapping[str, Any]],
    target: str | None,
    given: Collection[str] = (),
) -> BundleDocument:
    """The bundle's jobs and variables for `target`; None: its default target, if it has one.

    Args:
        given: names of the variables that have a value from elsewhere, and need not be looked up.
    """
    found = BundleDocument()
    whole: JsonObject = {}
    for part in (main, *included):
        for key in part:
            if key not in (*_IGNORED, *_READ) and not key.startswith("x-"):
                found.notes.append(f"{key} of the bundle is not read")
        whole = _merged(whole, {key: part[key] for key in _READ if key in part})
    targets: Mapping[str, Any] = main.get("targets") or {}
    chosen = _chosen(targets, target, found)
    if chosen is not None:
        _apply_target(whole, targets.get(chosen) or {}, chosen, found)
    resources = whole.get("resources") or {}
    for kind in sorted(set(resources) - {"jobs"}):
        found.notes.append(f"resources.{kind} is not read, only resources.jobs: it stays in the bundle")
    names = {
        "name": str((main.get("bundle") or {}).get("name") or ""),
        "target": chosen or "",
        "environment": chosen or "",
    }
    jobs = {name: _job(job, whole) for name, job in (resources.get("jobs") or {}).items()}
    value: JsonObject = {"resources": {"jobs": jobs}}
    if whole.get("variables"):
        value["variables"] = {
            name: {
                key: inner
                for key, inner in one.items()
                if key in ("default", "description") or (key == "lookup" and name not in given)
            }
            if isinstance(one, dict)
            else one
            for name, one in whole["variables"].items()
        }
        value = _with_complex(value)
    found.value = _replaced(value, names)
    found.target = chosen or ""
    found.root = _root(_replaced(whole.get("workspace") or {}, names))
    return found


def _root(workspace: Mapping[str, Any]) -> str:
    root = workspace.get("root_path")
    path = workspace.get("file_path") or (f"{root}/files" if root else "")
    return "" if "${" in path or path.startswith("~") else str(path)


def _chosen(targets: Mapping[str, Any], target: str | None, found: BundleDocument) -> str | None:
    if target is not None:
        if target not in targets:
            known = ", ".join(sorted(targets)) or "none"
            found.problems.append(f"the bundle has no target {target!r}; it has {known}")
            return None
        return target
    default = [name for name, one in targets.items() if isinstance(one, dict) and one.get("default") is True]
    if default or len(targets) == 1:
        return (default or list(targets))[0]
    if targets:
        found.notes.append(f"none of the targets {', '.join(sorted(targets))} is applied: name one")
    return None


def _apply_target(whole: JsonObject, target: Mapping[str, Any], name: str, found: BundleDocument) -> None:
    variables: JsonObject = {}
    for variable, value in (target.get("variables") or {}).items():
        declares = isinstance(value, dict) and value.keys() <= {"default", "description", "lookup", "type"}
        variables[variable] = value if declares else {"default": value}
        declared = (whole.get("variables") or {}).get(variable)
        if (
            isinstance(declared, dict) and variables[variable]
        ):  # a value is instead of the bundle's, not beside it
            rest = {key: inner for key, inner in declared.items() if key not in ("default", "lookup")}
            whole["variables"] = {**whole["variables"], variable: rest}
    overrides = {key: target[key] for key in _READ[1:] if key in target}
    merged = _merged(whole, {**overrides, **({"variables": variables} if variables else {})})
    whole.clear()
    whole.update(merged)
    if target.get("mode") == "development":
        found.notes.append(
            f"target {name} has mode: development: its name prefix and its pauses are not applied; "
            "the setting default_pause_status pauses new jobs"
        )
    if whole.get("presets"):
        found.notes.append("presets are not applied: write out what they set, or use defaults.job")


def _job(job: Any, whole: Mapping[str, Any]) -> Any:
    """The job with what the bundle says for all of them."""
    if not isinstance(job, dict):
        return job
    result = dict(job)
    if whole.get("run_as") and "run_as" not in result:
        result["run_as"] = whole["run_as"]
    own = job.get("permissions") or []
    everybody = [
        # The bundle's levels are for every kind of resource; jobs have a name of their own for this one.
        {**entry, "level": "CAN_MANAGE_RUN" if entry.get("level") == "CAN_RUN" else entry.get("level")}
        for entry in whole.get("permissions") or []
    ]
    shared = [entry for entry in everybody if entry not in own]
    if shared:
        result["permissions"] = [*own, *shared]
    return result


def _merged(base: Any, over: Any, key: str = "") -> Any:
    if isinstance(base, dict) and isinstance(over, dict) and key != "run_as":  # one principal, not two
        result = dict(base)
        for name, value in over.items():
            result[name] = _merged(base[name], value, name) if name in base else value
        return result
    if isinstance(base, list) and isinstance(over, list):
        field_name = _KEYS.get(key)
        if field_name is None:
            return [*base, *over] if key == "permissions" else over
        items = {_key(item, field_name): item for item in base}
        for item in over:
            name = _key(item, field_name)
            items[name] = _merged(items[name], item) if name in items else item
        return list(items.values())
    return over


def _key(item: Any, name: str) -> str:
    return str(item.get(name)) if isinstance(item, dict) else repr(item)


def _with_complex(value: JsonObject) -> JsonObject:
    """The document with its complex variables (mappings and lists) put in the place of `${var.NAME}`."""
    complex_ones = {
        name: one["default"]
        for name, one in value["variables"].items()
        if isinstance(one, dict) and isinstance(one.get("default"), (dict, list))
    }
    if not complex_ones:
        return value
    variables = {name: one for name, one in value["variables"].items() if name not in complex_ones}
    result: JsonObject = _put_in({**value, "variables": variables}, complex_ones, ())
    return result


def _put_in(value: Any, complex_ones: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {name: _put_in(inner, complex_ones, inside) for name, inner in value.items()}
    if isinstance(value, list):
        return [_put_in(inner, complex_ones, inside) for inner in value]
    match = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[1] not in complex_ones or match[1] in inside:
        return value  # one that holds itself stays, and is an unknown variable then
    found = _put_in(complex_ones[match[1]], complex_ones, (*inside, match[1]))
    for part in filter(None, match[2].split(".")):
        if not isinstance(found, dict) or part not in found:
            return value
        found = found[part]
    return found


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _OWN.sub(lambda match: names[match[1]] or match[0], value)
    if isinstance(value, dict):
        return {name: _replaced(inner, names) for name, inner in value.items()}
    return [_replaced(inner, names) for inner in value] if isinstance(value, list) else value


# ---------------------------------------------------------------- paths

#: Where a bundle's jobs name files of the bundle; of notebooks the workspace knows no file extension.
_FILES = {
    "notebook_task": "notebook_path",
    "spark_python_task": "python_file",
    "dbt_task": "project_directory",
    "file": "path",
}
_NOTEBOOK = re.compile(r"\.(ipynb|py|sql|scala|r|R)$")
_BUILT = ("whl", "jar", "dependencies")


def from_root(value: JsonObject, folder: str) -> JsonObject:
    """A bundle's document with its paths, which are relative to the document, relative to the bundle instead.

    Args:
        folder: where the document lies, relative to the bundle.
    """
    offset = folder.replace("\\", "/")

    def moved(given: str, notebook: bool) -> str:
        return posixpath.normpath(posixpath.join(offset, given))

    result: JsonObject = _with_paths(value, moved)
    return result


def deployed(value: JsonObject, root: str, strays: list[str]) -> JsonObject:
    """The document with the bundle's paths as paths of the workspace.

    Args:
        root: folder of the workspace that the bundle's files are deployed to; empty when it is not known.
        strays: gets the paths that have no place there.
    """

    def placed(given: str, notebook: bool) -> str:
        if not root or given.startswith("../"):
            strays.append(given)
        return f"{root}/{_NOTEBOOK.sub('', given) if notebook else given}"

    result: JsonObject = _with_paths(value, placed)
    return result


def _with_paths(value: Any, change: Callable[[str, bool], str], key: str = "") -> Any:
    """`value` with the relative paths of its tasks changed (path, whether it is a notebook's); Git's are Git's."""
    if isinstance(value, list):
        return [_with_paths(inner, change) for inner in value]
    if not isinstance(value, dict) or "git_source" in value:
        return value
    result = {name: _with_paths(inner, change, name) for name, inner in value.items()}
    field = _FILES.get(key, "")
    given = value.get(field)
    if isinstance(given, str) and not given.startswith(("/", "${")) and value.get("source") != "GIT":
        result[field] = change(given, key == "notebook_task")
    return result


def built(value: Any, key: str = "") -> Iterator[str]:
    """Relative paths of wheels and jars."""
    if isinstance(value, str):
        if key in _BUILT and value.startswith("."):
            yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from built(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from built(inner, key)
