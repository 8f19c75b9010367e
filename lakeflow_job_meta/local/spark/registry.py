"""The catalog of the workspace: schemas, tables and views, kept outside every Spark session.

Kept in SQLite and in memory; this process is the only writer. Names are stored in lower case, as
Unity Catalog does. A Delta table that lies under `warehouse/<catalog>/<schema>/<table>` without
being known is taken in when it is asked for, and at start.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.spark import delta
from lakeflow_job_meta.local.spark.locations import Locations, name_of
from lakeflow_job_meta.local.state import Database

DDL = """
CREATE TABLE IF NOT EXISTS spark_schemas(
    catalog TEXT NOT NULL, name TEXT NOT NULL, comment TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL,
    PRIMARY KEY(catalog, name));
CREATE TABLE IF NOT EXISTS spark_catalogs(name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS spark_relations(
    catalog TEXT NOT NULL, schema TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, generation INTEGER NOT NULL,
    PRIMARY KEY(catalog, schema, name));
CREATE TABLE IF NOT EXISTS spark_generation(only INTEGER PRIMARY KEY CHECK (only = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO spark_generation(only, value) VALUES (1, 0);
"""

Name = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema. `created` is in milliseconds since the epoch."""

    catalog: str
    name: str
    comment: str
    created: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or a view.

    Args:
        location: folder of a table, None for a view.
        managed: whether the workspace owns the folder; DROP deletes it then.
        text: the query of a view, every table in it with its full name.
        columns: name, type and comment of a view's columns; a table's are in its Delta log.
        output: the names that a view's query gave its columns when it was made.
        created: milliseconds since the epoch.
        generation: the registry's generation when it was last changed.
    """

    catalog: str
    schema: str
    name: str
    location: Path | None = None
    managed: bool = True
    text: str = ""
    columns: tuple[tuple[str, str, str], ...] = ()
    output: tuple[str, ...] = ()
    comment: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    created: int = 0
    generation: int = 0

    @property
    def is_view(self) -> bool:
        return self.location is None

    @property
    def full_name(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.name}"

    @property
    def key(self) -> Name:
        return self.catalog, self.schema, self.name

    def table_location(self) -> Path:
        """The folder of a table.

        Raises:
            LocalError: it is a view.
        """
        if self.location is None:
            raise LocalError(f"{self.full_name} is a view; name a table")
        return self.location


def key_of(catalog: str, schema: str, name: str) -> Name:
    """A name as the registry stores it."""
    return catalog.lower(), schema.lower(), name.lower()


class Registry:
    """Schemas, tables and views of one workspace; safe to use from several threads.

    Args:
        database: where they are kept.
        folder: the workspace's folder.
        catalogs: the names of the catalogs, the first is the default.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        folder: Folder,
        catalogs: Sequence[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._folder = folder
        self._catalogs = tuple(dict.fromkeys(name.lower() for name in catalogs))
        if not self._catalogs:
            raise LocalError("an embedded workspace needs at least one catalog")
        self._clock = clock
        self._lock = threading.RLock()
        self._schemas: dict[tuple[str, str], Schema] = {}
        self._relations: dict[tuple[str, str], dict[str, Relation]] = {}
        self.locations = Locations(folder)
        database.script(DDL)
        earlier = (row["name"] for row in database.read("SELECT name FROM spark_catalogs ORDER BY name"))
        self._catalogs = tuple(dict.fromkeys([*self._catalogs, *earlier]))
        self._load()
        self._discover()

    # ------------------------------------------------------------ reading

    @property
    def generation(self) -> int:
        """Grows at every change of a schema, table or view."""
        return self._generation

    def catalogs(self) -> list[str]:
        """The catalogs in the order in which they were given."""
        return list(self._catalogs)

    def create_catalog(self, name: str) -> bool:
        """Adds a catalog that stays; False when it is there already.

        Sail takes a catalog of its own only when it starts. Until then it holds the new one's schemas as nested
        namespaces of the default catalog, which three-part names reach all the same.
        """
        name = name.lower()
        with self._lock:
            if name in self._catalogs:
                return False
            self._database.write("INSERT OR IGNORE INTO spark_catalogs(name) VALUES (?)", name)
            self._catalogs = (*self._catalogs, name)
        self.create_schema(name, "default")
        return True

    def schemas(self, catalog: str) -> list[Schema]:
        """The schemas of a catalog by name; empty when there is no such catalog."""
        with self._lock:
            return sorted(
                (s for s in self._schemas.values() if s.catalog == catalog.lower()), key=lambda s: s.name
            )

    def schema(self, catalog: str, name: str) -> Schema | None:
        """The schema, None when it does not exist."""
        return self._schemas.get((catalog.lower(), name.lower()))

    def relations(self, catalog: str, schema: str) -> list[Relation]:
        """Tables and views of a schema by name."""
        key = catalog.lower(), schema.lower()
        if key in self._schemas:
            self._discover_schema(*key)
        with self._lock:
            return sorted(self._relations.get(key, {}).values(), key=lambda relation: relation.name)

    def get(self, catalog: str, schema: str, name: str) -> Relation | None:
        """The table or view, None when it does not exist."""
        key = key_of(catalog, schema, name)
        found = self._relations.get(key[:2], {}).get(key[2])
        return found if found is not None else self._adopt(key)

    def columns(self, relation: Relation) -> list[delta.Column]:
        """The columns of a table (from its Delta log) or of a view (as they were when it was made).

        Raises:
            LocalError: the table's Delta log cannot be read.
        """
        if relation.location is not None:
            return list(delta.details(relation.location).columns)
        return [
            delta.Column(name, kind, True, {"comment": comment} if comment else {})
            for name, kind, comment in relation.columns
        ]

    def comment(self, relation: Relation) -> str:
        """The comment of a table (from its Delta log) or of a view. Raises LocalError as `columns` does."""
        if relation.location is not None:
            return delta.details(relation.location).description or ""
        return relation.comment

    def partition_columns(self, relation: Relation) -> list[str]:
        """The partition columns of a table, empty for a view."""
        return (
            list(delta.details(relation.location).partition_columns) if relation.location is not None else []
        )

    @property
    def scratch(self) -> Path:
        """A folder for files that can be made again."""
        return self._folder.private / "spark"

    # ------------------------------------------------------------ schemas

    def create_schema(self, catalog: str, name: str, comment: str = "") -> bool:
        """Creates a schema; False when it is there already.

        Raises:
            LocalError: there is no such catalog.
        """
        key = catalog.lower(), name.lower()
        with self._lock:
            if key[0] not in self._catalogs:
                raise LocalError(
                    f"catalog {catalog!r} does not exist; there are {', '.join(self._catalogs)} "
                    "(more are set when the workspace starts)"
                )
            if key in self._schemas:
                return False
            schema = Schema(*key, comment, self._now())
            with self._database.transaction():
                self._advance()
                self._database.write(
                    "INSERT INTO spark_schemas(catalog, name, comment, created) VALUES (?, ?, ?, ?)",
                    schema.catalog,
                    schema.name,
                    schema.comment,
                    schema.created,
                )
            self._schemas[key] = schema
            return True

    def comment_schema(self, catalog: str, name: str, comment: str) -> bool:
        """Sets the comment of a schema; False when there is no such schema."""
        key = catalog.lower(), name.lower()
        with self._lock:
            schema = self._schemas.get(key)
            if schema is None:
                return False
            self._database.write(
                "UPDATE spark_schemas SET comment = ? WHERE catalog = ? AND name = ?", comment, *key
            )
            self._schemas[key] = replace(schema, comment=comment)
            return True

    def drop_schema(self, catalog: str, name: str, *, cascade: bool = False) -> bool:
        """Drops a schema, with all that is in it when `cascade`; False when it is not there.

        Raises:
            LocalError: it is not empty and `cascade` was not said.
        """
        key = catalog.lower(), name.lower()
        with self._lock:
            if key not in self._schemas:
                return False
            inside = self.relations(*key)
            if inside and not cascade:
                raise LocalError(
                    f"schema {'.'.join(key)} is not empty ({inside[0].name}, ...); drop it with CASCADE (force)"
                )
            for relation in inside:
                self.drop(*relation.key)
            with self._database.transaction():
                self._advance()
                self._database.write("DELETE FROM spark_schemas WHERE catalog = ? AND name = ?", *key)
            del self._schemas[key]
            self._relations.pop(key, None)
            self._discard(self.locations.table(*key, "x").parent)
            return True

    # ------------------------------------------------------------ tables and views

    def put(self, relation: Relation) -> Relation:
        """Records a table or view, new or changed, and returns it as it is stored.

        Raises:
            LocalError: its schema does not exist.
        """
        key = key_of(*relation.key)
        with self._lock:
            if key[:2] not in self._schemas:
                raise LocalError(f"schema {'.'.join(key[:2])} does not exist; create it first")
            with self._database.transaction():
                stored = replace(
                    relation,
                    catalog=key[0],
                    schema=key[1],
                    name=key[2],
                    created=relation.created or self._now(),
                    generation=self._advance(),
                )
                self._database.write(
                    "INSERT OR REPLACE INTO spark_relations(catalog, schema, name, body, generation) "
                    "VALUES (?, ?, ?, ?, ?)",
                    *key,
                    self._encode(stored),
                    stored.generation,
                )
            self._relations.setdefault(key[:2], {})[key[2]] = stored
            return stored

    def drop(self, catalog: str, schema: str, name: str) -> bool:
        """Drops a table (with its folder, when the workspace owns it) or view; False when it is not there."""
        key = key_of(catalog, schema, name)
        with self._lock:
            relation = self.get(*key)
            if relation is None:
                return False
            # First out of sight, in one step: a folder left behind would be taken in again at start.
            if relation.location is not None and relation.managed:
                self._discard(relation.location)
            with self._database.transaction():
                self._advance()
                self._database.write(
                    "DELETE FROM spark_relations WHERE catalog = ? AND schema = ? AND name = ?", *key
                )
            self._relations[key[:2]].pop(key[2], None)
            return True

    def rename(self, relation: Relation, schema: str, name: str) -> Relation:
        """Gives a table or view another name in its catalog; a managed table's folder moves with it.

        Raises:
            LocalError: the name is taken, or the schema does not exist.
        """
        new = key_of(relation.catalog, schema, name)
        with self._lock:
            if self.get(*new) is not None:
                raise LocalError(f"{'.'.join(new)} already exists; choose another name")
            if new[:2] not in self._schemas:
                raise LocalError(f"schema {'.'.join(new[:2])} does not exist; create it first")
            location = relation.location
            if location is not None and relation.managed:
                target = self.locations.table(*new)
                target.parent.mkdir(parents=True, exist_ok=True)
                location = location.rename(target)
            with self._database.transaction():
                stored = self.put(
                    replace(relation, schema=new[1], name=new[2], location=location, created=relation.created)
                )
                self._database.write(
                    "DELETE FROM spark_relations WHERE catalog = ? AND schema = ? AND name = ?", *relation.key
                )
            self._relations[relation.key[:2]].pop(relation.name, None)
            return stored

    # ------------------------------------------------------------ inside

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _advance(self) -> int:
        self._database.write("UPDATE spark_generation SET value = value + 1")
        self._generation = int(self._database.read("SELECT value FROM spark_generation")[0]["value"])
        return self._generation

    def _encode(self, relation: Relation) -> str:
        location: str | None = None
        if relation.location is not None:
            # Relative, so that the workspace's folder can be moved.
            inside = relation.location.is_relative_to(self._folder.warehouse)
            location = str(
                relation.location.relative_to(self._folder.warehouse) if inside else relation.location
            )
        body: dict[str, Any] = {
            "location": location,
            "managed": relation.managed,
            "text": relation.text,
            "columns": relation.columns,
            "output": relation.output,
            "comment": relation.comment,
            "properties": relation.properties,
            "created": relation.created,
        }
        return orjson.dumps(body).decode()

    def _load(self) -> None:
        self._generation = int(self._database.read("SELECT value FROM spark_generation")[0]["value"])
        for row in self._database.read("SELECT catalog, name, comment, created FROM spark_schemas"):
            self._schemas[row["catalog"], row["name"]] = Schema(
                row["catalog"], row["name"], row["comment"], row["created"]
            )
        gone: list[Name] = []
        for row in self._database.read("SELECT catalog, schema, name, body, generation FROM spark_relations"):
            body = orjson.loads(row["body"])
            location = self._folder.warehouse / body["location"] if body["location"] is not None else None
            relation = Relation(
                row["catalog"],
                row["schema"],
                row["name"],
                location=location,
                managed=body["managed"],
                text=body["text"],
                columns=tuple((c[0], c[1], c[2]) for c in body["columns"]),
                output=tuple(body["output"]),
                comment=body["comment"],
                properties=tuple((p[0], p[1]) for p in body["properties"]),
                created=body["created"],
                generation=row["generation"],
            )
            if location is not None and relation.managed and not delta.exists(location):
                gone.append(relation.key)  # dropped, or its folder removed by hand
                continue
            self._relations.setdefault(relation.key[:2], {})[relation.name] = relation
        for key in gone:
            self._database.write(
                "DELETE FROM spark_relations WHERE catalog = ? AND schema = ? AND name = ?", *key
            )

    def _discover(self) -> None:
        shutil.rmtree(self._trash, ignore_errors=True)
        for catalog in self._catalogs:
            self.create_schema(catalog, "default")
            root = self.locations.table(catalog, "x", "x").parent.parent
            for folder in sorted(root.iterdir()) if root.is_dir() else ():
                if folder.is_dir():
                    self.create_schema(catalog, name_of(folder.name))
        for key in list(self._schemas):
            self._discover_schema(*key)

    def _discover_schema(self, catalog: str, schema: str) -> None:
        root = self.locations.table(catalog, schema, "x").parent
        known = self._relations.get((catalog, schema), {})
        if not root.is_dir():
            return
        for folder in root.iterdir():
            name = name_of(folder.name)
            if name not in known:
                self._adopt((catalog, schema, name))

    def _adopt(self, key: Name) -> Relation | None:
        """Takes in a Delta table that something else wrote into the warehouse."""
        if key[:2] not in self._schemas:
            return None
        location = self.locations.table(*key)
        if not delta.exists(location):
            return None
        with self._lock:
            found = self._relations.get(key[:2], {}).get(key[2])
            return found if found is not None else self.put(Relation(*key, location=location))

    @property
    def _trash(self) -> Path:
        return self._folder.private / "trash"

    def _discard(self, path: Path) -> None:
        """Removes a folder: out of the warehouse in one step, then file by file."""
        if not path.exists():
            return
        self._trash.mkdir(parents=True, exist_ok=True)
        target = self._trash / secrets.token_hex(8)
        path.rename(target)
        shutil.rmtree(target, ignore_errors=True)
