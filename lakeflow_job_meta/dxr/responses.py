"""What Data X-Ray answers, in all the forms that are known, as plain values of ours. Pure.

Absent and unknown things never raise: an unknown state means that the job still runs, an unknown field
is kept in the hit's source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

JsonObject = dict[str, Any]

_GOOD = {"FINISHED", "COMPLETED", "SUCCESSFUL", "DONE"}
_BAD = {"FAILED", "CANCELLED"}
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s*(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE
)
#: One match in `annotations`: `[value, start, end, annotatorId]`; the value may hold commas and brackets.
_ANNOTATION = re.compile(r"\[(.*?), (\d+), (\d+), (\d+)\](?=\[|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as Data X-Ray has it.

    Args:
        job_id: as text.
        state: upper case; empty when the answer had none.
        scan_id: None while there is none.
        message: error text, empty when there is none.
    """

    job_id: str
    state: str = ""
    scan_id: int | None = None
    message: str = ""

    @property
    def ended(self) -> bool:
        return self.state in _GOOD or self.state in _BAD

    @property
    def failed(self) -> bool:
        return self.state in _BAD


@dataclass(frozen=True, slots=True)
class Hit:
    """One document of the index: its id (may be empty) and its source, dots and `#` in the keys."""

    id: str
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`ds#file_name`, empty when absent."""
        return text(self.source.get("ds#file_name")) or ""

    @property
    def sha256(self) -> str:
        return (text(self.source.get("dxr#sha_256_hash")) or "").lower()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search; `total` None when the answer does not say."""

    hits: tuple[Hit, ...]
    total: int | None = None
    window: int | None = None


def read_job(answer: Any) -> JobState:
    """The job in any known shape: flat, nested, dotted, wrapped in `job`, or with `status`/`jobState`."""
    data: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    if isinstance(data.get("job"), Mapping) and "state" not in data:
        data = data["job"]
    state = data.get("state")
    nested: Mapping[str, Any] = state if isinstance(state, Mapping) else {}
    if nested:
        state = nested.get("value") or nested.get("state")
    state = state or data.get("status") or data.get("jobState")
    scan_ids = (
        data.get("datasourceScanId"),
        nested.get("datasourceScanId"),
        data.get("state.datasourceScanId"),
    )
    message = first_text(
        nested.get("errorMessage"),
        nested.get("message"),
        data.get("state.errorMessage"),
        data.get("errorMessage"),
        data.get("message"),
        data.get("error"),
    )
    return JobState(
        job_id=text(data.get("id")) or "",
        state=state.strip().upper() if isinstance(state, str) else "",
        scan_id=next((known for known in map(_scan_id, scan_ids) if known is not None), None),
        message=message,
    )


def read_page(answer: Any) -> Page | None:
    """One page of a search; None when the answer is none (a gateway's page, a bare list)."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("hits"), Mapping):
        return None
    hits = answer["hits"]
    found = tuple(
        Hit(text(one.get("_id")) or "", one.get("_source") or {})
        for one in hits.get("hits") or ()
        if isinstance(one, Mapping)
    )
    total = hits.get("total")
    if isinstance(total, Mapping):
        total = total.get("value") if total.get("relation", "eq") == "eq" else None
    return Page(found, integer(total), integer(answer.get("max_result_window")))


def error_text(body: str) -> str:
    """What an error's body says, at most 300 characters: JSON of any shape, text, HTML, nothing."""
    import orjson

    stripped = body.strip()
    if not stripped:
        return "no reason given"
    if stripped[:1] == "<":
        return "an HTML page, so something in between answered"
    try:
        data = orjson.loads(stripped)
    except ValueError:
        data = None
    if isinstance(data, Mapping):
        error = data.get("error")
        inner: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
        said = first_text(inner.get("message"), inner.get("code"), error, data.get("message"))
        stripped = said or stripped
    line = " ".join(stripped.split())
    return line if len(line) <= 300 else f"{line[:297]}..."


def text(value: Any) -> str | None:
    """Text, or a number as text; None for anything else, and for blank text."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, (int, float)):
        return str(int(value)) if float(value).is_integer() else str(value)
    return None


def first_text(*values: Any) -> str:
    """The first of the values that says something as text; else empty."""
    return next((said for said in map(text, values) if said is not None), "")


def integer(value: Any) -> int | None:
    """An integer, or digits in a text, of 64 bits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,19}\s*", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None


def boolean(value: Any) -> bool | None:
    """A truth value, as such or as text."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(str(value).strip().lower()) if value is not None else None


def values_of(value: Any) -> list[Any]:
    """A list as it is, a scalar as a list of one, nothing as an empty list."""
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def texts(value: Any) -> list[str]:
    """The texts of a list or a scalar, each once, in order."""
    return list(dict.fromkeys(said for said in map(text, values_of(value)) if said is not None))


def moment(value: Any) -> datetime | None:
    """An ISO-8601 time with any number of decimals, aware, in UTC; None when it is none."""
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    day, clock, fraction, offset = match.groups()
    clock = clock if clock.count(":") == 2 else f"{clock}:00"
    try:
        found = datetime.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        found += timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))
        if offset and offset.upper() != "Z":
            digits = offset[1:].replace(":", "")
            shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            found = found - shift if offset[0] == "+" else found + shift
    except (ValueError, OverflowError):
        return None
    return found


def matches(value: Any) -> Iterator[tuple[str, int, int, str]]:
    """(phrase, start, end, annotator id) of each match in `annotations`, read from the right."""
    for match in _ANNOTATION.finditer(value if isinstance(value, str) else ""):
        phrase, start, end, annotator = match.groups()
        yield phrase, int(start), int(end), annotator


def _scan_id(value: Any) -> int | None:
    found = integer(value)
    return found if found is not None and found >= 0 else None


def hit_of_file(row: Mapping[str, Any]) -> Hit:
    """A row of `GET /api/v1/files` as a hit of the index, as far as the two say the same things."""
    source: JsonObject = {
        "dxr#file_id": row.get("fileId"),
        "ds#file_name": row.get("fileName"),
        "ds#file_path": row.get("path"),
        "ds#file_size": row.get("size"),
        "dxr#mime_type": row.get("mimeType"),
        "dxr#sha_256_hash": row.get("contentSha256"),
        "dxr#metadata_extraction_status": row.get("metadataExtractionStatus"),
        "metadata#CREATION_DATE": row.get("createdAt"),
        "metadata#MODIFIED_DATE": row.get("lastModifiedAt"),
        "ai#category": row.get("category") or row.get("categories"),
        "dxr#tags": [one.get("name") for one in values_of(row.get("labels")) if isinstance(one, Mapping)],
    }
    for one in values_of(row.get("extractedMetadata")):
        if isinstance(one, Mapping):
            source[f"extracted_metadata#{one.get('name') or one.get('id')}"] = one.get("value")
    for one in values_of(row.get("annotators")):
        if isinstance(one, Mapping):
            name = one.get("name") or one.get("id")
            source[f"annotation_stats#count.{name}"] = len(values_of(one.get("annotations")))
            source[f"annotation_stats#unique_phrase_count.{name}"] = one.get("uniquePhrases")
    return Hit(
        text(row.get("fileId")) or "", {key: value for key, value in source.items() if value is not None}
    )
