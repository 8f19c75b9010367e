"""The Jobs API as the SDK sees it: round trips, defaults, paging, update and reset."""

from __future__ import annotations

import time

import pytest
from databricks.sdk.errors import InvalidParameterValue, ResourceDoesNotExist
from databricks.sdk.service import compute, jobs


def notebook(key, **fields):
    return jobs.Task(task_key=key, notebook_task=jobs.NotebookTask(notebook_path="/Shared/n"), **fields)


def test_create_fills_in_what_the_platform_fills_in(client, unique):
    """A job comes back with the server's defaults, and nothing that was set is lost."""
    job_id = client.jobs.create(name=unique, tasks=[notebook("a")]).job_id
    job = client.jobs.get(job_id)
    settings = job.settings.as_dict()
    assert settings["format"] == "MULTI_TASK"
    assert settings["max_concurrent_runs"] == 1
    assert settings["timeout_seconds"] == 0
    assert settings["queue"] == {"enabled": True}
    assert settings["edit_mode"] == "EDITABLE"
    assert settings["run_as"] == {"user_name": job.creator_user_name}
    assert settings["tasks"][0]["run_if"] == "ALL_SUCCESS"
    assert settings["tasks"][0]["notebook_task"]["source"] == "WORKSPACE"
    assert job.run_as_user_name == job.creator_user_name == client.current_user.me().user_name
    assert abs(job.created_time / 1000 - time.time()) < 60


def test_a_git_source_makes_git_the_default_source(client, unique):
    """`source` is GIT where the job has a git_source, also inside for_each_task."""
    inner = jobs.Task(task_key="in", spark_python_task=jobs.SparkPythonTask(python_file="a.py"))
    job_id = client.jobs.create(
        name=unique,
        git_source=jobs.GitSource(git_url="https://example.com/r.git", git_provider=jobs.GitProvider.GIT_HUB),
        tasks=[jobs.Task(task_key="a", for_each_task=jobs.ForEachTask(inputs="[1]", task=inner))],
    ).job_id
    task = client.jobs.get(job_id).settings.tasks[0].for_each_task.task
    assert task.spark_python_task.source == jobs.Source.GIT
    assert task.run_if == jobs.RunIf.ALL_SUCCESS


def test_fields_that_this_server_does_not_know_survive(client, unique):
    """Settings are stored raw: a field of a newer API comes back."""
    body = {"name": unique, "tasks": [], "brand_new": {"x": [1, 2]}}
    job_id = client.api_client.do("POST", "/api/2.2/jobs/create", body=body)["job_id"]
    raw = client.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": job_id})
    assert raw["settings"]["brand_new"] == {"x": [1, 2]}


def test_big_jobs_are_read_in_pages_of_a_hundred(client, unique):
    """250 tasks and 130 parameters need three pages, which the SDK puts together."""
    job_id = client.jobs.create(
        name=unique,
        tasks=[notebook(f"t{i}") for i in range(250)],
        parameters=[jobs.JobParameterDefinition(name=f"p{i}", default="") for i in range(130)],
    ).job_id
    first = client.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": job_id})
    assert len(first["settings"]["tasks"]) == 100
    assert first["has_more"] is True
    settings = client.jobs.get(job_id).settings
    assert [task.task_key for task in settings.tasks] == [f"t{i}" for i in range(250)]
    assert len(settings.parameters) == 130
    (listed,) = client.jobs.list(name=unique, expand_tasks=True)
    assert len(listed.settings.tasks) == 250


def test_list_filters_by_exact_name_without_case(client, unique):
    """`name` is exact and case-insensitive; tasks come only when they are asked for."""
    ids = [
        client.jobs.create(name=f"Name {unique}{end}", tasks=[notebook("a")]).job_id for end in ("", "", "x")
    ]
    found = list(client.jobs.list(name=f"nAME {unique}"))
    assert [job.job_id for job in found] == [ids[1], ids[0]]  # newest first
    assert not found[0].settings.tasks
    assert next(iter(client.jobs.list(name=f"name {unique}x", expand_tasks=True))).settings.tasks


def test_list_pages_forwards_and_backwards(client, unique):
    """Twenty a page by default; a job deleted between two pages hides no other; bad arguments are refused."""
    ids = [client.jobs.create(name=unique).job_id for _ in range(45)]

    def page(**query):
        return client.api_client.do("GET", "/api/2.2/jobs/list", query={"name": unique, **query})

    first = page()
    assert len(first["jobs"]) == 20
    assert first["has_more"] is True
    client.jobs.delete(first["jobs"][3]["job_id"])
    second = page(page_token=first["next_page_token"])
    assert [job["job_id"] for job in second["jobs"]] == ids[::-1][20:40]
    third = page(page_token=second["next_page_token"])
    assert [job["job_id"] for job in third["jobs"]] == ids[::-1][40:]
    assert third["has_more"] is False
    assert "next_page_token" not in third
    back = page(page_token=third["prev_page_token"])
    assert back["jobs"] == second["jobs"]
    assert len(page(offset=40, limit=100)["jobs"]) == 4
    for query in ({"limit": 101}, {"limit": 0}, {"page_token": "nonsense"}, {"offset": -1}):
        with pytest.raises(InvalidParameterValue):
            page(**query)


def test_reset_replaces_and_keeps_run_as(client, unique):
    """Reset replaces all settings; run_as cannot be unset."""
    job_id = client.jobs.create(
        name=unique, tasks=[notebook("a")], tags={"k": "v"}, run_as=jobs.JobRunAs(service_principal_name="sp")
    ).job_id
    client.jobs.reset(job_id, jobs.JobSettings(name=f"{unique}2", tasks=[notebook("b")]))
    job = client.jobs.get(job_id)
    assert job.settings.name == f"{unique}2"
    assert not job.settings.tags
    assert [task.task_key for task in job.settings.tasks] == ["b"]
    assert job.settings.run_as.service_principal_name == "sp"
    assert job.run_as_user_name == "sp"


def test_update_merges_arrays_by_key_and_removes_fields(client, unique):
    """Top-level fields are replaced, arrays are merged by key, fields_to_remove takes fields and tasks away."""
    cluster = jobs.JobCluster(
        job_cluster_key="c", new_cluster=compute.ClusterSpec(spark_version="15.4", num_workers=1)
    )
    job_id = client.jobs.create(
        name=unique,
        tags={"a": "1", "b": "2"},
        tasks=[notebook("a"), notebook("b", timeout_seconds=5)],
        job_clusters=[cluster],
        description="d",
    ).job_id
    client.jobs.update(
        job_id,
        new_settings=jobs.JobSettings(
            tags={"c": "3"}, tasks=[notebook("b", timeout_seconds=9), notebook("n")]
        ),
        fields_to_remove=["description", "tasks/a"],
    )
    settings = client.jobs.get(job_id).settings
    assert settings.tags == {"c": "3"}
    assert [(task.task_key, task.timeout_seconds) for task in settings.tasks] == [("b", 9), ("n", 0)]
    assert settings.description is None
    assert settings.job_clusters[0].new_cluster.num_workers == 1
    assert settings.name == unique


def test_a_refused_update_changes_nothing(client, unique):
    """A change that would make the job wrong leaves it as it was."""
    job_id = client.jobs.create(
        name=unique, tasks=[notebook("a"), notebook("b", depends_on=[jobs.TaskDependency("a")])]
    ).job_id
    with pytest.raises(InvalidParameterValue, match="depends_on"):
        client.jobs.update(job_id, fields_to_remove=["tasks/a"])
    assert len(client.jobs.get(job_id).settings.tasks) == 2


def test_a_deleted_job_is_answered_as_the_platform_does(client, unique):
    """400 'does not exist', which the SDK maps for get only; ids are never used again."""
    job_id = client.jobs.create(name=unique).job_id
    client.jobs.delete(job_id)
    with pytest.raises(ResourceDoesNotExist, match=f"Job {job_id} does not exist"):
        client.jobs.get(job_id)
    for call in (client.jobs.delete, lambda i: client.jobs.reset(i, jobs.JobSettings(name="x"))):
        with pytest.raises(InvalidParameterValue, match="does not exist"):
            call(job_id)
    assert client.jobs.create(name=unique).job_id > job_id


def test_api_2_1_has_no_pages_and_no_queue(client, unique):
    """The older version gives a job whole, takes at most 100 tasks, and does not queue by default."""
    body = {"name": unique, "tasks": [notebook(f"t{i}").as_dict() for i in range(100)]}
    job_id = client.api_client.do("POST", "/api/2.1/jobs/create", body=body)["job_id"]
    raw = client.api_client.do("GET", "/api/2.1/jobs/get", query={"job_id": job_id})
    assert len(raw["settings"]["tasks"]) == 100
    assert "queue" not in raw["settings"]
    body["tasks"].append(notebook("more").as_dict())
    with pytest.raises(InvalidParameterValue, match="limited to 100"):
        client.api_client.do("POST", "/api/2.1/jobs/create", body=body)


def test_a_run_job_task_may_not_lead_back(client, unique):
    """Cycles of run_job tasks are refused, and so is a fourth level."""

    def run_job(job_id):
        return jobs.Task(task_key="r", run_job_task=jobs.RunJobTask(job_id=job_id))

    ids = [client.jobs.create(name=f"{unique}0", tasks=[notebook("a")]).job_id]
    for level in range(1, 4):
        ids.append(client.jobs.create(name=f"{unique}{level}", tasks=[run_job(ids[-1])]).job_id)
    with pytest.raises(InvalidParameterValue, match="3 levels"):
        client.jobs.create(name=f"{unique}4", tasks=[run_job(ids[-1])])
    with pytest.raises(InvalidParameterValue, match=r"cycle|levels"):
        client.jobs.update(ids[2], new_settings=jobs.JobSettings(tasks=[run_job(ids[3])]))
    with pytest.raises(InvalidParameterValue, match="cycle"):
        client.jobs.update(ids[0], new_settings=jobs.JobSettings(tasks=[run_job(ids[0])]))


def test_what_is_no_json_is_refused(plain):
    """A body that is not an object is a 400 with the platform's shape."""
    import http.client
    import json

    address = plain.host.removeprefix("http://")
    for body in (b"{", b"[]", b'"x"'):
        connection = http.client.HTTPConnection(address)
        connection.request("POST", "/api/2.2/jobs/create", body, {"Authorization": f"Bearer {plain.token}"})
        response = connection.getresponse()
        assert response.status == 400
        assert json.loads(response.read())["error_code"] == "MALFORMED_REQUEST"
        connection.close()


def test_creating_is_quick(client, unique):
    """More than 300 creates a second is the promise; a tenth of it is what a busy machine must keep."""
    tasks = [notebook(f"t{i}") for i in range(5)]
    started = time.perf_counter()
    for number in range(100):
        client.jobs.create(name=f"{unique}-{number}", tasks=tasks)
    assert time.perf_counter() - started < 100 / 30
