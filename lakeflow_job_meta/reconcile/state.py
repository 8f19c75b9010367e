"""What is known of a module before the decision, and the work that comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.control.records import JobRecord, QueryRecord
from lakeflow_job_meta.errors import Problem
from lakeflow_job_meta.jobs.desired import DesiredJob
from lakeflow_job_meta.ports import RemoteJob, RemoteQuery

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModuleState:
    """All that is known of one module.

    Args:
        desired: what should exist; None where it is to be retired or was refused.
        problems: why its metadata is refused.
        options: the module's own settings, of the last accepted definition when it has none now.
        record: its row of `_jobs`.
        actual: its job in the workspace; None when there is none, or when it was not looked for.
        observed: whether the workspace was asked.
        duplicates: further jobs with this module's tags.
        permissions: direct permissions of the job; None when not read.
        query_records: its rows of `_queries`.
        queries: saved queries by id; None when not read.
        job_ids: job ids of other modules that its settings may refer to.
        abandoned: a writer died while it held the module: its claim ran out and was never given back.
    """

    module: str
    desired: DesiredJob | None = None
    problems: tuple[Problem, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    record: JobRecord | None = None
    actual: RemoteJob | None = None
    observed: bool = True
    duplicates: tuple[int, ...] = ()
    permissions: tuple[JsonObject, ...] | None = None
    query_records: tuple[QueryRecord, ...] = ()
    queries: Mapping[str, RemoteQuery] | None = None
    query_permissions: Mapping[str, tuple[JsonObject, ...]] | None = None
    job_ids: Mapping[str, int] = field(default_factory=dict)
    rows_hash: str = ""
    context_hash: str = ""
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class QueryWork:
    """A saved query to create (no id yet), to update, to give its permissions only, or only to record."""

    source_id: str
    settings: JsonObject
    query_id: str = ""
    write: bool = True
    permissions: tuple[JsonObject, ...] | None = None

    @property
    def touches_workspace(self) -> bool:
        return self.write or self.permissions is not None


@dataclass(frozen=True, slots=True)
class Work:
    """What apply executes for one module, in this order; it reads nothing to decide.

    Args:
        queries: saved queries to create or update.
        job_id: the job that is there; None: it is created.
        settings: JobSettings to create the job with or to reset it to; None: the job stays.
            QUERY_REFERENCEs and MODULE_REFERENCEs may still be open.
        permissions: entries to set on the job, None: they stay.
        dropped_queries: rows of `_queries` whose query goes to the trash.
        delete: the job is deleted.
        record: the row of `_jobs` to save afterwards; apply fills in ids and time.
        applied: settings as the record keeps them (the metadata's, without carried values).
        start_run: whether a run is started afterwards.
        run_only: keys of the tasks that it runs; empty: all.
        requires: modules whose jobs have to exist first.
        before: the row of `_jobs` that the decision rests on.
    """

    record: JobRecord
    job_id: int | None = None
    queries: tuple[QueryWork, ...] = ()
    settings: JsonObject | None = None
    applied: JsonObject | None = None
    permissions: tuple[JsonObject, ...] | None = None
    dropped_queries: tuple[QueryRecord, ...] = ()
    delete: bool = False
    start_run: bool = False
    run_only: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    before: JobRecord | None = None

    @property
    def touches_workspace(self) -> bool:
        return bool(
            self.queries
            or self.settings is not None
            or self.permissions is not None
            or self.dropped_queries
            or self.delete
            or self.start_run
        )
