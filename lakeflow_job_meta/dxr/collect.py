"""`dxr_collect`: follows every open job of the ledger to its end, and writes what Data X-Ray found.

A small machine of due times: jobs are polled, ended ones are looked at in the index (`settling`), and what
is clear is committed: results first, then checkpoints, then the ledger. A run that is killed in between
leaves the job open, and the next one writes the same rows again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr import views
from lakeflow_job_meta.dxr.ledger import (
    COLLECTED,
    EXPIRED,
    FAILED,
    LOST,
    SUBMITTED,
    Checkpoints,
    Job,
    Ledger,
    SentFile,
    merge,
    submitted_rows,
)
from lakeflow_job_meta.dxr.responses import JobState
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.settling import FileOutcome, Settling, counts
from lakeflow_job_meta.dxr.summary import Summary
from lakeflow_job_meta.errors import (
    DxrError,
    DxrNotFound,
    DxrRefused,
    DxrUnauthorized,
    TablesError,
    UsageError,
)

JsonObject = dict[str, Any]
#: Rows of one commit of the metadata table, and about how many bytes of text.
ROWS = 4_000
BYTES = 24 * 1024 * 1024
#: Looks in a row at which Data X-Ray does not know a job before it is given up.
LOST_AFTER = 3
#: Files of jobs that are looked at in the index at the same time.
SETTLING_FILES = 10_000


def collect(session: DxrSession) -> Summary:
    """Collect the results of every open job, or of those in the setting `job_id`.

    Returns:
        the counts; `open` are files of jobs that had not ended by the deadline.

    Raises:
        UsageError: a setting is wrong, or the ledger knows no such job.
        TableMismatch: a table of ours has other columns.
        DxrUnauthorized: the token is not accepted; what was collected before is kept.
        DxrRefused: Data X-Ray does not allow a call that this needs.
    """
    return _Collect(session).run()


class _Collect:
    """One run."""

    def __init__(self, session: DxrSession) -> None:
        settings = session.settings
        self.session = session
        self.ledger = Ledger(session.tables, settings.table("job"))
        self.checkpoints = Checkpoints(session.tables, settings.table("checkpoint"))
        self.metadata = definitions.metadata(settings.metadata_table)
        self.summary = session.summary = Summary(dry_run=bool(settings["dry_run"]))
        self.started = session.clock()
        self.deadline = self.started + timedelta(seconds=settings["deadline"])
        self.polled: dict[str, Job] = {}
        self.next_poll = self.started
        self.unknown: dict[str, int] = {}
        self.ended: deque[tuple[Job, str, JobState]] = deque()
        self.settling: dict[str, Settling] = {}
        self.rows: dict[str, JsonObject] = {}
        self.bytes = 0
        self.checkpoint_rows: list[JsonObject] = []
        self.ledger_rows: list[JsonObject] = []

    def run(self) -> Summary:
        jobs = self._open_jobs()
        if self.summary.dry_run:
            self.summary.jobs = len(jobs)
            self.summary.open = sum(job.count for job in jobs)
            self.summary.seconds = self.session.seconds_since(self.started)
            return self.summary
        _ = self.session.client
        for definition in (self.metadata, self.checkpoints.definition, self.ledger.definition):
            definitions.ensure(self.session.tables, definition)
        for job in jobs:
            if job.job_id:
                self.polled[job.submission_id] = job
            else:  # found in the index after a run was killed: there is no id to ask with
                self.ended.append((job, self._expiry(job), JobState("")))
        try:
            self._follow()
        finally:
            self.flush()
        left = [
            *self.polled.values(),
            *(job for job, _, _ in self.ended),
            *(one.job for one in self.settling.values()),
        ]
        self.summary.open = sum(job.count for job in left)
        for job in left:
            self.session.log("still open", **self._facts(job))
        if jobs and self.session.settings["views"]:
            self._views()
        self.summary.seconds = self.session.seconds_since(self.started)
        return self.summary

    def _open_jobs(self) -> list[Job]:
        settings = self.session.settings
        wanted = settings["job_id"]
        volume = settings.volume if settings["source_volume"] else None
        jobs = self.ledger.open_jobs(job_ids=wanted, volume=None if wanted else volume)
        if wanted:
            unknown = sorted(set(wanted) - self.ledger.known(wanted))
            if unknown:
                raise UsageError(
                    f"the ledger knows no job {unknown[0]!r}: look at {self.ledger.definition.name}"
                )
        return [job for job in jobs if wanted or job.state == SUBMITTED]

    # ---------------------------------------------------------------- the machine

    def _follow(self) -> None:
        while self.polled or self.ended or self.settling:
            now = self.session.clock()
            if self.polled and now >= self.next_poll:
                self._poll()
                self.next_poll = self.session.clock() + timedelta(
                    seconds=self.session.settings["poll_interval"]
                )
            self._admit()
            for one in [one for one in self.settling.values() if one.due <= now]:
                self._look(one)
            if self.session.clock() >= self.deadline:
                return
            self._rest()

    def _rest(self) -> None:
        """Sleep until something is due."""
        due = [one.due for one in self.settling.values()]
        if self.polled:
            due.append(self.next_poll)
        if not due or (self.ended and not self.settling):
            return
        seconds = (min([*due, self.deadline]) - self.session.clock()).total_seconds()
        if seconds > 0:
            self.flush()  # what is clear is told before we wait
            self.session.sleep(seconds)

    def _poll(self) -> None:
        """One look at each job that has not ended. A look that fails is repeated in the next round."""
        for job in list(self.polled.values()):
            try:
                state = self.session.client.job(job.datasource_id, job.job_id)
            except DxrNotFound:
                self.unknown[job.submission_id] = self.unknown.get(job.submission_id, 0) + 1
                if self.unknown[job.submission_id] >= LOST_AFTER:
                    self._end(job, LOST, JobState(job.job_id))
                continue
            except (DxrUnauthorized, DxrRefused):
                raise
            except DxrError as error:
                self.session.log("poll failed", **self._facts(job), error=str(error))
                return
            self.unknown.pop(job.submission_id, None)
            if state.scan_id is not None and job.scan_id is None:
                self.polled[job.submission_id] = replace(job, scan_id=state.scan_id)
            if state.ended:
                self._end(job, FAILED if state.failed else COLLECTED, state)
            elif self._expiry(job) == EXPIRED:
                self._end(job, EXPIRED, state)

    def _end(self, job: Job, ending: str, state: JobState) -> None:
        self.ended.append((self.polled.pop(job.submission_id), ending, state))
        self.session.log("ended", **self._facts(job), state=state.state or ending)

    def _expiry(self, job: Job) -> str:
        age = (self.session.clock() - (job.submitted_at or job.planned_at)).total_seconds()
        return EXPIRED if age >= self.session.settings["job_expiry"] else COLLECTED

    def _admit(self) -> None:
        """Take ended jobs in hand, as many as memory is meant for."""
        room = SETTLING_FILES - sum(len(one.job.files) for one in self.settling.values())
        group: list[tuple[Job, str, JobState]] = []
        while self.ended and (self.ended[0][0].count <= room or not (group or self.settling)):
            group.append(self.ended.popleft())
            room -= group[-1][0].count
        if not group:
            return
        files = self.ledger.files_of([job.submission_id for job, _, _ in group])
        paths = [one.path for part in files.values() for one in part]
        current = self.checkpoints.submissions(paths)
        healed: list[JsonObject] = []
        for job, ending, state in group:
            mine: list[SentFile] = []
            unknown: list[SentFile] = []
            for one in files.get(job.submission_id, ()):
                submission, planned_at = current.get(one.path, ("", None))
                if submission == job.submission_id:
                    mine.append(one)
                elif planned_at is None or (submission and planned_at < job.planned_at):
                    unknown.append(one)  # the run that sent it was ended before it wrote that
                else:
                    self.summary.superseded += 1
            healed += submitted_rows(replace(job, files=tuple(unknown)), self.session.clock())
            self.settling[job.submission_id] = Settling(
                self.session, replace(job, files=tuple(mine + unknown)), ending, state, self._write
            )
        if healed:
            self.checkpoints.save(healed)

    def _look(self, one: Settling) -> None:
        try:
            outcomes = one.look()
        except (DxrUnauthorized, DxrRefused):
            raise
        except DxrError as error:
            self.session.log("look failed", **self._facts(one.job), error=str(error))
            one.due = self.session.clock() + timedelta(seconds=self.session.settings["settle_interval"])
            return
        if outcomes is not None:
            del self.settling[one.job.submission_id]
            self._conclude(one, outcomes)

    # ---------------------------------------------------------------- the books

    def _conclude(self, one: Settling, outcomes: list[FileOutcome]) -> None:
        job, now = one.job, self.session.clock()
        found = counts(outcomes)
        self.summary.jobs += 1
        for name, count in found.items():
            setattr(self.summary, name, getattr(self.summary, name) + count)
        for outcome in outcomes:
            if outcome.status != "classified":
                self.summary.note(outcome.file.path, outcome.status, outcome.reason)
            self.checkpoint_rows.append(self._checkpoint(job, outcome, now))
        bad = next((outcome.reason for outcome in outcomes if outcome.status != "classified"), "")
        self.ledger_rows.append(
            {
                "submission_id": job.submission_id,
                "state": one.ending,
                "dxr_state": one.state.state or None,
                "message": one.state.message or bad or None,
                "datasource_scan_id": job.scan_id,
                **found,
                "ended_at": now,
                "updated_at": now,
            }
        )
        self.session.log("collected", **self._facts(job), **found)
        if len(self.checkpoint_rows) >= ROWS:
            self.flush()

    def _checkpoint(self, job: Job, outcome: FileOutcome, now: datetime) -> JsonObject:
        classified = {"last_classified_at": now} if outcome.status == "classified" else {}
        return {
            "volume_path": job.volume_path,
            "file_path": outcome.file.path,
            "state": outcome.status,
            "reason": outcome.reason or None,
            "checksum": outcome.file.sha256 or None,
            "job_id": job.job_id or None,
            "datasource_scan_id": job.scan_id,
            "updated_at": now,
            **classified,
        }

    def _write(self, row: JsonObject) -> None:
        self.rows[row["file_path"]] = {**self.rows.get(row["file_path"], {}), **row}
        self.bytes += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(self.rows) >= ROWS or self.bytes >= BYTES:
            self._flush_rows()

    def _flush_rows(self) -> None:
        rows, self.rows, self.bytes = list(self.rows.values()), {}, 0
        if rows:
            merge(self.session.tables, self.metadata, rows, ("file_path",))

    def flush(self) -> None:
        """Commit what waits: results, then checkpoints, then the ledger."""
        self._flush_rows()
        rows, self.checkpoint_rows = self.checkpoint_rows, []
        if rows:
            self.checkpoints.save(rows)
        closed, self.ledger_rows = self.ledger_rows, []
        if closed:
            self.ledger.save(closed)

    def _views(self) -> None:
        try:
            views.create(
                self.session.tables,
                self.metadata.name,
                self.checkpoints.definition.name,
                self.session.settings["sensitive_labels"],
            )
        except TablesError as error:
            self.session.log("no views", run_id=self.session.run_id, error=str(error))

    def _facts(self, job: Job) -> JsonObject:
        return {
            "run_id": self.session.run_id,
            "job_id": job.job_id,
            "scan_id": job.scan_id,
            "files": job.count,
        }
