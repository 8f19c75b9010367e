"""The demo's second half: documents in a volume are classified by Data X-Ray, laid out by label, and recorded.

Data X-Ray is the simulator of the embedded workspace, which really classifies the bytes that it is sent.
"""

from __future__ import annotations

from typing import Any

from lakeflow_job_meta.cli import demo_policies
from lakeflow_job_meta.cli.demo_stage import FILES, METADATA, Demo, expect, task_keys, text_of

INBOX = "/Volumes/main/demo/inbox"
MODULE = "documents"
RESULTS = "main.demo.dxr_files"
RUNS = "main.demo.dxr_runs"
LABELS = (
    f"SELECT label, count(*) AS files FROM (SELECT explode(labels) AS label FROM {RESULTS}) AS each "
    "GROUP BY label ORDER BY label"
)


def drop_documents(demo: Demo) -> None:
    """A folder of documents and a YAML file; the monitor makes the job."""
    from databricks.sdk.service.catalog import VolumeType

    demo.client.volumes.create("main", "demo", INBOX.rsplit("/", 1)[1], VolumeType.MANAGED)
    demo.client.volumes.create("main", "demo", "reports", VolumeType.MANAGED)
    names = _upload(demo, "documents")
    demo_policies.make_old(demo)
    demo.table(f"{INBOX}, {len(names)} documents", ("document", "bytes"), names)
    demo.say(f"{METADATA}/documents.yaml:")
    demo.show(text_of("volume/documents.yaml"), "yaml")
    demo.drop("documents.yaml", text_of("volume/documents.yaml"))
    demo.quiet_tick()
    job = demo.existing(MODULE)
    expect(len(task_keys(job)) == 6, f"the job has the tasks {task_keys(job)}")
    demo.say(f"    job {job.job_id} `{MODULE}` has the tasks {', '.join(task_keys(job))}")


def classify(demo: Demo) -> None:
    """The job runs; the Delta tables say which files have which label, and the volumes hold them."""
    run_id = demo.run_module(MODULE)
    there = len(list((FILES / "documents").rglob("*.*")))
    ingested = _summary(demo, run_id, "dxr_ingest")
    expect(ingested["uploaded"] == there, f"{ingested['uploaded']} of {there} documents were sent")
    demo.facts["uploaded_first"] = int(ingested["uploaded"])
    labels = demo.show_rows(f"files by label, from {RESULTS}", LABELS)
    demo.facts["files_by_label"] = {str(label): int(files) for label, files in labels}
    expect(labels, "no document has a label")
    demo.show_rows(
        "what was found in each",
        f"SELECT relative_path, array_join(labels, ', ') AS labels, array_join(annotators, ', ') AS found "
        f"FROM {RESULTS} ORDER BY relative_path",
    )
    volumes = [volume.name or "" for volume in demo.client.volumes.list("main", "demo")]
    made = sorted(name for name in volumes if name.startswith("dxr_label_"))
    expect(len(made) == len(labels), f"there are {len(made)} volumes of labels for {len(labels)} labels")
    demo.say(f"    a volume for each label: {', '.join(made)}")
    [snapshot] = demo.show_rows(
        "the day's snapshot",
        "SELECT ingestion_date, count(*) AS files FROM main.demo.dxr_snapshot GROUP BY ingestion_date",
    )
    expect(snapshot[1] == there, f"the snapshot has {snapshot[1]} files")


def add_document(demo: Demo) -> None:
    """One document more: the next run sends exactly that one."""
    names = _upload(demo, "late")
    demo.say(f"    {INBOX}/{names[0][0]} added; the job runs again:")
    run_id = demo.run_module(MODULE)
    ingested = _summary(demo, run_id, "dxr_ingest")
    demo.facts["uploaded_second"] = int(ingested["uploaded"])
    expect(
        ingested["uploaded"] == 1,
        f"{ingested['uploaded']} documents were sent, {ingested['seen']} are there, one is new",
    )
    labels = demo.show_rows(f"files by label, from {RESULTS}", LABELS)
    demo.facts["files_by_label"] = {str(label): int(files) for label, files in labels}
    demo.say(f"    {ingested['seen']} documents seen, {ingested['uploaded']} sent: the others did not change")


def _upload(demo: Demo, folder: str) -> list[tuple[str, int]]:
    """Put a folder of the demo's documents into the inbox; names and sizes."""
    import io

    top = FILES / folder
    done: list[tuple[str, int]] = []
    for path in sorted(top.rglob("*")):
        if path.is_file():
            name = path.relative_to(top).as_posix()
            data = path.read_bytes()
            demo.client.files.upload(f"{INBOX}/{name}", io.BytesIO(data), overwrite=True)
            done.append((name, len(data)))
    return done


def _summary(demo: Demo, run_id: int, task: str) -> dict[str, Any]:
    """The row of `dxr_runs` of one task of a run."""
    rows = demo.spark.sql(
        f"SELECT * FROM {RUNS} WHERE run_id = :run_id AND task = :task",
        args={"run_id": str(run_id), "task": task},
    ).collect()
    expect(len(rows) == 1, f"{RUNS} has {len(rows)} rows of {task} for run {run_id}")
    found: dict[str, Any] = rows[0].asDict()
    expect(found["outcome"] == "succeeded", f"{task} ended {found['outcome']}: {found['message']}")
    return found
