"""Saved queries through the SDK."""

from __future__ import annotations

import pytest
from databricks.sdk.errors import InvalidParameterValue, NotFound, ResourceAlreadyExists
from databricks.sdk.service import sql


def create(client, name, **fields):
    fields.setdefault("query_text", "select 1")
    query = sql.CreateQueryRequestQuery(display_name=name, warehouse_id="local", **fields)
    return client.queries.create(query=query)


def test_every_field_survives(client, unique):
    """What was saved is read back, with owner, times and state added."""
    parameter = sql.QueryParameter(name="p", title="P", text_value=sql.TextValue(value="x"))
    made = create(
        client,
        unique,
        query_text="select :p -- ü 😀",
        parameters=[parameter],
        tags=["a", "b"],
        description="d",
        catalog="main",
        schema="s",
        run_as_mode=sql.RunAsMode.VIEWER,
        apply_auto_limit=True,
        parent_path="/Workspace/Shared",
    )
    found = client.queries.get(made.id)
    assert found.as_dict() == made.as_dict()
    assert found.query_text == "select :p -- ü 😀"
    assert found.parameters[0].text_value.value == "x"
    assert found.tags == ["a", "b"]
    assert found.run_as_mode == sql.RunAsMode.VIEWER
    assert found.owner_user_name == client.current_user.me().user_name
    assert found.lifecycle_state == sql.LifecycleState.ACTIVE
    assert found.parent_path == "/Workspace/Shared"


def test_update_changes_only_what_the_mask_names(client, unique):
    made = create(client, unique, description="old", tags=["t"])
    changed = client.queries.update(
        made.id,
        "query_text,description",
        query=sql.UpdateQueryRequestQuery(query_text="select 2", tags=["no"]),
    )
    assert changed.query_text == "select 2"
    assert changed.description is None
    assert changed.tags == ["t"]
    assert changed.display_name == unique
    with pytest.raises(InvalidParameterValue, match="update_mask"):
        client.queries.update(made.id, "parent_path", query=sql.UpdateQueryRequestQuery())


def test_delete_moves_to_the_trash(client, unique):
    """A trashed query is still read, but no longer listed nor updated; its name is free."""
    made = create(client, unique)
    client.queries.delete(made.id)
    client.queries.delete(made.id)
    assert client.queries.get(made.id).lifecycle_state == sql.LifecycleState.TRASHED
    assert made.id not in [query.id for query in client.queries.list()]
    with pytest.raises(NotFound):
        client.queries.update(made.id, "query_text", query=sql.UpdateQueryRequestQuery(query_text="x"))
    create(client, unique)
    with pytest.raises(NotFound):
        client.queries.get("nothing")
    with pytest.raises(NotFound):
        client.queries.delete("nothing")


def test_list_has_pages(client, unique):
    ids = [create(client, f"{unique}-{number}").id for number in range(25)]
    first = client.api_client.do("GET", "/api/2.0/sql/queries", query={"page_size": 10})
    assert len(first["results"]) == 10
    assert [query.id for query in client.queries.list(page_size=7)][:25] == ids[::-1]


def test_names_are_unique_in_a_folder(client, unique):
    create(client, unique)
    with pytest.raises(ResourceAlreadyExists, match="already exists"):
        create(client, unique)
    create(client, unique, parent_path="/Workspace/Shared")
    resolved = client.queries.create(
        auto_resolve_display_name=True, query=sql.CreateQueryRequestQuery(display_name=unique)
    )
    assert resolved.display_name == f"{unique} (1)"


def test_the_folder_must_be_there(client, unique):
    folder = f"/Workspace/Shared/{unique}"
    with pytest.raises(NotFound, match=folder):
        create(client, unique, parent_path=folder)
    client.workspace.mkdirs(folder)
    assert create(client, unique, parent_path=folder).parent_path == folder
