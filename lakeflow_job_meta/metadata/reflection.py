"""Reflection: JSON Schema definitions made from databricks-sdk's dataclasses, and the file that ships them.

The only module here that imports the SDK, and only inside `definitions`. `python -m
lakeflow_job_meta.metadata.reflection` rewrites `schema.json` for the installed SDK.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import json
import sys
import types
import typing
from importlib import metadata
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]

#: Distribution whose version is recorded in the shipped schema.
SDK = "databricks-sdk"
_SCALARS: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def sdk_version() -> str | None:
    """Version of the installed SDK, read without importing it; None when there is none."""
    try:
        return metadata.version(SDK)
    except metadata.PackageNotFoundError:
        return None


def definitions() -> JsonObject:
    """`$defs` of JobSettings and of every type that it reaches, keyed `jobs.Task`, `compute.ClusterSpec`, ...

    Objects are closed, a field without a default is required, an enum is the list of its wire values, and the
    docstring below a field is its `description`.
    """
    from databricks.sdk.service import jobs

    return _Reflector().reflect(jobs.JobSettings)


def name_of(cls: type) -> str:
    """Name of a class's definition: module and class, `jobs.Task`."""
    return f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}"


class _Reflector:
    def __init__(self) -> None:
        self._done: JsonObject = {}
        self._open: list[type] = []
        self._seen: set[type] = set()
        self._texts: dict[str, dict[tuple[str, str], str]] = {}

    def reflect(self, root: type) -> JsonObject:
        self._reference(root)
        while self._open:
            cls = self._open.pop()
            self._done[name_of(cls)] = self._enum(cls) if issubclass(cls, enum.Enum) else self._object(cls)
        return dict(sorted(self._done.items()))

    def _reference(self, cls: type) -> JsonObject:
        if cls not in self._seen:
            self._seen.add(cls)
            self._open.append(cls)
        return {"$ref": f"#/$defs/{name_of(cls)}"}

    def _enum(self, cls: type[enum.Enum]) -> JsonObject:
        return {"type": "string", "enum": sorted(str(member.value) for member in cls)}

    def _object(self, cls: type) -> JsonObject:
        hints = typing.get_type_hints(cls)
        properties: JsonObject = {}
        required: list[str] = []
        for field in dataclasses.fields(cls):
            schema = self._type(hints[field.name])
            text = self._text(cls, field.name)
            # Beside a $ref, draft 2020-12 allows further keywords.
            properties[field.name] = {**schema, "description": text} if text else schema
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                required.append(field.name)
        result: JsonObject = {"type": "object", "additionalProperties": False, "properties": properties}
        if required:
            result["required"] = required
        return result

    def _type(self, hint: Any) -> JsonObject:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            (inner,) = (argument for argument in arguments if argument is not type(None))
            return self._type(inner)
        if origin is list:
            return {"type": "array", "items": self._type(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._type(arguments[1])}
        if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, enum.Enum)):
            return self._reference(hint)
        if hint in _SCALARS:
            return {"type": _SCALARS[hint]}
        return {}  # Any: whatever a later SDK leaves open

    def _text(self, cls: type, field: str) -> str:
        """The docstring below a field, as one paragraph."""
        module = cls.__module__
        if module not in self._texts:
            self._texts[module] = _field_texts(inspect.getsource(sys.modules[module]))
        return self._texts[module].get((cls.__name__, field), "")


def _field_texts(source: str) -> dict[tuple[str, str], str]:
    texts = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                texts[node.name, field.target.id] = inspect.cleandoc(below.value.value).strip()
    return texts


def shipped_text() -> str:
    """What `schema.json` must hold for the installed SDK."""
    from lakeflow_job_meta.metadata.layout import document

    return json.dumps(document(definitions(), sdk_version() or ""), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("schema.json").write_text(shipped_text(), encoding="utf-8")
