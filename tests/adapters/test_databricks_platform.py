"""Schemas, tables, folders, warehouses and clusters through the real SDK against the embedded workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.databricks import platform as connect
from lakeflow_job_meta.errors import PermissionDenied, UnclearOutcome
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.ports import Caller
from tests.adapters.databricks_fixtures import client_for
from tests.adapters.scripted_server import Answer, serving
from tests.local.conftest import client, plain, unique

__all__ = ["client", "plain", "unique"]


@pytest.fixture
def platform(client: Any) -> Any:
    return connect(client)


def test_who_calls(platform: Any) -> None:
    """The user's name and groups."""
    assert platform.caller() == Caller("local@localhost", frozenset({"admins"}))


def test_schemas_and_tables() -> None:
    """A schema that is there already is fine, as is one that is gone; tables come page by page."""
    taken = {"error_code": "SCHEMA_ALREADY_EXISTS", "message": "Schema 's' already exists"}
    with serving() as server:
        server.will("/api/2.1/unity-catalog/schemas", method="POST", status=400, body=taken)
        server.will(
            "/api/2.1/unity-catalog/schemas/main.s", method="DELETE", status=404, body={"message": "gone"}
        )
        server.will(
            "/api/2.1/unity-catalog/tables",
            body={"tables": [{"full_name": "main.s.b"}], "next_page_token": "1"},
        )
        server.will("/api/2.1/unity-catalog/tables", body={"tables": [{"full_name": "main.s.a"}]})
        platform = connect(client_for(server.host))
        platform.create_schema("main", "s")
        platform.delete("schema", "main.s")
        assert platform.tables("main", "s") == ["main.s.a", "main.s.b"]
        assert platform.count.writes == 0


def test_writes_are_counted(platform: Any, plain: Connection, unique: str) -> None:
    """Reading is a call, making is a write."""
    (Path(plain.directory) / "Volumes" / "main" / "default" / unique).mkdir(parents=True)
    assert platform.find("catalog", "main").full_name == "main"
    assert platform.find("catalog", "nowhere") is None
    assert (platform.count.calls, platform.count.writes) == (2, 0)
    platform.create_folder(f"/Volumes/main/default/{unique}/a")
    assert platform.count.writes == 1


def test_folders(platform: Any, plain: Connection, unique: str) -> None:
    """With those above it; again is fine."""
    volume = Path(plain.directory) / "Volumes" / "main" / "default" / unique
    volume.mkdir(parents=True)
    for _ in range(2):
        platform.create_folder(f"/Volumes/main/default/{unique}/a b/c/")
    assert (volume / "a b" / "c").is_dir()


def test_compute(platform: Any) -> None:
    """The warehouse that is there, and what is not."""
    assert platform.warehouse("local")["state"] == "RUNNING"
    assert platform.warehouse("nowhere") is None
    assert platform.cluster("nowhere") is None


def test_privileges_of_every_page() -> None:
    """A page may be empty; only a missing token ends. Names are quoted."""
    page = {
        "privilege_assignments": [{"principal": "a", "privileges": [{"privilege": "SELECT"}]}],
        "next_page_token": "2",
    }
    with serving() as server:
        path = "/api/2.1/unity-catalog/effective-permissions/table/main.a%20b.t"
        server.script += [
            Answer(path, body={"next_page_token": "1"}),
            Answer(path, body=page),
            Answer(path, body={"privilege_assignments": [{"privileges": [{"privilege": "MODIFY"}]}]}),
        ]
        found = connect(client_for(server.host)).privileges("table", "main.a b.t", "a@b")
        asked = [request.query for request in server.requests if "effective" in request.path]
    assert found == {"SELECT", "MODIFY"}
    assert [query.get("page_token") for query in asked] == [None, "1", "2"]
    assert {query["principal"] for query in asked} == {"a@b"}


def test_a_schema_that_was_made_all_the_same() -> None:
    """The answer was lost: it is looked for, and an error only when it is not there."""
    path = "/api/2.1/unity-catalog/schemas"
    for there, status in ((True, 200), (False, 404)):
        with serving() as server:
            server.script += [
                Answer(path, method="POST", reset=True),
                Answer(
                    f"{path}/main.s",
                    status=status,
                    body={"full_name": "main.s", "error_code": "NOT_FOUND"},
                    times=9,
                ),
            ]
            platform = connect(client_for(server.host))
            if there:
                platform.create_schema("main", "s")
            else:
                with pytest.raises(UnclearOutcome):
                    platform.create_schema("main", "s")


def test_a_refusal_is_no_absence() -> None:
    """403 is told: what may not be seen is not taken for missing."""
    with serving() as server:
        server.script.append(
            Answer("/api/2.1/unity-catalog/schemas/", status=403, body={"error_code": "PERMISSION_DENIED"})
        )
        with pytest.raises(PermissionDenied):
            connect(client_for(server.host)).find("schema", "main.s")


def test_a_cluster_that_is_gone_is_400() -> None:
    """As the platform says it."""
    body = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Cluster 1 does not exist"}
    with serving() as server:
        server.script.append(Answer("/api/2.1/clusters/get", status=400, body=body))
        assert connect(client_for(server.host)).cluster("1") is None
