"""`{{...}}` references in task settings: substitution in one pass, no expressions.

Source: "Dynamic value references" (Jobs documentation). What a reference stands for is never looked
at again, so a value that contains `{{...}}` stays as it is. An unknown reference stays literal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord

Json = dict[str, Any]

_REFERENCE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_SECRET = re.compile(r"secrets/([^/{}]+)/([^/{}]+)")
_PART = re.compile(r"`([^`]*)`|([^.`]+)")

NO_INPUT = object()
"""Stands for "not inside a for_each task": `{{input}}` stays literal then."""


class SecretMissing(LookupError):
    """`{{secrets/scope/key}}` names a secret that is not there."""


@dataclass(frozen=True)
class Scope:
    """What references of one task run stand for.

    Args:
        run: the job run; its request has the values of the job parameters.
        task: the task run, None for references of the job itself.
        tasks: the latest task run by task key.
        values: task values by task key.
        settings: settings of the task that `task.*` speaks of.
        input: the element of a for_each task.
        workspace_id, workspace_url: of this workspace.
        executions: how often the task ran so far, this time included.
        repairs: how often the run was repaired.
        secret: reads a secret as text; None when it does not exist.
    """

    run: RunRecord
    task: TaskRecord | None = None
    tasks: Mapping[str, TaskRecord] = field(default_factory=dict)
    values: Mapping[str, Json] = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    input: Any = NO_INPUT
    workspace_id: str = ""
    workspace_url: str = ""
    executions: int = 1
    repairs: int = 0
    secret: Callable[[str, str], str | None] = lambda _scope, _key: None

    def expand(self, value: Any) -> Any:
        """`value` with the references in all its strings replaced; keys of objects stay.

        Raises:
            SecretMissing: a secret that does not exist.
        """
        if isinstance(value, str):
            return _REFERENCE.sub(self._replace, value) if "{{" in value else value
        if isinstance(value, dict):
            return {key: self.expand(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expand(item) for item in value]
        return value

    def _replace(self, match: re.Match[str]) -> str:
        found = self.lookup(match[1])
        return match[0] if found is None else found

    def lookup(self, reference: str) -> str | None:
        """What `reference` (without braces) stands for; None when that is unknown."""
        secret = _SECRET.fullmatch(reference)
        if secret:
            value = self.secret(secret[1], secret[2])
            if value is None:
                raise SecretMissing(f"Secret does not exist with scope: {secret[1]} and key: {secret[2]}")
            return value
        parts = _split(reference)
        if not parts:
            return None
        if len(parts) == 1 and parts[0] != "input":
            return self._old(parts[0])
        room, rest = parts[0], parts[1:]
        if room == "job":
            return self._job(rest)
        if room == "task":
            return self._task(rest)
        if room == "tasks" and len(rest) >= 2:
            return self._of_task(rest[0], rest[1:])
        if room == "workspace":
            return {"id": self.workspace_id, "url": self.workspace_url}.get(".".join(rest))
        if room == "input":
            return self._input(rest)
        return None

    def _job(self, rest: list[str]) -> str | None:
        name, more = rest[0], rest[1:]
        if name == "parameters" and more:
            value = self.run.request.get("job_parameters", {}).get(".".join(more))
            return None if value is None else text_of(value)
        if name == "start_time" and len(more) == 1:
            return moment(self.run.start_time or self.run.created, more[0])
        if name == "trigger":
            return self._trigger(more)
        if more:
            return None
        if name == "id":
            return str(self.run.job_id)
        return {"name": self.run.name, "run_id": str(self.run.run_id), "repair_count": str(self.repairs)}.get(
            name
        )

    def _trigger(self, rest: list[str]) -> str | None:
        if rest == ["type"]:
            return self.run.trigger_type.lower()
        if len(rest) == 2 and rest[0] == "time":
            return moment(self.run.trigger_info.get("time", self.run.created), rest[1])
        if rest == ["file_arrival", "location"]:
            location = self.run.trigger_info.get("location")
            return None if location is None else str(location)
        return None

    def _task(self, rest: list[str]) -> str | None:
        if self.task is None or len(rest) != 1:
            return None
        notebook = (self.settings.get("notebook_task") or {}).get("notebook_path")
        found = {
            "name": self.task.task_key,
            "run_id": str(self.task.run_id),
            "execution_count": str(self.executions),
            "notebook_path": notebook,
        }.get(rest[0])
        return None if found is None else str(found)

    def _of_task(self, key: str, rest: list[str]) -> str | None:
        if rest[0] == "values" and len(rest) > 1:
            values = self.values.get(key, {})
            name = ".".join(rest[1:])
            return text_of(values[name]) if name in values else None
        task = self.tasks.get(key)
        if task is None:
            return None
        if rest[0] == "output":
            return _output(task.output.get("rows"), rest[1:])
        if len(rest) != 1:
            return None
        if rest[0] == "result_state":
            return task.state.result.lower() or None
        if rest[0] == "error_code":
            return task.state.code or None
        if rest[0] == "execution_count":
            return str(task.attempt + 1)
        return str(task.run_id) if rest[0] == "run_id" else None

    def _input(self, rest: list[str]) -> str | None:
        if self.input is NO_INPUT:
            return None
        value = self.input
        if rest and isinstance(value, dict) and ".".join(rest) in value:
            return text_of(value[".".join(rest)])
        for part in rest:
            if not isinstance(value, dict) or part not in value:
                return None
            value = value[part]
        return text_of(value)

    def _old(self, name: str) -> str | None:
        """The parameter variables that came before `{{job.*}}` and `{{task.*}}`."""
        task = self.task
        if name == "job_id":
            return str(self.run.job_id)
        if name == "parent_run_id":
            return str(self.run.run_id)
        if name == "start_date":
            return moment(self.run.start_time or self.run.created, "iso_date")
        if name == "start_time":
            return str(self.run.start_time or self.run.created)
        if task is None:
            return None
        return {
            "run_id": str(task.run_id),
            "task_key": task.task_key,
            "task_retry_count": str(task.attempt),
        }.get(name)


def _split(reference: str) -> list[str]:
    """The parts between the dots; empty when it is no reference."""
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(reference, position)
        if match is None:
            return []
        parts.append(match[1] if match[1] is not None else match[2].strip())
        position = match.end()
        if position == len(reference):
            return parts
        if reference[position] != ".":
            return []
        position += 1


def text_of(value: Any) -> str:
    """A JSON value as a parameter: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def moment(milliseconds: int, part: str) -> str | None:
    """A part of a time in UTC: iso_date, iso_datetime, year, month, day, hour, minute, second, ..."""
    time = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    parts: dict[str, Callable[[], str]] = {
        "iso_date": lambda: time.strftime("%Y-%m-%d"),
        "iso_datetime": lambda: time.strftime("%Y-%m-%dT%H:%M:%S") + f".{milliseconds % 1000:03d}Z",
        "iso_weekday": lambda: str(time.isoweekday()),
        "is_weekday": lambda: text_of(time.isoweekday() <= 5),
        "timestamp_ms": lambda: str(milliseconds),
        "year": lambda: str(time.year),
        "month": lambda: str(time.month),
        "day": lambda: str(time.day),
        "hour": lambda: str(time.hour),
        "minute": lambda: str(time.minute),
        "second": lambda: str(time.second),
    }
    found = parts.get(part)
    return None if found is None else found()


def _output(rows: Any, rest: list[str]) -> str | None:
    """`output.rows`, `output.first_row`, `output.first_row.<column>` of a SQL task."""
    if not isinstance(rows, list) or not rest:
        return None
    if rest == ["rows"]:
        return text_of(rows)
    if rest[0] != "first_row" or not rows:
        return None
    if len(rest) == 1:
        return text_of(rows[0])
    value = rows[0].get(".".join(rest[1:]))
    return None if value is None else text_of(value)
