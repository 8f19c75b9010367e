"""Volumes, tags and grants through the real SDK against the embedded workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.databricks import catalog as connect
from lakeflow_job_meta.errors import NotFound, WorkspaceError
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.names import TableName
from tests.local.conftest import client, plain, unique

__all__ = ["client", "plain", "unique"]


@pytest.fixture
def catalog(client: Any) -> Any:
    return connect(client)


@pytest.fixture
def volume(plain: Connection, catalog: Any, unique: str) -> TableName:
    """A volume of this test alone."""
    (Path(plain.directory) / "Volumes" / "main" / "default").mkdir(parents=True, exist_ok=True)
    name = TableName("main", "default", f"labels_{unique}")
    assert catalog.create_volume(name, "a comment") is True
    return name


def test_volumes(catalog: Any, client: Any, volume: TableName) -> None:
    """Made once; a second time is told, not an error."""
    assert catalog.volume_exists(volume)
    assert client.volumes.read(str(volume)).comment == "a comment"
    assert catalog.create_volume(volume) is False
    assert not catalog.volume_exists(TableName("main", "default", "nowhere"))
    with pytest.raises(WorkspaceError):
        catalog.create_volume(TableName("no_catalog", "x", "y"))


def test_tags(catalog: Any, volume: TableName) -> None:
    """Set, changed, taken off; taking off twice is fine."""
    assert catalog.volume_tags(volume) == {}
    catalog.set_volume_tag(volume, "class", "a")
    catalog.set_volume_tag(volume, "class", "b")
    catalog.set_volume_tag(volume, "it's a tag %", "")
    assert catalog.volume_tags(volume) == {"class": "b", "it's a tag %": ""}
    catalog.delete_volume_tag(volume, "class")
    catalog.delete_volume_tag(volume, "class")
    assert catalog.volume_tags(volume) == {"it's a tag %": ""}


def test_grants(catalog: Any, volume: TableName) -> None:
    """Granted and revoked by principal, in one call."""
    catalog.change_volume_grants(
        volume, add={"a b": ["READ_VOLUME", "WRITE_VOLUME"], "c": ["READ_VOLUME"]}, remove={}
    )
    assert catalog.volume_grants(volume) == {
        "a b": {"READ_VOLUME", "WRITE_VOLUME"},
        "c": {"READ_VOLUME"},
    }
    catalog.change_volume_grants(volume, add={}, remove={"a b": ["WRITE_VOLUME"], "c": ["READ_VOLUME"]})
    assert catalog.volume_grants(volume) == {"a b": {"READ_VOLUME"}}
    catalog.change_volume_grants(volume, add={}, remove={})


def test_what_is_not_there(catalog: Any) -> None:
    """Tags and grants of a volume that does not exist are an error that says so."""
    name = TableName("main", "default", "nowhere")
    with pytest.raises(NotFound, match="nowhere"):
        catalog.volume_tags(name)
    with pytest.raises(NotFound, match="nowhere"):
        catalog.change_volume_grants(name, add={"a": ["READ_VOLUME"]}, remove={})
