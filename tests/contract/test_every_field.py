"""By reflection: every field of every task type and of JobSettings survives metadata -> wire -> read back."""

from __future__ import annotations

import json
import re
import typing
from typing import Any

import pytest
from databricks.sdk.service import jobs

from lakeflow_job_meta.jobs.desired import JsonObject
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Workspace
from lakeflow_job_meta.settings import Settings
from tests.contract.servers import DEVIATIONS, Server
from tests.wire import COMMON_TASK_FIELDS, JOB_FIELDS, TASK_FIELDS, field_value, full, paths, plain, variants

TABLE = TableName("main", "meta", "etl_control")
#: What the sources below refer to.
COMPUTE: JsonObject = {
    "job_clusters": [
        {"job_cluster_key": "main_cluster", "new_cluster": {"spark_version": "x", "num_workers": 1}}
    ],
    "environments": [{"environment_key": "main_environment", "spec": {"environment_version": "4"}}],
}


def written(job: JsonObject, configs: dict[str, JsonObject]) -> JsonObject:
    """JobSettings of a module whose rows hold these settings as JSON text."""
    rows = [Row(JOB_ROW, "module", "job", 0, None, None, json.dumps(job))]
    rows += [
        Row(source_id, "module", "any", 1, None, None, json.dumps(config))
        for source_id, config in configs.items()
    ]
    defined = define(rows, table=str(TABLE), settings=Settings())
    assert defined.problems == ()
    assert defined.definition is not None
    return render(defined.definition, control_table=TABLE, settings=Settings()).settings


def check(server: Server, workspace: Workspace, settings: JsonObject) -> None:
    """Create the job and read it back: what is lost is what the server's deviations say, no more and no less."""
    job_id = workspace.jobs.create(settings)
    job = workspace.jobs.get(job_id)
    assert job is not None
    workspace.jobs.delete(job_id)
    given, found = paths(settings), paths(job.settings)
    lost = {path for path, value in given.items() if found.get(path) != value}
    known = {
        f".tasks.{name.removeprefix('fields.')}"
        for name in DEVIATIONS[server.name]
        if name.startswith("fields.")
    }
    excused = {path for path in given if re.sub(r"\[\d+\]", "", path) in known}
    assert lost == excused
    # The SDK's own classes read the same.
    typed = paths(jobs.JobSettings.from_dict(job.settings).as_dict())
    assert {path for path, value in given.items() if typed.get(path) != value} == excused


@pytest.mark.parametrize("field", TASK_FIELDS)
def test_every_field_of_a_task_type(server: Server, workspace: Workspace, field: str):
    cls = plain(typing.get_type_hints(jobs.Task)[field])
    name = field.removesuffix("_task")
    made = variants(lambda pick: full(cls, (jobs.ForEachTask,) if field != "for_each_task" else (), pick))
    for one in made if field == "for_each_task" else ():
        del one["task"]["depends_on"]  # a task of a loop waits for nothing: refused by the platform and by us
    configs = {f"source {n}": {"task_type": name, field: settings} for n, settings in enumerate(made)}
    settings = written(dict(COMPUTE), configs)
    by_key = {task["task_key"]: task for task in settings["tasks"]}
    for number, one in enumerate(made):
        task = by_key[f"source_{number}"]
        extra = set(paths(task[field])) - set(paths(one))
        assert extra <= {f".base_parameters.{name}" for name in ("source_id", "control_table", "module_name")}
        assert set(paths(one)) <= set(paths(task[field]))
    check(server, workspace, settings)


def test_every_task_field_beside_the_type(server: Server, workspace: Workspace):
    configs: dict[str, JsonObject] = {}
    for field in COMMON_TASK_FIELDS:
        for value in variants(lambda pick, field=field: field_value(jobs.Task, field, pick)):
            configs[f"{field}-{len(configs)}"] = {
                "task_type": "notebook",
                "notebook_path": "/n",
                field: value,
            }
    settings = written(dict(COMPUTE), configs)
    by_key = {task["task_key"]: task for task in settings["tasks"]}
    for source_id, config in configs.items():
        field = source_id.partition("-")[0]
        assert by_key[source_id][field] == config[field]
    check(server, workspace, settings)


@pytest.mark.parametrize("field", JOB_FIELDS)
def test_every_field_of_job_settings(server: Server, workspace: Workspace, field: str):
    for value in variants(lambda pick: field_value(jobs.JobSettings, field, pick)):
        settings = written({field: value}, {"a": {"task_type": "notebook", "notebook_path": "/n"}})
        given: Any = {key: settings[field][key] for key in value} if field == "tags" else settings[field]
        assert given == value
        check(server, workspace, settings)


GRANTS = [
    (principal, level.value)
    for principal in ("user_name", "group_name", "service_principal_name")
    for level in jobs.JobPermissionLevel
    if (principal, level) != ("group_name", jobs.JobPermissionLevel.IS_OWNER)  # a group cannot own a job
]


@pytest.mark.parametrize(("principal", "level"), GRANTS)
def test_every_permission(workspace: Workspace, principal: str, level: str):
    entry = {principal: "somebody", "level": level}
    job_id = workspace.jobs.create({"name": "a", "tasks": []})
    workspace.permissions.set("jobs", str(job_id), [entry])
    assert entry in workspace.permissions.get("jobs", str(job_id))
