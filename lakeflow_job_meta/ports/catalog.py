"""The port to Unity Catalog: catalogs and volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from lakeflow_job_meta.names import TableName


class Catalog(Protocol):
    """Unity Catalog: catalogs; volumes, their tags and grants. Names of volumes are `catalog.schema.volume`, in lower case."""

    def catalog_exists(self, name: str) -> bool:
        """Whether there is a catalog of that name that the caller sees."""
        ...

    def create_catalog(self, name: str, comment: str = "") -> bool:
        """Make a catalog; False when there is one already. Raises WorkspaceError."""
        ...

    def volume_exists(self, name: TableName) -> bool:
        """Whether there is a volume of that name that the caller sees."""
        ...

    def create_volume(self, name: TableName, comment: str = "") -> bool:
        """Make a managed volume; False when there is one already. Raises WorkspaceError."""
        ...

    def volume_tags(self, name: TableName) -> dict[str, str]:
        """The volume's own tags."""
        ...

    def set_volume_tag(self, name: TableName, key: str, value: str) -> None:
        """Set one tag of the volume, whether it has it already or not."""
        ...

    def delete_volume_tag(self, name: TableName, key: str) -> None:
        """Take one tag off the volume; done when it is gone already."""
        ...

    def volume_grants(self, name: TableName) -> dict[str, frozenset[str]]:
        """Privileges granted on the volume itself, by principal; inherited ones left out."""
        ...

    def change_volume_grants(
        self,
        name: TableName,
        *,
        add: Mapping[str, Iterable[str]],
        remove: Mapping[str, Iterable[str]],
    ) -> None:
        """Grant and revoke privileges on the volume, by principal, in one call."""
        ...
