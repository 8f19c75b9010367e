"""Tenants: what is whose, and who may read it. Pure.

A tenant has one catalog, one folder of landed files and its own modules, all named after its id. A row, a path
or a table that names another tenant's is refused, by every part of this room that is given one.
"""

from __future__ import annotations

from collections.abc import Sequence

from lakeflow_job_meta.datasets.model import Targets
from lakeflow_job_meta.datasets.naming import BRONZE, SILVER, catalog_of
from lakeflow_job_meta.errors import DatasetError
from lakeflow_job_meta.names import quote_identifier

#: Groups that everybody is in.
_EVERYBODY = frozenset({"account users", "users", "all account users"})


def check_targets(tenant_id: str, targets: Targets) -> Targets:
    """The tables, when they lie in the tenant's own catalog.

    Raises:
        DatasetError: naming the table and the catalog that it must be in.
    """
    own = catalog_of(tenant_id)
    for table in (targets.bronze, targets.silver):
        if table.catalog.lower() != own:
            raise DatasetError(
                f"{table} lies outside {own}, the catalog of tenant {tenant_id!r}: leave target_config.catalog out"
            )
    if targets.bronze == targets.silver:
        raise DatasetError(
            f"{targets.bronze} is both the bronze and the silver table: give silver_suffix or a schema"
        )
    return targets


def grant_statements(tenant_id: str, group: str, schemas: Sequence[str] = (BRONZE, SILVER)) -> list[str]:
    """SQL that lets a group read the tenant's tables, and nothing else.

    Raises:
        DatasetError: the group is everybody.
    """
    if group.strip().lower() in _EVERYBODY or not group.strip():
        raise DatasetError(f"{group!r} is everybody: name the tenant's own group")
    catalog, to = quote_identifier(catalog_of(tenant_id)), quote_identifier(group)
    statements = [f"GRANT USE CATALOG ON CATALOG {catalog} TO {to}"]
    for schema in schemas:
        name = f"{catalog}.{quote_identifier(schema)}"
        statements += [f"GRANT USE SCHEMA ON SCHEMA {name} TO {to}", f"GRANT SELECT ON SCHEMA {name} TO {to}"]
    return statements
