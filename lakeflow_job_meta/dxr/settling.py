"""One job that has ended: looked at in the index until its result is whole and still, then accounted for.

Each look pages through the job's hits and keeps a digest of each, so that memory is bounded by the job's
files. A file's row is handed out as soon as its hit was the same in enough looks in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from lakeflow_job_meta.dxr.client import WINDOW, kql_text
from lakeflow_job_meta.dxr.ledger import COLLECTED, EXPIRED, FAILED, LOST, Job, SentFile
from lakeflow_job_meta.dxr.matching import Matcher, Seen, decide, seen
from lakeflow_job_meta.dxr.records import Recorder, excluded, outcome, place
from lakeflow_job_meta.dxr.responses import Hit, JobState, hit_of_file
from lakeflow_job_meta.dxr.session import DxrSession

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of a file: classified, missing, ambiguous or failed, and why."""

    file: SentFile
    status: str
    reason: str = ""


@dataclass
class _Look:
    """What is known of one file over the looks so far."""

    hits: list[Seen] = field(default_factory=list)
    winner: Seen | None = None
    doubt: str = ""
    same: int = 0
    written: bytes = b""


class Settling:
    """One ended job.

    Args:
        session: the run.
        job: with those of its files that are still current.
        ending: COLLECTED, FAILED, LOST or EXPIRED: what the job will be.
        state: the job's last state.
        write: takes a finished row of the metadata table.
    """

    def __init__(
        self,
        session: DxrSession,
        job: Job,
        ending: str,
        state: JobState,
        write: Callable[[JsonObject], None],
    ) -> None:
        settings = session.settings
        self._session = session
        self.job = replace(job, scan_id=state.scan_id if state.scan_id is not None else job.scan_id)
        self.ending = ending
        self.state = state
        self._write = write
        self._matcher = Matcher(job.submission_id, job.files)
        self._looks = [_Look() for _ in job.files]
        self._rounds: int = settings["settle_rounds"]
        self._page_size: int = 20 if settings["keep_raw_text"] else settings["page_size"]
        self._keep = {name: bool(settings[name]) for name in ("keep_phrases", "keep_raw_text")}
        self._recorder = Recorder(session.client, **self._keep)
        self._unchanged = 0
        self._unmatched = 0
        self._looked = False
        now = session.clock()
        self._limit = now + timedelta(seconds=settings["settle_limit"])
        self._extracted_by = now + timedelta(
            seconds=min(settings["extraction_wait"], settings["settle_limit"])
        )
        self.due = now

    @property
    def adopted(self) -> bool:
        """Whether Data X-Ray has the job, but nobody knows its id."""
        return not self.job.job_id

    def look(self) -> list[FileOutcome] | None:
        """One look at the index; what became of every file when that is clear, else None.

        Raises:
            DxrError: the look failed; it may be repeated.
        """
        now = self._session.clock()
        last = now >= self._limit and self._looked
        self._refresh()
        for one in self._looks:
            one.hits = []
        self._unmatched = 0
        for hit in self._hits(last):
            matched = self._matcher.match(hit)
            if matched is None:
                self._unmatched += 1
                continue
            at, by_name = matched
            self._meet(at, hit, seen(hit, by_name), last, now)
        self._looked = True
        changed = [self._judge(number) for number in range(len(self._looks))]
        self._unchanged = 0 if any(changed) else self._unchanged + 1
        self.due = now + timedelta(seconds=self._session.settings["settle_interval"])
        if self._settled() or last:
            return self._finish()
        return None

    def _refresh(self) -> None:
        """Ask for the scan id while there is none."""
        if self.job.scan_id is not None or self.adopted or self.ending == LOST:
            return
        state = self._session.client.job(self.job.datasource_id, self.job.job_id)
        if state.scan_id is not None:
            self.job = replace(self.job, scan_id=state.scan_id)

    def _hits(self, last: bool) -> Iterator[Hit]:
        client = self._session.client
        if self.job.scan_id is None:
            if self.adopted or self.ending == LOST or last:
                query = f"fileName:{kql_text(f'*{self.job.submission_id}*')}"
                with client.files(query) as lines:
                    for line in lines:
                        yield hit_of_file(_object(line))
            return
        count = 0
        for descending in (False, True):
            for hit in client.search(self._query(), page_size=self._page_size, descending=descending):
                count += 1
                yield hit
            if count + self._page_size <= WINDOW or all(one.hits for one in self._looks):
                return

    def _query(self) -> Mapping[str, Any]:
        return {
            "filter": {
                "query_items": [
                    {
                        "parameter": "dxr#datasource_scan_id",
                        "value": self.job.scan_id,
                        "type": "number",
                        "match_strategy": "exact",
                        "operator": "AND",
                        "group_id": 0,
                        "group_order": 0,
                    }
                ]
            },
            "excludedFields": excluded(**self._keep),
        }

    def _meet(self, at: int, hit: Hit, met: Seen, last: bool, now: datetime) -> None:
        one = self._looks[at]
        if any(known.hit_id == met.hit_id and met.hit_id for known in one.hits):
            return  # met from both ends of a long result
        one.hits.append(met)
        if one.written == met.digest or one.doubt or len(one.hits) > 1:
            return
        same = one.winner is not None and one.winner.digest == met.digest
        if last or (one.same if same else 0) + 1 >= self._rounds:
            file = self._matcher.files[at]
            if decide(file, [met])[0] is not None:
                self._write({**self._recorder.row(self.job, file, hit, now), **self._outcome(at, met)})
                one.written = met.digest

    def _outcome(self, at: int, met: Seen) -> JsonObject:
        failed = self.ending == FAILED
        return outcome(
            "failed" if failed else "classified",
            self._failure() if failed else "",
            self.state.state,
            partial=failed,
        )

    def _judge(self, at: int) -> bool:
        """Take the look's hits of a file; whether it is another result than in the look before."""
        one = self._looks[at]
        winner, doubt = decide(self._matcher.files[at], one.hits)
        before, now = one.winner and one.winner.digest, winner and winner.digest
        changed = before != now or doubt != one.doubt
        one.winner, one.doubt = winner, doubt
        one.same = 1 if changed else one.same + 1
        return changed

    def _settled(self) -> bool:
        whole = all(one.winner is not None and one.same >= self._rounds for one in self._looks)
        if self._session.clock() < self._extracted_by:
            # models work on after the job has ended
            whole = whole and all(one.winner is not None and one.winner.extracted for one in self._looks)
        if self.ending in {FAILED, LOST, EXPIRED}:
            # what is not there will not come: the same result again is enough
            return whole or self._unchanged + 1 >= self._rounds + 1
        return whole

    def _finish(self) -> list[FileOutcome]:
        outcomes: list[FileOutcome] = []
        now = self._session.clock()
        for at, one in enumerate(self._looks):
            file = self._matcher.files[at]
            found = self._judged(file, one)
            outcomes.append(found)
            if one.winner is None or one.written != one.winner.digest:
                self._write(
                    {
                        **place(self.job, file),
                        **outcome(found.status, found.reason, self.state.state),
                        "updated_at": now,
                    }
                )
        return outcomes

    def _judged(self, file: SentFile, one: _Look) -> FileOutcome:
        if one.doubt:
            return FileOutcome(file, "ambiguous", one.doubt)
        if self.ending == FAILED:
            return FileOutcome(file, "failed", self._failure())
        if one.winner is not None:
            return FileOutcome(file, "classified")
        if self.ending != COLLECTED:
            return FileOutcome(file, "failed", self._failure())
        stray = f"; {self._unmatched} hits are of no file that was sent" if self._unmatched else ""
        scan = "" if self.job.scan_id is not None else "; the job has no scan id"
        return FileOutcome(file, "missing", f"the job ended, and the index has no such file{scan}{stray}")

    def _failure(self) -> str:
        said = f": {self.state.message}" if self.state.message else ""
        return {
            FAILED: f"the job FAILED in Data X-Ray{said}",
            LOST: "Data X-Ray does not know the job any more",
            EXPIRED: f"the job did not end in time (state {self.state.state or 'unknown'})",
        }.get(self.ending, "")


def counts(outcomes: Sequence[FileOutcome]) -> dict[str, int]:
    """How many of each status."""
    found = dict.fromkeys(("classified", "missing", "ambiguous", "failed"), 0)
    for one in outcomes:
        found[one.status] += 1
    return found


def _object(line: bytes) -> Mapping[str, Any]:
    from lakeflow_job_meta.errors import StreamCut

    try:
        found = orjson.loads(line)
    except ValueError as error:
        raise StreamCut("reading files: a line is no JSON, so the answer is not whole") from error
    return found if isinstance(found, Mapping) else {}
