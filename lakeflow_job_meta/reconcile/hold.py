"""A writer's hold on modules: claimed before work, renewed while it lasts, not believed in once it is over.

Kept as `claim` in `_jobs`. What is held here is only as long ours as the claim says; a process that
slept, or could not renew, has lost it and must begin nothing more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.errors import TablesError


class Hold:
    """Claims of one writer.

    Args:
        seconds: how long a claim holds.
        clock: now, as an aware datetime.
    """

    def __init__(self, records: JobRecords, seconds: float, clock: Callable[[], datetime]) -> None:
        self._records = records
        self._seconds = seconds
        self._clock = clock
        self._until: dict[str, datetime] = {}
        self._renewed = clock()
        self.token = str(uuid.uuid4())

    @property
    def interval(self) -> float:
        """Seconds from one renewal to the next."""
        return self._seconds / 3

    def take(self, modules: Collection[str], over: Collection[str] = ()) -> dict[str, JobRecord]:
        """Claim modules; returns the records of those that are ours now.

        Args:
            over: claims of writers that seem to be dead, to take over once they expired.
        """
        self._renewed = self._clock()
        held = self._records.claim(modules, self.token, self._seconds, over=over)
        until = self._renewed + timedelta(seconds=self._seconds)
        self._until = dict.fromkeys(held, until)
        return held

    def renew(self, modules: Collection[str]) -> None:
        """Claim the modules that are still to be done anew, when it is time."""
        if modules and (self._clock() - self._renewed).total_seconds() >= self.interval:
            try:
                self.take(modules)
            except TablesError:
                return  # the claim lasts a while still, and the next renewal may come through

    def lasts(self, module: str, share: float = 0.0) -> bool:
        """Whether the module is ours, for at least this share of a claim's time."""
        until = self._until.get(module)
        return until is not None and self._clock() + timedelta(seconds=self._seconds * share) < until

    def save(self, records: Collection[JobRecord]) -> None:
        """Write the records of modules that are done, where they are still ours, and give them back."""
        if records:
            self._records.save(list(records), self.token)

    def release(self, modules: Collection[str]) -> None:
        """Give back what was claimed and not done."""
        if modules:
            self._records.release(modules, self.token)
