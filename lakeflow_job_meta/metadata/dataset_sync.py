"""The task type `dataset_sync`: its keys in transformation_config, each with its JSON Schema. Data only."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]

#: The tasks of one source, in order; `record` runs whatever became of the ones before it.
STEPS = ("bronze", "silver", "record")


def _closed(description: str, **properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "description": description,
    }


def _seconds(description: str) -> JsonObject:
    return {"type": "integer", "minimum": 1, "description": description}


def _flag(description: str) -> JsonObject:
    return {"type": "boolean", "description": description}


_TEXTS: JsonObject = {"type": "array", "items": {"type": "string"}}
_COLUMNS: JsonObject = {"type": "array", "items": {"type": "string", "minLength": 1}}

KEYS: JsonObject = {
    "bronze": _closed(
        "The bronze table: the landed columns and values, untouched, with lineage columns.",
        mode={
            "type": "string",
            "enum": ["managed", "external"],
            "description": "Who keeps its files. Default: managed.",
        },
        external_location={
            "type": "string",
            "pattern": r"^(s3|s3a|abfss|gs)://\S+$",
            "x-expected": "a governed external location (s3://, abfss:// or gs://): Unity Catalog makes no table "
            "in a dbfs: path, nor on the files of a volume",
            "description": "Where the files of an external bronze table lie: s3://, abfss:// or gs://.",
        },
    ),
    "silver": _closed(
        "The silver table: types inferred, nulls and duplicates removed, names in snake_case.",
        infer_types=_flag("Whether text columns become numbers, booleans, dates and times. Default: true."),
        null_tokens={
            **_TEXTS,
            "description": "Texts that mean NULL, whatever their case. Default: the empty text, NA, N/A, null and others.",
        },
        dedupe={
            "type": "string",
            "enum": ["full_row", "keys", "none"],
            "description": "Which duplicates are dropped. Default: full_row; keys when keys are given.",
        },
        keys={**_COLUMNS, "description": "Columns that identify a row."},
        order_by={
            **_COLUMNS,
            "description": "Of rows with one key, the one with the highest of these columns is kept.",
        },
        column_case={
            "type": "string",
            "enum": ["snake", "keep"],
            "description": "How columns are called. Default: snake.",
        },
        mode={
            "type": "string",
            "enum": ["replace", "append"],
            "description": "Whether a version replaces the table or adds its new rows. Default: replace.",
        },
        watermark={
            "type": "string",
            "minLength": 1,
            "description": "append: only rows whose value of this column is above the highest in the table.",
        },
    ),
    "sync": _closed(
        "Switches of this dataset.",
        enabled=_flag("Whether it is synced at all. Default: true."),
        auto=_flag("Whether a new version starts its sync. Default: true."),
        on_delete={
            "type": "string",
            "enum": ["keep", "drop"],
            "description": "What becomes of the tables when the dataset is deleted. Default: keep.",
        },
        row_limit={
            "type": "integer",
            "minimum": 1,
            "description": "A version with more rows is refused. Default: none.",
        },
    ),
    "retry": _closed(
        "Retries of bronze and silver. The interval is fixed and counts from the start of the failed attempt: the "
        "Jobs API knows no multiplier and no longest wait.",
        max_attempts={"type": "integer", "minimum": 1, "description": "Attempts of each task. Default: 3."},
        interval_seconds={
            "type": "integer",
            "minimum": 0,
            "description": "Seconds from one attempt's start to the next. Default: 300.",
        },
        on_timeout=_flag("Whether an attempt that took too long is repeated. Default: true."),
    ),
    "timeout_seconds": {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            _closed(
                "Seconds by task.",
                bronze=_seconds("Default: 300."),
                silver=_seconds("Default: 600."),
                record=_seconds("Default: 60."),
            ),
        ],
        "description": "Longest time of one attempt, of each task (300, 600 and 60 seconds) or of all.",
    },
}
