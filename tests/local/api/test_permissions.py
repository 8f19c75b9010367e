"""Permissions of jobs and queries through the SDK."""

from __future__ import annotations

import pytest
from databricks.sdk.errors import InvalidParameterValue, NotFound
from databricks.sdk.service import iam, jobs, sql


def levels(permissions):
    """principal -> level of the direct entries."""
    return {
        entry.user_name or entry.group_name or entry.service_principal_name: entry.all_permissions[
            0
        ].permission_level.value
        for entry in permissions.access_control_list
        if not entry.all_permissions[0].inherited
    }


@pytest.fixture
def job_id(client, unique):
    return str(client.jobs.create(name=unique).job_id)


def test_the_creator_owns_a_new_job_and_admins_manage_it(client, job_id):
    permissions = client.permissions.get("jobs", job_id)
    assert permissions.object_id == f"/jobs/{job_id}"
    assert permissions.object_type == "job"
    assert levels(permissions) == {client.current_user.me().user_name: "IS_OWNER"}
    inherited = [e for e in permissions.access_control_list if e.all_permissions[0].inherited]
    assert [e.group_name for e in inherited] == ["admins"]
    assert inherited[0].all_permissions[0].inherited_from_object == ["/jobs/"]


def test_put_replaces_and_keeps_the_owner(client, job_id):
    me = client.current_user.me().user_name
    request = iam.AccessControlRequest
    client.permissions.set(
        "jobs",
        job_id,
        access_control_list=[request(group_name="a", permission_level=iam.PermissionLevel.CAN_VIEW)],
    )
    client.permissions.set(
        "jobs",
        job_id,
        access_control_list=[request(group_name="b", permission_level=iam.PermissionLevel.CAN_MANAGE)],
    )
    assert levels(client.permissions.get("jobs", job_id)) == {me: "IS_OWNER", "b": "CAN_MANAGE"}
    client.permissions.set(
        "jobs",
        job_id,
        access_control_list=[
            request(service_principal_name="sp", permission_level=iam.PermissionLevel.IS_OWNER)
        ],
    )
    assert levels(client.permissions.get("jobs", job_id)) == {"sp": "IS_OWNER"}


def test_patch_adds_and_changes(client, job_id):
    request = iam.AccessControlRequest
    for level in (iam.PermissionLevel.CAN_VIEW, iam.PermissionLevel.CAN_MANAGE_RUN):
        client.permissions.update(
            "jobs", job_id, access_control_list=[request(user_name="u@example.com", permission_level=level)]
        )
    assert levels(client.permissions.get("jobs", job_id))["u@example.com"] == "CAN_MANAGE_RUN"


def test_wrong_entries_are_refused(client, job_id):
    request = iam.AccessControlRequest
    for entries in (
        [request(group_name="a", permission_level=iam.PermissionLevel.CAN_READ)],
        [request(group_name="a", permission_level=iam.PermissionLevel.IS_OWNER)],
        [request(group_name="a", user_name="b", permission_level=iam.PermissionLevel.CAN_VIEW)],
        [request(permission_level=iam.PermissionLevel.CAN_VIEW)],
        [request(group_name="a", permission_level=iam.PermissionLevel.CAN_VIEW)] * 2,
    ):
        with pytest.raises(InvalidParameterValue, match="access_control_list"):
            client.permissions.set("jobs", job_id, access_control_list=entries)


def test_what_is_not_there_has_no_permissions(client, job_id):
    client.jobs.delete(int(job_id))
    with pytest.raises(NotFound):
        client.permissions.get("jobs", job_id)
    with pytest.raises(NotFound):
        client.permissions.get("queries", "nothing")


def test_a_create_takes_an_access_control_list(client, unique):
    access = [jobs.JobAccessControlRequest(group_name="g", permission_level=jobs.JobPermissionLevel.CAN_VIEW)]
    job_id = client.jobs.create(name=unique, access_control_list=access).job_id
    assert levels(client.permissions.get("jobs", str(job_id)))["g"] == "CAN_VIEW"
    assert (
        "access_control_list"
        not in client.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": job_id})["settings"]
    )
    assert client.jobs.get_permissions(str(job_id)).object_type == "job"


def test_queries_have_permissions_under_both_names(client, unique):
    query = client.queries.create(
        query=sql.CreateQueryRequestQuery(display_name=unique, query_text="select 1")
    )
    entry = iam.AccessControlRequest(group_name="g", permission_level=iam.PermissionLevel.CAN_RUN)
    client.permissions.set("queries", query.id, access_control_list=[entry])
    assert levels(client.permissions.get("sql/queries", query.id))["g"] == "CAN_RUN"
