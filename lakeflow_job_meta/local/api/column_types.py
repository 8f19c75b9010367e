"""SQL types as the REST API names them: `decimal(10,2)` -> DECIMAL with precision and scale."""

from __future__ import annotations

import re
from typing import Any

_NAMES = {
    "INT": "INT",
    "INTEGER": "INT",
    "BIGINT": "LONG",
    "LONG": "LONG",
    "SMALLINT": "SHORT",
    "SHORT": "SHORT",
    "TINYINT": "BYTE",
    "BYTE": "BYTE",
    "VOID": "NULL",
    "NULL": "NULL",
    "VARCHAR": "STRING",
}
_SAME = "STRING BOOLEAN DOUBLE FLOAT DATE TIMESTAMP BINARY DECIMAL ARRAY MAP STRUCT CHAR INTERVAL TIMESTAMP_NTZ VARIANT"
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z_]+")


def column_type(type_text: str) -> dict[str, Any]:
    """type_text, type_name and, for decimals, precision and scale of a type as Spark writes it."""
    match = _WORD.match(type_text)
    word = match.group().upper() if match else ""
    name = _NAMES.get(word) or (word if word in _SAME.split() else "USER_DEFINED_TYPE")
    described: dict[str, Any] = {"type_text": type_text, "type_name": name}
    decimal = _DECIMAL.match(type_text)
    if decimal:
        described |= {"type_precision": int(decimal[1]), "type_scale": int(decimal[2])}
    return described
