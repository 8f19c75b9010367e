"""The Jobs API 2.1 and 2.2, saved jobs only; runs are the run engine's."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, route
from lakeflow_job_meta.local.api.errors import ApiError, invalid, job_missing
from lakeflow_job_meta.local.api.job_defaults import with_defaults
from lakeflow_job_meta.local.api.permissions import PermissionStore
from lakeflow_job_meta.local.state import JobRecord, Jobs
from lakeflow_job_meta.local.validation import validate_settings

PAGE = 100
"""Elements of each array on one page of a read (2.2)."""

#: Arrays of JobSettings that reads split into pages, with the key that `update` merges them by.
ARRAYS = {
    "tasks": "task_key",
    "job_clusters": "job_cluster_key",
    "environments": "environment_key",
    "parameters": "name",
}
#: Left out of jobs/list unless expand_tasks is set.
EXPANDED_ONLY = ("tasks", "job_clusters", "environments")

_TOKEN = re.compile(r"(before|after):(\d+)")


class JobsApi:
    """Handlers of `/api/2.x/jobs/...`.

    Args:
        jobs: the saved jobs.
        permissions: where access_control_list of a create goes.
        forget: called with the id of a deleted job, to end what belongs to it.
    """

    def __init__(
        self, jobs: Jobs, permissions: PermissionStore, forget: Callable[[int], None] | None = None
    ) -> None:
        self._jobs = jobs
        self._permissions = permissions
        self._forget = forget

    def routes(self) -> list[Route]:
        made = []
        for version in ("2.2", "2.1"):
            prefix = f"/api/{version}/jobs"
            made += [
                route("POST", f"{prefix}/create", self._versioned(self.create, version)),
                route("GET", f"{prefix}/get", self._versioned(self.get, version)),
                route("GET", f"{prefix}/list", self._versioned(self.list, version)),
                route("POST", f"{prefix}/reset", self._versioned(self.reset, version)),
                route("POST", f"{prefix}/update", self._versioned(self.update, version)),
                route("POST", f"{prefix}/delete", self.delete),
            ]
        return made

    @staticmethod
    def _versioned(handler: Callable[[Call, str], Json], version: str) -> Callable[[Call], Json]:
        def versioned(call: Call) -> Json:
            return handler(call, version)

        return versioned

    def create(self, call: Call, version: str) -> Json:
        settings = {k: v for k, v in call.body.items() if v is not None}
        access = settings.pop("access_control_list", None)
        validate_settings(settings, jobs=self._jobs, max_tasks=_max_tasks(version))
        if access:
            self._permissions.check("jobs", access)
        record = self._jobs.create(with_defaults(settings, version=version), call.user)
        if access:
            self._permissions.replace("jobs", str(record.job_id), access)
        return {"job_id": record.job_id}

    def get(self, call: Call, version: str) -> Json:
        record = self._record(call)
        body = _job(record)
        if version == "2.1":
            return body
        start = _page_start(call.text("page_token"))
        settings, more = _cut(record.settings, start)
        body["settings"] = settings
        if more:
            body["has_more"] = True
            body["next_page_token"] = _encode(f"page:{start + PAGE}")
        return body

    def list(self, call: Call, version: str) -> Json:
        limit = call.integer("limit", 20)
        if not 1 <= limit <= 100:
            raise invalid(f"limit must be between 1 and 100, not {limit}")
        offset = call.integer("offset", 0)
        if offset < 0:
            raise invalid("offset must not be negative")
        expand = call.flag("expand_tasks")
        name = call.value("name")
        records = self._jobs.all()[::-1]
        if name is not None:
            wanted = str(name).casefold()
            records = [r for r in records if str(r.settings.get("name", "")).casefold() == wanted]
        chosen, before, after = _window(records, call.text("page_token"), offset, limit)
        body: Json = {"has_more": after is not None}
        if chosen:
            body["jobs"] = [_listed(record, expand, version) for record in chosen]
        if after is not None:
            body["next_page_token"] = _encode(f"before:{after}")
        if before is not None:
            body["prev_page_token"] = _encode(f"after:{before}")
        return body

    def reset(self, call: Call, version: str) -> Json:
        settings = {k: v for k, v in call.object("new_settings").items() if v is not None}
        if not call.body.get("new_settings"):
            raise invalid("Missing required field: new_settings")

        def edit(old: Json) -> Json:
            # run_as cannot be unset: without a new one the old one stays.
            if "run_as" in old:
                settings.setdefault("run_as", old["run_as"])
            return settings

        self._change(call, version, edit)
        return {}

    def update(self, call: Call, version: str) -> Json:
        new = {k: v for k, v in call.object("new_settings").items() if v is not None}
        removed = [str(field) for field in call.array("fields_to_remove")]
        if "run_as" in removed:
            raise invalid("fields_to_remove: run_as cannot be removed")

        def edit(old: Json) -> Json:
            settings = dict(old)
            for name, value in new.items():
                if name in ARRAYS and isinstance(value, list):
                    settings[name] = _merge(old.get(name) or [], value, ARRAYS[name])
                else:
                    settings[name] = value
            for field in removed:
                _remove(settings, field)
            return settings

        self._change(call, version, edit)
        return {}

    def _change(self, call: Call, version: str, edit: Callable[[Json], Json]) -> None:
        job_id = call.integer("job_id")

        def checked(old: Json) -> Json:
            settings = edit(old)
            validate_settings(settings, jobs=self._jobs, job_id=job_id, max_tasks=_max_tasks(version))
            return with_defaults(settings, version=version)

        if self._jobs.change(job_id, checked) is None:
            raise job_missing(job_id)

    def delete(self, call: Call) -> Json:
        job_id = call.integer("job_id")
        if not self._jobs.delete(job_id):
            raise job_missing(job_id)
        self._permissions.drop("jobs", str(job_id))
        if self._forget is not None:
            self._forget(job_id)
        return {}

    def _record(self, call: Call) -> JobRecord:
        job_id = call.integer("job_id")
        record = self._jobs.get(job_id)
        if record is None:
            raise job_missing(job_id)
        return record


def _max_tasks(version: str) -> int:
    return 100 if version == "2.1" else 1000


def _job(record: JobRecord) -> Json:
    run_as = record.settings.get("run_as") or {}
    return {
        "job_id": record.job_id,
        "creator_user_name": record.creator,
        "run_as_user_name": run_as.get("user_name") or run_as.get("service_principal_name") or USER,
        "run_as_owner": True,
        "settings": record.settings,
        "created_time": record.created_time,
    }


def _listed(record: JobRecord, expand: bool, version: str) -> Json:
    more = False
    if expand:
        settings, more = _cut(record.settings, 0) if version == "2.2" else (record.settings, False)
    else:
        settings = {name: value for name, value in record.settings.items() if name not in EXPANDED_ONLY}
    body: Json = {
        "job_id": record.job_id,
        "creator_user_name": record.creator,
        "settings": settings,
        "created_time": record.created_time,
    }
    if more:
        body["has_more"] = True
    return body


def _cut(settings: Json, start: int) -> tuple[Json, bool]:
    """Settings with one page of every long array, and whether any array goes on after it."""
    longest = max(len(settings.get(name) or ()) for name in ARRAYS)
    if start == 0 and longest <= PAGE:
        return settings, False
    cut = dict(settings)
    for name in ARRAYS:
        if name in settings:
            cut[name] = settings[name][start : start + PAGE]
    return cut, longest > start + PAGE


def _window(
    records: list[JobRecord], token: str, offset: int, limit: int
) -> tuple[list[JobRecord], int | None, int | None]:
    """The records of a page (newest first), and the ids between which a page before and after it lie.

    Tokens name a job id, not an offset, so that a job deleted between two pages hides no other.
    """
    if token:
        match = _TOKEN.fullmatch(_decode(token))
        if match is None:
            raise invalid(f"Invalid page_token: {token}")
        bound = int(match[2])
        if match[1] == "before":
            start = next((i for i, r in enumerate(records) if r.job_id < bound), len(records))
        else:
            end = next((i for i, r in enumerate(records) if r.job_id <= bound), len(records))
            start = max(0, end - limit)
    else:
        start = offset
    chosen = records[start : start + limit]
    before = chosen[0].job_id if chosen and start > 0 else None
    after = chosen[-1].job_id if chosen and start + limit < len(records) else None
    return chosen, before, after


def _page_start(token: str) -> int:
    if not token:
        return 0
    kind, _, number = _decode(token).partition(":")
    if kind != "page" or not number.isdigit():
        raise invalid(f"Invalid page_token: {token}")
    return int(number)


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""


def _merge(old: list[Any], new: list[Any], key: str) -> list[Any]:
    """Existing entries with those of the same key replaced, then the new ones."""
    if not all(isinstance(item, dict) for item in new):
        raise ApiError(
            400, "MALFORMED_REQUEST", f"Could not parse request object: expected objects with {key}"
        )
    replaced = {item.get(key): item for item in new}
    merged = [replaced.pop(item.get(key), item) for item in old]
    return merged + [item for item in new if item.get(key) in replaced]


def _remove(settings: Json, field: str) -> None:
    """`fields_to_remove`: a top-level field, or `tasks/KEY`, `job_clusters/KEY`."""
    name, slash, key = field.partition("/")
    if not slash:
        settings.pop(name, None)
        return
    if name not in ARRAYS:
        raise invalid(
            f"fields_to_remove: {field!r} is no top-level field and no entry of tasks or job_clusters"
        )
    settings[name] = [item for item in settings.get(name) or [] if item.get(ARRAYS[name]) != key]
