"""Shapes: a definition of the schema made ready to judge values, many thousand a second.

Why not jsonschema itself at run time: a value has to be converted while it is judged (`3` in a map of texts becomes
`"3"`, a null is a field that is not set), every finding needs its place and a suggestion, and it is some fifteen times
slower (138 against 9 microseconds for a SQL task). A test holds both to the same verdict, with jsonschema as the
authority.

What is converted, and nothing else:

- a whole number or boolean in a map of texts (parameters, tags, spark_conf): the text as it was written;
- a text that is exactly a number or `true`/`false` where a number or boolean is wanted, since variables are texts;
- true and false where the texts "true" and "false" are wanted; a number without fraction where an integer is;
- null for a known field: not set, as in the API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from lakeflow_job_meta.metadata import schema
from lakeflow_job_meta.metadata.suggestions import did_you_mean, hint, quoted, shown

JsonObject = dict[str, Any]
#: A path into a value, innermost last: (path above, key or index); None at the top.
Path = tuple[Any, "str | int"] | None

#: Annotation in the schema: what a message says is wanted, where the bare rule would not be understood.
EXPECTED = "x-expected"
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,2})?")
_BOOLEANS = {"true": True, "false": False}
_WANTED = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a value.

    Args:
        path: where in the value, see `tokens`.
        kind: `unknown` key, `missing` key, or any other `value`.
        key: for unknown and missing, the key.
    """

    path: Path
    message: str
    kind: Literal["unknown", "missing", "value"] = "value"
    key: str = ""


def tokens(path: Path) -> tuple[str | int, ...]:
    """The keys and indexes of a path, outermost first."""
    result: list[str | int] = []
    while path is not None:
        path, key = path
        result.append(key)
    return tuple(reversed(result))


@dataclass(slots=True)
class Shape:
    """One node of the schema, references resolved. `extra` None: closed; `kind` empty: anything goes."""

    kind: str = ""
    properties: dict[str, Shape] = field(default_factory=dict)
    extra: Shape | None = None
    required: tuple[str, ...] = ()
    items: Shape | None = None
    values: tuple[Any, ...] = ()
    pattern: re.Pattern[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int = 0
    alternatives: tuple[Shape, ...] = ()
    expected: str = ""


@cache
def shape(name: str) -> Shape:
    """The shape of `$defs/<name>`. Raises KeyError when there is none."""
    return _of_reference(f"#/$defs/{name}")


_SHAPES: dict[str, Shape] = {}


def _of_reference(reference: str) -> Shape:
    if reference not in _SHAPES:
        node: Any = schema.document()
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        # Registered before it is filled: types may reach themselves.
        made = _SHAPES[reference] = Shape()
        _fill(made, node)
    return _SHAPES[reference]


def _of(node: Mapping[str, Any]) -> Shape:
    if "$ref" in node:
        return _of_reference(node["$ref"])
    made = Shape()
    _fill(made, node)
    return made


def _fill(made: Shape, node: Mapping[str, Any]) -> None:
    if "$ref" in node:
        other = _of_reference(node["$ref"])
        for slot in Shape.__slots__:
            setattr(made, slot, getattr(other, slot))
        return
    made.kind = node.get("type", "")
    made.properties = {name: _of(inner) for name, inner in node.get("properties", {}).items()}
    additional = node.get("additionalProperties", True)
    made.extra = None if additional is False else Shape() if additional is True else _of(additional)
    made.required = tuple(node.get("required", ()))
    made.items = _of(node["items"]) if "items" in node else None
    made.values = (node["const"],) if "const" in node else tuple(node.get("enum", ()))
    made.pattern = re.compile(node["pattern"]) if "pattern" in node else None
    made.minimum, made.maximum = node.get("minimum"), node.get("maximum")
    made.min_length = node.get("minLength", 0)
    made.expected = node.get(EXPECTED, "")
    made.alternatives = tuple(_of(inner) for inner in node.get("anyOf", ()))


def judge(wanted: Shape, value: Any, findings: list[Finding], path: Path = None) -> Any:
    """`value` as `wanted` has it, converted where the conversion is beyond doubt (the original stays as it is).

    Everything that is wrong is appended to `findings`; then the result is not to be used.
    """
    kind = wanted.kind
    if kind == "object":
        return _object(wanted, value, findings, path)
    if kind == "string":
        if (
            type(value) is str
            and not wanted.values
            and wanted.pattern is None
            and len(value) >= wanted.min_length
        ):
            return value
        return _text(wanted, value, findings, path)
    if kind == "array":
        return _array(wanted, value, findings, path)
    if wanted.alternatives:
        return _any_of(wanted, value, findings, path)
    if kind:
        return _scalar(wanted, value, findings, path)
    if wanted.values and value not in wanted.values:
        findings.append(Finding(path, f"{_subject(path)} must be {_list(wanted.values)}, not {shown(value)}"))
    return value


def _subject(path: Path) -> str:
    """What a message calls the value: its key, or `entry 3 of tags`."""
    if path is None:
        return "it"
    above, key = path
    if isinstance(key, int):
        return f"entry {key + 1} of {_subject(above)}"
    return quoted(key)


def _list(values: tuple[Any, ...]) -> str:
    texts = [quoted(value) if isinstance(value, str) else str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"


def _wrong(wanted: Shape, value: Any, path: Path, remedy: str = "") -> Finding:
    return Finding(path, f"{_subject(path)} must be {_WANTED[wanted.kind]}, not {shown(value)}{remedy}")


def _object(wanted: Shape, value: Any, findings: list[Finding], path: Path) -> Any:
    if not isinstance(value, dict):
        findings.append(_wrong(wanted, value, path))
        return value
    fields, extra = wanted.properties, wanted.extra
    changed: dict[str, Any] | None = None
    for key, inner in value.items():
        known = fields.get(key)
        if known is None:
            if extra is None:
                message = f"unknown key {quoted(key)}{hint(key, fields)}"
                findings.append(Finding((path, key), message, "unknown", key))
                continue
            result = judge(extra, _as_text(inner) if _plain_text(extra) else inner, findings, (path, key))
        elif inner is None:
            changed = dict(value) if changed is None else changed
            del changed[key]
            continue
        else:
            result = judge(known, inner, findings, (path, key))
        if result is not inner:
            changed = dict(value) if changed is None else changed
            changed[key] = result
    findings.extend(
        Finding(path, f"{quoted(key)} is missing", "missing", key)
        for key in wanted.required
        if value.get(key) is None
    )
    return value if changed is None else changed


def _plain_text(wanted: Shape) -> bool:
    return wanted.kind == "string" and not wanted.values and wanted.pattern is None


def _as_text(value: Any) -> Any:
    """A whole number or boolean as it was written; anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def _array(wanted: Shape, value: Any, findings: list[Finding], path: Path) -> Any:
    if not isinstance(value, list):
        findings.append(_wrong(wanted, value, path))
        return value
    if wanted.items is None:
        return value
    items = wanted.items
    results = [judge(items, inner, findings, (path, index)) for index, inner in enumerate(value)]
    return value if all(one is other for one, other in zip(results, value, strict=True)) else results


def _text(wanted: Shape, value: Any, findings: list[Finding], path: Path) -> Any:
    if isinstance(value, bool) and _as_text(value) in wanted.values:
        return _as_text(value)
    if not isinstance(value, str):
        remedy = ""
        if isinstance(value, (int, float)):
            remedy = f': write "{_as_text(value)}" in quotes'
        findings.append(_wrong(wanted, value, path, remedy))
    elif wanted.values and value not in wanted.values:
        near = did_you_mean(value, wanted.values)
        text = f"{_subject(path)} must be {_list(wanted.values)}, not {shown(value)}{near}"
        findings.append(Finding(path, text))
    elif len(value) < wanted.min_length:
        findings.append(Finding(path, f"{_subject(path)} must not be empty"))
    elif wanted.pattern is not None and not wanted.pattern.search(value):
        wish = wanted.expected or f"text like {wanted.pattern.pattern}"
        text = f"{_subject(path)} must be {wish}, not {shown(value)}"
        findings.append(Finding(path, text))
    return value


def _scalar(wanted: Shape, value: Any, findings: list[Finding], path: Path) -> Any:
    result = value
    if wanted.kind == "boolean":
        result = _BOOLEANS.get(value, value) if isinstance(value, str) else value
        right = isinstance(result, bool)
    else:
        if isinstance(value, str):
            if _INTEGER.fullmatch(value):
                result = int(value)
            elif wanted.kind == "number" and _NUMBER.fullmatch(value):
                result = float(value)
        elif (
            isinstance(value, float)
            and wanted.kind == "integer"
            and value.is_integer()
            and abs(value) < 2**53
        ):
            result = int(value)
        numbers = (int, float) if wanted.kind == "number" else int
        right = isinstance(result, numbers) and not isinstance(result, bool)
    if not right:
        findings.append(_wrong(wanted, value, path))
        return value
    if wanted.values and result not in wanted.values:
        findings.append(Finding(path, f"{_subject(path)} must be {_list(wanted.values)}, not {shown(value)}"))
    low, high = wanted.minimum, wanted.maximum
    if (low is not None and result < low) or (high is not None and result > high):
        findings.append(Finding(path, f"{_subject(path)} must be {_range(low, high)}, not {shown(value)}"))
    return result


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"at least {low:g}" if high is None else f"at most {high:g}"
    return f"between {low:.0f} and {high:.0f}"


def _any_of(wanted: Shape, value: Any, findings: list[Finding], path: Path) -> Any:
    best: list[Finding] | None = None
    for alternative in wanted.alternatives:
        found: list[Finding] = []
        result = judge(alternative, value, found, path)
        if not found:
            return result
        # The alternative that went deepest into the value was meant; else the last, the most general one.
        if best is None or len(tokens(found[0].path)) >= len(tokens(best[0].path)):
            best = found
    if wanted.expected:
        best = [Finding(path, f"{_subject(path)} must be {wanted.expected}, not {shown(value)}")]
    findings.extend(best or ())
    return value
