"""JSON in rows: the three configs as text, read with everything that could hide a mistake being an error."""

from __future__ import annotations

import json
from typing import Any

from lakeflow_job_meta.metadata.suggestions import quoted, shown

#: Deeper nesting is refused.
MAX_DEPTH = 100
_SPACE = " \t\r\n"


class _Wrong(ValueError):
    """What is wrong with the JSON."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Wrong(f"the key {quoted(key)} stands twice in one object")
            seen.add(key)
    return result


def _constant(text: str) -> Any:
    raise _Wrong(f"{text} is no JSON: use null, or a text in quotes")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _Wrong(f"the number {text[:40]} is too large")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise _Wrong(f"the number {text[:40]} does not fit 64 bits: put it in quotes if it is a text")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def read_object(text: str | None) -> tuple[dict[str, Any], str]:
    """The object that a config holds (NULL and empty text: an empty one), and what is wrong with it (empty: nothing)."""
    if text is None or not text or text.isspace():
        return {}, ""
    try:
        if text.count("{") + text.count("[") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
            raise _Wrong(f"nested deeper than {MAX_DEPTH} levels")
        value = _DECODER.decode(text.strip(_SPACE))
        if "\\u" in text and "\\ud" in text.lower():
            _check_surrogates(value)
    except json.JSONDecodeError as e:
        return {}, f"is no JSON: {e.msg} at line {e.lineno}, column {e.colno}{_remedy(text)}"
    except _Wrong as e:
        return {}, f"is refused: {e}"
    if not isinstance(value, dict):
        return {}, f"must be a JSON object such as {{}}, not {shown(value)}"
    return value, ""


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as e:
        raise _Wrong("it holds half of a surrogate pair (\\ud800 to \\udfff), which is no text") from e


def _remedy(text: str) -> str:
    return ": JSON wants double quotes" if "'" in text and '"' not in text else ""


def _depth(text: str) -> int:
    """How deep brackets nest, those in strings left out."""
    depth = deepest = 0
    inside = skip = False
    for character in text:
        if skip:
            skip = False
        elif inside:
            if character == "\\":
                skip = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                return deepest
        elif character in "]}":
            depth -= 1
    return deepest
