"""Where a label's files are: its volume (or view), with a name that is legal, its own, and stays.

The table `dxr_labels` remembers each label's place and what we set on it, so that two labels never share a place and
only our own tags and grants are ever taken away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName, canonical_json, digest
from lakeflow_job_meta.ports import Catalog, Column, TableDefinition, Tables

JsonObject = dict[str, Any]
VOLUME, VIEW = "volume", "view"
#: Mapping key for every label.
ALL_LABELS = "*"
_SLUG = re.compile(r"[^a-z0-9]+")
_SLUG_LENGTH = 100
_TAG_KEY_FORBIDDEN = re.compile(r"[.,\-=/:\x00-\x1f]")
_SPACES = re.compile(r"[ _]+")


def label_table(name: TableName) -> TableDefinition:
    """One row for each label and kind of place."""
    return TableDefinition(
        name,
        (
            Column("label", "STRING", "the label's name"),
            Column("kind", "STRING", "volume or view"),
            Column("place", "STRING", "full name of its volume or view"),
            Column("tags_json", "STRING", "tags that we set on the volume"),
            Column("grants_json", "STRING", "grants that we made on the volume"),
            Column("updated_at", "TIMESTAMP", "when this row was last written"),
        ),
        "Data X-Ray: where the files of each label are",
    )


@dataclass
class Place:
    """A label's place.

    Args:
        tags: what we set, by key.
        grants: what we granted, privileges by principal.
    """

    label: str
    name: TableName
    tags: dict[str, str] = field(default_factory=dict)
    grants: dict[str, list[str]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The volume's path."""
        return f"/Volumes/{self.name.catalog}/{self.name.schema}/{self.name.table}"


def slug(label: str) -> str:
    """What of a label may stand in a name: `[a-z0-9_]`; a hash where nothing is left."""
    cut = _SLUG.sub("_", label.lower()).strip("_")[:_SLUG_LENGTH].strip("_")
    return cut or digest(label, 12)


def choose_name(label: str, prefix: str, schema: tuple[str, str], taken: Iterable[TableName]) -> TableName:
    """A name for the label's place that no other label has: `<prefix><slug>`, with a hash when that is taken."""
    plain = TableName(*schema, f"{prefix}{slug(label)}")
    if plain not in set(taken):
        return plain
    return TableName(*schema, f"{prefix}{slug(label)}_{digest(label, 12)}")


def check_prefix(prefix: str) -> str:
    """The prefix. Raises UsageError when it is not the beginning of a name."""
    if not re.fullmatch(r"[a-z0-9_]{1,64}", prefix):
        raise UsageError(f"label_volume_prefix must be letters a-z, digits and _, at most 64, not {prefix!r}")
    return prefix


class LabelPlaces:
    """The places of one kind in one schema.

    Args:
        table: `dxr_labels`; it is made when it is not there.
        schema: (catalog, schema) of new places.
        prefix: what their names begin with.
    """

    def __init__(
        self,
        tables: Tables,
        table: TableName,
        kind: str,
        schema: tuple[str, str],
        prefix: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._tables = tables
        self._definition = label_table(table)
        self._kind = kind
        self._schema = schema
        self._prefix = check_prefix(prefix)
        self._clock = clock
        self._known: dict[str, Place] = {}

    def load(self) -> dict[str, Place]:
        """The places that are known, by label. Raises TableMismatch."""
        if not definitions.check(self._tables, self._definition):
            return self._known
        sql = f"SELECT * FROM {self._definition.name.quoted} WHERE `kind` = :kind"
        for row in self._tables.query(sql, {"kind": self._kind}):
            name = TableName.parse(row["place"])
            if (name.catalog, name.schema) == self._schema:
                self._known[row["label"]] = Place(
                    row["label"],
                    name,
                    json.loads(row["tags_json"] or "{}"),
                    json.loads(row["grants_json"] or "{}"),
                )
        return self._known

    def place(self, label: str) -> Place:
        """The label's place, a new name chosen when it has none yet."""
        found = self._known.get(label)
        if found is None:
            taken = [place.name for place in self._known.values()]
            found = Place(label, choose_name(label, self._prefix, self._schema, taken))
            self._known[label] = found
        return found

    def save(self, places: Iterable[Place]) -> None:
        """Remember the places, and what was set on them."""
        rows = [
            {
                "label": place.label,
                "kind": self._kind,
                "place": place.name.quoted,
                "tags_json": canonical_json(place.tags),
                "grants_json": canonical_json(place.grants),
                "updated_at": self._clock(),
            }
            for place in places
        ]
        if not rows:
            return
        definitions.ensure(self._tables, self._definition)
        commit(lambda: self._tables.merge(self._definition, rows, keys=["label", "kind"]))

    def forget(self, label: str) -> None:
        """Forget a label's place."""
        self._known.pop(label, None)
        sql = (
            f"DELETE FROM {self._definition.name.quoted} WHERE `kind` = '{self._kind}' AND "
            f"sha2(`label`, 256) = '{digest(label)}'"
        )
        commit(lambda: self._run(sql))

    def _run(self, sql: str) -> None:
        self._tables.query(sql)


# ---------------------------------------------------------------- tags and grants


@dataclass(frozen=True)
class Access:
    """Tags and grants by label, as they were given; `*` is for every label.

    Raises:
        UsageError: a tag's key or value, or a grant, is not one.
    """

    tags: Mapping[str, Mapping[str, str]]
    grants: Mapping[str, Mapping[str, list[str]]]

    @classmethod
    def of(cls, tags: Mapping[str, Any], grants: Mapping[str, Any]) -> Access:
        """Read the two settings."""
        return cls(
            {label: _tags(label, given) for label, given in tags.items()},
            {label: _grants(label, given) for label, given in grants.items()},
        )

    def tags_of(self, label: str) -> dict[str, str]:
        return {**self.tags.get(ALL_LABELS, {}), **self.tags.get(label, {})}

    def grants_of(self, label: str) -> dict[str, list[str]]:
        found: dict[str, set[str]] = {}
        for given in (self.grants.get(ALL_LABELS, {}), self.grants.get(label, {})):
            for principal, privileges in given.items():
                found.setdefault(principal, set()).update(privileges)
        return {principal: sorted(privileges) for principal, privileges in found.items()}


def apply(catalog: Catalog, place: Place, access: Access) -> int:
    """Make the volume's tags and grants what the mapping says; only our own are taken away. How many changed.

    Raises:
        WorkspaceError: the platform refused; what was set until then stays.
    """
    changed = 0
    tags, grants = access.tags_of(place.label), access.grants_of(place.label)
    if tags or place.tags:
        there = catalog.volume_tags(place.name)
        for key, value in tags.items():
            if there.get(key) != value:
                catalog.set_volume_tag(place.name, key, value)
                changed += 1
        for key in sorted(set(place.tags) - set(tags)):
            if key in there:
                catalog.delete_volume_tag(place.name, key)
                changed += 1
        place.tags = tags
    if grants or place.grants:
        has = catalog.volume_grants(place.name)
        add = {who: sorted(set(what) - has.get(who, frozenset())) for who, what in grants.items()}
        remove = {
            who: sorted((set(what) - set(grants.get(who, ()))) & has.get(who, frozenset()))
            for who, what in place.grants.items()
        }
        add, remove = _some(add), _some(remove)
        if add or remove:
            catalog.change_volume_grants(place.name, add=add, remove=remove)
            changed += sum(map(len, add.values())) + sum(map(len, remove.values()))
        place.grants = grants
    return changed


def _some(changes: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {who: what for who, what in changes.items() if what}


def _tags(label: str, given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise UsageError(f"label_tags: {label!r} must have an object of tags, not {given!r}")
    tags = {str(key): "" if value is None else str(value) for key, value in given.items()}
    for key, value in tags.items():
        if not key or len(key) > 255 or _TAG_KEY_FORBIDDEN.search(key) or len(value) > 1000:
            raise UsageError(
                f"label_tags: {key!r} of {label!r} is not a tag: at most 255 characters without . , - = / : and "
                "control characters, its value at most 1000"
            )
    return tags


def _grants(label: str, given: Any) -> dict[str, list[str]]:
    if not isinstance(given, Mapping):
        raise UsageError(f"label_grants: {label!r} must have an object of principals, not {given!r}")
    found: dict[str, list[str]] = {}
    for principal, privileges in given.items():
        listed = [privileges] if isinstance(privileges, str) else privileges
        if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
            raise UsageError(
                f"label_grants: {principal!r} of {label!r} must have a list of privileges, not {privileges!r}"
            )
        found[str(principal)] = sorted({_SPACES.sub("_", one.strip()).upper() for one in listed})
    return found
