"""The header of a file: which layout it has, its variables and file-wide defaults. What is wrong here rejects the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.metadata.places import YamlList, YamlMap
from lakeflow_job_meta.metadata.shapes import Finding, judge, shape, tokens
from lakeflow_job_meta.metadata.suggestions import hint, quoted, shown
from lakeflow_job_meta.metadata.variables import MARK, NAME

VERSIONS = ("1.0",)
_KEYS = ("metadata_version", "variables", "defaults", "modules", "jobs", "resources")
_CONTENT = ("modules", "jobs", "resources")
# Keys of a Databricks Asset Bundle beside `resources`. These say nothing about its jobs:
_BUNDLE_IGNORED = ("bundle", "workspace", "sync", "artifacts")
# and these change its jobs in ways that are not read here.
_BUNDLE_REFUSED = {
    "targets": "overrides per target are not read: pass values with --var, and remove it",
    "include": "give the included files beside this one, and remove it",
    "permissions": "put permissions under each job",
    "run_as": "put run_as under each job",
    "presets": "write out under each job what they set",
    "mutators": "jobs made by code are not read",
    "python": "jobs made by code are not read",
    "experimental": "jobs made by code are not read",
    "scripts": "scripts are not run",
}

Report = Callable[[tuple["str | int", ...], str, bool], None]


@dataclass(frozen=True, slots=True)
class Header:
    """What the head of a file says.

    Args:
        values: text of every variable that has a value; given ones win over the file's defaults.
        declared: names that the file declares.
        defaults: deep-merged under every source; None when there are none.
        bundle: whether it is written as a bundle.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    declared: tuple[str, ...] = ()
    defaults: YamlMap | None = None
    bundle: bool = False


def read_header(top: YamlMap, given: Mapping[str, str], report: Report) -> Header:
    """The header of a file; `report(keys, message, at_key)` is told of everything wrong with it."""
    bundle = "resources" in top
    for key in top:
        if key in _KEYS or key.startswith("x-") or (bundle and key in _BUNDLE_IGNORED):
            continue  # x-...: a place of the user's own, for anchors
        if key in _BUNDLE_REFUSED and (bundle or key in ("targets", "include")):
            report((key,), f"{key} is a key of bundles: {_BUNDLE_REFUSED[key]}", True)
        else:
            report((key,), f"unknown key {quoted(key)}{hint(key, _KEYS)}", True)
    if not any(key in top for key in _CONTENT):
        report((), "there is nothing here: write modules: [] for a file without modules", False)
    version = top.get("metadata_version", "1.0")
    if str(version) not in VERSIONS or isinstance(version, bool):
        report(("metadata_version",), f'metadata_version must be "1.0", not {shown(version)}', False)
    for key in ("modules", "jobs", "resources"):
        if key in top:
            _check_kind(key, top[key], report)
    values, declared = _variables(top, report)
    return Header({**values, **given}, declared, _defaults(top, report), bundle)


def _check_kind(key: str, value: Any, report: Report) -> None:
    kind, word, empty = (YamlList, "a list", "[]") if key == "modules" else (YamlMap, "a mapping", "{}")
    if not isinstance(value, kind):
        report((key,), f"{key} must be {word}, not {shown(value)}; {key}: {empty} is the empty one", False)


def _variables(top: YamlMap, report: Report) -> tuple[dict[str, str], tuple[str, ...]]:
    variables = top.get("variables")
    if variables is None:
        return {}, ()
    if not isinstance(variables, dict):
        report(("variables",), f"variables must be a mapping of names, not {shown(variables)}", False)
        return {}, ()
    values: dict[str, str] = {}
    for name, declaration in variables.items():
        at: tuple[str, ...] = ("variables", name)
        if not NAME.fullmatch(name):
            report(at, f"{quoted(name)} cannot be a variable: use letters, digits, _ and -", True)
        default = declaration
        if isinstance(declaration, dict):
            for key in declaration:
                if key in ("lookup", "type"):
                    report(
                        (*at, key),
                        f"{key} is not read: give the variable a text as its default, or pass --var {name}=VALUE",
                        True,
                    )
                elif key not in ("default", "description"):
                    report(
                        (*at, key), f"unknown key {quoted(key)}{hint(key, ('default', 'description'))}", True
                    )
            default, at = declaration.get("default"), (*at, "default")
        if default is not None:
            text, wrong = _text(default)
            if wrong:
                report(at, wrong, False)
            values[name] = text
    return values, tuple(variables)


def _text(value: Any) -> tuple[str, str]:
    """A variable's default as text, and what is wrong with it."""
    if isinstance(value, bool):
        return ("true" if value else "false"), ""
    if isinstance(value, int):
        return str(value), ""
    if not isinstance(value, str):
        remedy = f': write "{value}" in quotes' if isinstance(value, float) else ""
        return "", f"the default of a variable must be text, not {shown(value)}{remedy}"
    wrong = "a variable cannot be made of other variables: write the text out" if MARK in value else ""
    return value, wrong


def _defaults(top: YamlMap, report: Report) -> YamlMap | None:
    defaults = top.get("defaults")
    if defaults is None:
        return None
    check_defaults(defaults, ("defaults",), report, job=True)
    return defaults if isinstance(defaults, YamlMap) else None


def check_defaults(value: Any, at: tuple[str | int, ...], report: Report, *, job: bool) -> None:
    """Judge the form of `defaults`; what they bring is judged in the sources that they are merged under."""
    if isinstance(value, dict) and not job and "job" in value:
        report((*at, "job"), "defaults of a module have no job: write it in the module's own job", True)
    found: list[Finding] = []
    # Nulls remove what weaker defaults say, and texts may still be variables: only keys and mappings count.
    judge(shape("defaults"), value, found)
    for finding in found:
        path = tokens(finding.path)
        if finding.kind == "unknown" or path in (
            (),
            ("job",),
            ("transformation_config",),
            ("source_config",),
            ("target_config",),
        ):
            message = finding.message
            if path == ("source_id",):
                message = "source_id cannot be a default: every source has its own"
            report((*at, *path), message if path else "defaults must be a mapping", finding.kind == "unknown")
