"""The ports to one workspace: jobs and their runs, saved queries, permissions."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job as the workspace has it; `settings` is the wire's JobSettings, all pages merged."""

    job_id: int
    settings: JsonObject
    created_time: int = 0
    creator: str = ""
    run_as: str = ""

    @property
    def tags(self) -> Mapping[str, str]:
        return self.settings.get("tags") or {}


@dataclass(frozen=True, slots=True)
class RemoteQuery:
    """A saved query as the workspace has it; `settings` is the wire's Query object."""

    query_id: str
    settings: JsonObject
    trashed: bool = False


@dataclass(frozen=True, slots=True)
class TaskRun:
    """The latest attempt of one task of a run; times in ms since 1970."""

    task_key: str
    run_id: int
    life_cycle_state: str
    result_state: str = ""
    message: str = ""
    attempts: int = 1
    start_time: int = 0
    end_time: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a job. An unknown life_cycle_state means: still running."""

    run_id: int
    job_id: int
    life_cycle_state: str
    result_state: str = ""
    message: str = ""
    start_time: int = 0
    end_time: int = 0
    url: str = ""
    tasks: tuple[TaskRun, ...] = ()

    @property
    def ended(self) -> bool:
        return self.life_cycle_state in {"TERMINATED", "SKIPPED", "INTERNAL_ERROR"}


@dataclass(slots=True)
class CallCount:
    """How many REST calls were made, and how many of them changed the workspace. Thread-safe enough: only added to."""

    calls: int = 0
    writes: int = 0


class Jobs(Protocol):
    """The Jobs API. Settings are wire dicts; nothing is dropped on the way."""

    def get(self, job_id: int) -> RemoteJob | None:
        """The job with all its tasks; None when it does not exist (any more)."""
        ...

    def list(self, *, name: str | None = None) -> Iterator[RemoteJob]:
        """All jobs of the workspace with all their tasks (the API has no tag filter)."""
        ...

    def create(self, settings: JsonObject) -> int:
        """Create a job, sent once: never repeated after a reset or a time-out.

        Raises:
            UnclearOutcome: it may have been created; look it up by its tags.
            InvalidRequest, PermissionDenied, Throttled, Unavailable: it was not.
        """
        ...

    def reset(self, job_id: int, settings: JsonObject) -> None:
        """Replace all settings. Safe to repeat. Raises NotFound when the job is gone."""
        ...

    def set_tags(self, job_id: int, tags: Mapping[str, str]) -> None:
        """Replace the job's tags and nothing else of it. Safe to repeat. Raises NotFound when the job is gone."""
        ...

    def delete(self, job_id: int) -> None:
        """Delete the job; done when it is gone already."""
        ...

    def run_now(
        self,
        job_id: int,
        *,
        idempotency_token: str = "",
        job_parameters: Mapping[str, str] | None = None,
        only: Sequence[str] = (),
    ) -> int:
        """Start a run (of the tasks in `only`, when given); the token (64 characters) makes it safe to repeat."""
        ...

    def run(self, run_id: int) -> Run:
        """The run with all its tasks. Raises NotFound."""
        ...

    def runs(
        self, job_id: int | None = None, *, active_only: bool = False, limit: int = 25
    ) -> builtins.list[Run]:
        """The newest runs first, without tasks."""
        ...

    def run_error(self, task_run_id: int) -> str:
        """The error text of one task run, empty when there is none."""
        ...

    def cancel_run(self, run_id: int) -> None:
        """Ask the run to stop; done when it has ended already."""
        ...


class Queries(Protocol):
    """The Queries API (saved queries). Settings are wire dicts."""

    def get(self, query_id: str) -> RemoteQuery | None:
        """The query; None when it does not exist. A trashed one has `trashed`."""
        ...

    def list(self) -> Iterator[RemoteQuery]:
        """All queries that the caller sees, serially (parallel listing risks a ban)."""
        ...

    def create(self, settings: JsonObject) -> str:
        """Create a query, sent once. Raises UnclearOutcome as `Jobs.create` does."""
        ...

    def update(self, query_id: str, settings: JsonObject) -> None:
        """Set all fields in `settings` (update_mask is made of them)."""
        ...

    def delete(self, query_id: str) -> None:
        """Move the query to the trash; done when it is there or gone already."""
        ...


ObjectKind = Literal["jobs", "queries"]


class Permissions(Protocol):
    """The Permissions API for jobs and saved queries, direct entries only (inherited ones left out).

    Entries are bundle syntax: one of user_name, group_name, service_principal_name, and level.
    """

    def get(self, kind: ObjectKind, object_id: str) -> list[JsonObject]: ...

    def set(self, kind: ObjectKind, object_id: str, entries: Iterable[JsonObject]) -> None:
        """Replace the direct entries; the owner stays when none is named."""
        ...


@dataclass(frozen=True)
class Workspace:
    """One Databricks workspace: its ports, its id, and the count of calls made through them."""

    workspace_id: str
    host: str
    jobs: Jobs
    queries: Queries
    permissions: Permissions
    count: CallCount = field(default_factory=CallCount)
