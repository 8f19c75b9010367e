"""Whatever the SDK can say about a job comes back: every field of JobSettings and of every task type."""

from __future__ import annotations

import dataclasses
import enum
import typing

import pytest
from databricks.sdk.service import jobs

#: Fields whose values the platform checks, or that exclude others: what is sent instead of a made-up value.
CHOSEN = {
    ("SqlTask", "query"): None,
    ("SqlTask", "alert"): None,
    ("SqlTask", "dashboard"): None,
    ("PythonWheelTask", "parameters"): None,
    ("CronSchedule", "quartz_cron_expression"): "0 0 2 * * ?",
    ("CronSchedule", "timezone_id"): "UTC",
    ("FileArrivalTriggerConfiguration", "min_time_between_triggers_seconds"): 60,
    ("FileArrivalTriggerConfiguration", "wait_after_last_change_seconds"): 60,
    ("TableUpdateTriggerConfiguration", "min_time_between_triggers_seconds"): 60,
    ("TableUpdateTriggerConfiguration", "wait_after_last_change_seconds"): 60,
    ("Task", "depends_on"): None,
    ("Task", "job_cluster_key"): None,
    ("Task", "environment_key"): None,
}
TASK_TYPES = [f.name for f in dataclasses.fields(jobs.Task) if f.name.endswith("_task")]
SETTINGS = [f.name for f in dataclasses.fields(jobs.JobSettings)]


def value_of(hint, depth=0):
    """Some value of a type: every field of a dataclass set, but for recursion that does not end."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        return value_of(next(a for a in arguments if a is not type(None)), depth)
    if origin in (list, tuple):
        return [value_of(arguments[0], depth)]
    if origin is dict:
        return {"k": value_of(arguments[1], depth)}
    if dataclasses.is_dataclass(hint):
        if hint is jobs.Task and depth:
            return jobs.Task(task_key="inner", notebook_task=jobs.NotebookTask(notebook_path="/n"))
        if hint is jobs.Task:
            return jobs.Task(task_key="t", notebook_task=jobs.NotebookTask(notebook_path="/n"))
        hints = typing.get_type_hints(hint)
        fields = {}
        for field in dataclasses.fields(hint):
            key = (hint.__name__, field.name)
            fields[field.name] = CHOSEN[key] if key in CHOSEN else value_of(hints[field.name], depth + 1)
        return hint(**fields)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)[-1]
    return {str: "text", int: 7, float: 1.5, bool: True}.get(hint, "any")


def contains(found, sent, where="settings"):
    """What of `sent` is not in `found`."""
    if isinstance(sent, dict):
        if not isinstance(found, dict):
            return [where]
        return [
            p
            for k, v in sent.items()
            for p in (contains(found[k], v, f"{where}.{k}") if k in found else [f"{where}.{k}"])
        ]
    if isinstance(sent, list):
        if len(found) != len(sent):
            return [where]
        return [p for i, v in enumerate(sent) for p in contains(found[i], v, f"{where}[{i}]")]
    return [] if found == sent else [where]


def round_trip(client, settings):
    sent = {"name": "round trip", **settings}
    job_id = client.api_client.do("POST", "/api/2.2/jobs/create", body=sent)["job_id"]
    raw = client.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": job_id})["settings"]
    read = jobs.JobSettings.from_dict(raw).as_dict()
    client.jobs.delete(job_id)
    return contains(raw, sent) + contains(read, jobs.JobSettings.from_dict(sent).as_dict())


@pytest.mark.parametrize("name", TASK_TYPES)
def test_every_task_type(client, name):
    hint = typing.get_type_hints(jobs.Task)[name]
    task = jobs.Task(task_key="t", **{name: value_of(hint)}).as_dict()
    assert round_trip(client, {"tasks": [task]}) == []


def test_every_field_of_a_task(client):
    hints = typing.get_type_hints(jobs.Task)
    names = [n for n in hints if n not in TASK_TYPES and n != "task_key" and ("Task", n) not in CHOSEN]
    task = jobs.Task(
        task_key="t",
        notebook_task=jobs.NotebookTask(notebook_path="/n"),
        **{name: value_of(hints[name]) for name in names},
    ).as_dict()
    assert len(task) >= len(names)
    assert round_trip(client, {"tasks": [task]}) == []


@pytest.mark.parametrize("name", SETTINGS)
def test_every_field_of_job_settings(client, name):
    made = value_of(typing.get_type_hints(jobs.JobSettings)[name])
    settings = jobs.JobSettings(**{name: made}).as_dict()
    assert name in settings
    assert round_trip(client, settings) == []
