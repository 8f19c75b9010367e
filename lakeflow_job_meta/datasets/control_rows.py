"""The control table's rows of datasets: one a dataset, and the job row of its module. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lakeflow_job_meta.datasets import naming
from lakeflow_job_meta.datasets.model import Dataset, Targets
from lakeflow_job_meta.datasets.settings import DatasetSettings
from lakeflow_job_meta.datasets.types import NULL_TOKENS
from lakeflow_job_meta.errors import DatasetError
from lakeflow_job_meta.metadata.rows import JOB_ROW, JOB_SOURCE_TYPE, Row
from lakeflow_job_meta.names import canonical_json

JsonObject = dict[str, Any]
SOURCE_TYPE = "dataset"
TASK_TYPE = "dataset_sync"
#: Datasets in one module: three tasks each, and a job may have 1,000.
PER_MODULE = 300
#: Characters of a tag's value.
_TAG = 63


def row_of(rows: Iterable[Row], dataset_id: str) -> Row | None:
    """The dataset's row, active or not."""
    for row in rows:
        if row.source_type == SOURCE_TYPE and config(row.source_config).get("dataset_id") == dataset_id:
            return row
    return None


def make_row(
    rows: Sequence[Row],
    dataset: Dataset,
    settings: DatasetSettings,
    *,
    overrides: Mapping[str, Any] | None = None,
) -> Row:
    """The row that syncs this version of the dataset.

    A row that is there keeps its module, its id, its tables and what was changed in it by hand; only the
    dataset's facts are new.

    Args:
        rows: of all the tenant's modules.
        overrides: merged into the row's transformation_config.

    Raises:
        DatasetError: the overrides are no object.
    """
    facts = {
        "tenant_id": dataset.tenant_id,
        "dataset_id": dataset.dataset_id,
        "dataset_name": dataset.name,
        "path": dataset.path,
        "version": dataset.version,
        "file_name": dataset.file_name,
        "sha256": dataset.sha256,
        "row_count": dataset.row_count_local,
    }
    there = row_of(rows, dataset.dataset_id)
    if there is not None:
        changed = merged(config(there.transformation_config), overrides or {})
        return replace(
            there,
            source_config=canonical_json({**config(there.source_config), **facts}),
            transformation_config=canonical_json(changed),
            is_active=True,
        )
    taken = {
        str(config(row.target_config).get("table") or "") for row in rows if row.source_type == SOURCE_TYPE
    }
    table = naming.table_of(dataset.name, dataset.dataset_id, taken)
    target = {
        "catalog": naming.catalog_of(dataset.tenant_id),
        "bronze_schema": naming.BRONZE,
        "silver_schema": naming.SILVER,
        "table": table,
        "silver_suffix": naming.SILVER_SUFFIX,
    }
    if settings["schema"]:  # where the tasks find the tables about datasets
        target["schema"] = settings["schema"]
    return Row(
        source_id=naming.source_id_of(dataset.dataset_id, table),
        module_name=module_for(rows, dataset.tenant_id),
        source_type=SOURCE_TYPE,
        execution_order=1,
        source_config=canonical_json(facts),
        target_config=canonical_json(target),
        transformation_config=canonical_json(merged(transformation(settings), overrides or {})),
        is_active=True,
    )


def with_table(row: Row, dataset: Dataset, taken: Collection[str]) -> Row:
    """The row with a table of its own, though its name is taken. Its id stays: it is the row's key."""
    table = naming.table_of(dataset.name, dataset.dataset_id, taken)
    return replace(row, target_config=canonical_json({**config(row.target_config), "table": table}))


def released(row: Row) -> Row:
    """The row of a dataset whose tables were dropped: inactive, its table's name free for another."""
    target = {**config(row.target_config), "table": None}
    return replace(row, target_config=canonical_json(target), is_active=False)


def transformation(settings: DatasetSettings) -> JsonObject:
    """What a new row says about its sync."""
    sync: JsonObject = {"enabled": True, "auto": settings["auto_sync"], "on_delete": settings["on_delete"]}
    if settings["row_limit"]:
        sync["row_limit"] = settings["row_limit"]
    return {
        "task_type": TASK_TYPE,
        "bronze": {"mode": "managed"},
        "silver": {
            "infer_types": True,
            "null_tokens": list(NULL_TOKENS),
            "dedupe": "full_row",
            "column_case": "snake",
        },
        "sync": sync,
        "retry": {
            "max_attempts": settings["retry_attempts"],
            "interval_seconds": settings["retry_interval"],
            "on_timeout": settings["retry_on_timeout"],
        },
        "timeout_seconds": {
            "bronze": settings["bronze_timeout"],
            "silver": settings["silver_timeout"],
            "record": settings["record_timeout"],
        },
    }


def job_row(module: str, tenant_id: str, settings: DatasetSettings) -> Row:
    """The job row of a module of datasets: one run at a time, more are queued, a new version starts one."""
    job: JsonObject = {
        "max_concurrent_runs": 1,
        "queue": {"enabled": True},
        "run_on_change": True,
        "tags": {"dataset_sync": "true", "tenant": naming.tenant_part(tenant_id)[:_TAG]},
    }
    emails = [one.strip() for one in settings["failure_emails"].split(",") if one.strip()]
    if emails:
        job["email_notifications"] = {"on_failure": emails}
    return Row(JOB_ROW, module, JOB_SOURCE_TYPE, 0, None, None, canonical_json(job), True)


def modules_of(tenant_id: str, rows: int = 0) -> list[str]:
    """The names that the tenant's modules have, as many as this number of datasets may need, and one more."""
    return [naming.module_of(tenant_id, number) for number in range(1, rows // PER_MODULE + 3)]


def module_for(rows: Sequence[Row], tenant_id: str) -> str:
    """The first of the tenant's modules with room for one more dataset."""
    number = 1
    while True:
        module = naming.module_of(tenant_id, number)
        there = sum(row.module_name == module and row.source_type == SOURCE_TYPE for row in rows)
        if there < PER_MODULE:
            return module
        number += 1


def targets_of(row: Row) -> Targets:
    """The two tables that the row names, parts that it leaves out derived."""
    source, target = config(row.source_config), config(row.target_config)
    tenant, name = str(source.get("tenant_id") or ""), str(source.get("dataset_name") or "")
    return naming.targets(tenant, name, target)


def enabled(row: Row) -> bool:
    """The row's own switch."""
    sync = config(row.transformation_config).get("sync")
    return not (isinstance(sync, dict) and sync.get("enabled") is False)


def config(text: str | None) -> JsonObject:
    """A config of a row; empty when it is none (the module is refused for that elsewhere)."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def merged(base: JsonObject, over: Mapping[str, Any]) -> JsonObject:
    """`over` merged into `base`, objects into objects.

    Raises:
        DatasetError: `over` is no object.
    """
    if not isinstance(over, Mapping):
        raise DatasetError(f"the configuration of a dataset is a JSON object, not {over!r}")
    found = dict(base)
    for key, value in over.items():
        inner = found.get(key)
        found[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return found
