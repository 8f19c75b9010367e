"""The Queries API (`/api/2.0/sql/queries`) as the port `Queries`."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from lakeflow_job_meta.adapters.databricks_calls import Calls
from lakeflow_job_meta.errors import NotFound
from lakeflow_job_meta.ports import JsonObject, RemoteQuery

QUERIES = "/api/2.0/sql/queries"
PAGE = 100
#: Set at creation only; an update that names it is refused.
CREATE_ONLY = ("parent_path",)


class DatabricksQueries:
    """Implements `ports.Queries`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def get(self, query_id: str) -> RemoteQuery | None:
        try:
            return _remote_query(self._calls.get(_path(query_id), f"read query {query_id}"))
        except NotFound:
            return None

    def list(self) -> Iterator[RemoteQuery]:
        query: JsonObject = {"page_size": PAGE}
        while True:
            page = self._calls.get(QUERIES, "list the queries", query=dict(query))
            for one in page.get("results") or ():
                yield _remote_query(one)
            token = page.get("next_page_token")
            if not token or token == query.get("page_token"):
                return
            query["page_token"] = token

    def create(self, settings: JsonObject) -> str:
        """See `ports.Queries`; the folder `parent_path` is made when it is missing."""
        what = f"create the query {settings.get('display_name', '')!r}"
        try:
            answer = self._calls.create(QUERIES, what, {"query": settings})
        except NotFound:
            folder = settings.get("parent_path")
            if not folder:
                raise
            self._calls.write(
                "POST", "/api/2.0/workspace/mkdirs", f"make the folder {folder}", body={"path": folder}
            )
            answer = self._calls.create(QUERIES, what, {"query": settings})
        return str(answer["id"])

    def update(self, query_id: str, settings: JsonObject) -> None:
        fields = {name: value for name, value in settings.items() if name not in CREATE_ONLY}
        body = {"query": fields, "update_mask": ",".join(sorted(fields))}
        self._calls.write("PATCH", _path(query_id), f"update query {query_id}", body=body)

    def delete(self, query_id: str) -> None:
        try:
            self._calls.write("DELETE", _path(query_id), f"move query {query_id} to the trash")
        except NotFound:
            return


def _path(query_id: str) -> str:
    return f"{QUERIES}/{quote(query_id, safe='')}"


def _remote_query(query: JsonObject) -> RemoteQuery:
    return RemoteQuery(
        query_id=str(query["id"]), settings=query, trashed=query.get("lifecycle_state") == "TRASHED"
    )
