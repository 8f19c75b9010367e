"""The command that doctor tells people to run: it deploys what is deployed."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from lakeflow_job_meta.cli.deploy import deploy
from lakeflow_job_meta.deployment.command import deploy_command
from lakeflow_job_meta.deployment.monitor_jobs import deployment_table, rows
from lakeflow_job_meta.deployment.request import Compute, Request
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.settings import Settings

TABLE = TableName("main", "etl", "etl_control")
PACKAGE = "lakeflow-job-meta==0.1.0"


def applied(**more: Any) -> dict[str, Any]:
    """What a deployment writes, by module."""
    request = Request(TABLE, package=PACKAGE, **more)
    by_module: dict[str, list[Any]] = {}
    for row in rows(request):
        by_module.setdefault(row.module_name or "", []).append(row)
    owner, found = deployment_table(TABLE), {}
    for module, some in by_module.items():
        definition = define(some, table=str(owner), settings=Settings()).definition
        assert definition is not None
        found[module] = render(definition, control_table=owner, settings=Settings()).settings
    return found


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, ""),
        ({"volume_path": "/Volumes/main/etl/m/a b"}, "--volume-path '/Volumes/main/etl/m/a b'"),
        ({"check_interval_seconds": 5.0}, "--check-interval-seconds 5"),
        ({"mode": "scheduled"}, "--mode scheduled"),
        (
            {"mode": "scheduled", "cron": "0 0 6 * * ?", "timezone": "Europe/Berlin"},
            "--mode scheduled --cron '0 0 6 * * ?' --timezone Europe/Berlin",
        ),
        ({"mode": "triggered"}, "--mode triggered"),
        ({"mode": "triggered", "wait_seconds": 0}, "--mode triggered --wait-seconds 0"),
        ({"mode": "triggered", "wait_seconds": 90}, "--mode triggered --wait-seconds 90"),
        ({"compute": Compute(cluster_id="0101-1")}, "--cluster-id 0101-1"),
        (
            {"compute": Compute(job_cluster={"spark_version": "16.4.x-scala2.12", "num_workers": 1})},
            "--job-cluster FILE",
        ),
        ({"run_as": "a@b.c"}, "--run-as a@b.c"),
        (
            {"parameters": {"variables": '{"env": "a b"}', "drift": "report", "run_on_change": "false"}},
            "--drift report --no-run-on-change --var 'env=a b'",
        ),
    ],
)
def test_what_was_asked_for_is_asked_for_again(asked: dict[str, Any], words: str) -> None:
    """Only what differs from the defaults is said; the command line knows every flag of it."""
    command = deploy_command(TABLE, applied(**asked), reach=["--profile", "prod"])
    start = f"lakeflow-job-meta deploy --control-table {TABLE} --profile prod"
    assert command == f"{start} {words}".strip()
    flags = {flag for option in deploy.params for flag in (*option.opts, *option.secondary_opts)}
    assert {word for word in shlex.split(command) if word.startswith("--")} <= flags


def test_nothing_deployed() -> None:
    """The first deployment, with the folder to watch and other compute than none."""
    command = deploy_command(TABLE, {}, volume_path="/Volumes/main/etl/m", serverless=True)
    assert command.endswith(f"--control-table {TABLE} --volume-path /Volumes/main/etl/m --serverless")
