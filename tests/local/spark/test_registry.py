"""The catalog that outlives sessions and processes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark.registry import Registry, Relation
from lakeflow_job_meta.local.state import Database


def opened(root: Path, catalogs: tuple[str, ...] = ("main", "gold")) -> Registry:
    """The registry of a folder, as a process finds it at start."""
    folder = Folder.at(root)
    folder.prepare()
    return Registry(Database(folder.private / "spark.sqlite"), folder, catalogs, clock=lambda: 1.5)


def made(registry: Registry, schema: str, name: str, catalog: str = "main") -> Path:
    """A Delta table written by something else, where a managed table lies."""
    location = registry.locations.table(catalog, schema, name)
    write_deltalake(location, pa.table({"a": [1], "b": ["x"]}), partition_by=["b"])
    return location


def test_schemas_tables_and_views_are_there_after_a_restart(tmp_path: Path) -> None:
    """With everything that was said of them; the generation goes on."""
    first = opened(tmp_path)
    assert first.create_schema("MAIN", "Sales", "of sales")
    assert not first.create_schema("main", "sales")
    location = made(first, "sales", "orders")
    first.put(Relation("main", "sales", "orders", location=location))
    first.put(
        Relation("main", "sales", "v", text="SELECT 1 AS a", columns=(("a", "int", "c"),), output=("a",))
    )
    generation = first.generation

    second = opened(tmp_path)
    assert second.schema("main", "SALES") == first.schema("main", "sales")
    assert [relation.name for relation in second.relations("main", "sales")] == ["orders", "v"]
    assert second.get("main", "sales", "V") == first.get("main", "sales", "v")
    assert second.generation == generation
    assert [column.type for column in second.columns(second.relations("main", "sales")[0])] == [
        "bigint",
        "string",
    ]
    assert second.partition_columns(second.relations("main", "sales")[0]) == ["b"]


def test_a_catalog_is_added_and_stays(tmp_path: Path) -> None:
    """A catalog that is made later has schemas and tables as any other, also after a restart."""
    first = opened(tmp_path)
    assert first.create_catalog("Catalog_Tenant_X")
    assert not first.create_catalog("catalog_tenant_x")
    assert first.create_schema("catalog_tenant_x", "bronze")
    made(first, "bronze", "orders", "catalog_tenant_x")
    second = opened(tmp_path)
    assert second.catalogs() == ["main", "gold", "catalog_tenant_x"]
    assert [schema.name for schema in second.schemas("catalog_tenant_x")] == ["bronze", "default"]
    assert [one.name for one in second.relations("catalog_tenant_x", "bronze")] == ["orders"]


def test_every_catalog_has_the_schema_default(tmp_path: Path) -> None:
    """And only the catalogs that were given exist."""
    registry = opened(tmp_path)
    assert [schema.name for schema in registry.schemas("gold")] == ["default"]
    with pytest.raises(LocalError, match="does not exist"):
        registry.create_schema("silver", "s")


def test_a_table_on_disk_is_found(tmp_path: Path) -> None:
    """At start with its schema; later when it is asked for or listed."""
    registry = opened(tmp_path)
    made(registry, "raw", "events")
    assert registry.get("main", "raw", "events") is None  # the schema is not known yet
    again = opened(tmp_path)
    assert again.get("main", "raw", "events") is not None
    made(again, "raw", "odd é")
    assert again.get("main", "raw", "Odd É") is not None
    made(again, "raw", "late")
    assert [relation.name for relation in again.relations("main", "raw")] == ["events", "late", "odd é"]


def test_dropping_deletes_the_folder_for_good(tmp_path: Path) -> None:
    """It does not come back at the next start."""
    registry = opened(tmp_path)
    registry.create_schema("main", "s")
    location = made(registry, "s", "t")
    assert registry.drop("main", "s", "T")
    assert not registry.drop("main", "s", "t")
    assert not location.exists()
    assert opened(tmp_path).get("main", "s", "t") is None


def test_dropping_an_external_table_keeps_its_files(tmp_path: Path) -> None:
    """The workspace does not own them."""
    registry = opened(tmp_path / "w")
    write_deltalake(tmp_path / "ext", pa.table({"a": [1]}))
    registry.put(Relation("main", "default", "e", location=tmp_path / "ext", managed=False))
    assert registry.drop("main", "default", "e")
    assert (tmp_path / "ext/_delta_log").is_dir()


def test_a_schema_that_is_not_empty_needs_cascade(tmp_path: Path) -> None:
    """Then all that is in it goes."""
    registry = opened(tmp_path)
    registry.create_schema("main", "s")
    location = made(registry, "s", "t")
    with pytest.raises(LocalError, match="not empty"):
        registry.drop_schema("main", "s")
    assert registry.drop_schema("main", "s", cascade=True)
    assert registry.schema("main", "s") is None
    assert not location.exists()
    assert opened(tmp_path).schema("main", "s") is None


def test_a_table_whose_folder_is_gone_is_forgotten_at_start(tmp_path: Path) -> None:
    """A process killed inside DROP leaves a row without a folder at worst."""
    registry = opened(tmp_path)
    location = made(registry, "default", "t")
    assert registry.get("main", "default", "t") is not None
    location.rename(tmp_path / "elsewhere")
    assert opened(tmp_path).get("main", "default", "t") is None


def test_a_renamed_table_keeps_its_rows_and_moves(tmp_path: Path) -> None:
    """Name and folder go together."""
    registry = opened(tmp_path)
    registry.create_schema("main", "s")
    made(registry, "default", "old")
    old = registry.get("main", "default", "old")
    assert old is not None
    new = registry.rename(old, "s", "new")
    assert new.location == registry.locations.table("main", "s", "new")
    assert registry.get("main", "default", "old") is None
    assert opened(tmp_path).get("main", "s", "new") is not None


def test_the_folder_can_be_moved(tmp_path: Path) -> None:
    """Locations inside it are kept relative."""
    registry = opened(tmp_path / "one")
    made(registry, "default", "t")
    assert registry.get("main", "default", "t") is not None
    (tmp_path / "one").rename(tmp_path / "two")
    found = opened(tmp_path / "two").get("main", "default", "t")
    assert found is not None
    assert found.table_location().is_relative_to((tmp_path / "two").resolve())
