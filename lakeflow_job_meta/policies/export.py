"""Results as CSV and JSON in a volume, for people with spreadsheets and for scripts.

A spreadsheet takes a text that begins with `=`, `+`, `-` or `@` for a formula; such a text gets an apostrophe
before it in CSV. JSON has it as it is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lakeflow_job_meta.policies.results import Outcome
from lakeflow_job_meta.ports import Volumes

JsonObject = dict[str, Any]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write(volumes: Volumes, folder: str, run_id: str, outcomes: Sequence[Outcome]) -> list[str]:
    """Write the run's files: results, and the violations of each policy that has any.

    Args:
        folder: of this run, below `/Volumes`.

    Returns:
        The paths.

    Raises:
        VolumeError: a file cannot be written.
    """
    results = [{"run_id": run_id, "severity": one.severity, **one.as_json()} for one in outcomes]
    done = _both(volumes, f"{folder}/results", results)
    for one in outcomes:
        if one.rows:
            rows = [{"violation_key": key, **json.loads(row)} for key, row in one.rows.items()]
            done += _both(volumes, f"{folder}/{one.policy}", rows)
    return done


def _both(volumes: Volumes, stem: str, rows: Sequence[JsonObject]) -> list[str]:
    volumes.write(f"{stem}.csv", csv_text(rows).encode())
    volumes.write(f"{stem}.json", (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
    return [f"{stem}.csv", f"{stem}.json"]


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV (RFC 4180) with a header; columns in the order in which they first come."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_cells(names))
    for row in rows:
        writer.writerow(_cells(row.get(name) for name in names))
    return text.getvalue()


def _cells(values: Iterable[Any]) -> list[Any]:
    return [_cell(value) for value in values]


def _cell(value: Any) -> Any:
    """A value as a cell: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
