"""The platform's rate limits, simulated in the stub: how a first creation gets through them.

Limits (Databricks' documentation and third parties, 2025): 20 creates a second, 10,000 jobs created an hour, lists of
100 a page, 1,000 tasks a job, and up to 12,000 jobs a workspace. The stub answers 429 with Retry-After beyond a rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import metadata
from bench.report import Claim, Section, Table
from bench.services import Worker, called, sail, stub
from lakeflow_job_meta.local.connection import Connection

JsonObject = dict[str, Any]
CREATE = {"method": "POST", "path": "/api/2.2/jobs/create"}
A_SECOND = 20
PER_SECOND = {**CREATE, "more_than": A_SECOND, "within_seconds": 1, "status": 429, "retry_after": 1}
LATENCY_MS = 100
LATENCY = {"path": "/api/2.", "delay_ms": LATENCY_MS}
#: The hourly limit on a small scale: an hour is this many seconds, and a call's retry budget shrinks with it.
HOUR_SECONDS = 40
HOUR_CREATES = 300
HOUR_RETRY_SECONDS = 3
PER_HOUR = {
    **CREATE,
    "more_than": HOUR_CREATES,
    "within_seconds": HOUR_SECONDS,
    "status": 429,
    "retry_after": 1,
}
TASKS = 1_000


def measure(jobs: int = 1_000) -> Section:
    rows: list[list[str]] = []
    figures: JsonObject = {}
    with sail() as (remote, place):
        for name, rules in (
            ("no limit", []),
            (f"{LATENCY_MS} ms a call", [LATENCY]),
            (f"{A_SECOND} creates a second", [PER_SECOND]),
            (f"{A_SECOND} creates a second, {LATENCY_MS} ms a call", [PER_SECOND, LATENCY]),
        ):
            folder = place / name.replace(" ", "_").replace(",", "")
            with subject(folder, remote, jobs) as (connection, worker):
                first = one_pass(connection, worker, folder, rules)
                again = one_pass(connection, worker, folder, [LATENCY] if LATENCY in rules else [])
                assert jobs_of(connection) == jobs
            figures[name] = {"first": first, "again": again}
            rows.append(
                [
                    f"{jobs:,}",
                    name,
                    f"{first['seconds']:.1f}",
                    f"{jobs / first['seconds']:.1f}",
                    f"{first['refused']:,}",
                    f"{first['failed_modules']}",
                    f"{again['seconds']:.2f}",
                    f"{again['calls']}",
                ]
            )
            print(f"   {name}: {first['seconds']:.1f} s", flush=True)
        hour = hourly(place / "hour", remote)
        print(f"   hourly limit: {hour['passes']} passes", flush=True)
        large = large_job(place / "large", remote)
    figures["hour"], figures["large"] = hour, large
    rate = jobs / figures[f"{A_SECOND} creates a second, {LATENCY_MS} ms a call"]["first"]["seconds"]
    limited = [figures[name]["first"] for name in figures if str(name).startswith(f"{A_SECOND} ")]
    return Section(
        "rates",
        "The platform's limits, simulated",
        claims=[
            Claim(
                f"{jobs:,} creates against {A_SECOND} a second (429 with Retry-After)",
                "all made in one pass, none twice",
                f"{sum(one['failed_modules'] for one in limited)} failed, {rate:.1f} a second",
                not any(one["failed_modules"] for one in limited),
            ),
            Claim(
                "an hourly limit used up in the middle of a first creation",
                "further passes finish it, no job twice",
                f"{hour['passes']} passes, {hour['jobs']} of {hour['wanted']} jobs, {hour['duplicates']} twice",
                hour["jobs"] == hour["wanted"] and not hour["duplicates"],
            ),
        ],
        tables=[
            Table(
                [
                    "jobs",
                    "stub",
                    "first s",
                    "creates/s",
                    "refused (429)",
                    "failed",
                    "unchanged s",
                    "unchanged calls",
                ],
                rows,
            ),
            Table(
                ["hourly limit, small scale", "value"],
                [
                    ['creates an "hour"', f"{HOUR_CREATES} in {HOUR_SECONDS} s, and {A_SECOND} a second"],
                    ["jobs wanted", f"{hour['wanted']}"],
                    ["passes until all were there", f"{hour['passes']}"],
                    ["modules that a pass reported as failed", ", ".join(map(str, hour["failed"]))],
                    ["seconds in all", f"{hour['seconds']:.0f}"],
                    ["jobs in the workspace, duplicates", f"{hour['jobs']}, {hour['duplicates']}"],
                ],
            ),
            Table(
                [f"one job of {TASKS:,} tasks", "seconds", "REST calls"],
                [
                    ["first", f"{large['first']['seconds']:.2f}", f"{large['first']['calls']}"],
                    ["unchanged, compared", f"{large['again']['seconds']:.2f}", f"{large['again']['calls']}"],
                ],
            ),
        ],
        notes=[
            (
                "First creation (files to jobs) and one unchanged pass that compares, against the Jobs API stub with rules of its "
                "fault injection: calls beyond a rate get 429 with Retry-After: 1, every call can get a latency. "
                'The hourly limit is simulated on a small scale: an "hour" of '
                f"{HOUR_SECONDS} s, and a retry budget of {HOUR_RETRY_SECONDS} s a call instead of 120. "
                "What follows for 12,000 jobs is in [docs/scale.md](../docs/scale.md)."
            )
        ],
        figures=figures,
    )


@contextmanager
def subject(folder: Path, remote: str, jobs: int, **how: Any) -> Iterator[tuple[Connection, Worker]]:
    """A stub of its own, and a worker with the files of so many jobs."""
    metadata.write_ours(folder / "files", jobs)
    with stub(folder / "stub") as connection, Worker("ours_worker.py") as worker:
        worker.ask(
            "begin",
            remote=remote,
            host=connection.host,
            token=connection.token,
            warehouse=str(folder / "warehouse"),
            **how,
        )
        called(connection)
        yield connection, worker


def one_pass(connection: Connection, worker: Worker, folder: Path, rules: list[JsonObject]) -> JsonObject:
    """A pass under rules; `refused` counts the calls that got 429."""
    connection.ask("DELETE", "/local/faults")
    if rules:
        connection.ask("POST", "/local/faults", {"rules": rules})
    answer = worker.ask("pass", folder=str(folder / "files"))
    in_force = connection.ask("GET", "/local/faults")["rules"]
    connection.ask("DELETE", "/local/faults")
    return {**answer, "refused": sum(rule["applied"] for rule in in_force if rule.get("status") == 429)}


def hourly(folder: Path, remote: str) -> JsonObject:
    """A first creation of more jobs than an hour takes: passes as a monitor makes them, until nothing fails."""
    wanted = HOUR_CREATES + HOUR_CREATES // 3
    seconds, failed = 0.0, []
    with subject(folder, remote, wanted, retry_seconds=HOUR_RETRY_SECONDS) as (connection, worker):
        connection.ask("POST", "/local/faults", {"rules": [PER_HOUR, PER_SECOND]})
        for _ in range(20):
            answer = worker.ask("pass", folder=str(folder / "files"))
            seconds += answer["seconds"]
            failed.append(answer["failed_modules"])
            if not answer["failed_modules"]:
                break
        connection.ask("DELETE", "/local/faults")
        jobs = jobs_of(connection)
        return {
            "wanted": wanted,
            "passes": len(failed),
            "failed": failed,
            "seconds": seconds,
            "jobs": jobs,
            "duplicates": jobs - distinct_of(connection),
        }


def large_job(folder: Path, remote: str, tasks: int = TASKS) -> JsonObject:
    """One job with as many tasks as the platform allows, in stages of a hundred."""
    with subject(folder, remote, 0) as (connection, worker):
        wide = (tasks - 9) // 10  # nine barriers count, too
        lines = ['metadata_version: "1.0"', "modules:", "  - module_name: large", "    sources:"]
        for stage in range(10):
            for number in range(wide):
                lines += [
                    f"      - source_id: task_{stage}_{number}",
                    "        source_type: notebook",
                    f"        execution_order: {stage + 1}",
                    "        transformation_config: {task_type: notebook, notebook_path: /Workspace/n}",
                ]
        (folder / "files" / "large.yaml").write_text("\n".join(lines) + "\n")
        return {name: one_pass(connection, worker, folder, []) for name in ("first", "again")}


def _names(connection: Connection) -> list[str]:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    client = WorkspaceClient(config=Config(host=connection.host, token=connection.token, auth_type="pat"))
    return [str(job.settings.name) for job in client.jobs.list(limit=100) if job.settings]


def jobs_of(connection: Connection) -> int:
    """Jobs in the workspace."""
    return len(_names(connection))


def distinct_of(connection: Connection) -> int:
    """Jobs with a name of their own."""
    return len(set(_names(connection)))
