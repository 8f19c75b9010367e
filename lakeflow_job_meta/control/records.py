"""Values of the companion tables: `_jobs`, `_queries`, `_files`, `_events`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

JsonObject = dict[str, Any]
#: active: live; retired; refused: the metadata is wrong, last good stays; failed: the workspace
#: refused or failed, tried again; deleted: retired with `retire: delete`; new: never written.
Status = Literal["new", "active", "retired", "refused", "failed", "deleted"]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One row of `<table>_jobs`, key (workspace_id, module_name).

    Args:
        rows_hash: hash of the control rows that were accepted, see `metadata.rows.rows_hash`.
        context_hash: hash of everything else that rendering depends on (settings, variables, package version).
        definition: the accepted definition (`ModuleDefinition.as_json`).
        applied: what we wrote last: `{"settings": JobSettings, "permissions": [...] | null}`, ids resolved.
        former_pause_status: what retiring remembers.
        claim: token of the writer that holds the module, empty when free; until `claimed_until`.
    """

    module_name: str
    job_id: int | None = None
    job_name: str = ""
    spec_hash: str = ""
    rows_hash: str = ""
    context_hash: str = ""
    definition: JsonObject | None = None
    applied: JsonObject | None = None
    status: Status = "new"
    error: str = ""
    former_pause_status: str = ""
    claim: str = ""
    claimed_until: datetime | None = None
    applied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """One row of `<table>_queries`, key (workspace_id, module_name, source_id)."""

    module_name: str
    source_id: str
    query_id: str = ""
    spec_hash: str = ""
    applied: JsonObject | None = None
    status: Status = "new"
    applied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One row of `<table>_files`, key (workspace_id, path).

    Args:
        sha256: of the bytes that were judged last.
        context_hash: of the variables that were in force then.
        modified_at: ms since 1970, as the listing gave it.
        status: loaded; rejected: nothing of it was taken; partial: some modules were refused;
            vanished: it left the volume and released its keys.
        errors: texts of the problems, with their places.
        keys: hash of each row that it owns: `{"module": {"source": hash}}`.
        hand: loaded by hand (`load`, `apply --yaml`), never counts as vanished.
    """

    path: str
    sha256: str
    size: int
    modified_at: int
    status: Literal["loaded", "partial", "rejected", "vanished"]
    context_hash: str = ""
    errors: tuple[str, ...] = ()
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hand: bool = False
    loaded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One row of `<table>_events` (append-only).

    Args:
        kind: created, updated, retired, revived, deleted, refused, failed, drift, healed, run_started, loaded, rejected, heartbeat, ...
        detail: JSON object, never a secret.
    """

    kind: str
    at: datetime
    module_name: str = ""
    job_id: int | None = None
    message: str = ""
    detail: JsonObject = field(default_factory=dict)
