"""Saved queries for inline SQL: what each should be, and the tags that say whose it is.

The Jobs API has no inline SQL text, so every inline text becomes a query of the Queries API
(`/api/2.0/sql/queries`), owned through two of its tags as a job is through its two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lakeflow_job_meta.jobs.desired import DesiredQuery, JsonObject
from lakeflow_job_meta.jobs.permissions import for_query
from lakeflow_job_meta.metadata.definition import SourceDefinition
from lakeflow_job_meta.names import TABLE_TAG, TableName, digest, module_tag, table_tag

#: Fields of the Queries API's Query that a `sql_query` source may give beside the text.
QUERY_FIELDS = ("catalog", "schema", "run_as_mode", "apply_auto_limit")

_OWNER_PREFIX = f"{TABLE_TAG}:"
_SOURCE_PREFIX = "lakeflow_job_meta_source:"
_SOURCE_TAG = re.compile(r"([a-z0-9_]{1,20}-[0-9a-f]{16})-([0-9a-f]{16})")
# A query is a workspace object named by its display_name: no slashes, well under the 255 bytes of a name.
_NAME_FORBIDDEN = re.compile(r"[/\x00-\x1f\x7f]")
_NAME_BYTES = 160


@dataclass(frozen=True, slots=True)
class QueryOwner:
    """What the tags of a saved query of ours say.

    Args:
        table: `names.table_tag` of the control table.
        module: `names.module_tag` of the module.
        source: first 16 hex digits of the source_id's hash.
    """

    table: str
    module: str
    source: str


def query_owner(control_table: TableName, module_name: str, source_id: str) -> QueryOwner:
    """The owner whose tags the saved query of this source carries."""
    return QueryOwner(table_tag(control_table), module_tag(module_name), digest(source_id, 16))


def query_tags(owner: QueryOwner) -> list[str]:
    """The two tags that make a saved query ours; users have none on these queries."""
    return [f"{_OWNER_PREFIX}{owner.table}", f"{_SOURCE_PREFIX}{owner.module}-{owner.source}"]


def read_query_tags(tags: Iterable[str] | None) -> QueryOwner | None:
    """The owner that the tags of a saved query name; None when it is not one of ours."""
    table = source = None
    for tag in tags or ():
        if tag.startswith(_OWNER_PREFIX):
            table = tag[len(_OWNER_PREFIX) :]
        elif tag.startswith(_SOURCE_PREFIX):
            source = _SOURCE_TAG.fullmatch(tag[len(_SOURCE_PREFIX) :])
    if not table or source is None:
        return None
    return QueryOwner(table, source[1], source[2])


def is_inline(source: SourceDefinition) -> bool:
    """Whether the source brings its own SQL text, which has to be kept as a saved query."""
    return source.task_type == "sql_query" and source.settings.get("sql_query") is not None


def parameter_text(value: Any) -> str:
    """A parameter's value as the text that the SQL task and the query need."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def display_name(owner: QueryOwner, module_name: str, source_id: str) -> str:
    """`module - source [hash]`: readable, without slashes, unique within the queries' folder."""
    text = _NAME_FORBIDDEN.sub("_", f"{module_name} - {source_id}")
    cut = text.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore")
    return f"{cut} [{digest([owner.table, module_name, source_id], 8)}]"


def render_query(
    source: SourceDefinition,
    *,
    module_name: str,
    control_table: TableName,
    warehouse_id: str | None,
    parent_path: str,
    permissions: tuple[JsonObject, ...] | None,
) -> DesiredQuery:
    """The saved query for a source with inline SQL; every parameter of the task is declared on it."""
    owner = query_owner(control_table, module_name, source.source_id)
    parameters: JsonObject = source.settings.get("parameters") or {}
    settings: JsonObject = {
        "display_name": display_name(owner, module_name, source.source_id),
        "description": f"Source {source.source_id} of module {module_name} in {control_table}. "
        "Managed by lakeflow_job_meta: edit the metadata, not this query.",
        "query_text": source.settings["sql_query"],
        "parent_path": parent_path,
        "parameters": [
            {"name": name, "title": name, "text_value": {"value": parameter_text(value)}}
            for name, value in sorted(parameters.items())
        ],
        "tags": query_tags(owner),
    }
    if warehouse_id is not None:
        settings["warehouse_id"] = warehouse_id
    for field in QUERY_FIELDS:
        if source.settings.get(field) is not None:
            settings[field] = source.settings[field]
    return DesiredQuery(source.source_id, settings, None if permissions is None else for_query(permissions))
