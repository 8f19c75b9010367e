"""The monitor's jobs as rows: valid, and what each mode and compute promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lakeflow_job_meta.deployment.monitor_jobs import MONITOR, ON_FILES, ON_ROWS, deployment_table, rows
from lakeflow_job_meta.deployment.request import MODES, Compute, Request, normal_path, volume_of
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.main import read_parameters
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.settings import Settings

TABLE = TableName("main", "etl", "etl_control")
WHEEL = "/Volumes/main/etl/etl_control_packages/1/lakeflow_job_meta-0.1.0-py3-none-any.whl"


def request_of(**more: Any) -> Request:
    return Request(TABLE, **{"volume_path": "/Volumes/main/etl/metadata", "package": WHEEL, **more})


def jobs_of(request: Request) -> dict[str, dict[str, Any]]:
    """JobSettings by module, judged and rendered as any module's are."""
    by_module: dict[str, list[Any]] = {}
    for row in rows(request):
        by_module.setdefault(row.module_name or "", []).append(row)
    owner = deployment_table(TABLE)
    made = {}
    for module, some in by_module.items():
        defined = define(some, table=str(owner), settings=Settings())
        assert defined.problems == ()
        assert defined.definition is not None
        made[module] = render(defined.definition, control_table=owner, settings=Settings()).settings
    return made


def test_continuous_is_one_endless_job() -> None:
    """One job, started again by the platform, that loops: no retries and no time limit of its own."""
    [(module, job)] = jobs_of(request_of(check_interval_seconds=5)).items()
    assert module == MONITOR
    assert job["continuous"] == {}
    assert "timeout_seconds" not in job
    [task] = job["tasks"]
    assert task["python_wheel_task"]["named_parameters"] == {
        "control_table": "main.etl.etl_control",
        "volume_path": "/Volumes/main/etl/metadata",
        "check_interval_seconds": "5",
    }
    [environment] = job["environments"]
    assert environment["environment_key"] == task["environment_key"]
    assert environment["spec"]["dependencies"] == [WHEEL]


def test_triggered_is_three_jobs_of_one_look() -> None:
    """Table update, file arrival and a slow clock; each looks once."""
    jobs = jobs_of(request_of(mode="triggered"))
    assert set(jobs) == {MONITOR, ON_ROWS, ON_FILES}
    assert jobs[MONITOR]["schedule"]["quartz_cron_expression"] == "0 17 * * * ?"
    assert jobs[ON_FILES]["trigger"]["file_arrival"] == {
        "url": "/Volumes/main/etl/metadata/",
        "wait_after_last_change_seconds": 60,
    }
    for job in jobs.values():
        assert job["max_concurrent_runs"] == 1
        assert job["tasks"][0]["python_wheel_task"]["named_parameters"]["max_iterations"] == "1"
    assert len({job["name"] for job in jobs.values()}) == 3


def test_a_trigger_watches_the_control_table_alone() -> None:
    """A look writes the companions: watching them, it would start itself again and again."""
    trigger = jobs_of(request_of(mode="triggered", wait_seconds=0))[ON_ROWS]["trigger"]["table_update"]
    assert trigger == {"table_names": ["main.etl.etl_control"], "condition": "ANY_UPDATED"}


def test_without_a_volume_nothing_waits_for_files() -> None:
    """volume_path is optional, as the monitor's own parameter is."""
    jobs = jobs_of(request_of(mode="triggered", volume_path=""))
    assert set(jobs) == {MONITOR, ON_ROWS}
    assert "volume_path" not in jobs[MONITOR]["tasks"][0]["python_wheel_task"]["named_parameters"]


@pytest.mark.parametrize("mode", MODES)
def test_the_monitor_understands_its_parameters(mode: Any) -> None:
    """What a job passes is what the entry point reads: named parameters come as --key=value."""
    given = {"drift": "report", "variables": '{"env": "prod"}', "retire_limit_percent": "50.0"}
    for job in jobs_of(request_of(mode=mode, parameters=given)).values():
        named = job["tasks"][0]["python_wheel_task"]["named_parameters"]
        read = read_parameters([f"--{name}={value}" for name, value in named.items()], {}, {})
        assert read.control_table == TABLE
        assert read.volume_path == "/Volumes/main/etl/metadata"
        assert read.max_iterations == (None if mode == "continuous" else 1)
        assert read.flags["variables"] == {"env": "prod"}
        assert read.flags["drift"] == "report"


def test_scheduled_looks_by_the_clock() -> None:
    """The cron expression that was asked for, in its time zone."""
    [job] = jobs_of(request_of(mode="scheduled", cron="0 0 6 * * ?", timezone="Europe/Berlin")).values()
    assert job["schedule"] == {"quartz_cron_expression": "0 0 6 * * ?", "timezone_id": "Europe/Berlin"}


def test_job_cluster_and_existing_cluster_get_the_package_as_library() -> None:
    """Without an environment the wheel, or the requirement, is a library of the task."""
    cluster = {"spark_version": "16.4.x-scala2.12", "node_type_id": "m5.large", "num_workers": 0}
    [job] = jobs_of(request_of(compute=Compute(job_cluster=cluster))).values()
    assert job["job_clusters"][0]["new_cluster"] == cluster
    assert job["tasks"][0]["libraries"] == [{"whl": WHEEL}]
    assert "environments" not in job
    [job] = jobs_of(
        request_of(compute=Compute(cluster_id="0101-1"), package="lakeflow_job_meta==0.1.0")
    ).values()
    assert job["tasks"][0]["existing_cluster_id"] == "0101-1"
    assert job["tasks"][0]["libraries"] == [{"pypi": {"package": "lakeflow_job_meta==0.1.0"}}]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a@b.c", {"user_name": "a@b.c"}), ("0f1e", {"service_principal_name": "0f1e"})],
)
def test_run_as(name: str, expected: dict[str, str]) -> None:
    """A name with an @ is a user, any other an application id."""
    [job] = jobs_of(request_of(run_as=name)).values()
    assert job["run_as"] == expected


def test_rows_are_the_same_for_the_same_request() -> None:
    """Else a second deployment would find a change."""
    assert json.dumps([row.hash for row in rows(request_of())]) == json.dumps(
        [row.hash for row in rows(request_of())]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"wait_seconds": 59},
        {"volume_path": "/Workspace/Shared/metadata"},
        {"volume_path": "/Volumes/main/etl"},
        {"cron": "0 0 6 * * ?"},
    ],
)
def test_what_the_platform_would_refuse_is_refused(wrong: dict[str, Any]) -> None:
    """A wait that is too short, a path that is no volume's, a clock for a job without one."""
    with pytest.raises(UsageError):
        request_of(**wrong)


def test_paths_of_volumes() -> None:
    """The volume's name is in lower case, as Unity Catalog has it; folders below keep theirs."""
    assert normal_path("/Volumes/Main/Etl/Metadata/") == "/Volumes/main/etl/metadata"
    assert normal_path("/Volumes/main/etl/metadata/Prod//x/") == "/Volumes/main/etl/metadata/Prod/x"
    assert volume_of("/Volumes/main/etl/metadata/x") == TableName("main", "etl", "metadata")
