"""Saved queries that no record knows: found again by their tags. Pure.

A writer that died may have made a query and not recorded it; `_queries` may be lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from lakeflow_job_meta.control.records import QueryRecord
from lakeflow_job_meta.jobs.queries import query_owner, read_query_tags
from lakeflow_job_meta.names import TableName, digest, module_tag, table_tag
from lakeflow_job_meta.ports import RemoteQuery


def recovered(
    control_table: TableName,
    remotes: Iterable[RemoteQuery],
    rows: Mapping[str, Sequence[QueryRecord]],
    wanted: Mapping[str, Collection[str]],
) -> dict[str, list[QueryRecord]]:
    """The rows of `_queries` by module, with those added that only the workspace knows.

    A query of a source that has one already, or of a source that is gone, gets a row under the hash of
    its source id: it belongs to nothing, and will be dropped.

    Args:
        remotes: the saved queries of the workspace.
        rows: the rows that there are, of the modules to look at.
        wanted: source ids with inline SQL, by module to look at.
    """
    modules = {module_tag(module): module for module in wanted}
    found = {module: list(rows.get(module, ())) for module in wanted}
    for remote in sorted(remotes, key=lambda one: one.query_id):
        owner = read_query_tags(remote.settings.get("tags"))
        if owner is None or owner.table != table_tag(control_table) or remote.trashed:
            continue
        module = modules.get(owner.module)
        if module is None or any(row.query_id == remote.query_id for row in found[module]):
            continue
        taken = {row.source_id for row in found[module] if row.query_id}
        sources = {
            query_owner(control_table, module, source_id).source: source_id for source_id in wanted[module]
        }
        source_id = sources.get(owner.source)
        if source_id is None or source_id in taken:
            source_id = f"{owner.source}/{digest(remote.query_id, 8)}"
        found[module] = [row for row in found[module] if row.source_id != source_id]
        found[module].append(QueryRecord(module, source_id, remote.query_id))
    return found
