"""Variables: `${var.NAME}` in values, replaced after parsing; `$${var.NAME}` is the text `${var.NAME}` itself.

Keys are never touched, a value that is put in is never read again, and the result is always text. Two steps share
this language: a file is resolved when it is read, a row when its definition is built; what a file put in is escaped
in the row (`escape`), so that the second step changes nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lakeflow_job_meta.metadata.places import YamlList, YamlMap
from lakeflow_job_meta.metadata.suggestions import hint, quoted

MARK = "${var."
_TOKEN = re.compile(r"(?P<escaped>\$\$\{var\.)|\$\{var\.(?P<name>[A-Za-z0-9_.-]+)\}|(?P<broken>\$\{var\.)")
#: A text that grows beyond this by its variables is refused.
MAX_TEXT = 64 * 1024 * 1024
NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")

#: Told of everything wrong: the keys that lead to the text, and a message.
Report = Callable[[tuple["str | int", ...], str], None]


def escape(text: str) -> str:
    """`text` so that resolving it gives `text` again."""
    return text.replace(MARK, "$" + MARK) if MARK in text else text


def resolve_text(text: str, values: Mapping[str, str], declared: Iterable[str] = ()) -> tuple[str, list[str]]:
    """`text` with its variables replaced, and what is wrong with it.

    Args:
        values: text by variable name.
        declared: names that exist but have no value, for the message.
    """
    if MARK not in text:
        return text, []
    wrong: list[str] = []
    pieces: list[str] = []
    size = position = 0
    for match in _TOKEN.finditer(text):
        pieces.append(text[position : match.start()])
        position = match.end()
        name = match["name"]
        if match["escaped"]:
            piece = MARK
        elif match["broken"]:
            piece = MARK
            wrong.append("a variable is written ${var.NAME}; for the text itself write $${var.")
        elif name in values:
            piece = values[name]
        else:
            piece = match[0]
            wrong.append(_unknown(name, values, declared))
        pieces.append(piece)
        size += len(piece)
        if size > MAX_TEXT:
            return text, [f"its variables make it longer than {MAX_TEXT} characters"]
    pieces.append(text[position:])
    return "".join(pieces), wrong


def _unknown(name: str, values: Mapping[str, str], declared: Iterable[str]) -> str:
    known = {*values, *declared}
    if name in known:
        return f"variable {quoted(name)} has no value: give it a default under variables, or pass --var {name}=VALUE"
    remedy = hint(name, known) or ": declare it under variables, or pass --var " + name + "=VALUE"
    return f"unknown variable {quoted(name)}{remedy}"


def resolve(
    value: Any,
    values: Mapping[str, str],
    report: Report,
    declared: Iterable[str] = (),
    *,
    escaped: bool = False,
) -> Any:
    """`value`, a tree, with the variables in all its texts replaced; untouched parts stay the same objects.

    Args:
        escaped: whether texts come out as rows hold them, see `escape`.
    """
    return _resolve(value, values, report, tuple(declared), escaped, ())


def _resolve(
    value: Any,
    values: Mapping[str, str],
    report: Report,
    declared: tuple[str, ...],
    escaped: bool,
    path: tuple[str | int, ...],
) -> Any:
    if isinstance(value, str):
        if MARK not in value:
            return value
        text, wrong = resolve_text(value, values, declared)
        for message in wrong:
            report(path, message)
        return escape(text) if escaped else text
    changed: Any = None
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, (str, dict, list)):
                result = _resolve(inner, values, report, declared, escaped, (*path, key))
                if result is not inner:
                    changed = copied(value) if changed is None else changed
                    changed[key] = result
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, (str, dict, list)):
                result = _resolve(inner, values, report, declared, escaped, (*path, index))
                if result is not inner:
                    changed = copied(value) if changed is None else changed
                    changed[index] = result
    return value if changed is None else changed


def copied(value: Any) -> Any:
    """A shallow copy that keeps its places in the file."""
    result: Any
    if isinstance(value, YamlMap):
        result = YamlMap(value.place)
        result.update(value)
        result.places = value.places
    elif isinstance(value, YamlList):
        result = YamlList(value.place)
        result.extend(value)
        result.places = value.places
    else:
        result = dict(value) if isinstance(value, dict) else list(value)
    return result
