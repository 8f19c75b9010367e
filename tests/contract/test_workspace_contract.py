"""What our adapters rely on, held against two servers over real HTTP with the real SDK."""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

import pytest

from lakeflow_job_meta.errors import InvalidRequest, NotFound
from lakeflow_job_meta.ports import Run, Workspace

NOWHERE = 987_654_321_012_345
NOTEBOOK = {"notebook_task": {"notebook_path": "/Workspace/n"}}


def settings(name: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name or f"job {uuid.uuid4()}", "tasks": [{"task_key": "a", **NOTEBOOK}], **more}


def holds(given: Any, found: Any) -> bool:
    """Whether `found` has all of `given`; servers add defaults."""
    if isinstance(given, dict):
        return isinstance(found, dict) and all(
            key in found and holds(value, found[key]) for key, value in given.items()
        )
    if isinstance(given, list):
        return isinstance(found, list) and len(given) == len(found) and all(map(holds, given, found))
    return bool(given == found)


class TestJobs:
    @pytest.mark.expectation("jobs.update")
    def test_tags_are_set_and_nothing_else(self, workspace: Workspace):
        job_id = workspace.jobs.create(settings(tags={"team": "a", "old": "x"}, max_concurrent_runs=3))
        before = workspace.jobs.get(job_id).settings
        workspace.jobs.set_tags(job_id, {"team": "a", "new": "y"})
        assert workspace.jobs.get(job_id).settings == {**before, "tags": {"team": "a", "new": "y"}}

    def test_tags_of_a_job_that_is_gone(self, workspace: Workspace):
        with pytest.raises(NotFound):
            workspace.jobs.set_tags(NOWHERE, {})

    def test_created_settings_are_read_back(self, workspace: Workspace):
        given = settings(tags={"team": "a", "lakeflow_job_meta": "0123"}, max_concurrent_runs=3)
        job_id = workspace.jobs.create(given)
        job = workspace.jobs.get(job_id)
        assert job.job_id == job_id
        assert holds(given, job.settings)
        assert job.tags == given["tags"]
        assert job.created_time > 1_600_000_000_000

    def test_an_unknown_job(self, workspace: Workspace):
        assert workspace.jobs.get(NOWHERE) is None
        with pytest.raises(NotFound):
            workspace.jobs.reset(NOWHERE, settings())
        workspace.jobs.delete(NOWHERE)
        with pytest.raises(NotFound):
            workspace.jobs.run_now(NOWHERE)

    def test_reset_replaces_everything(self, workspace: Workspace):
        """What the new settings do not name is gone."""
        job_id = workspace.jobs.create(settings(tags={"a": "b"}, description="old"))
        new = settings("new", max_concurrent_runs=7)
        new["tasks"] = [{"task_key": "b", **NOTEBOOK}, {"task_key": "c", **NOTEBOOK}]
        workspace.jobs.reset(job_id, new)
        found = workspace.jobs.get(job_id).settings
        assert holds(new, found)
        assert not found.get("description")
        assert not found.get("tags")

    def test_a_deleted_job_is_gone(self, workspace: Workspace):
        job_id = workspace.jobs.create(settings())
        workspace.jobs.delete(job_id)
        assert workspace.jobs.get(job_id) is None
        assert job_id not in {job.job_id for job in workspace.jobs.list()}
        workspace.jobs.delete(job_id)

    def test_more_than_a_hundred_tasks(self, workspace: Workspace):
        """Pages of a job's tasks are merged, in get and in list."""
        given = settings(parameters=[{"name": f"p{n}", "default": str(n)} for n in range(130)])
        given["tasks"] = [{"task_key": f"t{n}", **NOTEBOOK} for n in range(250)]
        job_id = workspace.jobs.create(given)
        assert holds(given, workspace.jobs.get(job_id).settings)
        listed = next(job for job in workspace.jobs.list() if job.job_id == job_id)
        assert holds(given, listed.settings)

    def test_every_job_is_listed_once(self, workspace: Workspace):
        """More than one page of jobs, each with its tasks and tags."""
        mark = str(uuid.uuid4())
        made = {workspace.jobs.create(settings(tags={"mark": mark})) for _ in range(120)}
        listed = [job for job in workspace.jobs.list() if job.tags.get("mark") == mark]
        assert {job.job_id for job in listed} == made
        assert len(listed) == 120
        assert all(job.settings["tasks"][0]["task_key"] == "a" for job in listed)

    @pytest.mark.expectation("jobs.list.name")
    def test_list_by_name_is_exact(self, workspace: Workspace):
        name = f"Named {uuid.uuid4()}"
        workspace.jobs.create(settings())
        made = workspace.jobs.create(settings(name))
        workspace.jobs.create(settings(f"{name} too"))
        assert [job.job_id for job in workspace.jobs.list(name=name)] == [made]

    @pytest.mark.expectation("jobs.refuses")
    def test_wrong_settings_are_refused(self, workspace: Workspace):
        given = settings()
        given["tasks"] *= 2
        with pytest.raises(InvalidRequest):
            workspace.jobs.create(given)

    def test_two_jobs_of_one_name_are_two(self, workspace: Workspace):
        """Names are no identity: ownership rests on tags."""
        one, two = workspace.jobs.create(settings("twin")), workspace.jobs.create(settings("twin"))
        assert one != two
        assert workspace.jobs.get(one).job_id == one

    def test_calls_and_writes_are_counted(self, workspace: Workspace):
        before = workspace.count.calls
        job_id = workspace.jobs.create(settings())
        workspace.jobs.reset(job_id, settings())
        workspace.jobs.get(job_id)
        workspace.jobs.delete(job_id)
        assert workspace.count.calls - before == 4
        assert workspace.count.writes == 3


class TestRuns:
    @staticmethod
    def ended(workspace: Workspace, run_id: int) -> Run:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            run = workspace.jobs.run(run_id)
            if run.ended:
                return run
            time.sleep(0.1)
        raise AssertionError(f"run {run_id} does not end: {run}")

    @staticmethod
    def job(workspace: Workspace) -> int:
        """A job whose one task needs no compute."""
        condition = {"op": "EQUAL_TO", "left": "1", "right": "1"}
        given = settings()
        given["tasks"] = [{"task_key": "check", "condition_task": condition}]
        return workspace.jobs.create(given)

    def test_a_run_ends_and_shows_its_tasks(self, workspace: Workspace):
        job_id = self.job(workspace)
        run_id = workspace.jobs.run_now(job_id, idempotency_token=uuid.uuid4().hex)
        run = self.ended(workspace, run_id)
        assert (run.run_id, run.job_id) == (run_id, job_id)
        assert [task.task_key for task in run.tasks] == ["check"]
        assert run.tasks[0].attempts == 1
        assert (
            workspace.jobs.run_error(run.tasks[0].run_id) in ("", "None")
            or run.tasks[0].result_state != "SUCCESS"
        )
        assert run_id in {one.run_id for one in workspace.jobs.runs(job_id)}

    @pytest.mark.expectation("runs.token")
    def test_the_same_token_gives_the_same_run(self, workspace: Workspace):
        job_id, token = self.job(workspace), uuid.uuid4().hex
        assert workspace.jobs.run_now(job_id, idempotency_token=token) == workspace.jobs.run_now(
            job_id, idempotency_token=token
        )

    def test_runs_of_one_job_only(self, workspace: Workspace):
        one, two = self.job(workspace), self.job(workspace)
        run_id = workspace.jobs.run_now(one)
        workspace.jobs.run_now(two)
        assert [run.run_id for run in workspace.jobs.runs(one)] == [run_id]

    def test_an_unknown_run(self, workspace: Workspace):
        with pytest.raises(NotFound):
            workspace.jobs.run(NOWHERE)

    def test_cancelling_an_ended_run_is_done(self, workspace: Workspace):
        run_id = workspace.jobs.run_now(self.job(workspace))
        self.ended(workspace, run_id)
        workspace.jobs.cancel_run(run_id)

    def test_active_runs_only(self, workspace: Workspace):
        job_id = self.job(workspace)
        self.ended(workspace, workspace.jobs.run_now(job_id))
        assert workspace.jobs.runs(job_id, active_only=True) == []


_NUMBERS = itertools.count()


def query(**more: Any) -> dict[str, Any]:
    return {
        "display_name": f"query {next(_NUMBERS)} {uuid.uuid4()}",
        "query_text": "SELECT :threshold",
        "warehouse_id": "local",
        "parent_path": "/Workspace/Shared/contract",
        "parameters": [{"name": "threshold", "title": "threshold", "text_value": {"value": "5.0"}}],
        "tags": ["lakeflow_job_meta:0123", "lakeflow_job_meta_source:sales-0123"],
        **more,
    }


class TestQueries:
    def test_a_query_is_created_in_a_folder_that_is_made_for_it(self, workspace: Workspace):
        given = query()
        query_id = workspace.queries.create(given)
        found = workspace.queries.get(query_id)
        assert not found.trashed
        assert holds({k: v for k, v in given.items() if k != "parent_path"}, found.settings)

    def test_update_sets_what_is_given_and_nothing_else(self, workspace: Workspace):
        given = query()
        query_id = workspace.queries.create(given)
        workspace.queries.update(query_id, {"query_text": "SELECT 2", "parent_path": "/x"})
        found = workspace.queries.get(query_id).settings
        assert found["query_text"] == "SELECT 2"
        assert found["display_name"] == given["display_name"]
        assert found["tags"] == given["tags"]

    @pytest.mark.expectation("queries.update.parameters")
    def test_update_of_parameters(self, workspace: Workspace):
        """All parameters are replaced; an empty list takes them away."""
        query_id = workspace.queries.create(query())
        workspace.queries.update(query_id, {"parameters": []})
        assert not workspace.queries.get(query_id).settings.get("parameters")

    def test_a_deleted_query_is_in_the_trash_or_gone(self, workspace: Workspace):
        query_id = workspace.queries.create(query())
        workspace.queries.delete(query_id)
        found = workspace.queries.get(query_id)
        assert found is None or found.trashed
        assert query_id not in {one.query_id for one in workspace.queries.list()}
        workspace.queries.delete(query_id)

    def test_list_has_every_query_with_its_tags(self, workspace: Workspace):
        mark = str(uuid.uuid4())
        made = {workspace.queries.create(query(tags=[mark])) for _ in range(30)}
        listed = [one for one in workspace.queries.list() if mark in (one.settings.get("tags") or ())]
        assert {one.query_id for one in listed} == made
        assert len(listed) == 30

    def test_an_unknown_query(self, workspace: Workspace):
        nowhere = str(uuid.uuid4())
        assert workspace.queries.get(nowhere) is None
        workspace.queries.delete(nowhere)
        with pytest.raises(NotFound):
            workspace.queries.update(nowhere, {"query_text": "SELECT 1"})

    @pytest.mark.expectation("queries.folder")
    def test_a_missing_folder_is_said(self, workspace: Workspace):
        """What our adapter rests on when it makes the folder: a create without it is refused."""
        path = f"/Workspace/Shared/{uuid.uuid4()}"
        with pytest.raises(NotFound):
            workspace.queries._calls.create("/api/2.0/sql/queries", "try", {"query": query(parent_path=path)})


class TestPermissions:
    ENTRIES = (
        {"group_name": "data-eng", "level": "CAN_MANAGE_RUN"},
        {"user_name": "someone@example.com", "level": "CAN_VIEW"},
        {"service_principal_name": "5f0c", "level": "CAN_MANAGE"},
    )

    def made(self, workspace: Workspace, kind: str) -> str:
        return str(workspace.jobs.create(settings())) if kind == "jobs" else workspace.queries.create(query())

    @pytest.mark.parametrize("kind", ["jobs", "queries"])
    def test_entries_are_read_back(self, workspace: Workspace, kind: str):
        object_id = self.made(workspace, kind)
        workspace.permissions.set(kind, object_id, self.ENTRIES)
        found = workspace.permissions.get(kind, object_id)
        assert [entry for entry in found if entry["level"] != "IS_OWNER"] == list(self.ENTRIES)

    @pytest.mark.expectation("permissions.owner")
    def test_whoever_made_a_job_owns_it_and_stays_owner(self, workspace: Workspace):
        object_id = self.made(workspace, "jobs")
        (owner,) = workspace.permissions.get("jobs", object_id)
        assert owner["level"] == "IS_OWNER"
        workspace.permissions.set("jobs", object_id, self.ENTRIES[:1])
        assert owner in workspace.permissions.get("jobs", object_id)
        workspace.permissions.set("jobs", object_id, [])
        assert workspace.permissions.get("jobs", object_id) == [owner]

    def test_we_keep_our_hold_on_queries(self, workspace: Workspace):
        """Entries set on a query never take our own CAN_MANAGE away."""
        object_id = self.made(workspace, "queries")
        (ours,) = workspace.permissions.get("queries", object_id)
        assert ours["level"] == "IS_OWNER"
        workspace.permissions.set("queries", object_id, self.ENTRIES[:1])
        assert ours in workspace.permissions.get("queries", object_id)


def test_the_workspace_tells_its_id(workspace: Workspace):
    assert workspace.workspace_id.isdigit()
