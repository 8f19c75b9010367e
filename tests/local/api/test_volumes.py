"""Volumes, their grants and tags, through the SDK, without Spark."""

from __future__ import annotations

from pathlib import Path

import pytest
from databricks.sdk.errors import AlreadyExists, InvalidParameterValue, NotFound, platform
from databricks.sdk.errors.platform import ResourceAlreadyExists
from databricks.sdk.service import catalog


@pytest.fixture
def schema(plain, unique):
    """A schema that exists because a folder of volumes does."""
    Path(plain.directory, "Volumes", "main", unique, "first").mkdir(parents=True)
    return unique


def test_volumes_are_folders(client, plain, schema):
    """A folder c/s/v is a volume, and a created volume is a folder."""
    made = client.volumes.create("main", schema, "Second", catalog.VolumeType.MANAGED, comment="c")
    assert made.full_name == f"main.{schema}.second"
    assert Path(plain.directory, "Volumes", "main", schema, "second").is_dir()
    assert [v.name for v in client.volumes.list("main", schema)] == ["first", "second"]
    assert client.volumes.read(made.full_name).comment == "c"
    with pytest.raises((AlreadyExists, ResourceAlreadyExists)):
        client.volumes.create("main", schema, "second", catalog.VolumeType.MANAGED)
    renamed = client.volumes.update(made.full_name, new_name="third", comment="d")
    assert (renamed.name, renamed.comment) == ("third", "d")
    client.volumes.delete(renamed.full_name)
    assert [v.name for v in client.volumes.list("main", schema)] == ["first"]
    with pytest.raises(NotFound):
        client.volumes.read(renamed.full_name)


def test_wrong_volumes_are_refused(client, schema):
    for name in ("a b", "a.b", "a/b", "x" * 256):
        with pytest.raises(InvalidParameterValue):
            client.volumes.create("main", schema, name, catalog.VolumeType.MANAGED)
    with pytest.raises(NotFound):
        client.volumes.create("nowhere", schema, "v", catalog.VolumeType.MANAGED)
    with pytest.raises(InvalidParameterValue, match="managed"):
        client.volumes.create("main", schema, "v", catalog.VolumeType.EXTERNAL, storage_location="s3://x")


def test_catalogs(client):
    assert {"main", "bronze", "silver", "gold"} <= {c.name for c in client.catalogs.list()}
    assert client.catalogs.get("MAIN").name == "main"
    with pytest.raises(NotFound):
        client.catalogs.get("nowhere")
    assert client.catalogs.create("More").name == "more"
    assert client.catalogs.get("more").name == "more"
    with pytest.raises(ResourceAlreadyExists, match="already exists"):
        client.catalogs.create("more")


def test_grants(client, schema):
    """Grants are added and removed by change; READ and WRITE of a volume, USE of what is above it."""
    name = f"main.{schema}.first"

    def shown():
        found = client.grants.get("volume", name).privilege_assignments or []
        return {a.principal: [p.value for p in a.privileges] for a in found}

    change = catalog.PermissionsChange
    read, write = catalog.Privilege.READ_VOLUME, catalog.Privilege.WRITE_VOLUME
    client.grants.update(
        "volume", name, changes=[change(principal="a", add=[read, write]), change(principal="b", add=[read])]
    )
    assert shown() == {"a": ["READ_VOLUME", "WRITE_VOLUME"], "b": ["READ_VOLUME"]}
    client.grants.update(
        "VOLUME", name, changes=[change(principal="a", remove=[write]), change(principal="b", remove=[read])]
    )
    assert shown() == {"a": ["READ_VOLUME"]}
    client.grants.update(
        "catalog", "main", changes=[change(principal="a", add=[catalog.Privilege.USE_CATALOG])]
    )
    (effective,) = client.grants.get_effective("volume", name).privilege_assignments
    assert {(p.privilege.value, p.inherited_from_name) for p in effective.privileges} == {
        ("READ_VOLUME", None),
        ("USE_CATALOG", "main"),
    }
    with pytest.raises(InvalidParameterValue, match="not applicable"):
        client.grants.update("volume", name, changes=[change(principal="a", add=[catalog.Privilege.SELECT])])
    with pytest.raises(NotFound):
        client.grants.get("volume", f"{name}x")


def test_tags(client, schema):
    """Tags of a volume: one a key, at most 50, keys without punctuation."""
    name = f"main.{schema}.first"
    api = client.entity_tag_assignments

    def tag(key, value="v"):
        return catalog.EntityTagAssignment(
            entity_type="volumes", entity_name=name, tag_key=key, tag_value=value
        )

    api.create(tag("Sensitivity", "high"))
    with pytest.raises(AlreadyExists):
        api.create(tag("Sensitivity"))
    assert api.get("volumes", name, "Sensitivity").tag_value == "high"
    api.update("volumes", name, "Sensitivity", tag("Sensitivity", "low"), update_mask="tag_value")
    assert [(t.tag_key, t.tag_value) for t in api.list("volumes", name)] == [("Sensitivity", "low")]
    for wrong in ("a.b", "a:b", "k" * 256):
        with pytest.raises(InvalidParameterValue):
            api.create(tag(wrong))
    for number in range(49):
        api.create(tag(f"k{number}"))
    with pytest.raises(InvalidParameterValue, match="50"):
        api.create(tag("more"))
    assert len(list(api.list("volumes", name, max_results=7))) == 50
    api.delete("volumes", name, "Sensitivity")
    with pytest.raises(NotFound):
        api.get("volumes", name, "Sensitivity")
    with pytest.raises(InvalidParameterValue, match="entity_type"):
        list(api.list("files", name))
    with pytest.raises(NotFound):
        list(api.list("volumes", f"{name}x"))


def test_without_spark_there_are_no_tables(client):
    with pytest.raises(platform.NotImplemented, match="without Spark"):
        list(client.schemas.list("main"))
