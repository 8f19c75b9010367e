"""The Queries API adapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lakeflow_job_meta.adapters.databricks import connect
from lakeflow_job_meta.ports import Workspace
from tests.adapters.databricks_fixtures import client_for
from tests.adapters.scripted_server import Request, ScriptedServer, serving


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as one:
        yield one


@pytest.fixture
def workspace(server: ScriptedServer) -> Workspace:
    return connect(client_for(server.host, workspace_id="42"))


def test_list_follows_pages(workspace, server):
    def answer(request: Request) -> object:
        start = int(request.query.get("page_token") or 0)
        page: dict[str, object] = {"results": [{"id": f"q{start}", "tags": ["x"]}]}
        return page if start == 2 else {**page, "next_page_token": str(start + 1)}

    server.default = answer
    assert [query.query_id for query in workspace.queries.list()] == ["q0", "q1", "q2"]


def test_update_names_every_field_in_its_mask_but_the_folder(workspace, server):
    """parent_path is for creation only: an update that names it is refused by the platform."""
    workspace.queries.update(
        "q", {"query_text": "SELECT 1", "tags": ["a"], "parent_path": "/x", "parameters": []}
    )
    assert server.requests[0].method == "PATCH"
    assert server.requests[0].body == {
        "query": {"query_text": "SELECT 1", "tags": ["a"], "parameters": []},
        "update_mask": "parameters,query_text,tags",
    }


def test_a_trashed_query_says_so(workspace, server):
    server.default = lambda request: {"id": "q", "lifecycle_state": "TRASHED"}
    query = workspace.queries.get("q")
    assert query.trashed
    assert query.settings["lifecycle_state"] == "TRASHED"


def test_ids_are_quoted_in_paths(workspace, server):
    server.default = lambda request: {"id": "a/b"}
    workspace.queries.get("a/b")
    assert server.requests[0].path == "/api/2.0/sql/queries/a%2Fb"
