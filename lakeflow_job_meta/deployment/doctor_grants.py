"""Which privileges the monitor lacks, as the statements that grant them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Caller, Platform, SecurableKind

#: What the monitor needs, by kind of object (Unity Catalog's privileges).
NEEDED: Mapping[SecurableKind, tuple[str, ...]] = {
    "catalog": ("USE_CATALOG",),
    "schema": ("USE_SCHEMA", "CREATE_TABLE"),
    "table": ("SELECT", "MODIFY"),
    "volume": ("READ_VOLUME",),
}


def missing_grants(
    platform: Platform, who: Caller, tables: Sequence[TableName], volumes: Iterable[TableName]
) -> list[str]:
    """One GRANT for each object on which `who` lacks something; what does not exist is left out.

    The owner of an object, or of one above it, has all of its privileges.

    Args:
        tables: the control table first; its schema and catalog are looked at, too.

    Raises:
        WorkspaceError: the privileges cannot be read.
    """
    control = tables[0]
    objects: list[tuple[SecurableKind, str]] = [
        ("catalog", control.catalog),
        ("schema", f"{control.catalog}.{control.schema}"),
        *(("table", str(name)) for name in tables),
        *(("volume", str(name)) for name in volumes),
    ]
    owned: set[str] = set()
    missing: list[str] = []
    for kind, name in objects:
        found = platform.find(kind, name)
        if found is None:
            continue
        inherits = any(name.startswith(f"{one}.") for one in owned)
        if inherits or found.owner == who.name or found.owner in who.groups:
            owned.add(name)
            continue
        held = platform.privileges(kind, name, who.name)
        if held & {"ALL_PRIVILEGES", "MANAGE"}:
            continue
        lacking = [one.replace("_", " ") for one in NEEDED[kind] if one not in held]
        if lacking:
            missing.append(f"GRANT {', '.join(lacking)} ON {kind.upper()} {name} TO `{who.name}`")
    return missing
