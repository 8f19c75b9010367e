"""A job as the contract's variants show it (section 2.2)."""

from __future__ import annotations

from lakeflow_job_meta.local.dxr.answers import Json
from lakeflow_job_meta.local.dxr.documents import instant
from lakeflow_job_meta.local.dxr.knobs import Knobs
from lakeflow_job_meta.local.dxr.store import TERMINAL, Job

TIME_TO_LIVE = 3600


def job_json(job: Job, knobs: Knobs, *, submitted: bool = False) -> Json:
    """The answer to a submit or a poll.

    Args:
        job: as it is now.
        knobs: which variant.
        submitted: it answers a submit, whose scan id may be null or absent.
    """
    scan_id = _scan_id(job, knobs)
    shown: Json = {
        "id": int(job.job_id) if knobs.job_id_type == "int" and job.job_id.isdigit() else job.job_id,
        "datasourceId": job.datasource_id,
        "timeToLive": TIME_TO_LIVE,
        "recrawlDispatchFailures": 0,
        "submittedAt": instant(job.submitted_at),
        "submittedByUserId": 12,
        "organizationalUnitId": 1,
    }
    shape = knobs.job_shape
    if shape in ("nested_value", "nested_state"):
        state: Json = {"value" if shape == "nested_value" else "state": job.state}
        if scan_id is not None:
            state["datasourceScanId"] = scan_id
        if job.error:
            state["errorMessage" if shape == "nested_value" else "message"] = job.error
        shown["state"] = state
        return shown
    shown[{"status": "status", "job_state": "jobState"}.get(shape, "state")] = job.state
    if shape == "dotted":
        shown["state.datasourceScanId"] = scan_id if scan_id is not None else -1
    elif scan_id is not None or not (submitted and knobs.submit_scan_id == "absent"):
        shown["datasourceScanId"] = scan_id
    if job.error:
        shown["errorMessage"] = job.error
    return shown


def _scan_id(job: Job, knobs: Knobs) -> int | str | None:
    when = knobs.scan_id_when
    if job.scan_id is None or when == "never" or (when == "terminal" and job.state not in TERMINAL):
        return None
    return str(job.scan_id) if knobs.scan_id_type == "str" else job.scan_id
