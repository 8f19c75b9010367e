"""Jobs with many files that nobody uploaded, for benchmarks of collecting."""

from __future__ import annotations

import hashlib
import uuid

import orjson

from lakeflow_job_meta.local.dxr.answers import Json, Refusal
from lakeflow_job_meta.local.dxr.datasources import DATASOURCES
from lakeflow_job_meta.local.dxr.rules import Rules
from lakeflow_job_meta.local.dxr.store import VISIBLE, Store, new_file_id

BATCH = 10_000


def seed(store: Store, rules: Rules, body: Json) -> Json:
    """Makes a FINISHED job whose files are in the index.

    Args:
        store: where.
        rules: whose first labels the files get in turn.
        body: `count` files in `datasource_id` (200), named by `name`, in which `{number}` is the file's
            number from 0 and `{sha256}` its hash, that of the name (`seeded/file-{number}.txt`).

    Returns:
        `id` and `datasourceScanId` of the job.

    Raises:
        Refusal: 400 a wrong value.
    """
    count, datasource = body.get("count"), body.get("datasource_id", DATASOURCES[0])
    name = body.get("name", "seeded/file-{number}.txt")
    if (
        not isinstance(count, int)
        or count < 1
        or datasource not in DATASOURCES
        or "{number}" not in str(name)
    ):
        raise Refusal(400, "needs count (from 1), datasource_id (200 to 203) and name with {number} in it")
    job = store.add_job(str(uuid.uuid4()), datasource, [], "FINISHED")
    scan_id = store.start_scan(job.number)
    store.end_job(job.number, "FINISHED", None)
    store.database.write("UPDATE dxr_jobs SET settled = 1 WHERE number = ?", job.number)
    labels = [each.id for each in rules.labels]
    now = store.clock()
    for start in range(0, count, BATCH):
        rows, findings = [], []
        with store.database.transaction() as connection:
            [(last,)] = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM dxr_files").fetchall()
            for number in range(start, min(start + BATCH, count)):
                shown = str(name).replace("{number}", str(number))
                file_id, seq = new_file_id(), last + 1 + number - start
                label = labels[number % len(labels)]
                rows.append(
                    (
                        seq, file_id, f"{file_id}/{shown}", job.number, datasource, scan_id, shown, len(shown),
                        "text/plain", hashlib.sha256(shown.encode()).hexdigest(), now, now, VISIBLE,
                        _document(label, number),
                    )
                )  # fmt: skip
                findings.append((seq, "label", label, None))
            connection.executemany(
                "INSERT INTO dxr_files(seq, file_id, object_id, job_number, datasource_id, scan_id, name, size,"
                " content_type, sha256, received_at, indexed_at, state, document)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            connection.executemany("INSERT INTO dxr_findings VALUES (?, ?, ?, ?)", findings)
    return {"id": job.job_id, "datasourceId": datasource, "datasourceScanId": scan_id}


def _document(label: int, number: int) -> bytes:
    return orjson.dumps(
        {
            "mime_type": "text/plain",
            "language": "en",
            "text_status": "SUCCESS",
            "annotations": [[f"person{number}@example.org", 12, 34, 25]],
            "labels": [label],
            "extracted": {"4": "Other"},
            "metadata_status": "SUCCESS",
            "category": "Personal",
        }
    )
