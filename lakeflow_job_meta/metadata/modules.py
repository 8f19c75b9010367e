"""Modules: the `modules:` layout of DESIGN 3 becomes rows."""

from __future__ import annotations

from typing import Any

from lakeflow_job_meta.metadata.defaults import merge, with_defaults
from lakeflow_job_meta.metadata.entries import Entry
from lakeflow_job_meta.metadata.header import check_defaults
from lakeflow_job_meta.metadata.places import Origin, Tokens, YamlList, YamlMap
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.metadata.shapes import Finding, judge, shape, tokens
from lakeflow_job_meta.metadata.suggestions import quoted, shown
from lakeflow_job_meta.settings import MODULE_SETTINGS

JsonObject = dict[str, Any]
_CONFIG = "transformation_config"
_NO_SOURCES = "sources must be a list of sources; sources: [] retires the module"
_CONFIGS = ("source_config", "target_config", _CONFIG)


def read_module(entry: Entry) -> None:
    """Turn one item of `modules` into rows and problems of its entry."""
    node = entry.node
    if not isinstance(node, YamlMap):
        entry.name, entry.named = f"modules[{entry.at[-1]}]", False
        entry.report(entry.at, f"a module must be a mapping with module_name and sources, not {shown(node)}")
        return
    has_name = "module_name" in node
    entry.read_name(node.get("module_name"), (*entry.at, "module_name") if has_name else entry.at)
    node = _checked_parts(entry, node)
    layers = [
        layer for layer in (entry.file.header.defaults, node.get("defaults")) if isinstance(layer, YamlMap)
    ]
    _job(entry, node)
    _sources(entry, node, layers)


def _checked_parts(entry: Entry, node: YamlMap) -> JsonObject:
    """The module's own keys, judged; what is wrong is left out of the result."""
    # Judged with their variables replaced; the row takes them as they are, and is resolved as a whole.
    origins = [Origin((), entry.at, node, node.place)]
    texts = {
        name: entry.text(value, origins, (name,), "")
        for name, value in node.items()
        if isinstance(value, str) and name != "module_name"
    }
    found: list[Finding] = []
    judged: JsonObject = dict(judge(shape("module_parts"), {**node, **texts}, found))
    judged.update((name, node[name]) for name in texts if name in judged and name != "is_active")
    job_keys = shape("job").properties
    for finding in found:
        path = tokens(finding.path)
        if path == ("module_name",):
            continue  # told by read_name
        message = finding.message
        if finding.kind == "unknown" and finding.key in job_keys:
            message = f"{quoted(finding.key)} belongs under job:"
        elif path == ("sources",):
            message = _NO_SOURCES
        entry.report((*entry.at, *path), message, at_key=finding.kind == "unknown")
        if path:
            judged.pop(str(path[0]), None)
    if node.get("sources") is None:
        entry.report((*entry.at, "sources") if "sources" in node else entry.at, _NO_SOURCES)
    if "defaults" in judged:
        check_defaults(
            judged["defaults"],
            (*entry.at, "defaults"),
            lambda at, message, at_key: entry.report(at, message, at_key=at_key),
            job=False,
        )
    return judged


def _job(entry: Entry, node: JsonObject) -> None:
    job: Any = node.get("job") or {}
    defaults = entry.file.header.defaults
    job_defaults = defaults.get("job") if defaults is not None else None
    at = entry.at
    origins = [
        Origin((_CONFIG,), (*at, "job"), job, entry.node.place),
        Origin((_CONFIG,), at, entry.node, entry.node.place),
        Origin((), at, entry.node, entry.node.place),
    ]
    if isinstance(job_defaults, YamlMap):
        job = merge(job_defaults, job)
        origins.insert(1, Origin((_CONFIG,), ("defaults", "job"), job_defaults, job_defaults.place))
    row: JsonObject = dict(job)
    for name in MODULE_SETTINGS:
        if name in row:
            entry.report(
                (*at, "job", name), f"{name} is a setting of the module: write it beside job", at_key=True
            )
        if name in node:
            row[name] = node[name]
    description = node.get("description")
    if description is not None:
        if row.get("description", description) != description:
            entry.report(
                (*at, "description"),
                "description stands here and in job, with different texts: keep one",
                at_key=True,
            )
        row["description"] = description
    entry.add_job_row(row, origins, active=node.get("is_active") is not False)


def _sources(entry: Entry, node: JsonObject, layers: list[YamlMap]) -> None:
    sources = node.get("sources")
    if not isinstance(sources, YamlList):
        return
    at = (*entry.at, "sources")
    shared = (
        [Origin((), ("defaults",), entry.file.header.defaults, entry.file.header.defaults.place)]
        if entry.file.header.defaults is not None
        else []
    )
    own = node.get("defaults")
    if isinstance(own, YamlMap):
        shared.insert(0, Origin((), (*entry.at, "defaults"), own, own.place))
    seen: dict[str, Tokens] = {}
    for index, source in enumerate(sources):
        here = (*at, index)
        if not isinstance(source, YamlMap):
            entry.report(here, f"a source must be a mapping with source_id and the like, not {shown(source)}")
            continue
        _source(entry, source, here, shared, layers, seen)


def _source(
    entry: Entry,
    source: YamlMap,
    at: Tokens,
    shared: list[Origin],
    layers: list[YamlMap],
    seen: dict[str, Tokens],
) -> None:
    origins = [Origin((), at, source, source.place), *shared]
    raw_id = source.get("source_id")
    if not isinstance(raw_id, str) or not raw_id:
        message = (
            "source_id is missing"
            if raw_id in (None, "")
            else f"source_id must be text, not {shown(raw_id)}: write it in quotes"
        )
        entry.report((*at, "source_id") if "source_id" in source else at, message)
        raw_id = ""
    merged = with_defaults(source, layers)
    columns: JsonObject = {}
    for name in ("source_id", "source_type", "execution_order", "is_active"):
        value = merged.get(name)
        columns[name] = entry.text(value, origins, (name,), raw_id) if isinstance(value, str) else value
    source_id = columns["source_id"] if raw_id else ""
    found: list[Finding] = []
    judged = judge(shape("source_columns"), {**merged, **columns}, found)
    sound = True
    for finding in found:
        path = tokens(finding.path)
        if path == ("source_id",):
            sound = False
            continue
        sound = sound and finding.kind == "unknown"
        entry.report_part(origins, path, finding.message, source_id, at_key=finding.kind == "unknown")
    if _CONFIG not in judged:
        sound = False
        entry.report(at, f"{_CONFIG} is missing: it says what the task does", source_id=source_id)
    if not source_id or not entry.claims_source(source_id, seen, at):
        return
    entry.file.places.add((entry.name, source_id), origins)
    texts = (
        {name: entry.config(judged.get(name), origins, (name,), source_id) for name in _CONFIGS}
        if sound
        else {}
    )
    if not sound:
        entry.broken.add(source_id)
        return
    entry.rows.append(
        Row(
            source_id,
            entry.name,
            judged.get("source_type"),
            judged.get("execution_order"),
            texts["source_config"],
            texts["target_config"],
            texts[_CONFIG],
            judged.get("is_active", True),
        )
    )
