"""The knobs of the simulator: how it behaves and misbehaves. Names and values as in section 11 of the contract.

They come from a YAML or JSON file (`--faults FILE`) or from `PUT` and `PATCH /_simulator/knobs`. A wait
is a number of seconds, `{"polls": n}` (n further looks: polls of the job, or searches for the index), or
null for ever.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import yaml

from lakeflow_job_meta.errors import LocalError, UsageError

_NUMBER = {"type": "number", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_WAIT: dict[str, Any] = {
    "anyOf": [
        _NUMBER,
        {"type": "null"},
        {
            "type": "object",
            "required": ["polls"],
            "properties": {"polls": _COUNT},
            "additionalProperties": False,
        },
    ]
}
_STATE = {
    "anyOf": [
        {"type": "array", "prefixItems": [{"type": "string"}, _WAIT], "minItems": 2, "maxItems": 2},
        {
            "type": "object",
            "required": ["state"],
            "properties": {"state": {"type": "string"}, "wait": _WAIT},
            "additionalProperties": False,
        },
    ]
}
ROUTES = (
    "submit", "job", "index_status", "search", "files", "file", "content", "text", "redacted_text",
    "tags", "metadata_extractors", "data_classes", "datasources", "classifications", "redactors",
    "metadata_fields", "other",
)  # fmt: skip
"""What `route` of a fault may name, beside `*`."""
_HTTP_FAULT = {
    "type": "object",
    "properties": {
        "route": {
            "anyOf": [
                {"enum": ["*", *ROUTES]},
                {"type": "array", "items": {"enum": list(ROUTES)}, "minItems": 1},
            ]
        },
        "nth": {"type": "integer", "minimum": 1},
        "skip": _COUNT,
        "count": _COUNT,
        "probability": _SHARE,
        "seed": {"type": "integer"},
        "delay_seconds": _NUMBER,
        "status": {"type": "integer", "minimum": 200, "maximum": 599},
        "retry_after": {"anyOf": [_NUMBER, {"type": "string"}]},
        "body": {"enum": ["json", "html", "text", "empty"]},
        "reset": {"enum": ["before", "upload", "response", "after"]},
        "after_bytes": _COUNT,
        "hang": {"enum": ["before", "after"]},
        "hang_seconds": _NUMBER,
    },
    "anyOf": [{"required": [name]} for name in ("status", "reset", "hang", "delay_seconds", "body")],
    "additionalProperties": False,
}
STREAM_FAULTS = (
    "cut_mid_record", "cut_at_line_end", "premature_eof", "reset", "stall", "blank_lines", "bad_line",
    "no_final_newline", "line_separators", "huge_row", "missing_file_id", "duplicate_row",
)  # fmt: skip
_STREAM_FAULT = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {"enum": list(STREAM_FAULTS)},
        "after_rows": _COUNT,
        "count": _COUNT,
        "seconds": _NUMBER,
        "bytes": _COUNT,
    },
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Knob:
    """What a knob takes, as JSON Schema, and what it does."""

    schema: Mapping[str, Any]
    text: str


def _enum(*values: Any) -> dict[str, Any]:
    return {"enum": list(values)}


@dataclass(frozen=True)
class Knobs:
    """All knobs at once; the defaults are a server that behaves well."""

    prefix: Annotated[
        str, Knob({"type": "string", "pattern": "^(/[^/]+)*$"}, "path before every endpoint; may be empty")
    ] = "/api"
    submit_status: Annotated[int, Knob(_enum(202, 200), "status of an accepted submit")] = 202
    submit_scan_id: Annotated[
        str, Knob(_enum("null", "absent"), "how a submit shows a scan id that is not there yet")
    ] = "null"
    job_shape: Annotated[
        str,
        Knob(
            _enum("flat", "nested_value", "nested_state", "dotted", "status", "job_state"),
            "where a job carries its state and scan id",
        ),
    ] = "flat"
    job_id_type: Annotated[str, Knob(_enum("str", "int"), "job ids: UUIDs or numbers")] = "str"
    scan_id_type: Annotated[
        str, Knob(_enum("int", "str"), "scan and datasource ids as numbers or digits in a string")
    ] = "int"
    scan_id_when: Annotated[
        str, Knob(_enum("submit", "running", "terminal", "never"), "when a job shows its scan id")
    ] = "running"
    file_name_echo: Annotated[
        str, Knob(_enum("full", "leading_slash", "basename"), "`ds#file_name` of a hit")
    ] = "full"
    state_script: Annotated[
        list[Any],
        Knob(
            {"type": "array", "items": _STATE, "minItems": 1},
            "states in order, each with how long it lasts; files are classified in AWAITING_RECRAWL_TO_COMPLETE",
        ),
    ] = field(default_factory=lambda: [["UPLOADING_FILES", 0], ["AWAITING_RECRAWL_TO_COMPLETE", 0]])
    fail_rate: Annotated[
        float, Knob(_SHARE, "share of the jobs that end FAILED (by a hash of the job's number)")
    ] = 0
    fail_first: Annotated[int, Knob(_COUNT, "the next so many jobs end FAILED")] = 0
    error_message: Annotated[str, Knob({"type": "string"}, "of a FAILED job")] = "text extraction crashed"
    partial_on_fail: Annotated[
        float, Knob(_SHARE, "share of a FAILED job's files that are indexed all the same")
    ] = 0.5
    lost_files: Annotated[
        list[str], Knob({"type": "array", "items": {"type": "string"}}, "globs of upload names never indexed")
    ] = field(default_factory=list)
    index_lag: Annotated[Any, Knob(_WAIT, "from the end of a job until its hits are visible")] = 0
    index_early_share: Annotated[float, Knob(_SHARE, "share of the hits that is visible without the lag")] = 0
    extraction_lag: Annotated[
        Any, Knob(_WAIT, "until extracted metadata is visible, after the end of the job")
    ] = 0
    label_lag: Annotated[Any, Knob(_WAIT, "until labels are visible, after the end of the job")] = 0
    same_name: Annotated[
        str, Knob(_enum("overwrite", "keep_both"), "a second upload of one name into a datasource")
    ] = "overwrite"
    tag_type: Annotated[str, Knob(_enum("int", "str", "name", "repeated"), "items of `dxr#tags`")] = "int"
    count_type: Annotated[str, Knob(_enum("str", "int"), "`annotation_stats#count.*`")] = "str"
    total_shape: Annotated[str, Knob(_enum("object", "int", "absent"), "`hits.total`")] = "object"
    category_field: Annotated[str, Knob(_enum("str", "list", "absent"), "`ai#category`")] = "str"
    max_result_window: Annotated[
        int, Knob({"type": "integer", "minimum": 1}, "a page that ends beyond it: 400")
    ] = 10000
    unstable_score_sort: Annotated[
        bool, Knob({"type": "boolean"}, "hits of one score change places between requests")
    ] = False
    http_faults: Annotated[
        list[Any],
        Knob({"type": "array", "items": _HTTP_FAULT}, "faults of calls, the first that fits strikes"),
    ] = field(default_factory=list)
    stream_faults: Annotated[
        list[Any], Knob({"type": "array", "items": _STREAM_FAULT}, "faults inside /v1/files")
    ] = field(default_factory=list)
    token_revoked_after: Annotated[
        int | None,
        Knob(
            {"anyOf": [_COUNT, {"type": "null"}]},
            "calls after which the token was replaced: 401 from then on",
        ),
    ] = None
    tokens: Annotated[
        dict[str, Any],
        Knob(
            {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {"hidden_datasources": {"type": "array", "items": {"type": "integer"}}},
                    "additionalProperties": False,
                },
            },
            "further tokens, each with what it cannot see",
        ),
    ] = field(default_factory=dict)
    hidden_datasources: Annotated[
        list[int], Knob({"type": "array", "items": {"type": "integer"}}, "what the main token cannot see")
    ] = field(default_factory=list)
    files_get_by_id: Annotated[bool, Knob({"type": "boolean"}, "GET /v1/files/{id} is there")] = True
    require_q: Annotated[bool, Knob({"type": "boolean"}, "/v1/files without q: 400")] = False
    max_files: Annotated[
        int | None, Knob({"anyOf": [_COUNT, {"type": "null"}]}, "more files in one submit: 400")
    ] = None
    max_bytes: Annotated[int | None, Knob({"anyOf": [_COUNT, {"type": "null"}]}, "a larger submit: 413")] = (
        None
    )
    max_file_bytes: Annotated[
        int | None, Knob({"anyOf": [_COUNT, {"type": "null"}]}, "a larger file: 413")
    ] = None
    max_text_bytes: Annotated[int, Knob(_COUNT, "so much of a text file is classified")] = 4 * 1024 * 1024
    keep_content: Annotated[
        bool, Knob({"type": "boolean"}, "false: bytes are deleted once classified, as benchmarks want")
    ] = True
    fleet: Annotated[
        int, Knob(_COUNT, "so many synthetic files follow the real ones in /v1/files, for benchmarks")
    ] = 0

    def to_json(self) -> dict[str, Any]:
        """As `knobs_of` takes them."""
        return asdict(self)


def described() -> dict[str, Knob]:
    """Every knob by name, in the order of the class."""
    hints = get_type_hints(Knobs, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def knobs_of(given: Mapping[str, Any], base: Knobs | None = None) -> Knobs:
    """Knobs from a mapping; what it does not name stays as in `base`.

    Raises:
        UsageError: an unknown name or a wrong value; the message lists them all.
    """
    from jsonschema import Draft202012Validator

    schemas = {name: knob.schema for name, knob in described().items()}
    problems = []
    for name, value in given.items():
        if name not in schemas:
            near = difflib.get_close_matches(str(name), schemas, 1)
            problems.append(f"unknown knob {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
            continue
        for error in Draft202012Validator(schemas[name]).iter_errors(value):
            where = "".join(f"[{part!r}]" for part in error.absolute_path)
            problems.append(f"knob {name}{where}: {error.message[:300]}")
    if problems:
        raise UsageError("; ".join(problems))
    return replace(base or Knobs(), **given)


def read_knobs(path: Path) -> Knobs:
    """Knobs from a YAML or JSON file.

    Raises:
        LocalError: it cannot be read or is no mapping.
        UsageError: it names a knob that does not exist, or gives one a wrong value.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise LocalError(f"{path} cannot be read: {e.strerror}") from e
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise LocalError(f"{path} is neither YAML nor JSON: {e}") from e
    if data is not None and not isinstance(data, dict):
        raise LocalError(f"{path} must be a mapping of knobs, such as `index_lag: 2`")
    return knobs_of(data or {})


@dataclass(frozen=True)
class Wait:
    """How long something takes: seconds, a number of looks, or for ever when both are None."""

    seconds: float | None
    polls: int | None

    @classmethod
    def of(cls, value: Any) -> Wait:
        if isinstance(value, dict):
            return cls(None, int(value["polls"]))
        return cls(None if value is None else float(value), None)

    def is_over(self, elapsed: float, looks: int) -> bool:
        """Whether so many seconds or looks are enough."""
        if self.polls is not None:
            return looks >= self.polls
        return self.seconds is not None and elapsed >= self.seconds
