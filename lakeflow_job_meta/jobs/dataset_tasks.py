"""The three tasks of a dataset: how often, how long, and on what each of them runs."""

from __future__ import annotations

from lakeflow_job_meta.jobs.desired import JsonObject
from lakeflow_job_meta.metadata.definition import SourceDefinition

MAX_ATTEMPTS = 3
INTERVAL_SECONDS = 300
TIMEOUT_SECONDS = {"bronze": 300, "silver": 600, "record": 60}
#: The record's statements are repeated by themselves; its task is repeated once, should its process die.
RECORD_RETRIES = 1
RECORD_INTERVAL_SECONDS = 10


def complete(source: SourceDefinition, step: str, task: JsonObject) -> None:
    """Add to a step's Task its parameters, retries and timeout; Task fields that the source gives stay.

    `record` runs whatever became of the others, so that a failure is always recorded.
    """
    retry: JsonObject = source.settings.get("retry") or {}
    attempts = int(retry.get("max_attempts", MAX_ATTEMPTS))
    interval = int(retry.get("interval_seconds", INTERVAL_SECONDS))
    retries = attempts - 1
    if step == "record":
        retries, interval = min(retries, RECORD_RETRIES), min(interval, RECORD_INTERVAL_SECONDS)
        task["run_if"] = "ALL_DONE"
    given = source.settings.get("timeout_seconds") or {}
    timeouts = (
        {**TIMEOUT_SECONDS, **given} if isinstance(given, dict) else dict.fromkeys(TIMEOUT_SECONDS, given)
    )
    task["python_wheel_task"]["named_parameters"]["version"] = str(source.source_config.get("version", ""))
    task.setdefault("max_retries", retries)
    task.setdefault("min_retry_interval_millis", interval * 1000)
    task.setdefault("retry_on_timeout", bool(retry.get("on_timeout", True)))
    task.setdefault("timeout_seconds", timeouts[step])
    # Serverless compute would add retries of its own.
    task.setdefault("disable_auto_optimization", True)
