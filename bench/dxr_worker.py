"""What is measured about Data X-Ray, in a process of its own: ingest, a plain httpx upload, collect."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench import measure

JsonObject = dict[str, Any]
CATALOG = "main"
VOLUME = "/Volumes/main/bench/inbox"
subject: dict[str, Any] = {}


def resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def idle() -> float:
    """Resident memory at rest, in MB; the peak starts anew."""
    gc.collect()
    measure.forget_peak()
    return resident_mb()


def start(remote: str, warehouse: str, url: str, token: str) -> None:
    """Connect, and warm up: idle memory is that of a session that has worked."""
    spark = measure.Spark(remote)
    subject.update(spark=spark, warehouse=warehouse, url=url, token=token)
    import lakeflow_job_meta.dxr.collect
    import lakeflow_job_meta.dxr.ingest  # noqa: F401

    spark.session.createDataFrame([("a", 1)] * 10, "a string, b int").collect()


def session(schema: str, root: str, **settings: Any) -> Any:
    from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
    from lakeflow_job_meta.adapters.spark_tables import SparkTables
    from lakeflow_job_meta.dxr.session import DxrSession
    from lakeflow_job_meta.dxr.settings import resolve

    tables = ["dxr_jobs", "dxr_checkpoints", "file_metadata"]
    subject["spark"].register(CATALOG, schema, subject["warehouse"], tables)
    given = {
        "source_volume": VOLUME,
        "metadata_table": f"{CATALOG}.{schema}.file_metadata",
        "datasource_id": [200],
        "base_url": subject["url"],
        "views": False,
        **settings,
    }
    return DxrSession(
        resolve(given),
        SparkTables(subject["spark"].session),
        FuseVolumes(Path(root)),
        uuid.uuid4().hex,
        lambda: datetime.now(timezone.utc),
        environment={"DXR_API_KEY": subject["token"]},
    )


class Counted:
    """Tables that count the reads of the checkpoints, and all writes."""

    def __init__(self, tables: Any) -> None:
        self._tables = tables
        self.reads = self.writes = 0

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **more: Any) -> Any:
            self.reads += name == "query" and "dxr_checkpoints" in str(given[0])
            self.writes += name in {"append", "merge", "create_table"}
            return getattr(self._tables, name)(*given, **more)

        return call


def ingest(schema: str, root: str, settings: JsonObject) -> JsonObject:
    """Ours, everything included: listing, hashing, ledger, checkpoints."""
    from lakeflow_job_meta.dxr.ingest import ingest as run

    made = session(schema, root, **settings)
    made.tables = counted = Counted(made.tables)
    made.client.datasource(200)
    before = idle()
    started = time.perf_counter()
    summary = run(made)
    return {
        "took": time.perf_counter() - started,
        "above_idle_mb": measure.peak_mb() - before,
        "checkpoint_reads": counted.reads,
        "table_writes": counted.writes,
        **figures(summary),
    }


class Hashed:
    """A file whose bytes are hashed while they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._digest.update(block)
        return block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def upload(root: str, files_per_job: int, at_once: int) -> JsonObject:
    """The measure: httpx sends the same files in jobs of the same size, hashing the bytes; no ledger, no tables."""
    import httpx

    folder = Path(root) / VOLUME.removeprefix("/Volumes/")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    jobs = [paths[start : start + files_per_job] for start in range(0, len(paths), files_per_job)]
    client = httpx.Client(
        base_url=subject["url"], headers={"Authorization": f"Bearer {subject['token']}"}, timeout=600
    )
    client.get("/api/datasources/200")

    def send(job: list[Path]) -> None:
        with ExitStack() as opened:
            files = [
                ("files", (f"{uuid.uuid4().hex}_{path.name}", Hashed(opened.enter_context(path.open("rb")))))
                for path in job
            ]
            answer = client.post("/api/on-demand-classifiers/200/jobs", files=files)
            assert answer.status_code == 202, answer.text

    before = idle()
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(send, jobs))
    took = time.perf_counter() - started
    client.close()
    return {"took": took, "above_idle_mb": measure.peak_mb() - before, "uploaded": len(paths)}


def plant(schema: str, root: str, jobs: int, files: int) -> JsonObject:
    """Finished jobs in the simulator, and the ledger that knows them, as if an ingest had sent them."""
    import httpx

    from lakeflow_job_meta.dxr import tables as definitions
    from lakeflow_job_meta.dxr.ledger import SUBMITTED, Checkpoints, Job, Ledger, SentFile, submitted_rows

    made = session(schema, root)
    ledger = Ledger(made.tables, made.settings.table("job"))
    checkpoints = Checkpoints(made.tables, made.settings.table("checkpoint"))
    for definition in (ledger.definition, checkpoints.definition):
        definitions.ensure(made.tables, definition)
    now = made.clock()
    with httpx.Client(
        base_url=subject["url"], headers={"Authorization": f"Bearer {subject['token']}"}, timeout=600
    ) as client:
        for number in range(jobs):
            seeded = client.post(
                "/_simulator/jobs",
                json={"count": files, "datasource_id": 200, "name": f"{schema}-{number}-{{number}}.txt"},
            ).json()
            job = Job(
                uuid.uuid4().hex,
                VOLUME,
                200,
                now,
                tuple(_sent(f"{schema}-{number}-{one}.txt", SentFile) for one in range(files)),
                state=SUBMITTED,
                job_id=str(seeded["id"]),
                submitted_at=now,
                count=files,
            )
            ledger.plan([job], "planted", now)
            made.tables.append(checkpoints.definition, submitted_rows(job, now))
    return {"planted": jobs * files}


def _sent(name: str, kind: Any) -> Any:
    return kind(f"{VOLUME}/{name}", len(name), 0, name, hashlib.sha256(name.encode()).hexdigest())


def collect(schema: str, root: str, settings: JsonObject) -> JsonObject:
    """Ours: poll, look, match, name, merge."""
    from lakeflow_job_meta.dxr.collect import collect as run

    made = session(schema, root, **settings)
    made.client.datasource(200)
    before = idle()
    started = time.perf_counter()
    summary = run(made)
    return {
        "took": time.perf_counter() - started,
        "above_idle_mb": measure.peak_mb() - before,
        **figures(summary),
    }


def figures(summary: Any) -> JsonObject:
    """The counts; `failed` means something else to the driver."""
    counts: JsonObject = summary.as_json()
    counts["not_done"] = counts.pop("failed")
    return counts


def commands() -> Iterator[tuple[str, Any]]:
    for one in (start, ingest, upload, plant, collect):
        yield one.__name__, one


if __name__ == "__main__":
    measure.serve(dict(commands()), lambda: subject.get("spark"))
