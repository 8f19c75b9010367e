"""Statement parameters as SQL literals, for the statements whose parameters Sail does not bind.

A string is quoted only when nothing in it can end a literal; any other travels as the Base64 of its
UTF-8 bytes (hex digits take Sail four times as long). So no value can become SQL, whatever it contains.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from lakeflow_job_meta.local.spark.errors import Refused
from lakeflow_job_meta.local.spark.lexer import Edit, Word, edited, words

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Expression

_PLAIN = re.compile(r"[^\\'\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
_TYPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ ,()<>:]*")
_EPOCH = datetime(1970, 1, 1)  # both kinds of timestamp travel without an offset


def string_literal(value: str) -> str:
    """A STRING literal for any text.

    Raises:
        Refused: the text has an unpaired surrogate, which no SQL string can hold.
    """
    if _PLAIN.fullmatch(value):
        return f"'{value}'"
    try:
        return f"CAST(unbase64('{base64.b64encode(value.encode()).decode()}') AS STRING)"
    except UnicodeEncodeError as e:
        raise Refused("a string parameter is not valid Unicode: it has an unpaired surrogate") from e


def identifier(*parts: str) -> str:
    """A name with every part between backticks."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def literal(expression: Expression) -> str:
    """The SQL text of a parameter's value as Spark Connect sends it.

    Raises:
        Refused: a kind of expression that is no constant.
    """
    kind = expression.WhichOneof("expr_type")
    if kind == "literal":
        return _literal(expression.literal)
    if kind == "alias":
        return literal(expression.alias.expr)
    if kind == "cast":
        cast = expression.cast
        target = cast.type_str if cast.WhichOneof("cast_to_type") == "type_str" else _type(cast.type)
        if not _TYPE_NAME.fullmatch(target):
            raise Refused(f"a parameter is cast to {target!r}, which is no type name")
        return f"CAST({literal(cast.expr)} AS {target})"
    if kind == "unresolved_function":
        call = expression.unresolved_function
        name = call.function_name.lower()
        if name in ("array", "map", "named_struct", "struct", "map_from_arrays"):
            return f"{name}({', '.join(literal(argument) for argument in call.arguments)})"
        if name in ("negative", "-") and len(call.arguments) == 1:
            return f"(- {literal(call.arguments[0])})"
        raise Refused(f"a parameter calls {name}(); pass a constant")
    raise Refused(f"a parameter is a {kind} expression; pass a constant")


def _literal(value: Expression.Literal) -> str:
    kind = value.WhichOneof("literal_type")
    if kind is None or kind == "null":
        return f"CAST(NULL AS {_type(value.null)})" if kind else "NULL"
    if kind == "boolean":
        return "true" if value.boolean else "false"
    if kind in ("byte", "short", "integer", "long"):
        sql_type = {"byte": "TINYINT", "short": "SMALLINT", "integer": "INT", "long": "BIGINT"}[kind]
        number = int(getattr(value, kind))
        # A plain number where it may stand: LIMIT and the like take nothing else.
        return str(number) if kind == "integer" and number >= 0 else f"CAST('{number}' AS {sql_type})"
    if kind in ("float", "double"):
        real = float(getattr(value, kind))
        text = f"{real!r}D" if math.isfinite(real) else f"'{real}'"
        return f"CAST({text} AS {kind.upper()})"
    if kind == "decimal":
        return _decimal(value.decimal)
    if kind == "string":
        return string_literal(value.string)
    if kind == "binary":
        return f"X'{value.binary.hex()}'"
    if kind == "date":
        return f"DATE '{date(1970, 1, 1) + timedelta(days=value.date)}'"
    if kind == "timestamp":
        return f"TIMESTAMP '{_moment(value.timestamp)}+00:00'"
    if kind == "timestamp_ntz":
        return f"TIMESTAMP_NTZ '{_moment(value.timestamp_ntz)}'"
    if kind == "day_time_interval":
        seconds = Decimal(value.day_time_interval).scaleb(-6)
        return f"make_dt_interval(0, 0, 0, CAST('{seconds}' AS DECIMAL(27,6)))"
    if kind == "array":
        items = ", ".join(_literal(item) for item in value.array.elements)
        return f"array({items})"
    if kind == "map":
        pairs = zip(value.map.keys, value.map.values, strict=True)
        return f"map({', '.join(_literal(item) for pair in pairs for item in pair)})"
    raise Refused(f"a parameter of the type {kind} cannot be bound here; use it in a SELECT instead")


def _decimal(value: Expression.Literal.Decimal) -> str:
    text = value.value
    if not re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text):
        raise Refused(f"{text!r} is no decimal number")
    _, digits, exponent = Decimal(text).as_tuple()
    # What the client says of the type may be a default that cuts the value.
    scale = max(-int(exponent), 0, value.scale)
    whole = max(len(digits) + int(exponent), 1)
    precision = max(whole + scale, value.precision)
    return f"CAST('{text}' AS DECIMAL({precision},{scale}))"


def _moment(micros: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=micros)).isoformat(" ", "microseconds")
    except OverflowError as e:
        raise Refused(
            f"a timestamp parameter, {micros} microseconds, lies outside the years 1 to 9999"
        ) from e


_SIMPLE_TYPES = {
    "null": "VOID",
    "binary": "BINARY",
    "boolean": "BOOLEAN",
    "byte": "TINYINT",
    "short": "SMALLINT",
    "integer": "INT",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "STRING",
    "char": "STRING",
    "var_char": "STRING",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_ntz": "TIMESTAMP_NTZ",
}


def _type(data_type: object) -> str:
    """A Spark Connect DataType as SQL; VOID for the type of an untyped NULL."""
    kind = data_type.WhichOneof("kind")  # type: ignore[attr-defined]
    if kind is None:
        return "VOID"
    if kind in _SIMPLE_TYPES:
        return _SIMPLE_TYPES[kind]
    inner = getattr(data_type, kind)
    if kind == "decimal":
        return f"DECIMAL({inner.precision or 10},{inner.scale})"
    if kind == "array":
        return f"ARRAY<{_type(inner.element_type)}>"
    if kind == "map":
        return f"MAP<{_type(inner.key_type)}, {_type(inner.value_type)}>"
    raise Refused(f"a parameter of the type {kind} cannot be bound here; use it in a SELECT instead")


def _is_path(found: Sequence[Word], i: int) -> bool:
    """Whether the colon at word `i` is a JSON path (`column:field`), not a parameter."""
    if i == 0:
        return False
    before = found[i - 1]
    return before.end == found[i].start and (before.kind == "name" or before.text in (")", "]"))


def bind(sql: str, named: Mapping[str, str], positional: Sequence[str]) -> str:
    """Puts literals in the place of `:name` and `?` outside strings, names and comments.

    Args:
        named: SQL literal by parameter name.
        positional: SQL literals of the `?` in order.

    Raises:
        Refused: a parameter without a value (UNBOUND_SQL_PARAMETER).
        LexicalError: the text cannot be split into words.
    """
    found = words(sql)
    edits: list[Edit] = []
    taken = 0
    for i, word in enumerate(found):
        if word.is_symbol("?"):
            if taken >= len(positional):
                raise Refused(
                    "the statement has more `?` than values",
                    condition="UNBOUND_SQL_PARAMETER",
                    sql_state="42P02",
                )
            edits.append(Edit(word.start, word.end, positional[taken]))
            taken += 1
        elif word.is_symbol(":") and i + 1 < len(found):
            name = found[i + 1]
            if name.kind != "name" or name.start != word.end or name.quoted or _is_path(found, i):
                continue
            if name.text not in named:
                raise Refused(
                    f"Found the unbound parameter: {name.text}. Pass its value in `args`.",
                    condition="UNBOUND_SQL_PARAMETER",
                    sql_state="42P02",
                )
            edits.append(Edit(word.start, name.end, f" {named[name.text]} "))
    return edited(sql, edits)
