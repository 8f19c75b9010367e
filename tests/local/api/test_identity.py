"""Who and where, the token, and what this workspace does not speak."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound, Unauthenticated

from tests.local.conftest import client_of


def test_the_sdk_finds_its_way_from_the_environment(plain, monkeypatch):
    """With the connection's variables set, a client needs no argument."""
    for name in ("DATABRICKS_CONFIG_PROFILE", "DATABRICKS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in plain.environment().items():
        monkeypatch.setenv(name, value)
    client = WorkspaceClient()
    assert client.config.auth_type == "pat"
    assert int(client.config.workspace_id) == client.get_workspace_id()
    assert client.current_user.me().active


def test_every_answer_names_the_workspace(plain, client):
    request = urllib.request.Request(
        f"{plain.host}/api/2.0/preview/scim/v2/Me", headers={"Authorization": f"Bearer {plain.token}"}
    )
    with urllib.request.urlopen(request) as response:
        assert int(response.headers["X-Databricks-Org-Id"]) == client.get_workspace_id()


def test_the_token_is_required(plain):
    """Without the token nothing is answered but the SDK's probe."""
    import dataclasses

    with pytest.raises(Unauthenticated):
        client_of(dataclasses.replace(plain, token="wrong")).current_user.me()
    for path in ("/api/2.2/jobs/list", "/local/health", "/local/faults", "/nothing"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(plain.host + path)
        assert caught.value.code == 401
        caught.value.close()
    with urllib.request.urlopen(f"{plain.host}/.well-known/databricks-config") as response:
        assert json.load(response)["workspace_id"]
    assert plain.token not in repr(plain)


def test_what_is_not_spoken_says_what_is(client):
    with pytest.raises(NotFound, match=r"does not speak.*api/2.2/jobs") as caught:
        client.pipelines.get("x")
    assert caught.value.error_code == "ENDPOINT_NOT_FOUND"


def test_compute_and_metastore(client):
    assert list(client.clusters.list()) == []
    assert client.metastores.summary().metastore_id == client.metastores.current().metastore_id
    (warehouse,) = client.warehouses.list()
    assert warehouse.id == "local"
    assert client.warehouses.get("local").state.value == "RUNNING"
    assert client.warehouses.stop_and_wait("local").state.value == "STOPPED"
    assert client.warehouses.start_and_wait("local").state.value == "RUNNING"
    with pytest.raises(NotFound):
        client.warehouses.get("other")
    with pytest.raises(BadRequest):
        client.warehouses.create(name="x").result()
