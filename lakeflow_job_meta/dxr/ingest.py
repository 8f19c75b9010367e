"""`dxr_ingest`: sends what is new or changed in a volume to Data X-Ray, and writes down what it sent.

The walk, the decisions and the books are this thread's; the submits run beside it, some for each
datasource. A file is in no table as sent before Data X-Ray has said so, and what was said is in the ledger
before the next submit of the same slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr.ledger import (
    PLANNED,
    SUBMITTED,
    Checkpoint,
    Checkpoints,
    Job,
    Ledger,
    SentFile,
    merge,
    submitted_rows,
    to_time,
)
from lakeflow_job_meta.dxr.recovery import heal, settle_unclear
from lakeflow_job_meta.dxr.selection import Selection, judge
from lakeflow_job_meta.dxr.session import DxrSession
from lakeflow_job_meta.dxr.submission import Outcome, Sender, make_job
from lakeflow_job_meta.dxr.summary import Summary
from lakeflow_job_meta.errors import DxrError, DxrUnavailable, UsageError, VolumeError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import FileInfo, file_sha256

JsonObject = dict[str, Any]
#: Checkpoint rows of one commit.
ROWS = 5_000
#: Jobs, and files, whose intents are written in one commit.
WAVE_JOBS = 32
WAVE_FILES = 2_000
#: Jobs in a row that Data X-Ray does not take before the run stops.
GIVE_UP = 3


def ingest(session: DxrSession) -> Summary:
    """Send the new and the changed files of the source volume.

    Returns:
        the counts; files that could not be sent are `failed`, those left out are `skipped`.

    Raises:
        UsageError: a setting is wrong, or the token is missing; nothing was done.
        VolumeError: the volume cannot be listed.
        TableMismatch: a table of ours has other columns.
        DxrError: Data X-Ray does not accept the token, knows no such datasource, or takes nothing; what it
            had accepted is in the ledger, and the rest is sent by the next run.
    """
    return _Ingest(session).run()


class _Ingest:
    """One run."""

    def __init__(self, session: DxrSession) -> None:
        settings = session.settings
        self.session = session
        self.volume = settings.volume
        self.dry_run = bool(settings["dry_run"])
        self.datasources: tuple[int, ...] = () if self.dry_run else tuple(settings.need("datasource_id"))
        self.selection = Selection(
            settings["include"],
            settings["exclude"],
            settings.since(session.clock()),
            settings["sample_percent"],
        )
        self.max_bytes: int = settings["max_bytes_per_job"]
        self.max_files: int = settings["max_files_per_job"]
        self.max_file_bytes: int = settings["max_file_bytes"] or self.max_bytes
        self.top = _below(self.volume, settings["prefix"])
        self.ledger = Ledger(session.tables, settings.table("job"))
        self.checkpoints = Checkpoints(session.tables, settings.table("checkpoint"))
        self.metadata: TableName = settings.metadata_table
        self.summary = session.summary = Summary(dry_run=self.dry_run)
        self.stopped = Event()
        self.waiting: list[Future[Outcome]] = []
        self.rows: list[JsonObject] = []
        self.load = dict.fromkeys(self.datasources, 0)
        self.given_up = 0
        self.complete = True
        self.stop: DxrError | None = None

    def run(self) -> Summary:
        started = self.session.clock()
        if not self.dry_run:
            _ = self.session.client  # a missing token is told before anything is done
            definitions.ensure(self.session.tables, self.ledger.definition)
            definitions.ensure(self.session.tables, self.checkpoints.definition)
            definitions.ensure(self.session.tables, definitions.metadata(self.metadata))
        known, open_jobs = self._known()
        try:
            with ExitStack() as opened:
                senders = self._senders(opened)
                opened.callback(self.stopped.set)  # on an error: the threads end after the submit under way
                for wave in _waves(self._jobs(known, open_jobs)):
                    self._send(wave, senders)
                self._take(0)
            self._gone(known)
        finally:
            self.checkpoints_flushed()
        self.summary.seconds = self.session.seconds_since(started)
        if self.stop is not None:
            raise self.stop
        return self.summary

    # ---------------------------------------------------------------- what is known

    def _known(self) -> tuple[dict[str, Checkpoint], set[str]]:
        """The checkpoints by path, and the submissions that are still open, both after what a killed run left."""
        known = self.checkpoints.of_volume(self.volume)
        jobs = self.ledger.open_jobs(volume=self.volume)
        if not self.dry_run:
            unclear = [job for job in jobs if job.state == PLANNED]
            found = settle_unclear(self.session, self.ledger, unclear)
            jobs = [job for job in jobs if job.state == SUBMITTED] + found
            healed = heal(self.session, self.ledger, self.checkpoints, jobs, known)
            known.update(healed)
        return known, {job.submission_id for job in jobs if job.state == SUBMITTED}

    # ---------------------------------------------------------------- what to send

    def _jobs(self, known: dict[str, Checkpoint], open_jobs: set[str]) -> Iterator[Job]:
        """The jobs to send, each bounded by bytes and by files."""
        batch: list[SentFile] = []
        size = 0
        for file in self._files(known, open_jobs):
            if batch and (len(batch) >= self.max_files or size + file.size > self.max_bytes):
                yield self._job(batch, size)
                batch, size = [], 0
            batch.append(file)
            size += file.size
        if batch:
            yield self._job(batch, size)

    def _job(self, files: Sequence[SentFile], size: int) -> Job:
        if self.dry_run:
            return make_job(self.volume, 0, files, self.session.clock())
        datasource_id = min(self.load, key=lambda one: self.load[one])
        self.load[datasource_id] += size + 4096 * len(files)  # a file costs something, however small
        return make_job(self.volume, datasource_id, files, self.session.clock())

    def _files(self, known: dict[str, Checkpoint], open_jobs: set[str]) -> Iterator[SentFile]:
        """The files to send, as they are found; `known` keeps what was not met on the way."""
        settings = self.session.settings
        limit: int | None = settings["max_files"]
        sent = 0
        for info in self.session.volumes.walk(self.top, self._unreadable):
            if self.stopped.is_set() or (limit is not None and sent >= limit):
                self.complete = False
                return
            checkpoint = known.pop(info.path, None)
            relative = info.path[len(self.volume) + 1 :]
            if not self.selection.takes(relative, info):
                continue
            self.summary.seen += 1
            reason = self._cannot(info)
            if reason:
                self._skip(info, reason, checkpoint)
                continue
            verdict = judge(
                info,
                checkpoint,
                in_flight=checkpoint is not None and checkpoint.submission_id in open_jobs,
                reprocess=settings["reprocess"],
                max_attempts=settings["max_attempts"],
            )
            if verdict == "hash" and checkpoint is not None:
                verdict = self._compared(info, checkpoint, checkpoint.submission_id in open_jobs)
            if verdict == "given_up" and checkpoint is not None:
                self.summary.failed += 1
                self.summary.note(
                    info.path,
                    checkpoint.state,
                    f"left alone after {checkpoint.attempts} attempts: {checkpoint.reason}",
                )
            elif verdict == "unchanged":
                self.summary.unchanged += 1
            elif verdict == "new":
                self.summary.new += 1
                sent += 1
                yield _sent_file(info, checkpoint)

    def _compared(self, info: FileInfo, checkpoint: Checkpoint, in_flight: bool) -> Any:
        """A file of another time and the same size: its hash decides."""
        try:
            checksum = file_sha256(self.session.volumes, info.path)
        except VolumeError as error:
            self._skip(info, str(error), checkpoint)
            return "skipped"
        if checksum != checkpoint.checksum:
            return "new"
        now = self.session.clock()
        self._row(
            {
                "volume_path": self.volume,
                "file_path": info.path,
                "modification_time": to_time(info.modified_at),
                "updated_at": now,
            }
        )
        same = FileInfo(info.path, info.size, checkpoint.modified_at or 0)
        return judge(
            same, checkpoint, in_flight=in_flight, max_attempts=self.session.settings["max_attempts"]
        )

    def _cannot(self, info: FileInfo) -> str:
        """Why a file cannot be sent; empty when it can."""
        if info.size > self.max_file_bytes:
            return f"{info.size} bytes, more than the {self.max_file_bytes} that one file may have (max_file_bytes)"
        try:
            info.path.encode()
        except UnicodeEncodeError:
            return "its name is not valid Unicode; rename it"
        return ""

    def _unreadable(self, path: str, error: VolumeError) -> None:
        self.complete = False
        self._skip(FileInfo(path, 0, 0), str(error), None)

    def _skip(self, info: FileInfo, reason: str, checkpoint: Checkpoint | None) -> None:
        path = info.path.encode("utf-8", "backslashreplace").decode()
        self.summary.skipped += 1
        self.summary.note(path, "skipped", reason)
        self.session.log("skipped", run_id=self.session.run_id, path=repr(path), reason=reason)
        if checkpoint is not None and checkpoint.state == "skipped" and checkpoint.reason == reason:
            return  # known already: an idle run writes nothing
        self._row(
            {
                "volume_path": self.volume,
                "file_path": path,
                "file_size": info.size,
                "modification_time": to_time(info.modified_at),
                "checksum": None,
                "state": "skipped",
                "reason": reason,
                "submission_id": None,
                "updated_at": self.session.clock(),
            }
        )

    # ---------------------------------------------------------------- sending

    def _senders(self, opened: ExitStack) -> dict[int, ThreadPoolExecutor]:
        count: int = self.session.settings["parallel_jobs"]
        return {
            one: opened.enter_context(ThreadPoolExecutor(count, thread_name_prefix=f"dxr-{one}"))
            for one in self.datasources
        }

    def _send(self, wave: Sequence[Job], senders: dict[int, ThreadPoolExecutor]) -> None:
        if self.dry_run:
            self.summary.jobs += len(wave)
            for job in wave:
                for one in job.files:
                    self.summary.note(one.path, "new", "would be sent")
            return
        if self.stopped.is_set():
            return
        self.ledger.plan(wave, self.session.run_id, self.session.clock())
        sender = Sender(self.session, self.ledger, self.stopped)
        self.waiting += [senders[job.datasource_id].submit(sender.send, job) for job in wave]
        # the next wave is planned while the last jobs of this one are under way
        self._take(len(self.datasources) * int(self.session.settings["parallel_jobs"]))

    def _take(self, left: int) -> None:
        """Take what became of jobs, oldest first, until at most `left` are under way."""
        while len(self.waiting) > left:
            outcome = self.waiting.pop(0).result()
            for job in outcome.accepted:
                self.summary.jobs += 1
                self.summary.uploaded += len(job.files)
                self.summary.uploaded_bytes += job.bytes
                self.rows += submitted_rows(job, self.session.clock())
            for file, reason in outcome.skipped:
                self._skip(FileInfo(file.path, file.size, file.modified_at), reason, None)
            for file, reason in outcome.unsent:
                self.summary.failed += 1
                self.summary.note(file.path, "failed", reason)
            if outcome.accepted:
                self.given_up = 0
            elif outcome.unsent:
                self.given_up += 1
                if self.given_up >= GIVE_UP and outcome.stop is None:
                    outcome.stop = DxrUnavailable(
                        f"Data X-Ray took none of {GIVE_UP} jobs in a row; look at it, and run again: nothing is lost"
                    )
            if outcome.stop is not None and self.stop is None:
                self.stop = outcome.stop
                self.stopped.set()
            if len(self.rows) >= ROWS:
                self.checkpoints_flushed()

    def _row(self, row: JsonObject) -> None:
        if self.dry_run:
            return
        self.rows.append(row)
        if len(self.rows) >= ROWS:
            self.checkpoints_flushed()

    def checkpoints_flushed(self) -> None:
        """Commit the checkpoint rows that wait."""
        rows, self.rows = self.rows, []
        if rows:
            self.checkpoints.save(rows)

    # ---------------------------------------------------------------- what is gone

    def _gone(self, known: dict[str, Checkpoint]) -> None:
        """Mark the files that are not there any more; an empty or half-read listing says nothing about that."""
        if self.dry_run or not self.complete or self.stop is not None:
            return
        below = self.top if self.top == self.volume else self.top + "/"
        gone = [
            path
            for path, one in known.items()
            if one.state != "deleted" and (path.startswith(below) or path == self.top)
        ]
        if not gone:
            return
        if not self.summary.seen and len(gone) == len(known):
            self.session.log("empty", run_id=self.session.run_id, path=self.top, kept=len(gone))
            return
        now = self.session.clock()
        self.summary.deleted = len(gone)
        for start in range(0, len(gone), ROWS):
            part = gone[start : start + ROWS]
            merge(
                self.session.tables,
                definitions.metadata(self.metadata),
                [{"file_path": path, "source_deleted_at": now} for path in part],
                ("file_path",),
                insert=False,
            )
            self.checkpoints.save(
                [
                    {"volume_path": self.volume, "file_path": path, "state": "deleted", "updated_at": now}
                    for path in part
                ]
            )


def _sent_file(info: FileInfo, known: Checkpoint | None) -> SentFile:
    if known is None:
        return SentFile(info.path, info.size, info.modified_at, "")
    again = known.state not in {"skipped", "deleted", "classified"} and known.size == info.size
    return SentFile(
        info.path,
        info.size,
        info.modified_at,
        "",
        attempt=known.attempts + 1 if again else 1,
        version=known.version if again else known.version + 1,
    )


def _waves(jobs: Iterator[Job]) -> Iterator[list[Job]]:
    """The jobs in groups whose intents are written together."""
    wave: list[Job] = []
    files = 0
    for job in jobs:
        wave.append(job)
        files += len(job.files)
        if len(wave) >= WAVE_JOBS or files >= WAVE_FILES:
            yield wave
            wave, files = [], 0
    if wave:
        yield wave


def _below(volume: str, prefix: str | None) -> str:
    """The path to list. Raises UsageError when the prefix leads out of the volume."""
    parts = [part for part in (prefix or "").split("/") if part and part != "."]
    if ".." in parts:
        raise UsageError(f"prefix {prefix!r} leads out of the volume: write it without ..")
    return "/".join([volume, *parts])
