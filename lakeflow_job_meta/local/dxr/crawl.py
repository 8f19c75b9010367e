"""Jobs go from state to state here: one crawl at a time in each datasource, files classified in between."""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import posixpath
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lakeflow_job_meta.local.dxr.knobs import Knobs, Wait
from lakeflow_job_meta.local.dxr.store import TERMINAL, Document, Job, Store

log = logging.getLogger("lakeflow_job_meta.local.dxr")

CRAWL = "AWAITING_RECRAWL_TO_COMPLETE"
TICK = 0.02
"""Seconds between two looks of a crawler that waits."""
BATCH = 200
"""Files whose documents are written in one transaction."""

Classify = Callable[[str, str, int, Path], Document]
"""(upload name, content type, size, the bytes' path) -> what is found."""


class Crawlers:
    """One thread for each datasource that has work; they end with it.

    Args:
        store: jobs and files.
        classify: called for every file.
        knobs: asked for the knobs in force.
    """

    def __init__(self, store: Store, classify: Classify, knobs: Callable[[], Knobs]) -> None:
        self._store = store
        self._classify = classify
        self._knobs = knobs
        self._lock = threading.Lock()
        self._threads: dict[int, threading.Thread] = {}
        self._stopping = threading.Event()
        self._failed = 0
        self.crawled: Counter[int] = Counter()

    def wake(self, datasource_id: int) -> None:
        """Sees to it that the jobs of a datasource go on."""
        with self._lock:
            thread = self._threads.get(datasource_id)
            if self._stopping.is_set() or (thread is not None and thread.is_alive()):
                return
            thread = threading.Thread(
                target=self._run, args=(datasource_id,), name=f"crawl-{datasource_id}", daemon=True
            )
            self._threads[datasource_id] = thread
            thread.start()

    def resume(self) -> None:
        """Goes on with what was under way when the process ended."""
        for datasource_id in self._store.open_datasources():
            self.wake(datasource_id)

    def is_active(self, datasource_id: int) -> bool:
        """Whether a crawl is under way."""
        job = self._store.next_job(datasource_id)
        return job is not None and job.state == CRAWL

    def are_active(self) -> bool:
        """Whether any job has not ended."""
        with self._lock:
            return bool(self._threads)

    def stop(self) -> None:
        """Ends the threads; jobs go on where they were with the next start."""
        self._stopping.set()
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(5)

    def fail_from_now(self) -> None:
        """`fail_first` counts from here."""
        self._failed = 0

    def _run(self, datasource_id: int) -> None:
        while not self._stopping.is_set():
            job = self._store.next_job(datasource_id)
            if job is None:
                with self._lock:
                    # A job that came in after the look above finds this thread gone, or is found here.
                    if self._store.next_job(datasource_id) is None:
                        self._threads.pop(datasource_id, None)
                        return
                continue
            # The outermost boundary of a crawl: one that breaks is a FAILED job, not a datasource that hangs.
            try:
                self._job(job)
            except Exception as error:
                log.exception("job %s broke", job.job_id)
                self._store.end_job(job.number, "FAILED", f"{type(error).__name__}: {error}")

    def _job(self, job: Job) -> None:
        knobs = self._knobs()
        if knobs.scan_id_when == "submit":
            self._store.start_scan(job.number)
        fails = self._fails(job, knobs)
        crawled = False
        looks = self._store.polls(job.number)
        for state in _script(knobs):
            if state in TERMINAL:
                fails = state == "FAILED"
                break
            # A submit has left the job in its first state already, however late this thread is.
            began = self._store.clock() if job.state != state else job.submitted_at
            self._store.set_state(job.number, state)
            if state == CRAWL:
                if not self._crawl(job, knobs, fails):
                    return
                crawled = True
            if not self._wait(job, state, looks, began):
                return
            looks = self._store.polls(job.number)
        if not crawled and not self._crawl(job, knobs, fails):
            return
        self._store.forget_received(job.number)
        self._store.end_job(
            job.number, "FAILED" if fails else "FINISHED", knobs.error_message if fails else None
        )

    def _fails(self, job: Job, knobs: Knobs) -> bool:
        with self._lock:
            if self._failed < knobs.fail_first:
                self._failed += 1
                return True
        share = int.from_bytes(hashlib.sha256(b"%d" % job.number).digest()[:4], "big") / 2**32
        return share < knobs.fail_rate

    def _wait(self, job: Job, state: str, looks: int, began: float) -> bool:
        """Waits until a state is over, by the knobs as they are then; False when the process ends first.

        Args:
            began: when the state was entered, crawling included.
        """
        while True:
            wait = _script(self._knobs()).get(state, Wait(0, None))
            seen = 0 if wait.polls is None else self._store.polls(job.number) - looks
            if wait.is_over(self._store.clock() - began, seen):
                return True
            if self._stopping.wait(TICK):
                return False

    def _crawl(self, job: Job, knobs: Knobs, fails: bool) -> bool:
        """Classifies a job's files; False when the process ends first, the rest is done by the next one."""
        scan_id = self._store.start_scan(job.number)
        rows = self._store.received(job.number)
        if fails:
            rows = rows[: round(len(rows) * knobs.partial_on_fail)]
        found: list[tuple[int, Document]] = []
        for row in rows:
            if self._stopping.is_set():
                self._store.index(scan_id, found)
                return False
            if _is_lost(row["name"], knobs):
                continue
            path = self._store.content_path(row["file_id"])
            found.append((row["seq"], self._classify(row["name"], row["content_type"], row["size"], path)))
            self.crawled[job.datasource_id] += 1
            if not knobs.keep_content:
                path.unlink(missing_ok=True)
            if len(found) == BATCH:
                self._store.index(scan_id, found)
                found = []
        self._store.index(scan_id, found)
        return True


def _script(knobs: Knobs) -> dict[str, Wait]:
    entries = (
        (entry["state"], entry.get("wait", 0)) if isinstance(entry, dict) else entry
        for entry in knobs.state_script
    )
    return {state: Wait.of(wait) for state, wait in entries}


def first_state(knobs: Knobs) -> str:
    """The state in which a submit leaves a job."""
    return next(iter(_script(knobs)))


def _is_lost(name: str, knobs: Knobs) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(posixpath.basename(name), pattern)
        for pattern in knobs.lost_files
    )
