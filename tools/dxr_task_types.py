"""`lakeflow_job_meta/metadata/dxr_task_types.json`, from the table of the Data X-Ray tasks' settings.

The room `metadata` may not import `dxr`, so what it must know of the settings is handed down as data.
"""

from __future__ import annotations

import json
from typing import Any

SUMMARIES = {
    "dxr_ingest": "Sends what is new or changed in a volume to Data X-Ray's on-demand classifier.",
    "dxr_collect": "Follows the jobs of dxr_ingest to their end, and writes one row a file with what was found.",
    "dxr_organise": "Lays the files out by label: a volume a label, with tags and grants.",
    "dxr_snapshot": "Writes what Data X-Ray knows of every file into one partition a day.",
}
_TYPES = {
    "text": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "mapping": "object",
}


def text() -> str:
    """What the file must hold."""
    from lakeflow_job_meta.dxr.settings import for_task

    types = {
        name: {"summary": summary, "keys": {one.name: _schema(one) for one in for_task(name).values()}}
        for name, summary in SUMMARIES.items()
    }
    return json.dumps(types, indent=1, ensure_ascii=False) + "\n"


def _schema(setting: Any) -> dict[str, Any]:
    default = f" Default: {json.dumps(setting.default)}." if setting.default not in (None, (), {}) else ""
    about = {"description": f"{setting.doc}{default}"}
    if setting.kind in {"texts", "integers"}:
        item: dict[str, Any] = {"type": "string" if setting.kind == "texts" else "integer"}
        if setting.minimum is not None:
            item["minimum"] = setting.minimum
        return {"anyOf": [item, {"type": "array", "items": item}], **about}
    found: dict[str, Any] = {"type": _TYPES[setting.kind]}
    if setting.choices:
        found["enum"] = list(setting.choices)
    elif setting.kind == "text":
        found["minLength"] = 1
    for key in ("minimum", "maximum"):
        limit = getattr(setting, key)
        if limit is not None:
            found[key] = limit
    return {**found, **about}
