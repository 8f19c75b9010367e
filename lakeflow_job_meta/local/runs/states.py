"""The states of runs and task runs, in the words of the Jobs API: the old `state` and the new `status`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

ENDED = frozenset({"TERMINATED", "SKIPPED", "INTERNAL_ERROR"})
#: Results that count as a failure of the task or of something above it.
FAILURES = frozenset({"FAILED", "TIMEDOUT", "UPSTREAM_FAILED"})
CANCELLATIONS = frozenset({"CANCELED", "UPSTREAM_CANCELED"})
#: Results of tasks that never started.
NOT_RUN = frozenset({"EXCLUDED", "UPSTREAM_FAILED", "UPSTREAM_CANCELED", "DISABLED"})

_STATUS = {
    "QUEUED": "QUEUED",
    "PENDING": "PENDING",
    "RUNNING": "RUNNING",
    "TERMINATING": "TERMINATING",
    "TERMINATED": "TERMINATED",
    "SKIPPED": "TERMINATED",
    "INTERNAL_ERROR": "TERMINATED",
    "BLOCKED": "BLOCKED",
    "WAITING_FOR_RETRY": "WAITING",
}
_CODES = {
    "SUCCESS": "SUCCESS",
    "SUCCESS_WITH_FAILURES": "SUCCESS_WITH_FAILURES",
    "FAILED": "RUN_EXECUTION_ERROR",
    "TIMEDOUT": "CANCELED",
    "CANCELED": "USER_CANCELED",
    "MAXIMUM_CONCURRENT_RUNS_REACHED": "MAX_CONCURRENT_RUNS_EXCEEDED",
    "EXCLUDED": "SKIPPED",
    "UPSTREAM_FAILED": "SKIPPED",
    "UPSTREAM_CANCELED": "SKIPPED",
    "DISABLED": "DISABLED",
}
_SUCCESSES = frozenset({"SUCCESS", "SUCCESS_WITH_FAILURES", "EXCLUDED", "DISABLED"})


@dataclass(frozen=True, slots=True)
class State:
    """Where a run or a task run stands.

    Args:
        life_cycle: RunLifeCycleState of the Jobs API.
        result: RunResultState, empty until the run has ended.
        message: one sentence, empty when there is nothing to say.
        code: TerminationCodeCode; empty: the usual one of the result.
    """

    life_cycle: str
    result: str = ""
    message: str = ""
    code: str = ""

    @property
    def ended(self) -> bool:
        return self.life_cycle in ENDED

    @property
    def succeeded(self) -> bool:
        return self.result in ("SUCCESS", "SUCCESS_WITH_FAILURES")

    def old(self) -> Json:
        """The deprecated `state` object."""
        body: Json = {"life_cycle_state": self.life_cycle, "state_message": self.message}
        if self.result:
            body["result_state"] = self.result
        body["user_cancelled_or_timedout"] = self.result in ("CANCELED", "TIMEDOUT")
        if self.life_cycle == "QUEUED":
            body["queue_reason"] = self.message
        return body

    def new(self) -> Json:
        """The `status` object."""
        body: Json = {"state": _STATUS.get(self.life_cycle, "RUNNING")}
        if self.life_cycle == "QUEUED":
            body["queue_details"] = {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": self.message}
        if self.ended:
            internal = self.life_cycle == "INTERNAL_ERROR"
            kind = "SUCCESS" if self.result in _SUCCESSES else "CLIENT_ERROR"
            body["termination_details"] = {
                "code": self.code
                or ("INTERNAL_ERROR" if internal else _CODES.get(self.result, "INTERNAL_ERROR")),
                "type": "INTERNAL_ERROR" if internal else kind,
                "message": self.message,
            }
        return body


BLOCKED = State("BLOCKED")
PENDING = State("PENDING")
RUNNING = State("RUNNING")
SUCCESS = State("TERMINATED", "SUCCESS")
STOPPED = State(
    "INTERNAL_ERROR", "FAILED", "workspace stopped: its process ended while the run was under way"
)


def ended(result: str, message: str = "", code: str = "") -> State:
    """The state of a run that ended with `result`; one that never started is SKIPPED."""
    never = result in NOT_RUN or result == "MAXIMUM_CONCURRENT_RUNS_REACHED"
    return State("SKIPPED" if never else "TERMINATED", result, message, code)


def run_result(leaves: Iterable[str], everyone: Iterable[str]) -> str:
    """The result of a job run from the results of its tasks.

    Only tasks without dependents (`leaves`) decide; an excluded or disabled one counts as a success.
    Source: "How Databricks determines job run status" (Jobs documentation).
    """
    last = set(leaves)
    if last & {"FAILED", "UPSTREAM_FAILED"}:
        return "FAILED"
    if "TIMEDOUT" in last:
        return "TIMEDOUT"
    if last & CANCELLATIONS:
        return "CANCELED"
    return "SUCCESS_WITH_FAILURES" if set(everyone) & (FAILURES | CANCELLATIONS) else "SUCCESS"


_MAX_QUEUED = 1000


def admission(limit: int, under_way: int, queued: int, *, has_queue: bool) -> State:
    """The state of a new run: it starts, waits in the queue, or is skipped.

    Args:
        limit: max_concurrent_runs of the job.
        under_way: its runs that have started.
        queued: its runs that wait.
        has_queue: whether the job queues runs (Jobs API 2.2 does by default).
    """
    if under_way < limit and not queued:
        return PENDING
    if not has_queue:
        return ended("MAXIMUM_CONCURRENT_RUNS_REACHED", f"Run skipped: max_concurrent_runs is {limit}.")
    if queued >= _MAX_QUEUED:
        message = "Run skipped: the queue of the job is full."
        return ended("MAXIMUM_CONCURRENT_RUNS_REACHED", message, "MAX_JOB_QUEUE_SIZE_EXCEEDED")
    return State("QUEUED", message=f"Queued: max_concurrent_runs of the job is {limit}.")
