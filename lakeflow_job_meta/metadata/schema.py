"""The JSON Schema (draft 2020-12): the strict document that validates, and the published one for editors.

`schema.json` is shipped, made by `reflection` for one version of databricks-sdk. Where another version is
installed, the document is made anew from it (about a second), so that a new SDK brings its new types.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from importlib import resources
from typing import Any

JsonObject = dict[str, Any]

VERSION_KEY = "x-databricks-sdk"
#: What stands in an editor for a value that a variable will bring.
_VARIABLE: JsonObject = {"type": "string", "pattern": r"\$\{var\.[A-Za-z0-9_.-]+\}"}
_TYPED = frozenset({"integer", "number", "boolean"})


@cache
def document() -> JsonObject:
    """The strict document: what a file's parts must be once defaults are merged and variables replaced.

    Its `$defs` hold the SDK's types (`jobs.Task`), one `task.<task_type>` each (a source's
    transformation_config), and the parts of the file. Not to be changed by callers.
    """
    from lakeflow_job_meta.metadata.reflection import definitions, sdk_version

    text = resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    shipped: JsonObject = json.loads(text)
    version = sdk_version()
    if version is None or version == shipped[VERSION_KEY]:
        return shipped
    from lakeflow_job_meta.metadata.layout import document as build

    return build(definitions(), version)


@cache
def _published() -> JsonObject:
    from lakeflow_job_meta.metadata.layout import published

    return published(document())


def schema() -> JsonObject:
    """The published JSON Schema of a YAML file, for editors: a copy.

    It differs from what validates in two ways: `${var.NAME}` may stand for any value, and a key that `defaults`
    may bring is not demanded where the file has defaults.
    """
    return copy.deepcopy(_published())


def allow_variables(node: Any) -> Any:
    """`node`, a schema, with `${var.NAME}` allowed wherever a text could not hold it otherwise, and with the numbers and
    booleans that are converted to text (see `shapes`).
    """
    if isinstance(node, list):
        return [allow_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("additionalProperties") == {"type": "string"}:
        # A map of texts: whole numbers and booleans are taken as they were written.
        return {**node, "additionalProperties": {"type": ["string", "integer", "boolean"]}}
    result = {key: _inside(key, value) for key, value in node.items()}
    kind = node.get("type")
    if (isinstance(kind, str) and kind in _TYPED) or (
        kind == "string" and ("enum" in node or "pattern" in node)
    ):
        notes = {key: result.pop(key) for key in ("description", "default") if key in result}
        return {"anyOf": [result, dict(_VARIABLE)], **notes}
    return result


def _inside(key: str, value: Any) -> Any:
    if key in ("properties", "$defs", "patternProperties"):
        return {name: allow_variables(inner) for name, inner in value.items()}
    if key in ("enum", "const", "required", "default", "examples"):
        return value
    return allow_variables(value)
