"""Writing: definitions become a YAML file that reads back as the same definitions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.metadata.scalars import plain
from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from lakeflow_job_meta.metadata.variables import escape

JsonObject = dict[str, Any]

_WIDE = 10_000
_ODD_BREAK = re.compile("[\r\x85\u2028\u2029]")
#: Their settings may stand beside task_type, which reads better.
_FLAT = ("notebook",)


def write_metadata(definitions: Iterable[ModuleDefinition], comments: Iterable[str] = ()) -> str:
    """The text of a YAML file with these modules.

    Args:
        comments: lines above them.
    """
    document = {"metadata_version": "1.0", "modules": [module_mapping(one) for one in definitions]}
    body = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDE)
    head = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    return head + body


def module_mapping(definition: ModuleDefinition) -> JsonObject:
    """A module as an item of `modules`; texts that look like variables are written so that they stay what they are."""
    job = dict(definition.job)
    if definition.permissions is not None:
        job["permissions"] = [dict(entry) for entry in definition.permissions]
    module: JsonObject = {"module_name": definition.module_name}
    if isinstance(job.get("description"), str):
        module["description"] = job.pop("description")
    if not definition.active:
        module["is_active"] = False
    module.update(definition.options)
    if job:
        module["job"] = job
    module["sources"] = [_source(source) for source in definition.sources]
    escaped: JsonObject = _escaped(module)
    return escaped


def _source(source: SourceDefinition) -> JsonObject:
    result: JsonObject = {
        "source_id": source.source_id,
        "source_type": source.source_type,
        "execution_order": source.execution_order,
    }
    for name in ("source_config", "target_config"):
        if getattr(source, name):
            result[name] = getattr(source, name)
    task_type = TASK_TYPES[source.task_type]
    config: JsonObject = {"task_type": source.task_type}
    if task_type.ours or source.task_type in _FLAT:
        config.update(source.settings)
    else:
        assert task_type.api_key is not None
        config[task_type.api_key] = source.settings
    result["transformation_config"] = {**config, **source.task}
    return result


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {name: _escaped(inner) for name, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, (list, tuple)) else value


class _Dumper(yaml.SafeDumper):
    """Lists indented below their key, texts of several lines as blocks, nothing by reference."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if _ODD_BREAK.search(value):
        style: str | None = '"'  # any other style would fold it
    elif "\n" in value:
        style = "|"
    else:  # PyYAML quotes what YAML 1.1 takes for something else; our reader has words of its own
        style = None if plain(value) == (value, "") else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
