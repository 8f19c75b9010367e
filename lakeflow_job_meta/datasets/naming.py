"""Names of catalogs, tables and columns, from whatever people call things. Pure; used by both ends.

The rule: Unicode NFKD down to ASCII, lower case, every run of other characters one `_`, none at the ends;
nothing left becomes `dataset`, a leading digit gets `d_`; what is too long for Unity Catalog (255 characters)
is cut and ends in 8 hex digits of the whole name's hash. It is total and idempotent.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lakeflow_job_meta.datasets.model import Targets
from lakeflow_job_meta.names import TableName, canonical_json, digest

#: Unity Catalog: characters of a name.
LIMIT = 255
CATALOG_PREFIX = "catalog_tenant_"
BRONZE, SILVER, SILVER_SUFFIX = "bronze", "silver", "_clean"
#: Where the ids of datasets are taken from.
_IDS = uuid.UUID("6f0d4a52-3f8e-5d0b-9d5e-5a1f0c3f7b61")
#: What a taken table name gets: `_` and 6 hex digits of the dataset's id.
_MARK = 7
_OTHERS = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def normalise(text: str, *, empty: str = "dataset", prefix: str = "d_", limit: int = LIMIT) -> str:
    """`text` as a name of `[a-z0-9_]`.

    Args:
        empty: what a text without any letter or digit becomes.
        prefix: put before a leading digit.
        limit: characters that it may have, at least 16.
    """
    name = _OTHERS.sub("_", _ascii(text).lower()).strip("_") or empty
    if name[0].isdigit():
        name = prefix + name
    if len(name) > limit:
        name = f"{name[: limit - 9].rstrip('_')}_{digest(text, 8)}"
    return name


def catalog_of(tenant_id: str) -> str:
    """The catalog of a tenant: `catalog_tenant_<normalised id>`."""
    return CATALOG_PREFIX + tenant_part(tenant_id)


def tenant_part(tenant_id: str) -> str:
    """The tenant's id in the names of its catalog, its module and its folder."""
    return normalise(tenant_id, empty="default", prefix="", limit=LIMIT - len(CATALOG_PREFIX))


def table_of(
    dataset_name: str,
    dataset_id: str = "",
    taken: Collection[str] = (),
    *,
    suffix: str = SILVER_SUFFIX,
) -> str:
    """The bronze table of a dataset; the silver table is the same and `suffix`.

    Who comes second gets `_` and 6 hex digits of its id, so that no dataset ever writes into another's table.

    Args:
        taken: tables of the same tenant's other datasets.
    """
    name = normalise(dataset_name, limit=LIMIT - _MARK - len(suffix))
    # `x` with the suffix and `x_clean` without one lie in two schemas: only equal names collide.
    return f"{name}_{id_part(dataset_id, 6)}" if name in taken else name


def dataset_id_of(control_table: str, tenant_id: str, dataset_name: str, former: int = 0) -> str:
    """The id of a new dataset, a UUID: two first uploads of one name at the same time are two versions of one dataset.

    Args:
        former: datasets that the tenant had by this name, all deleted.
    """
    return str(uuid.uuid5(_IDS, canonical_json([control_table, tenant_id, dataset_name, former])))


def id_part(dataset_id: str, length: int) -> str:
    """The first hex digits of a dataset's id; of its hash when the id has not as many."""
    digits = dataset_id.replace("-", "").lower()
    if len(digits) >= length and re.fullmatch(r"[0-9a-f]+", digits):
        return digits[:length]
    return digest(dataset_id, length)


def source_id_of(dataset_id: str, table: str) -> str:
    """The control row's key, and the stem of its task keys: `ds_<8 hex of the id>_<table>`."""
    return f"ds_{id_part(dataset_id, 8)}_{table}"


def module_of(tenant_id: str, number: int = 1) -> str:
    """The module of a tenant's datasets; a second one and more when one job cannot hold them all."""
    name = f"datasets_{tenant_part(tenant_id)}"
    return name if number < 2 else f"{name}_{number}"


def bronze_table(
    tenant_id: str, dataset_name: str, *, catalog: str = "", schema: str = BRONZE, table: str = ""
) -> TableName:
    """`catalog_tenant_<id>.bronze.<name>`, unless a part is given."""
    return TableName(catalog or catalog_of(tenant_id), schema, table or table_of(dataset_name))


def silver_table(
    tenant_id: str,
    dataset_name: str,
    *,
    catalog: str = "",
    schema: str = SILVER,
    table: str = "",
    suffix: str = SILVER_SUFFIX,
) -> TableName:
    """`catalog_tenant_<id>.silver.<name>_clean`, unless a part is given."""
    return TableName(
        catalog or catalog_of(tenant_id), schema, (table or table_of(dataset_name, suffix=suffix)) + suffix
    )


def targets(
    tenant_id: str, dataset_name: str, target: Mapping[str, Any], external_location: str = ""
) -> Targets:
    """The two tables of a dataset: the parts that its row's target_config names, the others derived."""
    catalog, table = str(target.get("catalog") or ""), str(target.get("table") or "")
    return Targets(
        bronze_table(
            tenant_id,
            dataset_name,
            catalog=catalog,
            schema=str(target.get("bronze_schema") or BRONZE),
            table=table,
        ),
        silver_table(
            tenant_id,
            dataset_name,
            catalog=catalog,
            schema=str(target.get("silver_schema") or SILVER),
            table=table,
            suffix=str(target.get("silver_suffix") or SILVER_SUFFIX),
        ),
        external_location,
    )


def column_names(names: Iterable[str]) -> list[str]:
    """Column names in snake_case, all distinct: a name that is taken gets `_2`, `_3`, ...

    `Order ID` and `orderID` become `order_id` and `order_id_2`; `2nd` becomes `c_2nd`; a name without any
    letter or digit becomes `column`.
    """
    wanted = [normalise(_HUMP.sub("_", _ascii(name)), empty="column", prefix="c_") for name in names]
    # A name that somebody has by right is not given away: `a`, `a`, `a_2` become `a`, `a_3`, `a_2`.
    given: set[str] = set()
    by_right = set(wanted)
    found: list[str] = []
    for name in wanted:
        candidate, number = name, 1
        while candidate in given or (candidate != name and candidate in by_right):
            number += 1
            mark = f"_{number}"
            candidate = f"{name[: LIMIT - len(mark)]}{mark}"
        given.add(candidate)
        found.append(candidate)
    return found


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
