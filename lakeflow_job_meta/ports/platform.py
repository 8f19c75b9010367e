"""The port to what a deployment makes and a diagnosis asks for, outside of jobs.

The adapter is `adapters/databricks_platform`; `runtime` picks it. Every method raises only WorkspaceError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from lakeflow_job_meta.ports.workspace import CallCount, JsonObject

SecurableKind = Literal["catalog", "schema", "volume", "table"]


@dataclass(frozen=True, slots=True)
class Securable:
    """A catalog, schema, volume or table as Unity Catalog has it; `owner` is a user or a group."""

    full_name: str
    owner: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the user name (or application id) and the names of the groups."""

    name: str
    groups: frozenset[str] = frozenset()


class Platform(Protocol):
    """What a deployment makes and what a diagnosis asks for, outside of jobs. Raises WorkspaceError."""

    #: Calls so far, and how many of them changed the workspace.
    count: CallCount

    def caller(self) -> Caller:
        """Who calls."""
        ...

    def find(self, kind: SecurableKind, full_name: str) -> Securable | None:
        """The object; None when there is none, or none that the caller may see."""
        ...

    def privileges(self, kind: SecurableKind, full_name: str, principal: str) -> frozenset[str]:
        """Privileges of the principal on the object, inherited ones included (not those of an owner)."""
        ...

    def create_schema(self, catalog: str, schema: str, comment: str = "") -> None:
        """Make the schema; done when it is there already."""
        ...

    def tables(self, catalog: str, schema: str) -> list[str]:
        """Full names of the tables and views of the schema, sorted."""
        ...

    def delete(self, kind: SecurableKind, full_name: str) -> None:
        """Delete the object with what is in it (a schema must be empty); done when it is gone already."""
        ...

    def create_folder(self, path: str) -> None:
        """Make the folder below `/Volumes` with those above it; done when it is there already."""
        ...

    def warehouse(self, warehouse_id: str) -> JsonObject | None:
        """The SQL warehouse on the wire; None when there is none, or none that the caller may see."""
        ...

    def cluster(self, cluster_id: str) -> JsonObject | None:
        """The cluster on the wire; None when there is none, or none that the caller may see."""
        ...
