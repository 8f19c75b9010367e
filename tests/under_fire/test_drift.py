"""Drift by reflection: every field of a job that the SDK can set is changed behind our back, on two servers.

One module for each field; all of them are changed, and one plan has to name each change by its path.
"""

from __future__ import annotations

import copy
import enum
import importlib.util
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import pytest
from databricks.sdk.service import jobs

from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.reconcile.actions import Action
from lakeflow_job_meta.runtime import Runtime
from tests.contract.conftest import STARTERS
from tests.contract.servers import DEVIATIONS, Server
from tests.wire import (
    COMMON_TASK_FIELDS,
    JOB_FIELDS,
    TASK_FIELDS,
    JsonObject,
    field_value,
    full,
    plain,
    variants,
)

pytestmark = pytest.mark.slow

#: What the tasks below refer to.
COMPUTE: JsonObject = {
    "job_clusters": [
        {"job_cluster_key": "main_cluster", "new_cluster": {"spark_version": "x", "num_workers": 1}},
        {"job_cluster_key": "other_cluster", "new_cluster": {"spark_version": "x", "num_workers": 1}},
    ],
    "environments": [
        {"environment_key": "main_environment", "spec": {"environment_version": "4"}},
        {"environment_key": "other_environment", "spec": {"environment_version": "4"}},
    ],
}
NOTEBOOK: JsonObject = {"task_type": "notebook", "notebook_path": "/n"}

#: Another value that the platform takes too, where not any will do; by (class, field) or field as in `wire`.
OTHERS: Mapping[str, Any] = {
    "quartz_cron_expression": "0 0 3 * * ?",
    "timezone_id": "Europe/Vienna",
    "ForEachTask.inputs": "[3, 4]",
    "FileArrivalTriggerConfiguration.url": "/Volumes/main/landing/others/",
    "git_url": "https://example.com/other.git",
    "job_cluster_key": "other_cluster",
    "environment_key": "other_environment",
    "JobRunAs.user_name": "other@example.com",
    "ConditionTask.op": "NOT_EQUAL",
    "git_provider": "gitLab",
    "JobParameterDefinition.name": "other_name",
    "task_key": "other",
}
#: Fields that a reset cannot take away, and why.
IRREMOVABLE: Mapping[str, str] = {
    "name": "a job always has one: the server puts its own",
    "tags": "without its tags the job is not ours and is not touched at all",
    "run_as": "the server fills in the creator",
    "format": "the server fills in MULTI_TASK",
    "edit_mode": "the server fills in EDITABLE, the value that is taken away here",
    "queue": "Jobs API 2.2 fills in a queue, the value that is taken away here",
}
#: Fields of which a value of the workspace is respected where the metadata is silent, and why.
RESPECTED: Mapping[str, str] = {
    "run_as": "it cannot be unset: rules.SERVER_DEFAULTS",
    "performance_target": "chosen by the workspace: rules.SERVER_DEFAULTS",
    "format": "the only value there is: filled in by the server",
    "name": "the metadata is never silent: it is the module's name otherwise",
}


@dataclass(frozen=True)
class Case:
    """One module whose one field is changed.

    Args:
        path: of the field, as the plan shows it.
        config: of its task `a`; `job`: settings of its job; both with the field.
        bare: without the field.
    """

    module: str
    cls: type
    field: str
    value: Any
    job: JsonObject
    config: JsonObject
    bare: bool

    @property
    def in_task(self) -> bool:
        return self.cls is jobs.Task

    @property
    def path(self) -> str:
        return f"tasks[a].{self.field}" if self.in_task else self.field

    @property
    def rows(self) -> list[Row]:
        return [
            Row(JOB_ROW, self.module, "job", 0, None, None, json.dumps(self.job)),
            Row("a", self.module, "any", 1, None, None, json.dumps(self.config)),
        ]

    def place(self, settings: JsonObject) -> JsonObject:
        """The object that holds the field, in settings of the job."""
        if not self.in_task:
            return settings
        return next(task for task in settings["tasks"] if task["task_key"] == "a")


def cases(server: Server) -> list[Case]:
    """A module with and one without each field, in each of its forms, but what this server is known to drop."""
    dropped = [name.removeprefix("fields.") for name in DEVIATIONS[server.name] if name.startswith("fields.")]
    found = []

    def add(cls: type, field: str, value: Any, job: JsonObject, config: JsonObject, bare: bool) -> None:
        found.append(Case(f"m{len(found):03} {field}", cls, field, value, job, config, bare))

    for field in JOB_FIELDS:
        for value in variants(lambda pick, field=field: field_value(jobs.JobSettings, field, pick)):
            add(jobs.JobSettings, field, value, {field: value}, NOTEBOOK, bare=False)
            add(jobs.JobSettings, field, value, {}, NOTEBOOK, bare=True)
    for field in COMMON_TASK_FIELDS:
        for value in variants(lambda pick, field=field: field_value(jobs.Task, field, pick)):
            add(jobs.Task, field, value, COMPUTE, {**NOTEBOOK, field: value}, bare=False)
            add(jobs.Task, field, value, COMPUTE, NOTEBOOK, bare=True)
    for field in TASK_FIELDS:
        cls = plain(typing.get_type_hints(jobs.Task)[field])
        name = field.removesuffix("_task")
        for made in variants(
            lambda pick, cls=cls, field=field: full(
                cls, () if field == "for_each_task" else (jobs.ForEachTask,), pick
            )
        ):
            value = copy.deepcopy(made)
            if field == "for_each_task":
                del value["task"]["depends_on"]
                for inner in TASK_FIELDS:
                    strip(value["task"].get(inner), inner, dropped)
            strip(value, field, dropped)
            add(jobs.Task, field, value, COMPUTE, {"task_type": name, field: value}, bare=False)
    return found


def strip(value: Any, field: str, dropped: list[str]) -> None:
    """Take out of a task's settings what a server does not keep."""
    for path in dropped:
        first, *between, last = path.split(".")
        holder = value if first == field else None
        for name in between:
            holder = (holder or {}).get(name)
        if holder:
            holder.pop(last, None)


def changed(kind: Any, value: Any, owner: str, name: str, path: str, leaves: list[str]) -> Any:
    """Another value of the same type, different in every leaf; `leaves` gets their paths."""
    kind = plain(kind)
    if isinstance(value, dict) and value:
        hints = typing.get_type_hints(kind) if is_dataclass(kind) else {}
        inner = typing.get_args(kind)[1] if typing.get_origin(kind) is dict else Any
        below = owner if not is_dataclass(kind) else kind.__name__
        return {
            key: changed(hints.get(key, inner), one, below, key, f"{path}.{key}", leaves)
            for key, one in value.items()
        }
    if isinstance(value, list) and value:
        inner = (typing.get_args(kind) or (Any,))[0]
        return [changed(inner, one, owner, name, path, leaves) for one in value]
    members = [m.value for m in kind] if isinstance(kind, type) and issubclass(kind, enum.Enum) else []
    if len(members) == 1:
        return value  # there is no other
    leaves.append(path)
    for key in (f"{owner}.{name}", name):
        if key in OTHERS:
            return OTHERS[key]
    if members:
        return members[(members.index(value) + 1) % len(members)]
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return f"{value} changed"


def means_silence(field: str, value: Any) -> bool:
    """Whether a value is what a job has when the metadata does not say the field."""
    if isinstance(value, dict):
        return all(one is False for one in value.values())
    return value in (False, 0) or (field, value) == ("edit_mode", "UI_LOCKED")


def bare_path(path: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", path)


def named(leaf: str, changes: list[str]) -> bool:
    """Whether a change's path is the leaf's, one above it, or one below (`leaf` came or went as a whole)."""
    return any(
        leaf == path or leaf.startswith(f"{path}.") or path.startswith(f"{leaf}.")
        for path in map(bare_path, changes)
    )


@pytest.fixture(params=sorted(STARTERS), scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "minilake" and importlib.util.find_spec("minilake") is None:
        pytest.skip("minilake needs Python 3.11")
    with STARTERS[request.param](tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture
def connect(server: Server, spark: Any, control_name: TableName) -> Callable[..., JobOrchestrator]:
    """Makes orchestrators with other settings over this test's control table."""

    def make(**flags: Any) -> JobOrchestrator:
        runtime = Runtime(
            control_name, spark=spark, workspace_client=server.client(), flags=flags, environment={}
        )
        return JobOrchestrator(control_name, runtime=runtime, sleep=lambda seconds: None)

    return make


def put(orchestrator: JobOrchestrator, *rows: Row) -> None:
    table = ControlTable(orchestrator.runtime.tables, orchestrator.control_table)
    table.ensure()
    table.write(rows)


def check_handled(connect: Callable[..., JobOrchestrator], expected: Mapping[str, list[str]]) -> None:
    """Every module's change is named (`expected`: paths of leaves) and handled in each of the three ways."""
    orchestrator = connect(drift="report")
    plan = orchestrator.plan()
    reported = {action.module: action for action in plan.actions}
    assert {action.kind for action in plan.actions} == {"unchanged"}
    unreported = {
        module: leaf
        for module, leaves in expected.items()
        for leaf in leaves
        if not named(leaf, told(reported[module]))
    }
    assert unreported == {}
    assert {module for module, action in reported.items() if action.reasons} == set(expected)
    assert orchestrator.apply(plan).writes == 0

    orchestrator = connect(drift="ignore")
    plan = orchestrator.plan()
    assert {(action.kind, action.changes, action.reasons) for action in plan.actions} == {
        ("unchanged", (), ())
    }
    assert orchestrator.apply(plan).writes == 0

    orchestrator = connect(drift="enforce")
    plan = orchestrator.plan()
    moved = {action.module: action for action in plan.actions if action.kind != "unchanged"}
    assert {module: action.kind for module, action in moved.items()} == dict.fromkeys(expected, "update")
    unseen = {
        module: leaf
        for module, leaves in expected.items()
        for leaf in leaves
        if not named(leaf, [change.path for change in moved[module].changes])
    }
    assert unseen == {}
    assert all(change.drift for action in moved.values() for change in action.changes)
    result = orchestrator.apply(plan)
    assert [one.error for one in result.results if one.error] == []
    assert result.writes == len(expected)
    again = orchestrator.plan()
    assert {a.module: [str(c) for c in a.changes] for a in again.actions if a.kind != "unchanged"} == {}


def told(action: Action) -> list[str]:
    """The paths that the reasons name."""
    return [
        reason.removeprefix("drift: ").partition(": ")[0]
        for reason in action.reasons
        if reason.startswith("drift: ")
    ]


@pytest.mark.parametrize("trigger", ["schedule", "trigger", "continuous"])
def test_a_pause_made_in_the_workspace_is_respected(
    connect: Callable[..., JobOrchestrator], trigger: str
) -> None:
    """Whatever starts the job: no plan takes the pause back, and an edit of the job leaves it."""
    block = {
        "schedule": {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"},
        "trigger": {"periodic": {"interval": 2, "unit": "HOURS"}},
        "continuous": {},
    }[trigger]
    block = block if trigger != "continuous" else {"task_retry_mode": "NEVER"}
    orchestrator = connect()

    def write(**more: Any) -> None:
        rows = [
            Row(JOB_ROW, "paused", "job", 0, None, None, json.dumps({trigger: block, **more})),
            Row("a", "paused", "any", 1, None, None, json.dumps(NOTEBOOK)),
        ]
        put(orchestrator, *rows)

    write()
    (made,) = orchestrator.apply(orchestrator.plan()).results
    settings = copy.deepcopy(orchestrator.workspace.jobs.get(made.job_id).settings)
    settings[trigger]["pause_status"] = "PAUSED"
    orchestrator.workspace.jobs.reset(made.job_id, settings)
    (action,) = orchestrator.plan().actions
    assert (action.kind, action.changes) == ("unchanged", ())
    write(description="edited")
    (action,) = (plan := orchestrator.plan()).actions
    assert [change.path for change in action.changes] == ["description"]
    assert orchestrator.apply(plan).writes == 1
    assert orchestrator.workspace.jobs.get(made.job_id).settings[trigger]["pause_status"] == "PAUSED"


def test_a_git_source_that_comes_and_goes_while_drift_is_reported(
    connect: Callable[..., JobOrchestrator], server: Server
) -> None:
    """The server fills in where a task's notebook comes from; what it filled in is not taken for somebody's wish."""
    if "fields.notebook_task.source" in DEVIATIONS[server.name]:
        pytest.skip("this server drops the source")
    git = {
        "git_source": {"git_url": "https://example.com/r.git", "git_provider": "gitHub", "git_branch": "main"}
    }
    orchestrator = connect(drift="report")
    for job, source, expected in (
        ({}, {}, "WORKSPACE"),
        (git, {}, "GIT"),
        (git, {"source": "WORKSPACE"}, "WORKSPACE"),
        (git, {}, "GIT"),
        ({}, {}, "WORKSPACE"),
    ):
        put(
            orchestrator,
            Row(JOB_ROW, "m", "job", 0, None, None, json.dumps(job)),
            Row("a", "m", "any", 1, None, None, json.dumps({**NOTEBOOK, **source})),
        )
        (made,) = orchestrator.apply(orchestrator.plan()).results
        assert made.error == ""
        settings = orchestrator.workspace.jobs.get(made.job_id).settings
        assert settings["tasks"][0]["notebook_task"]["source"] == expected
        (action,) = orchestrator.plan().actions
        assert (action.kind, action.changes, action.reasons) == ("unchanged", (), ())


def test_every_field_that_changes_behind_our_back(
    connect: Callable[..., JobOrchestrator], server: Server
) -> None:
    """Changed, added and taken away: each is seen, named by its path, reported, left or reverted."""
    orchestrator = connect()
    made = cases(server)
    assert {(case.cls, case.field) for case in made} == {
        *((jobs.JobSettings, field) for field in JOB_FIELDS),
        *((jobs.Task, field) for field in (*COMMON_TASK_FIELDS, *TASK_FIELDS)),
    }
    put(orchestrator, *(row for case in made for row in case.rows))
    result = orchestrator.apply(orchestrator.plan())
    assert {
        one.action.module: one.error or one.action.reasons
        for one in result.results
        if one.error or one.action.kind != "create"
    } == {}
    # A maximal job, planned after it was made, is unchanged: no server default shows.
    plan = orchestrator.plan()
    assert {a.module: [str(c) for c in a.changes] for a in plan.actions if a.kind != "unchanged"} == {}
    ids = {one.action.module: one.job_id for one in result.results}

    def change(case: Case, edit: Callable[[JsonObject], None]) -> None:
        job = orchestrator.workspace.jobs.get(ids[case.module])
        settings = copy.deepcopy(job.settings)
        edit(settings)
        orchestrator.workspace.jobs.reset(ids[case.module], settings)

    expected: dict[str, list[str]] = {}
    for case in made:
        prefix = bare_path(case.path)
        if case.bare and case.field in RESPECTED:
            continue
        leaves: list[str] = []
        kind = typing.get_type_hints(case.cls)[case.field]
        other = changed(kind, case.value, case.cls.__name__, case.field, prefix, leaves)
        if not leaves or (case.bare and means_silence(case.field, other)):
            continue

        def edit(settings: JsonObject, case: Case = case, other: Any = other) -> None:
            place = case.place(settings)
            if case.field == "tags":
                other = {**place["tags"], **other}
            place[case.field] = other

        change(case, edit)
        expected[case.module] = [prefix] if case.bare else leaves
    check_handled(connect, expected)

    expected = {}
    for case in made:
        if case.bare or case.field in IRREMOVABLE or case.field in TASK_FIELDS:
            continue
        change(case, lambda settings, case=case: case.place(settings).pop(case.field))
        expected[case.module] = [bare_path(case.path)]
    check_handled(connect, expected)
