"""Scalars: what a plain YAML scalar means, without the surprises of YAML 1.1.

Text, whole numbers, decimals, true/false and null are read as in YAML 1.2 and JSON. What YAML 1.1 readers take for
something else (`no`, `010`, `1:30`, `0x1F`, `1_000`, `.nan`) is an error that says what to write. A date is the text
that was written.
"""

from __future__ import annotations

import math
import re
from typing import Any

# `y` and `n` are not here: no reader in use takes them for booleans, and columns and parameters have such names.
_BOOLEAN_WORDS = re.compile(r"(?i:yes|no|on|off)")
_TRUE, _FALSE, _NULL = (
    ("true", "True", "TRUE"),
    ("false", "False", "FALSE"),
    ("", "~", "null", "Null", "NULL"),
)
_WORDS: dict[str, Any] = {
    **dict.fromkeys(_TRUE, True),
    **dict.fromkeys(_FALSE, False),
    **dict.fromkeys(_NULL),
}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# What YAML 1.1 takes for a number that no reader of today would.
_SURPRISE = re.compile(
    r"[-+]?0[0-9_]+"  # octal: 010 is 8
    r"|[-+]?0[xX][0-9a-fA-F_]+|[-+]?0[oO][0-7_]+|[-+]?0[bB][01_]+"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"  # sexagesimal: 1:30 is 90
    r"|[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*\.[0-9]*_[0-9_]*"  # 1_000
    r"|\+(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    r"|-?0[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?"  # 01.5
    r"|[-+]?\.(?i:inf)|\.(?i:nan)"
)
_STARTS = frozenset("0123456789+-.")
#: Beyond this a number is no longer the same in every reader (64 bit).
_LARGEST = 2**63


def plain(text: str) -> tuple[Any, str]:
    """The value of a plain scalar, and what is wrong with it (empty: nothing)."""
    if text in _WORDS:
        return _WORDS[text], ""
    if not text:
        return None, ""
    if text[0] not in _STARTS:
        if len(text) <= 3 and _BOOLEAN_WORDS.fullmatch(text):
            meant = "true" if text.lower() in ("yes", "on") else "false"
            return (
                text,
                f'plain {text} is a boolean to YAML 1.1: write "{text}" in quotes for the text, or {meant}',
            )
        return text, ""
    if len(text) > 400:
        return text, ""
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            return text, f"the number {text[:40]} is too large: write it in quotes if it is a text"
        return number, ""
    if _SURPRISE.fullmatch(text):
        return text, _surprise(text)
    return text, ""


def _integer(text: str) -> tuple[Any, str]:
    number = int(text)
    if -_LARGEST <= number < _LARGEST and text != "-0":
        return number, ""
    return text, f'{text[:40]} does not fit a 64-bit number: write "{text[:40]}" in quotes if it is a text'


def _surprise(text: str) -> str:
    quotes = f'write "{text}" in quotes for the text'
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        return f"{text} is no number that JSON knows: {quotes}"
    digits = text.replace("_", "")
    try:
        if ":" in digits:
            meant = "the number in full"
        elif digits.lower().lstrip("+-").startswith(("0x", "0o", "0b")):
            meant = f"{int(digits, 0)} for the number"
        else:
            body = digits.lstrip("+-").lstrip("0") or "0"
            body = f"0{body}" if body.startswith(".") else body
            meant = f"{'-' if digits.startswith('-') else ''}{body} for the number"
    except ValueError:
        meant = "the number in full"
    return f"plain {text} means different numbers to different YAML readers: {quotes}, or {meant}"


def plain_key(text: str) -> str:
    """What is wrong with a plain scalar as a key; empty when it is read as the text that it is."""
    if len(text) <= 3 and _BOOLEAN_WORDS.fullmatch(text):
        return f'plain {text} is a boolean to YAML 1.1: write the key "{text}" in quotes'
    if text in _WORDS:
        name = text or "an empty key"
        return f'{name} is no text: write the key "{text}" in quotes'
    return ""
