"""What a run does about the one before it that was killed: intents without an outcome, checkpoints not written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lakeflow_job_meta.dxr.client import kql_text
from lakeflow_job_meta.dxr.ledger import (
    SUBMITTED,
    UNCLEAR,
    Checkpoint,
    Checkpoints,
    Job,
    Ledger,
    submitted_rows,
)
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.errors import DxrError, DxrRefused, DxrUnauthorized

#: Jobs whose files are read at once.
JOBS = 50


def settle_unclear(session: DxrSession, ledger: Ledger, jobs: Sequence[Job]) -> list[Job]:
    """Find out about jobs that were perhaps sent: nobody wrote down that Data X-Ray took them.

    Their upload names hold their submission's id, so the index tells. Those found within `unclear_wait`
    seconds go on as submitted; the others are closed, and their files are sent again under new names.

    Returns:
        the jobs that Data X-Ray has.
    """
    if not jobs:
        return []
    left = list(jobs)
    found: list[Job] = []
    started = session.clock()
    while left:
        for job in list(left):
            if _is_indexed(session, job):
                left.remove(job)
                found.append(replace(job, state=SUBMITTED, submitted_at=session.clock()))
        if not left or session.seconds_since(started) >= session.settings["unclear_wait"]:
            break
        session.sleep(min(max(session.settings["poll_interval"], 0.05), 2.0))
    now = session.clock()
    session.log("resumed", run_id=session.run_id, found=len(found), not_found=len(left))
    ledger.save(
        [
            {
                "submission_id": job.submission_id,
                "state": SUBMITTED,
                "submitted_at": now,
                "message": "found in the index: the run that sent it was ended before it knew",
                "updated_at": now,
            }
            for job in found
        ]
    )
    ledger.save(
        [
            {
                "submission_id": job.submission_id,
                "state": UNCLEAR,
                "message": "the run that planned it was ended, and the index has none of its files",
                "ended_at": now,
                "updated_at": now,
            }
            for job in left
        ]
    )
    return found


def _is_indexed(session: DxrSession, job: Job) -> bool:
    """Whether the index has a file of the job."""
    query = f"fileName:{kql_text(f'*{job.submission_id}*')}"
    try:
        with session.client.files(query) as lines:
            return next(lines, None) is not None
    except DxrUnauthorized:
        raise
    except DxrRefused as error:
        session.log("cannot look", run_id=session.run_id, error=str(error))
        return False
    except DxrError:
        return False


def heal(
    session: DxrSession,
    ledger: Ledger,
    checkpoints: Checkpoints,
    jobs: Sequence[Job],
    known: Mapping[str, Checkpoint] | None = None,
) -> dict[str, Checkpoint]:
    """Write the checkpoints of accepted jobs whose run was ended before it wrote them.

    Args:
        jobs: accepted jobs, without their files.
        known: the checkpoints, when they were read already.

    Returns:
        the checkpoints that were written, by path.
    """
    written: dict[str, Checkpoint] = {}
    if known is not None:
        seen = {one.submission_id for one in known.values()}
        jobs = [job for job in jobs if job.submission_id not in seen]
    for start in range(0, len(jobs), JOBS):
        part = jobs[start : start + JOBS]
        files = ledger.files_of([job.submission_id for job in part])
        whole = [replace(job, files=files.get(job.submission_id, ())) for job in part]
        planned = checkpoints.submissions([one.path for job in whole for one in job.files])
        rows = []
        for job in whole:
            current = []
            for one in job.files:
                submission, at = planned.get(one.path, ("", None))
                if submission != job.submission_id and (at is None or at < job.planned_at):
                    current.append(one)
            if not current:
                continue
            rows += submitted_rows(replace(job, files=tuple(current)), session.clock())
            for one in current:
                written[one.path] = Checkpoint(
                    one.size,
                    one.modified_at,
                    one.sha256,
                    "submitted",
                    "",
                    one.attempt,
                    one.version,
                    job.submission_id,
                )
        if rows:
            checkpoints.save(rows)
    return written
