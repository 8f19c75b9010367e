"""The orchestrator end to end: Sail and Delta below, the embedded workspace over HTTP, the real SDK between."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.errors import MetadataError, PlanError, StalePlan, TableNotFound
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.local.process import ensure_up, stop
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, TableName, module_tag
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.ports import RemoteJob
from lakeflow_job_meta.reconcile.plan_file import dump, parse
from lakeflow_job_meta.runtime import Runtime

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A workspace of this module's tests, without Spark and runs of its own."""
    directory = tmp_path_factory.mktemp("workspace")
    yield ensure_up(directory, with_spark=False, with_runs=False, idle_seconds=600)
    stop(directory)


@pytest.fixture
def connect(connection: Connection, spark: Any, control_name: TableName) -> Callable[..., JobOrchestrator]:
    """Makes orchestrators over this test's control table, each with a client of its own."""

    def make(**flags: Any) -> JobOrchestrator:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config

        config = Config(
            host=connection.host,
            token=connection.token,
            auth_type="pat",
            retry_timeout_seconds=5,
            http_timeout_seconds=2,
        )
        runtime = Runtime(
            control_name,
            spark=spark,
            workspace_client=WorkspaceClient(config=config),
            flags=flags,
            environment={},
        )
        return JobOrchestrator(control_name, runtime=runtime, sleep=lambda seconds: None)

    return make


@pytest.fixture
def orchestrator(connect: Callable[..., JobOrchestrator]) -> JobOrchestrator:
    return connect()


@pytest.fixture
def faults(connection: Connection) -> Iterator[Callable[..., None]]:
    """Injects faults into the workspace; gone after the test."""

    def call(method: str, body: Any = None) -> None:
        request = urllib.request.Request(
            f"{connection.host}/local/faults",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {connection.token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).read()

    yield lambda *rules: call("POST", {"rules": list(rules)})
    call("DELETE")


def notebook(
    source_id: str, module: str = "sales", order: int = 1, active: bool = True, **config: Any
) -> Row:
    """A control row with a notebook task."""
    transformation = {"task_type": "notebook", "notebook_path": f"/Workspace/{source_id}", **config}
    return Row(source_id, module, "notebook", order, "{}", "{}", json.dumps(transformation), active)


def sql(source_id: str, text: str, module: str = "sales", order: int = 1) -> Row:
    """A control row with an inline SQL query."""
    transformation = {"task_type": "sql_query", "sql_task": {"warehouse_id": "w", "sql_query": text}}
    return Row(source_id, module, "sql", order, None, None, json.dumps(transformation), True)


def job_row(module: str = "sales", active: bool = True, **settings: Any) -> Row:
    return Row("__job__", module, "job", 0, None, None, json.dumps(settings), active)


def put(orchestrator: JobOrchestrator, *rows: Row) -> None:
    """Type rows into the control table."""
    table = ControlTable(orchestrator.runtime.tables, orchestrator.control_table)
    table.ensure()
    table.write(rows)


def apply(orchestrator: JobOrchestrator, **how: Any) -> dict[str, Any]:
    """One whole pass; the JSON of it."""
    return orchestrator.apply(orchestrator.plan(**how)).as_json()


def kinds(result: dict[str, Any]) -> dict[str, str]:
    return {action["module"]: action["action"] for action in result["actions"]}


def jobs(orchestrator: JobOrchestrator) -> list[RemoteJob]:
    """The jobs of this control table in the workspace."""
    from lakeflow_job_meta.names import table_tag

    tag = table_tag(orchestrator.control_table)
    return [job for job in orchestrator.workspace.jobs.list() if job.tags.get(TABLE_TAG) == tag]


def test_rows_become_a_job_and_a_second_pass_writes_nothing(orchestrator: JobOrchestrator) -> None:
    """Create, nothing to do, update in place with the diff, nothing to do."""
    put(orchestrator, notebook("a"), notebook("b", order=2))
    first = apply(orchestrator)
    assert kinds(first) == {"sales": "create"}
    assert first["writes"] == 1
    (job,) = jobs(orchestrator)
    assert job.settings["name"] == "sales"
    assert [
        d["task_key"] for t in job.settings["tasks"] if t["task_key"] == "b" for d in t["depends_on"]
    ] == ["a"]

    second = apply(orchestrator)
    assert (kinds(second), second["writes"]) == ({"sales": "unchanged"}, 0)

    put(orchestrator, notebook("a", timeout_seconds=60))
    third = apply(orchestrator)
    assert kinds(third) == {"sales": "update"}
    assert [change["path"] for change in third["actions"][0]["changes"]] == ["tasks[a].timeout_seconds"]
    assert third["actions"][0]["job_id"] == job.job_id
    assert apply(orchestrator)["writes"] == 0


def test_one_changed_job_costs_one_write_and_few_statements(orchestrator: JobOrchestrator) -> None:
    """Statements and calls grow with what changed, not with the number of modules."""
    put(orchestrator, *(notebook("a", module=f"m{number:02}") for number in range(30)))
    apply(orchestrator)
    put(orchestrator, notebook("a", module="m07", max_retries=2))
    statements, calls = orchestrator.runtime.tables.statements, orchestrator.workspace.count.calls
    result = orchestrator.apply(orchestrator.plan(compare=False))
    assert result.writes == 1
    assert [r.action.module for r in result.results if r.action.kind == "update"] == ["m07"]
    assert orchestrator.runtime.tables.statements - statements <= 10
    assert orchestrator.workspace.count.calls - calls <= 3


def test_a_bad_module_blocks_no_other_and_keeps_its_job(orchestrator: JobOrchestrator) -> None:
    """Errors are local: last good stays, every reason is kept, and mending it heals."""
    put(orchestrator, notebook("a", module="good"), notebook("a", module="bad"))
    apply(orchestrator)
    put(
        orchestrator,
        notebook("a", module="good", max_retries=1),
        notebook("a", module="bad", notebok_path="/x"),
    )
    result = orchestrator.apply(orchestrator.plan())
    assert kinds(result.as_json()) == {"bad": "refused", "good": "update"}
    assert result.exit_code == 1
    refused = result.plan.refused[0]
    assert "notebok_path" in refused.reasons[0]
    assert "notebook_path" in refused.reasons[0], "with a suggestion"
    status = {one.module: one for one in orchestrator.status(runs=False)}
    assert (status["bad"].status, status["bad"].error != "") == ("refused", True)
    assert len(jobs(orchestrator)) == 2
    put(orchestrator, notebook("a", module="bad"))
    healed = apply(orchestrator)
    assert (kinds(healed)["bad"], healed["writes"]) == ("unchanged", 0)
    assert {one.status for one in orchestrator.status(runs=False)} == {"active"}


def test_retire_and_revive(orchestrator: JobOrchestrator) -> None:
    """A module without active sources is paused and tagged; put back, it is the same job, unpaused."""
    schedule = {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}
    put(orchestrator, notebook("a"), job_row(schedule=schedule))
    apply(orchestrator)
    (job,) = jobs(orchestrator)
    put(orchestrator, notebook("a", active=False))
    assert kinds(apply(orchestrator)) == {"sales": "retire"}
    (retired,) = jobs(orchestrator)
    assert retired.settings["schedule"]["pause_status"] == "PAUSED"
    assert retired.tags[MODULE_TAG].endswith("-retired-unpaused")
    assert apply(orchestrator)["writes"] == 0
    put(orchestrator, notebook("a"))
    assert kinds(apply(orchestrator)) == {"sales": "revive"}
    (revived,) = jobs(orchestrator)
    assert (revived.job_id, revived.settings["schedule"]["pause_status"]) == (job.job_id, "UNPAUSED")
    assert revived.tags[MODULE_TAG] == module_tag("sales")
    assert apply(orchestrator)["writes"] == 0


def test_drift_is_reverted(orchestrator: JobOrchestrator) -> None:
    """A change made behind our back is seen, named and taken back."""
    put(orchestrator, notebook("a"))
    apply(orchestrator)
    (job,) = jobs(orchestrator)
    orchestrator.workspace.jobs.reset(job.job_id, {**job.settings, "timeout_seconds": 7})
    plan = orchestrator.plan()
    assert [(c.path, c.old, c.drift) for c in plan.actions[0].changes] == [("timeout_seconds", 7, True)]
    apply(orchestrator)
    assert jobs(orchestrator)[0].settings.get("timeout_seconds", 0) == 0
    assert apply(orchestrator)["writes"] == 0


def test_a_lost_jobs_table_is_rebuilt_from_the_tags(orchestrator: JobOrchestrator) -> None:
    """Without any record the owned jobs are found: no duplicate, no write."""
    put(orchestrator, notebook("a", module="one"), notebook("a", module="two"))
    apply(orchestrator)
    before = {job.job_id for job in jobs(orchestrator)}
    records = orchestrator.control_table.companion("jobs")
    orchestrator.runtime.tables.query(f"DELETE FROM {records.quoted} WHERE true")
    result = apply(orchestrator)
    assert (set(kinds(result).values()), result["writes"]) == ({"unchanged"}, 0)
    assert {job.job_id for job in jobs(orchestrator)} == before
    assert {one.job_id for one in orchestrator.status(runs=False)} == before


def test_jobs_without_our_tags_are_never_touched(orchestrator: JobOrchestrator) -> None:
    """A namesake is left alone; a job that lost its tags is refused, not overwritten, not doubled."""
    namesake = orchestrator.workspace.jobs.create({"name": "sales", "tasks": []})
    put(orchestrator, notebook("a"))
    apply(orchestrator)
    (job,) = jobs(orchestrator)
    assert job.job_id != namesake
    orchestrator.workspace.jobs.reset(job.job_id, {**job.settings, "tags": {"team": "x"}})
    result = apply(orchestrator)
    assert (kinds(result), result["writes"]) == ({"sales": "refused"}, 0)
    assert f"tags.{TABLE_TAG}" in result["actions"][0]["reasons"][0]
    assert jobs(orchestrator) == []


def test_a_cloned_job_is_reported_and_left(orchestrator: JobOrchestrator) -> None:
    """A clone copies our tags: the recorded job stays ours, the clone is named."""
    put(orchestrator, notebook("a"))
    apply(orchestrator)
    (job,) = jobs(orchestrator)
    clone = orchestrator.workspace.jobs.create(job.settings)
    result = apply(orchestrator)
    assert (kinds(result), result["writes"]) == ({"sales": "unchanged"}, 0)
    assert str(clone) in result["actions"][0]["reasons"][0]
    assert {one.job_id for one in jobs(orchestrator)} == {job.job_id, clone}


@pytest.mark.parametrize(
    "fault",
    [
        {"reset": "after"},
        {"reset": "before"},
        {"hang": "after", "hang_seconds": 30},
        {"status": 500},
        {"status": 503},
        {"status": 429, "retry_after": 0},
    ],
    ids=str,
)
def test_a_fault_during_create_makes_no_duplicate(
    orchestrator: JobOrchestrator, faults: Callable[..., None], fault: dict[str, Any]
) -> None:
    """Whatever happens to the create, the workspace ends with one job, and the next pass is idle."""
    put(orchestrator, notebook("a"))
    faults({"method": "POST", "path": "/api/2.2/jobs/create", "count": 1, **fault})
    apply(orchestrator)
    if not jobs(orchestrator):
        apply(orchestrator)
    assert len(jobs(orchestrator)) == 1
    assert apply(orchestrator)["writes"] == 0


def test_a_writer_that_died_after_its_create_leaves_no_duplicate(orchestrator: JobOrchestrator) -> None:
    """Killed between create and save: the next pass finds the job by name and tags."""
    put(orchestrator, notebook("a"))
    settings = orchestrator.plan().actions[0].work.settings
    records = JobRecords(
        orchestrator.runtime.tables, orchestrator.control_table, orchestrator.workspace.workspace_id
    )
    records.insert({"sales": "sales"})
    made = orchestrator.workspace.jobs.create(settings)
    result = apply(orchestrator, compare=False)
    assert [job.job_id for job in jobs(orchestrator)] == [made]
    assert result["writes"] == 0
    assert apply(orchestrator)["writes"] == 0


def test_a_module_held_by_another_writer_is_left_to_it(orchestrator: JobOrchestrator) -> None:
    """A claim is respected: nothing is written, and the result says why."""
    put(orchestrator, notebook("a"))
    records = JobRecords(
        orchestrator.runtime.tables, orchestrator.control_table, orchestrator.workspace.workspace_id
    )
    records.insert({"sales": "sales"})
    token = "11111111-1111-1111-1111-111111111111"
    assert set(records.claim(["sales"], token, 300)) == {"sales"}
    result = apply(orchestrator)
    assert "another writer" in result["actions"][0]["error"]
    assert jobs(orchestrator) == []
    records.release(["sales"], token)
    assert apply(orchestrator)["actions"][0]["error"] is None
    assert len(jobs(orchestrator)) == 1


def test_inline_sql_is_one_saved_query_through_its_life(orchestrator: JobOrchestrator) -> None:
    """Created with its source, updated in place, trashed when the source leaves; never a second one."""
    put(orchestrator, notebook("a"), sql("q", "SELECT 1"))
    assert apply(orchestrator)["writes"] == 3, "the queries' folder, the query, the job"
    (job,) = jobs(orchestrator)
    query_id = next(t for t in job.settings["tasks"] if t["task_key"] == "q")["sql_task"]["query"]["query_id"]
    assert apply(orchestrator)["writes"] == 0

    put(orchestrator, sql("q", "SELECT 2"))
    edited = apply(orchestrator)
    assert [c["path"] for c in edited["actions"][0]["changes"]] == ["queries[q].query_text"]
    assert edited["writes"] == 1
    held = orchestrator.workspace.queries.get(query_id)
    assert held is not None
    assert held.settings["query_text"] == "SELECT 2"

    put(orchestrator, Row("q", "sales", "sql", 1, None, None, None, False))
    apply(orchestrator)
    gone = orchestrator.workspace.queries.get(query_id)
    assert gone is None or gone.trashed
    assert apply(orchestrator)["writes"] == 0


def test_a_query_that_was_trashed_is_made_anew(orchestrator: JobOrchestrator) -> None:
    """The job follows the new query."""
    put(orchestrator, sql("q", "SELECT 1"))
    apply(orchestrator)
    old = jobs(orchestrator)[0].settings["tasks"][0]["sql_task"]["query"]["query_id"]
    orchestrator.workspace.queries.delete(old)
    apply(orchestrator)
    new = jobs(orchestrator)[0].settings["tasks"][0]["sql_task"]["query"]["query_id"]
    assert new != old
    assert apply(orchestrator)["writes"] == 0


def test_lost_query_records_are_found_by_their_tags(orchestrator: JobOrchestrator) -> None:
    """Without `_queries` the saved query is found again, not made twice."""
    put(orchestrator, sql("q", "SELECT 1"))
    apply(orchestrator)
    records = orchestrator.control_table.companion("queries")
    orchestrator.runtime.tables.query(f"DELETE FROM {records.quoted} WHERE true")
    assert apply(orchestrator)["writes"] <= 1
    put(orchestrator, sql("q", "SELECT 2"))
    assert apply(orchestrator)["writes"] == 1
    assert apply(orchestrator)["writes"] == 0


def test_permissions_are_set_and_drift_in_them_is_reverted(orchestrator: JobOrchestrator) -> None:
    """Permissions are planned, applied and compared like the rest."""
    entry = {"group_name": "eng", "level": "CAN_MANAGE_RUN"}
    put(orchestrator, notebook("a"), job_row(permissions=[entry]))
    apply(orchestrator)
    (job,) = jobs(orchestrator)
    permissions = orchestrator.workspace.permissions
    assert entry in permissions.get("jobs", str(job.job_id))
    assert apply(orchestrator)["writes"] == 0
    permissions.set("jobs", str(job.job_id), [{"group_name": "eng", "level": "CAN_VIEW"}])
    drifted = apply(orchestrator)
    assert [c["path"] for c in drifted["actions"][0]["changes"]] == ["permissions[group_name=eng].level"]
    assert entry in permissions.get("jobs", str(job.job_id))
    assert apply(orchestrator)["writes"] == 0


def run_job(source_id: str, target: str, module: str) -> Row:
    transformation = {"task_type": "run_job", "run_job_task": {"job_id": f"${{module.{target}}}"}}
    return Row(source_id, module, "run_job", 1, None, None, json.dumps(transformation), True)


def test_a_reference_to_a_module_is_its_job_and_orders_the_creates(orchestrator: JobOrchestrator) -> None:
    """`${module.NAME}` becomes the job's id, also when that job is made anew."""
    put(orchestrator, run_job("go", "zeta", "alpha"), notebook("a", module="zeta"))
    result = apply(orchestrator)
    ids = {action["module"]: action["job_id"] for action in result["actions"]}
    by_id = {job.job_id: job for job in jobs(orchestrator)}
    assert by_id[ids["alpha"]].settings["tasks"][0]["run_job_task"]["job_id"] == ids["zeta"]
    assert apply(orchestrator)["writes"] == 0
    orchestrator.workspace.jobs.delete(ids["zeta"])
    again = apply(orchestrator)
    new = {action["module"]: action["job_id"] for action in again["actions"]}
    by_id = {job.job_id: job for job in jobs(orchestrator)}
    assert by_id[new["alpha"]].settings["tasks"][0]["run_job_task"]["job_id"] == new["zeta"] != ids["zeta"]
    assert apply(orchestrator)["writes"] == 0


def test_a_reviewed_plan_is_applied_exactly_or_not_at_all(orchestrator: JobOrchestrator) -> None:
    """A fresh plan goes through; one that no longer fits is refused and nothing is done."""
    put(orchestrator, notebook("a"))
    reviewed = parse(dump(orchestrator.plan(), {}), "plan.json")
    put(orchestrator, notebook("a", max_retries=3))
    with pytest.raises(StalePlan, match="sales"):
        orchestrator.apply_reviewed(reviewed)
    assert jobs(orchestrator) == []
    reviewed = parse(dump(orchestrator.plan(), {}), "plan.json")
    assert orchestrator.apply_reviewed(reviewed).writes == 1


def test_two_workspaces_share_a_control_table(
    connect: Callable[..., JobOrchestrator], tmp_path: Any, spark: Any, control_name: TableName
) -> None:
    """Records are kept by workspace: each workspace gets its own jobs."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    one = connect()
    other_connection = ensure_up(tmp_path, with_spark=False, with_runs=False, idle_seconds=60)
    try:
        config = Config(host=other_connection.host, token=other_connection.token, auth_type="pat")
        runtime = Runtime(
            control_name, spark=spark, workspace_client=WorkspaceClient(config=config), environment={}
        )
        other = JobOrchestrator(control_name, runtime=runtime)
        assert one.workspace.workspace_id != other.workspace.workspace_id
        put(one, notebook("a"))
        assert kinds(apply(one)) == kinds(apply(other)) == {"sales": "create"}
        assert apply(one)["writes"] == apply(other)["writes"] == 0
        assert len(jobs(one)) == len(jobs(other)) == 1
    finally:
        stop(tmp_path)


def test_emptying_the_control_table_retires_nothing(orchestrator: JobOrchestrator) -> None:
    """The brake: rows deleted by accident cost no job, until forced."""
    put(orchestrator, notebook("a"))
    apply(orchestrator)
    orchestrator.runtime.tables.query(f"DELETE FROM {orchestrator.control_table.quoted} WHERE true")
    result = apply(orchestrator)
    assert (kinds(result), result["writes"]) == ({"sales": "refused"}, 0)
    assert kinds(apply(orchestrator, force=True)) == {"sales": "retire"}


def test_settings_row_and_flags(connect: Callable[..., JobOrchestrator]) -> None:
    """The settings row holds for the table; a flag is stronger; a wrong row stops the pass with its place."""
    plain = connect()
    settings = {"retire": "delete", "default_warehouse_id": "from-row"}
    transformation = {"task_type": "sql_query", "sql_task": {"sql_query": "SELECT 1"}}
    put(
        plain,
        Row("q", "sales", "sql", 1, None, None, json.dumps(transformation), True),
        Row("__settings__", "__control__", "settings", 0, None, None, json.dumps(settings), True),
    )
    apply(plain)
    assert jobs(plain)[0].settings["tasks"][0]["sql_task"]["warehouse_id"] == "from-row"
    assert kinds(apply(connect(default_warehouse_id="from-flag"))) == {"sales": "update"}
    put(plain, Row("__settings__", "__control__", "settings", 0, None, None, '{"retyre": "delete"}', True))
    with pytest.raises(MetadataError, match="retyre"):
        plain.plan()


def test_the_seeds_calls(orchestrator: JobOrchestrator) -> None:
    """create_or_update_job and run_all_modules as the seed shows them."""
    put(orchestrator, notebook("a"), notebook("a", module="bad", notebok_path="x"))
    job_id = orchestrator.create_or_update_job("sales")
    assert job_id == orchestrator.create_or_update_job("sales")
    with pytest.raises(MetadataError):
        orchestrator.create_or_update_job("bad")
    with pytest.raises(PlanError, match="sales"):
        orchestrator.create_or_update_job("slaes")
    results = orchestrator.run_all_modules()
    assert [(one.module, one.action, one["job_id"]) for one in results] == [
        ("bad", "refused", None),
        ("sales", "unchanged", job_id),
    ]
    assert results[0].error


def test_a_missing_control_table_is_one_sentence(orchestrator: JobOrchestrator) -> None:
    """Planning creates nothing silently."""
    with pytest.raises(TableNotFound, match="etl_control"):
        orchestrator.plan()


def test_run_on_change_starts_one_run_for_each_change(
    tmp_path: Any, spark: Any, control_name: TableName
) -> None:
    """A module that asks for it is run when it was created or changed, not when nothing moved."""
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    connection = ensure_up(tmp_path, with_spark=False, idle_seconds=60)
    try:
        config = Config(host=connection.host, token=connection.token, auth_type="pat")
        runtime = Runtime(
            control_name, spark=spark, workspace_client=WorkspaceClient(config=config), environment={}
        )
        orchestrator = JobOrchestrator(control_name, runtime=runtime)
        condition = {
            "task_type": "condition",
            "condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"},
        }
        always = Row("go", "sales", "condition", 1, None, None, json.dumps(condition), True)
        put(orchestrator, always, job_row(run_on_change=True))
        (created,) = apply(orchestrator)["actions"]
        assert orchestrator.follow(created["run_id"], timeout_seconds=30).result_state == "SUCCESS"
        assert apply(orchestrator)["actions"][0]["run_id"] is None
        put(orchestrator, Row("go", "sales", "condition", 1, '{"a": 1}', None, json.dumps(condition), True))
        (changed,) = apply(orchestrator)["actions"]
        assert changed["run_id"] not in (None, created["run_id"])
        assert len(orchestrator.workspace.jobs.runs(created["job_id"])) == 2
        assert orchestrator.status()[0].last_run is not None
    finally:
        stop(tmp_path)
