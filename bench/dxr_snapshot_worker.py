"""What is measured about the snapshot, in a process of its own: ours, only parsing, and the older way."""

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
CATALOG = "main"
DAY = "2026-03-04"
_OLDER = ("datasource", "labels", "extractedMetadata", "entitlements", "dlpLabels", "annotators", "owner")
subject: dict[str, Any] = {}


def start(remote: str, warehouse: str, url: str, token: str) -> None:
    """Connect, and warm up."""
    spark = measure.Spark(remote)
    subject.update(spark=spark, warehouse=warehouse, url=url, token=token)
    import lakeflow_job_meta.dxr.snapshot  # noqa: F401

    spark.session.createDataFrame([("a", 1)] * 10, "a string, b int").collect()


def client() -> Any:
    from lakeflow_job_meta.dxr.client import DxrClient

    return DxrClient(subject["url"], subject["token"])


def snapshot(schema: str, root: str) -> JsonObject:
    """Ours, everything included."""
    from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
    from lakeflow_job_meta.adapters.spark_tables import SparkTables
    from lakeflow_job_meta.dxr.session import DxrSession
    from lakeflow_job_meta.dxr.settings import resolve
    from lakeflow_job_meta.dxr.snapshot import take

    subject["spark"].register(CATALOG, schema, subject["warehouse"], ["dxr_snapshot"])
    given = {
        "metadata_table": f"{CATALOG}.{schema}.file_metadata",
        "base_url": subject["url"],
        "staging_path": root,
        "ingestion_date": DAY,
    }
    staged: list[float] = []

    def log(event: str, **facts: Any) -> None:
        if event == "staged":
            staged.append(time.perf_counter())

    made = DxrSession(
        resolve(given),
        SparkTables(subject["spark"].session),
        FuseVolumes(None),
        f"run{time.time_ns()}",
        lambda: datetime.now(timezone.utc),
        environment={"DXR_API_KEY": subject["token"]},
        log=log,
    )
    started = time.perf_counter()
    facts = take(made)
    ended = time.perf_counter()
    folder = Path(subject["warehouse"]) / CATALOG / schema / "dxr_snapshot" / "_delta_log"
    return {
        "took": ended - started,
        "publish": ended - staged[0],
        "rows": facts["rows"],
        "commits": len(list(folder.glob("*.json"))),
    }


def parse(schema: str, root: str) -> JsonObject:
    """The measure: the same stream, each line parsed, nothing else."""
    import orjson

    loads = orjson.loads
    rows = 0
    started = time.perf_counter()
    with client().files() as lines:
        for line in lines:
            loads(line)
            rows += 1
    return {"took": time.perf_counter() - started, "rows": rows}


def older(schema: str, root: str) -> JsonObject:
    """As the jobs did that this replaces: all rows in one list, createDataFrame, overwrite of the partition."""
    import json

    from pyspark.sql import functions

    spark = subject["spark"].session
    subject["spark"].register(CATALOG, schema, subject["warehouse"], [])
    started = time.perf_counter()
    with client().files() as lines:
        records = [json.loads(line) for line in lines]
    rows = [
        {
            "file_id": record.get("fileId"),
            "file_name": record.get("fileName"),
            "path": record.get("path"),
            "size": record.get("size"),
            "raw_json": json.dumps(record),
            **{f"{name}_json": json.dumps(record.get(name)) for name in _OLDER},
        }
        for record in records
    ]
    frame = spark.createDataFrame(rows).withColumn("ingestion_date", functions.lit(DAY))
    frame.write.format("delta").mode("overwrite").partitionBy("ingestion_date").saveAsTable(
        f"{CATALOG}.{schema}.older"
    )
    return {"took": time.perf_counter() - started, "rows": len(rows)}


def commands() -> Iterator[tuple[str, Any]]:
    for one in (start, snapshot, parse, older):
        yield one.__name__, one


if __name__ == "__main__":
    measure.serve(dict(commands()), lambda: subject.get("spark"))
