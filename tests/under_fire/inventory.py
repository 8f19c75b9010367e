"""What a workspace has of one control table, read over HTTP alone: no SDK, no gRPC, nothing of the reconciler."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lakeflow_job_meta.jobs.queries import QueryOwner, read_query_tags
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, TableName, read_module_tag, table_tag

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Inventory:
    """Jobs, saved queries and records of one control table."""

    connection: Connection
    table: TableName

    def jobs(self) -> dict[str, list[JsonObject]]:
        """Jobs with this table's tag, by their module's."""
        found: dict[str, list[JsonObject]] = {}
        for job in self._pages("/api/2.2/jobs/list?limit=100&expand_tasks=true", "jobs"):
            tags = job["settings"].get("tags") or {}
            tag = read_module_tag(tags.get(MODULE_TAG, ""))
            if tags.get(TABLE_TAG) == table_tag(self.table) and tag is not None:
                found.setdefault(tag.live, []).append(job)
        return found

    def queries(self) -> dict[QueryOwner, list[JsonObject]]:
        """Saved queries with this table's tag that are not in the trash, by owner."""
        found: dict[QueryOwner, list[JsonObject]] = {}
        for query in self._pages("/api/2.0/sql/queries?page_size=100", "results"):
            owner = read_query_tags(query.get("tags"))
            if (
                owner is not None
                and owner.table == table_tag(self.table)
                and query.get("lifecycle_state") != "TRASHED"
            ):
                found.setdefault(owner, []).append(query)
        return found

    def select(self, statement: str) -> list[list[str | None]]:
        """Rows of a SELECT, by the workspace's Statement Execution API."""
        body = {"statement": statement, "warehouse_id": "local", "wait_timeout": "30s"}
        answer = self.connection.ask("POST", "/api/2.0/sql/statements", body, seconds=60)
        return (answer.get("result") or {}).get("data_array") or []

    def recorded(self) -> dict[str | None, int | None]:
        """Job ids by module as `_jobs` has them."""
        rows = self.select(f"SELECT module_name, job_id FROM {self.table.companion('jobs').quoted}")
        return {module: None if job_id is None else int(job_id) for module, job_id in rows}

    def history(self, module: str) -> str:
        """All that the tables know of a module, for people."""
        where = f"WHERE module_name = '{module}'"
        jobs, queries, events = (self.table.companion(name).quoted for name in ("jobs", "queries", "events"))
        columns = "module_name, job_id, status, error, rows_hash, claim, claimed_until, applied_at"
        rows = self.select(f"SELECT {columns} FROM {jobs} {where}")
        rows += self.select(f"SELECT source_id, is_active FROM {self.table.quoted} {where}")
        rows += self.select(f"SELECT source_id, query_id, status, applied_at FROM {queries} {where}")
        rows += self.select(f"SELECT * FROM {events} {where} ORDER BY at")
        return "".join(f"\n      {row}" for row in rows)

    def forget(self) -> None:
        """Delete the jobs and queries, so that other tables' listings are short."""
        ids = [job["job_id"] for jobs in self.jobs().values() for job in jobs]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._delete, ids))
        for held in self.queries().values():
            for query in held:
                self.connection.ask("DELETE", f"/api/2.0/sql/queries/{query['id']}")

    def _delete(self, job_id: int) -> None:
        self.connection.ask("POST", "/api/2.2/jobs/delete", {"job_id": job_id}, seconds=30)

    def _pages(self, path: str, key: str) -> Iterator[JsonObject]:
        token = ""
        while True:
            page = self.connection.ask("GET", f"{path}&page_token={token}" if token else path, seconds=30)
            yield from page.get(key) or ()
            token = page.get("next_page_token") or ""
            if not token:
                return


def query_ids(job: JsonObject) -> set[str]:
    """The saved queries that a job's tasks run."""
    return {
        task["sql_task"]["query"]["query_id"]
        for task in job["settings"].get("tasks") or ()
        if (task.get("sql_task") or {}).get("query")
    }
