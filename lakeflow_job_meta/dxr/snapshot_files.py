"""Lines of `GET /api/v1/files` as records: values of the contract's types, nested parts as their JSON text.

Lines as the contract has them, which nearly all are, go the quick way: only what becomes a typed column is made a
value, the rest is skipped over. A block of lines in which one is of another kind is read value by value; what is of
another type than the contract's is NULL then, and stays in raw_json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

import orjson
from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder

from lakeflow_job_meta.errors import StreamCut

JsonObject = dict[str, Any]
_NULL = b"null"
#: A nested part that was not there.
ABSENT = Raw(_NULL)
#: Escapes of surrogates, which may be halves of pairs: JSON allows them, UTF-8 does not.
_SURROGATES = (b"\\ud", b"\\uD")
_PHRASE = b'"phrase"'
_BACKSLASH = ord("\\")


class SnapshotFile(Struct, gc=False, rename="camel"):
    """One file as Data X-Ray tells it (contract, section 7); a nested part is its JSON text."""

    file_id: Annotated[str, Meta(min_length=1)]
    file_name: str | None = None
    path: str | None = None
    size: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    mime_type: str | None = None
    created_at: str | None = None
    last_modified_at: str | None = None
    content_sha256: str | None = None
    scan_depth: str | None = None
    metadata_extraction_status: str | None = None
    datasource: Raw = ABSENT
    labels: Raw = ABSENT
    extracted_metadata: Raw = ABSENT
    entitlements: Raw = ABSENT
    dlp_labels: Raw = ABSENT
    annotators: Raw = ABSENT
    owner: Raw = ABSENT
    created_by: Raw = ABSENT
    modified_by: Raw = ABSENT
    external_metadata: Raw = ABSENT
    coordinates: Raw = ABSENT


#: Fields by their names in an answer.
_KEYS = dict(zip(SnapshotFile.__struct_encode_fields__, SnapshotFile.__struct_fields__, strict=True))
_NOTHING = SnapshotFile("-")
_PARTS = {key: name for key, name in _KEYS.items() if getattr(_NOTHING, name) is ABSENT}
_TEXTS = {key: name for key, name in _KEYS.items() if name not in {*_PARTS.values(), "size"}}


class _Named(Struct, gc=False):
    name: Annotated[str, Meta(min_length=1)]


_decode = Decoder(SnapshotFile).decode
_decode_named = Decoder(list[_Named]).decode


def read(lines: Sequence[bytes], first: int, *, phrases: bool) -> tuple[list[SnapshotFile], list[bytes]]:
    """The files of some lines, and the lines as they are kept.

    Args:
        lines: JSON objects, no blank ones.
        first: number of the first of them in the stream, 1-based.
        phrases: keep matched phrases.

    Raises:
        StreamCut: a line that is no JSON object with a fileId; naming it.
    """
    text = b"\n".join(lines)
    quick: bytes | None = text if phrases else _without_phrases(text)
    # A backslash is looked for first: a single byte is found many times faster.
    if quick is None or (b"\\" in text and any(half in text for half in _SURROGATES)):
        return _careful(lines, first, phrases=phrases)
    try:
        quick.decode()  # what is skipped over is not looked at
        kept = quick.split(b"\n")
        files = list(map(_decode, kept))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return _careful(lines, first, phrases=phrases)
    return files, kept


def text_of(part: Raw) -> bytes | None:
    """A nested part's JSON text, UTF-8; None when the part is null or was not there."""
    if part is ABSENT:
        return None
    found = bytes(part)
    return None if found == _NULL else found


def names_of(part: bytes | None) -> list[str] | None:
    """Names of a list of `{id, name}`, or of plain names; NULL stays apart from an empty list."""
    if part is None:
        return None
    try:
        found = _decode_named(part)
    except DecodeError:
        value = orjson.loads(part)
        if not isinstance(value, list):
            return None
        said = (
            _text(one.get("name") or one.get("id")) if isinstance(one, dict) else _text(one) for one in value
        )
        return [name for name in said if name is not None]
    return [one.name for one in found]


#: As `names_of`, for parts that many files have alike.
common_names_of = lru_cache(4096)(names_of)


@lru_cache(4096)
def datasource_of(part: bytes | None) -> tuple[str | None, str | None, str | None]:
    """(id, name, type of its connector) of a datasource."""
    found = _mapping(None if part is None else orjson.loads(part))
    return (
        _text(found.get("id")),
        _text(found.get("name")),
        _text(_mapping(found.get("connector")).get("type")),
    )


def _careful(lines: Sequence[bytes], first: int, *, phrases: bool) -> tuple[list[SnapshotFile], list[bytes]]:
    """As `read`, line by line and value by value."""
    files: list[SnapshotFile] = []
    kept: list[bytes] = []
    for number, line in enumerate(lines, first):
        try:
            found = orjson.loads(line)
            text = line
        except orjson.JSONDecodeError as error:
            text = _mended(line, number, error)
            found = orjson.loads(text)
        if not isinstance(found, dict) or not found.get("fileId"):
            raise StreamCut(f"line {number} of the answer is no file record: it has no fileId")
        if not phrases and _drop_phrases(found):
            text = orjson.dumps(found)
        values: JsonObject = {name: _text(found.get(key)) for key, name in _TEXTS.items()}
        values |= {name: Raw(orjson.dumps(found[key])) for key, name in _PARTS.items() if key in found}
        files.append(SnapshotFile(**values, size=_whole(found.get("size"))))
        kept.append(text)
    return files, kept


def _without_phrases(text: bytes) -> bytes | None:
    """Lines of JSON without their members `phrase`; None when that takes a closer look.

    In JSON `"phrase":"` is a member and the beginning of its value: within a text a quote has a backslash. If the
    lines are no JSON, what comes of them is none either.
    """
    head, *rest = text.split(_PHRASE)
    done = [head]
    for piece in rest:
        end = piece.find(b'"', 2)
        if not piece.startswith(b':"') or end < 0 or piece[end - 1] == _BACKSLASH or b"\n" in piece[2:end]:
            return None
        if piece[end + 1 : end + 2] == b",":
            end += 1
        elif done[-1].endswith(b","):
            done[-1] = done[-1][:-1]
        done.append(piece[end + 1 :])
    return b"".join(done)


def _drop_phrases(record: JsonObject) -> bool:
    """Take every member `phrase` out of the record; whether there was one."""
    found = False
    left: list[Any] = [record]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if "phrase" in one:
                del one["phrase"]
                found = True
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


def _mended(line: bytes, number: int, error: orjson.JSONDecodeError) -> bytes:
    """The line with halves of surrogate pairs replaced: JSON allows them, UTF-8 does not.

    Raises:
        StreamCut: that was not what is wrong with it.
    """
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
        mended = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        orjson.loads(mended)
    except (ValueError, RecursionError):
        raise StreamCut(
            f"line {number} of the answer is no JSON ({error}): the stream was cut or damaged"
        ) from error
    return mended


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


_EMPTY: Mapping[str, Any] = {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _EMPTY


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, (bool, int, float)):
        return orjson.dumps(value).decode()
    return None


def _whole(value: Any) -> int | None:
    if type(value) is int:
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else None
