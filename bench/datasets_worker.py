"""What is measured about datasets, in a process of its own: ours, and a plain pandas script that cleans alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench import measure

JsonObject = dict[str, Any]
TENANT = "bench"
subject: dict[str, Any] = {}


def start(remote: str, warehouse: str, schema: str, root: str) -> JsonObject:
    """Connect, and warm up with a small upload and query."""
    from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
    from lakeflow_job_meta.adapters.spark_tables import SparkTables
    from lakeflow_job_meta.datasets import naming
    from lakeflow_job_meta.datasets.datasets import DatasetService
    from lakeflow_job_meta.datasets.settings import resolve
    from lakeflow_job_meta.names import TableName

    spark = measure.Spark(remote)
    spark.register("main", schema, warehouse, [])
    for layer in (naming.BRONZE, naming.SILVER):
        spark.register(naming.catalog_of(TENANT), layer, warehouse, [])
    service = DatasetService(
        TableName("main", schema, "etl_control"),
        SparkTables(spark.session),
        FuseVolumes(None),
        resolve({"tenant": TENANT, "landing": root}),
    )
    subject.update(spark=spark, service=service)
    warm = service.ingest([{"a": "1"}], name="warm up").dataset
    service.query(warm.dataset_id, "SELECT * FROM dataset")
    return {"idle_mb": measure.peak_mb()}


def ingest(path: str, name: str) -> JsonObject:
    """An upload, everything included: reading, types, landing, registry, control row, event."""
    measure.forget_peak()
    idle = measure.peak_mb()
    started = time.perf_counter()
    found = subject["service"].ingest(path, name=name)
    took = time.perf_counter() - started
    return {
        "took": took,
        "rows": found.dataset.row_count_local,
        "above_idle_mb": measure.peak_mb() - idle,
        "dataset_id": found.dataset.dataset_id,
    }


def query(dataset_id: str, times: int) -> JsonObject:
    """Latencies of a filter with an aggregate on the landed file, registry lookup included and left out."""
    from lakeflow_job_meta.datasets.local_types import view_of
    from lakeflow_job_meta.datasets.query import query_file

    service = subject["service"]
    sql = "SELECT code, count(*), avg(amount) FROM dataset WHERE id % 7 = 3 GROUP BY code ORDER BY 1"
    dataset = service.registry.find(dataset_id)
    path = service.landing.fetch(dataset)
    whole, own = [], []
    for _ in range(times):
        started = time.perf_counter()
        query_file(path, sql, view=view_of(dataset.schema))
        own.append(time.perf_counter() - started)
        started = time.perf_counter()
        service.query(dataset_id, sql)
        whole.append(time.perf_counter() - started)
    return {"own": sorted(own), "whole": sorted(whole)}


def quiet(_event: str, **_facts: Any) -> None:
    """No log is part of what is measured."""


def sync(dataset_id: str) -> JsonObject:
    """Bronze, silver and record, as the job's tasks do them."""
    from lakeflow_job_meta.datasets import control_rows
    from lakeflow_job_meta.datasets.model import Phase
    from lakeflow_job_meta.datasets.sync import Sync
    from lakeflow_job_meta.datasets.tasks import attempt, conclude

    service = subject["service"]
    dataset = service.registry.find(dataset_id)
    row = service.row(dataset)
    one = Sync(
        module_name=row.module_name,
        source_id=row.source_id,
        source_config=control_rows.config(row.source_config),
        target_config=control_rows.config(row.target_config),
        settings=control_rows.config(row.transformation_config),
        names=service.names,
        tables=service.tables,
        volumes=service.landing._volumes,  # noqa: SLF001
        clock=lambda: datetime.now(timezone.utc),
        log=quiet,
        version=dataset.version,
        run_id=f"run-{time.time_ns()}",
    )
    steps: dict[str, float] = {}
    measure.forget_peak()
    started = time.perf_counter()
    for phase in (Phase.BRONZE, Phase.SILVER):
        began = time.perf_counter()
        attempt(one, phase, quiet)
        steps[phase.value] = time.perf_counter() - began
    summary = conclude(one, lambda: None, quiet)
    return {
        "took": time.perf_counter() - started,
        **steps,
        "rows": summary.get("row_count_silver"),
        "status": service.status(dataset_id).status.value,
    }


def pandas(path: str, target: str) -> JsonObject:
    """A script that somebody would write: read, trim, nulls, types, snake_case, duplicates, Parquet."""
    import re

    import pandas as pd

    measure.forget_peak()
    idle = measure.peak_mb()
    started = time.perf_counter()
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in frame.columns:
        text = frame[name].str.strip()
        text = text.mask(text.str.lower().isin(["", "na", "n/a", "null", "none", "nan", "nat"]))
        values = text.dropna()
        if values.str.fullmatch(r"(?i)true|false").all():
            text = text.str.lower().map({"true": True, "false": False})
        elif values.str.fullmatch(r"[+-]?(0|[1-9][0-9]{0,17})").all():
            text = pd.to_numeric(text).astype("Int64")
        elif values.str.fullmatch(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+)?").all():
            text = pd.to_numeric(text)
        elif values.str.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?").all():
            text = pd.to_datetime(text, format="ISO8601", utc=True)
        frame[name] = text
    frame.columns = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in frame.columns]
    frame = frame.drop_duplicates()
    frame.to_parquet(target, index=False)
    return {
        "took": time.perf_counter() - started,
        "rows": len(frame),
        "above_idle_mb": measure.peak_mb() - idle,
    }


def commands() -> Iterator[tuple[str, Any]]:
    for one in (start, ingest, query, sync, pandas):
        yield one.__name__, one


if __name__ == "__main__":
    measure.serve(dict(commands()), lambda: subject.get("spark"))
