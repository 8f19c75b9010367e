"""The decision for one module: values in, an Action out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lakeflow_job_meta.control.records import JobRecord, QueryRecord
from lakeflow_job_meta.errors import Place, Problem
from lakeflow_job_meta.jobs.desired import DesiredJob, DesiredQuery
from lakeflow_job_meta.names import (
    MODULE_TAG,
    TABLE_TAG,
    TableName,
    digest,
    module_tag,
    read_module_tag,
    table_tag,
)
from lakeflow_job_meta.ports import RemoteJob, RemoteQuery
from lakeflow_job_meta.reconcile.actions import Action
from lakeflow_job_meta.reconcile.plan import decide
from lakeflow_job_meta.reconcile.state import ModuleState, Work
from lakeflow_job_meta.settings import resolve

TABLE = TableName("main", "etl", "control")
TAGS = {TABLE_TAG: table_tag(TABLE), MODULE_TAG: module_tag("sales")}
CRON = {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}


def job(**fields: Any) -> dict[str, Any]:
    """JobSettings of the module `sales`."""
    return {
        "name": "sales",
        "tags": TAGS,
        "tasks": [{"task_key": "load", "notebook_task": {"notebook_path": "/n"}}],
        **fields,
    }


def desired(settings: dict[str, Any] | None = None, **fields: Any) -> DesiredJob:
    """The module's desired job, its hash made of everything in it."""
    wanted = settings or job()
    given: dict[str, Any] = {"queries": (), "permissions": None, "definition": {"sources": []}, **fields}
    return DesiredJob(module_name="sales", settings=wanted, spec_hash=digest(str([wanted, given])), **given)


def recorded(want: DesiredJob, **fields: Any) -> JobRecord:
    """The record after `want` was applied."""
    return JobRecord(
        "sales",
        job_id=7,
        job_name="sales",
        spec_hash=want.spec_hash,
        rows_hash="r",
        context_hash="c",
        definition=want.definition,
        applied={
            "settings": want.settings,
            "permissions": list(want.permissions) if want.permissions else None,
        },
        status="active",
        **fields,
    )


def state(
    want: DesiredJob | None, actual: dict[str, Any] | None, record: JobRecord | None, **fields: Any
) -> ModuleState:
    remote = RemoteJob(7, actual) if actual is not None else None
    return ModuleState("sales", want, record=record, actual=remote, rows_hash="r", context_hash="c", **fields)


def plan(one: ModuleState, **flags: Any) -> Action:
    return decide(one, resolve(flags))


def paths(action: Action) -> list[str]:
    return [change.path for change in action.changes]


def work(action: Action) -> Work:
    assert isinstance(action.work, Work)
    return action.work


def test_a_module_without_a_job_is_created_and_the_default_pause_is_filled_in() -> None:
    """default_pause_status holds for new jobs whose metadata is silent."""
    action = plan(state(desired(job(schedule=CRON)), None, None), default_pause_status="PAUSED")
    assert action.kind == "create"
    settings = work(action).settings
    assert settings is not None
    assert settings["schedule"]["pause_status"] == "PAUSED"
    assert "pause_status" not in (work(action).applied or {})["schedule"]


def test_nothing_to_do_writes_nothing() -> None:
    """A job as it should be, server defaults filled in, is unchanged and without work."""
    want = desired()
    actual = job(format="MULTI_TASK", max_concurrent_runs=1, timeout_seconds=0, run_as={"user_name": "me"})
    action = plan(state(want, actual, recorded(want)))
    assert (action.kind, action.work) == ("unchanged", None)


def test_an_edit_is_an_update_path_by_path() -> None:
    """What the metadata changed is named, and is no drift."""
    old, new = desired(job(timeout_seconds=5)), desired(job(timeout_seconds=9))
    action = plan(state(new, job(timeout_seconds=5), recorded(old)))
    assert action.kind == "update"
    assert [(c.path, c.old, c.new, c.drift) for c in action.changes] == [("timeout_seconds", 5, 9, False)]
    assert work(action).settings == job(timeout_seconds=9)


@pytest.mark.parametrize(
    ("drift", "kind"), [("enforce", "update"), ("report", "unchanged"), ("ignore", "unchanged")]
)
def test_drift_is_reverted_reported_or_left(drift: str, kind: str) -> None:
    """A change behind our back is seen, named by its path, and handled as `drift` says."""
    want = desired()
    action = plan(state(want, job(timeout_seconds=77), recorded(want)), drift=drift)
    assert action.kind == kind
    if drift == "enforce":
        assert [(c.path, c.drift) for c in action.changes] == [("timeout_seconds", True)]
        assert work(action).settings == want.settings
    else:
        assert action.work is None
        named = any("timeout_seconds" in reason for reason in action.reasons)
        assert named is (drift == "report")


def test_under_report_a_write_is_actual_plus_what_changed() -> None:
    """Drift stays when the metadata changes something else."""
    old, new = desired(job(max_concurrent_runs=2)), desired(job(max_concurrent_runs=3))
    action = plan(state(new, job(max_concurrent_runs=2, timeout_seconds=77), recorded(old)), drift="report")
    assert paths(action) == ["max_concurrent_runs"]
    assert work(action).settings == job(max_concurrent_runs=3, timeout_seconds=77)
    assert any("timeout_seconds" in reason for reason in action.reasons)


def test_a_module_may_set_its_own_drift() -> None:
    """The module's option wins over the setting."""
    want = desired()
    action = plan(
        state(want, job(timeout_seconds=77), recorded(want), options={"drift": "ignore"}), drift="enforce"
    )
    assert action.kind == "unchanged"


def test_a_pause_made_in_the_workspace_survives_an_update() -> None:
    """The workspace's pause is carried over into a reset."""
    old, new = desired(job(schedule=CRON)), desired(job(schedule={**CRON, "timezone_id": "Europe/Berlin"}))
    action = plan(state(new, job(schedule={**CRON, "pause_status": "PAUSED"}), recorded(old)))
    settings = work(action).settings
    assert settings is not None
    assert paths(action) == ["schedule.timezone_id"]
    assert settings["schedule"]["pause_status"] == "PAUSED"


def test_a_job_that_runs_without_end_from_now_on_keeps_its_pause() -> None:
    """Another kind of trigger takes the pause along, and that it does is no change made in the workspace."""
    old, new = desired(job(schedule=CRON)), desired(job(continuous={}))
    action = plan(state(new, job(schedule={**CRON, "pause_status": "PAUSED"}), recorded(old)))
    settings = work(action).settings
    assert settings is not None
    assert settings["continuous"] == {"pause_status": "PAUSED"}
    assert "continuous" in paths(action)
    back = plan(state(old, job(continuous={"pause_status": "PAUSED"}), recorded(new)))
    assert {"continuous", "schedule.pause_status"} <= set(paths(back))
    assert not any(change.drift for change in (*action.changes, *back.changes))
    made = plan(state(new, None, None), default_pause_status="PAUSED")
    assert (work(made).settings or {})["continuous"] == {"pause_status": "PAUSED"}


def test_a_pause_in_the_metadata_is_enforced() -> None:
    """pause_status in the metadata wins over the workspace."""
    want = desired(job(schedule={**CRON, "pause_status": "UNPAUSED"}))
    action = plan(state(want, job(schedule={**CRON, "pause_status": "PAUSED"}), recorded(want)))
    assert [(c.path, c.old, c.new) for c in action.changes] == [
        ("schedule.pause_status", "PAUSED", "UNPAUSED")
    ]


def test_retiring_pauses_and_tags_and_reviving_restores() -> None:
    """A retired job is paused and tagged, the former pause status comes back, and twice is once."""
    want = desired(job(schedule=CRON))
    live = job(schedule={**CRON, "pause_status": "UNPAUSED"})
    retire = plan(state(None, live, recorded(want)))
    assert retire.kind == "retire"
    assert paths(retire) == ["schedule.pause_status", f"tags.{MODULE_TAG}"]
    gone = work(retire).settings
    assert gone is not None
    tag = read_module_tag(gone["tags"][MODULE_TAG])
    assert tag is not None
    assert (tag.retired, tag.former_pause_status) == (True, "UNPAUSED")

    record = work(retire).record
    assert (record.status, record.former_pause_status) == ("retired", "UNPAUSED")
    again = plan(state(None, gone, record))
    assert (again.kind, again.work) == ("unchanged", None)

    revive = plan(state(want, gone, record))
    assert revive.kind == "revive"
    assert work(revive).settings == live
    lost = plan(state(want, gone, None))
    assert work(lost).settings == live, "the tag alone remembers the pause"


def test_a_paused_job_is_paused_again_when_revived() -> None:
    """Retiring a paused job and reviving it leaves it paused."""
    want = desired(job(schedule=CRON))
    live = job(schedule={**CRON, "pause_status": "PAUSED"})
    retire = plan(state(None, live, recorded(want)))
    revive = plan(state(want, work(retire).settings, work(retire).record))
    settings = work(revive).settings
    assert settings is not None
    assert settings["schedule"]["pause_status"] == "PAUSED"


def test_retire_can_delete() -> None:
    """`retire: delete` deletes the job and its queries; later passes leave it at that."""
    want = desired()
    row = QueryRecord("sales", "q", "id-1")
    action = plan(state(None, job(), recorded(want), query_records=(row,)), retire="delete")
    assert action.kind == "retire"
    assert (work(action).delete, work(action).job_id, work(action).dropped_queries) == (True, 7, (row,))
    later = plan(state(None, None, work(action).record), retire="delete")
    assert (later.kind, later.work) == ("unchanged", None)


def test_an_unpaused_retired_job_is_paused_again_only_under_enforce() -> None:
    """Somebody unpaused a retired job: drift."""
    want = desired(job(schedule=CRON))
    retire = plan(state(None, job(schedule={**CRON, "pause_status": "UNPAUSED"}), recorded(want)))
    gone = work(retire).settings
    assert gone is not None
    meddled = {**gone, "schedule": {**gone["schedule"], "pause_status": "UNPAUSED"}}
    assert plan(state(None, meddled, work(retire).record)).kind == "retire"
    left = plan(state(None, meddled, work(retire).record), drift="report")
    assert left.kind == "unchanged"
    assert any("schedule.pause_status" in reason for reason in left.reasons)


def test_a_deleted_job_is_made_anew_under_enforce_only() -> None:
    """A job deleted in the workspace comes back, unless drift is only reported."""
    want = desired()
    assert plan(state(want, None, recorded(want))).kind == "create"
    left = plan(state(want, None, recorded(want)), drift="report")
    assert left.kind == "unchanged"
    assert any("not in the workspace any more" in reason for reason in left.reasons)


def test_a_lost_record_is_rebuilt_without_a_write() -> None:
    """An owned job without a record is adopted: the record is saved, the job stays."""
    action = plan(state(desired(), job(), None))
    assert action.kind == "unchanged"
    assert not work(action).touches_workspace
    assert work(action).record.job_id == 7


def test_refused_keeps_the_job_and_says_every_reason() -> None:
    """A wrong module is refused with its places; record and job stay as they were."""
    want = desired()
    problems = (Problem("bad", Place("f.yaml", 3, 5)), Problem("worse", Place("f.yaml", 9, 1)))
    action = plan(state(None, job(), recorded(want), problems=problems))
    assert action.kind == "refused"
    assert action.reasons == ("f.yaml:3:5: bad", "f.yaml:9:1: worse")
    assert not work(action).touches_workspace
    after = work(action).record
    assert (after.status, after.spec_hash, after.rows_hash) == ("refused", want.spec_hash, "r")
    assert plan(state(None, job(), after, problems=problems)).work is None


def test_duplicates_are_reported_and_left() -> None:
    """A cloned job copies its tags: named, never touched."""
    want = desired()
    action = plan(state(want, job(), recorded(want), duplicates=(12, 15)))
    assert action.kind == "unchanged"
    assert "12, 15" in action.reasons[0]


def test_permissions_are_planned_and_drift_in_them_too() -> None:
    """Permissions are compared entry by entry; the owner is left alone unless named."""
    entries = ({"group_name": "eng", "level": "CAN_MANAGE_RUN"},)
    want = desired(permissions=entries)
    owner = {"user_name": "me", "level": "IS_OWNER"}
    same = plan(state(want, job(), recorded(want), permissions=(owner, *entries)))
    assert (same.kind, same.work) == ("unchanged", None)
    drifted = plan(
        state(want, job(), recorded(want), permissions=(owner, {"group_name": "eng", "level": "CAN_VIEW"}))
    )
    assert [(c.path, c.drift) for c in drifted.changes] == [("permissions[group_name=eng].level", True)]
    assert work(drifted).permissions == (*entries, owner), "the owner stays"
    assert work(drifted).settings is None


def query(text: str) -> DesiredQuery:
    return DesiredQuery("q", {"display_name": "sales - q", "query_text": text})


def with_query(text: str) -> DesiredJob:
    task = {"task_key": "q", "sql_task": {"warehouse_id": "w", "query": {"query_id": "${query.q}"}}}
    return desired(job(tasks=[task]), queries=(query(text),))


def query_record(text: str) -> QueryRecord:
    return QueryRecord(
        "sales", "q", "id-1", applied={"settings": query(text).settings, "permissions": None}, status="active"
    )


def applied_with(want: DesiredJob, query_id: str) -> dict[str, Any]:
    tasks = [{"task_key": "q", "sql_task": {"warehouse_id": "w", "query": {"query_id": query_id}}}]
    return {**want.settings, "tasks": tasks}


def test_an_edited_text_updates_the_query_and_leaves_the_job() -> None:
    """The saved query changes in place: no new query, no write to the job."""
    want = with_query("SELECT 2")
    held = applied_with(want, "id-1")
    record = replace(recorded(want), applied={"settings": held, "permissions": None})
    remote = RemoteQuery("id-1", {**query("SELECT 1").settings, "owner": "me"})
    action = plan(
        state(want, held, record, query_records=(query_record("SELECT 1"),), queries={"id-1": remote})
    )
    assert paths(action) == ["queries[q].query_text"]
    (done,) = work(action).queries
    assert (done.query_id, done.write, work(action).settings) == ("id-1", True, None)


def test_a_trashed_query_is_made_anew() -> None:
    """A query that somebody trashed comes back, and the job follows its new id."""
    want = with_query("SELECT 1")
    held = applied_with(want, "id-1")
    record = replace(recorded(want), applied={"settings": held, "permissions": None})
    remote = RemoteQuery("id-1", query("SELECT 1").settings, trashed=True)
    action = plan(
        state(want, held, record, query_records=(query_record("SELECT 1"),), queries={"id-1": remote})
    )
    assert paths(action) == ["queries[q]", "tasks[q].sql_task.query.query_id"]
    assert work(action).queries[0].query_id == ""


def test_a_query_leaves_with_its_source() -> None:
    """A source that is gone takes its saved query with it."""
    want = desired()
    action = plan(state(want, job(), recorded(want), query_records=(query_record("SELECT 1"),)))
    assert paths(action) == ["queries[q]"]
    assert [row.query_id for row in work(action).dropped_queries] == ["id-1"]


def test_a_config_that_only_tasks_read_is_an_update_without_a_call() -> None:
    """source_config stands in no job setting, but running pipelines read the accepted definition."""
    old = desired(definition={"sources": [{"source_id": "s", "source_config": {"path": "/a"}}]})
    new = desired(definition={"sources": [{"source_id": "s", "source_config": {"path": "/b"}}]})
    action = plan(state(new, job(), recorded(old)))
    assert (action.kind, paths(action)) == ("update", ["sources[s].source_config.path"])
    assert not work(action).touches_workspace


def test_run_on_change_starts_a_run_for_changes_of_the_metadata_only() -> None:
    """Drift that is reverted starts nothing."""
    old, new = desired(job(timeout_seconds=5)), desired(job(timeout_seconds=9))
    changed = plan(state(new, job(timeout_seconds=5), recorded(old), options={"run_on_change": True}))
    assert work(changed).start_run
    drifted = plan(state(new, job(timeout_seconds=1), recorded(new), options={"run_on_change": True}))
    assert not work(drifted).start_run


def test_the_fingerprint_moves_with_the_decision() -> None:
    """A reviewed plan is stale when the job or the metadata moved, not when a claim came and went."""
    want = desired(job(timeout_seconds=9))
    base = state(want, job(timeout_seconds=5), recorded(want))
    assert (
        plan(base).fingerprint == plan(replace(base, record=replace(recorded(want), claim="x"))).fingerprint
    )
    assert plan(base).fingerprint != plan(state(want, job(timeout_seconds=6), recorded(want))).fingerprint
