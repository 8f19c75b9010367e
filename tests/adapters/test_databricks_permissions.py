"""The Permissions API adapter: direct entries only, and owners that stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lakeflow_job_meta.adapters.databricks import connect
from lakeflow_job_meta.ports import Workspace
from tests.adapters.databricks_fixtures import client_for
from tests.adapters.scripted_server import Request, ScriptedServer, serving


class Lists:
    """Access control lists as the platform keeps them, with one inherited entry."""

    def __init__(self) -> None:
        self.direct: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, request: Request) -> Any:
        if request.path.endswith("/Me"):
            return {"userName": "me@x"}
        if request.method == "PUT":
            self.direct[request.path] = request.body["access_control_list"]
        shown = [
            {
                **{name: value for name, value in entry.items() if name != "permission_level"},
                "all_permissions": [{"permission_level": entry["permission_level"], "inherited": False}],
            }
            for entry in self.direct.get(request.path, [])
        ]
        admins = {"permission_level": "CAN_MANAGE", "inherited": True, "inherited_from_object": ["/jobs/"]}
        return {"access_control_list": [*shown, {"group_name": "admins", "all_permissions": [admins]}]}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as one:
        one.default = Lists()
        yield one


@pytest.fixture
def workspace(server: ScriptedServer) -> Workspace:
    return connect(client_for(server.host, workspace_id="42"))


def has(server: ScriptedServer, path: str, **entry: str) -> None:
    server.default.direct.setdefault(f"/api/2.0/permissions/{path}", []).append(entry)


RUN = {"group_name": "data-eng", "level": "CAN_MANAGE_RUN"}


def test_inherited_entries_are_left_out(workspace, server):
    has(server, "jobs/7", user_name="me@x", permission_level="IS_OWNER")
    assert workspace.permissions.get("jobs", "7") == [{"user_name": "me@x", "level": "IS_OWNER"}]


def test_the_owner_stays_when_none_is_named(workspace, server):
    """A PUT without an owner would be refused, or take the job away from whoever made it."""
    has(server, "jobs/7", user_name="me@x", permission_level="IS_OWNER")
    has(server, "jobs/7", group_name="old", permission_level="CAN_VIEW")
    workspace.permissions.set("jobs", "7", [RUN])
    assert workspace.permissions.get("jobs", "7") == [RUN, {"user_name": "me@x", "level": "IS_OWNER"}]
    assert workspace.count.writes == 1


def test_a_named_owner_replaces_the_former(workspace, server):
    has(server, "jobs/7", user_name="me@x", permission_level="IS_OWNER")
    owner = {"service_principal_name": "sp", "level": "IS_OWNER"}
    workspace.permissions.set("jobs", "7", [owner])
    assert workspace.permissions.get("jobs", "7") == [owner]


def test_the_owner_is_not_lowered(workspace, server):
    """Naming the owner with a lower level leaves it the owner: there must be one."""
    has(server, "jobs/7", user_name="me@x", permission_level="IS_OWNER")
    workspace.permissions.set("jobs", "7", [{"user_name": "me@x", "level": "CAN_MANAGE"}])
    assert workspace.permissions.get("jobs", "7") == [{"user_name": "me@x", "level": "IS_OWNER"}]


def test_our_own_hold_on_a_query_stays(workspace, server):
    """A query has no owner level: the caller's CAN_MANAGE is shown and kept as if it were. CAN_RUN is CAN_MANAGE_RUN."""
    has(server, "queries/q", user_name="me@x", permission_level="CAN_MANAGE")
    assert workspace.permissions.get("queries", "q") == [{"user_name": "me@x", "level": "IS_OWNER"}]
    workspace.permissions.set("queries", "q", [RUN])
    sent = server.sent("/api/2.0/permissions/queries/q")[-1].body["access_control_list"]
    assert {"user_name": "me@x", "permission_level": "CAN_MANAGE"} in sent
    assert {"group_name": "data-eng", "permission_level": "CAN_RUN"} in sent
    assert workspace.permissions.get("queries", "q") == [RUN, {"user_name": "me@x", "level": "IS_OWNER"}]
