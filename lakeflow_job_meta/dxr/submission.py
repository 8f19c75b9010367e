"""Sending one job: intent first, then the submit, then what became of it, all in the ledger.

Nothing is ever sent under a name that may have been accepted before.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event

from lakeflow_job_meta.dxr.ledger import (
    DROPPED,
    REFUSED,
    UNCLEAR,
    Job,
    Ledger,
    SentFile,
    accepted,
)
from lakeflow_job_meta.dxr.multipart import FileChanged, Upload
from lakeflow_job_meta.dxr.selection import same_time, upload_name
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.errors import DxrError, DxrRefused, DxrUnavailable, DxrUnclear, VolumeError

#: Times that one job's files are sent anew after no or no clear answer.
REPEATS = 4
#: A refusal that may be about one file of several: too large, or not readable for Data X-Ray.
_ABOUT_FILES = {400, 413, 415, 422}


@dataclass
class Outcome:
    """What became of a job's files.

    Args:
        accepted: the jobs that Data X-Ray took; several when the job had to be split.
        skipped: files that were left out, with the reason.
        unsent: files that could not be sent, with the error; the next run tries them again.
        stop: an error after which nothing else should be sent.
    """

    accepted: list[Job] = field(default_factory=list)
    skipped: list[tuple[SentFile, str]] = field(default_factory=list)
    unsent: list[tuple[SentFile, str]] = field(default_factory=list)
    stop: DxrError | None = None

    def add(self, other: Outcome) -> None:
        self.accepted += other.accepted
        self.skipped += other.skipped
        self.unsent += other.unsent
        self.stop = self.stop or other.stop


def make_job(volume: str, datasource_id: int, files: Sequence[SentFile], now: datetime) -> Job:
    """A job with an id of its own, its files under new upload names."""
    submission = uuid.uuid4().hex
    named = tuple(
        replace(one, upload_name=upload_name(one.path, submission, number), sha256="")
        for number, one in enumerate(files)
    )
    return Job(submission, volume, datasource_id, now, named, count=len(named))


class Sender:
    """Sends jobs; may be used by several threads.

    Args:
        session: the run.
        ledger: where intent and outcome are written.
        stopped: set when nothing more should be sent.
    """

    def __init__(self, session: DxrSession, ledger: Ledger, stopped: Event) -> None:
        self._session = session
        self._ledger = ledger
        self._stopped = stopped

    def send(self, job: Job) -> Outcome:
        """Send a job whose intent is in the ledger. Raises TablesError when the ledger cannot be written."""
        outcome = Outcome()
        number = 0
        while number <= REPEATS:
            if self._stopped.is_set():
                self._close(job, DROPPED, "the run ended before it was sent")
                return outcome
            try:
                return self._once(job, outcome)
            except FileChanged as error:
                job = self._without(job, error, outcome)
                if not job.files:
                    return outcome
                continue
            except DxrUnclear as error:
                self._log("unclear", job, error)
                job = self._replaced(job, job.files, UNCLEAR, str(error))
            except DxrUnavailable as error:
                self._log("unavailable", job, error)
                job = self._replaced(job, job.files, DROPPED, str(error))
            except DxrRefused as error:
                return self._refused(job, error, outcome)
            except DxrError as error:
                self._close(job, REFUSED, str(error))
                outcome.stop = error
                return outcome
            number += 1
            self._session.sleep(_pause(number))
        self._close(job, DROPPED, "Data X-Ray did not take it after several tries")
        outcome.unsent += [
            (one, "Data X-Ray did not take it; the next run sends it again") for one in job.files
        ]
        return outcome

    def _once(self, job: Job, outcome: Outcome) -> Outcome:
        hashes: dict[str, str] = {}
        uploads = [self._upload(one, hashes) for one in job.files]
        answer = self._session.client.submit(job.datasource_id, uploads)
        now = self._session.clock()
        taken = accepted(job, answer.job_id, answer.scan_id, hashes, now)
        self._ledger.save([taken.as_row(self._session.run_id, now)])
        self._session.log(
            "accepted",
            run_id=self._session.run_id,
            job_id=taken.job_id,
            datasource_id=taken.datasource_id,
            files=len(taken.files),
            bytes=taken.bytes,
        )
        outcome.accepted.append(taken)
        return outcome

    def _upload(self, file: SentFile, hashes: dict[str, str]) -> Upload:
        volumes = self._session.volumes

        def done(sha256: str) -> None:
            reason = self._changed(file)
            if reason:
                raise FileChanged(reason, file.upload_name)
            hashes[file.upload_name] = sha256

        return Upload(file.upload_name, file.size, lambda: volumes.open(file.path), done)

    def _without(self, job: Job, error: FileChanged, outcome: Outcome) -> Job:
        """The job anew, without the file that changed, and without those that have changed meanwhile."""
        rest: list[SentFile] = []
        for one in job.files:
            reason = str(error) if one.upload_name == error.name else self._changed(one)
            if reason:
                outcome.skipped.append((one, f"{reason}; the next run looks at it again"))
            else:
                rest.append(one)
        return self._replaced(job, rest, DROPPED, f"a file changed: {error}")

    def _changed(self, file: SentFile) -> str:
        """Why the file is not what was listed; empty when it is."""
        try:
            now = self._session.volumes.stat(file.path)
        except VolumeError as error:
            return str(error)
        same = now.size == file.size and same_time(now.modified_at, file.modified_at)
        return "" if same else "it changed before all of it was sent"

    def _replaced(self, job: Job, files: Sequence[SentFile], state: str, message: str) -> Job:
        """Close the job and write the intent of its successor, in that order of meaning, in one go."""
        now = self._session.clock()
        new = make_job(job.volume_path, job.datasource_id, files, now)
        if files:
            self._ledger.plan([new], self._session.run_id, now)
        self._ledger.save([self._closing(job, state, message, now)])
        return new

    def _refused(self, job: Job, error: DxrRefused, outcome: Outcome) -> Outcome:
        if error.status not in _ABOUT_FILES:
            self._close(job, REFUSED, str(error))
            outcome.stop = error
            return outcome
        if len(job.files) == 1:
            self._close(job, REFUSED, str(error))
            outcome.skipped.append((job.files[0], f"Data X-Ray refuses it: {error}"))
            return outcome
        # one of several may be what it does not take: halves, until it is alone
        now = self._session.clock()
        middle = len(job.files) // 2
        halves = [
            make_job(job.volume_path, job.datasource_id, files, now)
            for files in (job.files[:middle], job.files[middle:])
        ]
        self._ledger.plan(halves, self._session.run_id, now)
        self._close(job, REFUSED, str(error))
        for half in halves:
            outcome.add(self.send(half))
            if outcome.stop is not None:
                break
        return outcome

    def _close(self, job: Job, state: str, message: str) -> None:
        self._ledger.save([self._closing(job, state, message, self._session.clock())])

    def _closing(self, job: Job, state: str, message: str, now: datetime) -> dict[str, object]:
        return {
            "submission_id": job.submission_id,
            "state": state,
            "message": message,
            "ended_at": now,
            "updated_at": now,
        }

    def _log(self, event: str, job: Job, error: DxrError) -> None:
        self._session.log(
            event,
            run_id=self._session.run_id,
            submission_id=job.submission_id,
            datasource_id=job.datasource_id,
            error=str(error),
        )


def _pause(number: int) -> float:
    """Seconds before the next try, longer each time."""
    return random.uniform(0.2, 1.0) * min(20.0, 0.5 * 2.0**number)  # noqa: S311 - jitter
