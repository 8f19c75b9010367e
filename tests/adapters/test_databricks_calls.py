"""What our calls do when the workspace or the network fails, against a real server and the real SDK."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from lakeflow_job_meta.adapters.databricks import connect, workspace_client
from lakeflow_job_meta.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Throttled,
    Unavailable,
    UnclearOutcome,
    UsageError,
)
from lakeflow_job_meta.ports import Workspace
from tests.adapters.databricks_fixtures import FakeClock, client_for
from tests.adapters.scripted_server import ScriptedServer, serving

CREATE = "/api/2.2/jobs/create"
RESET = "/api/2.2/jobs/reset"
GET = "/api/2.2/jobs/get"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as one:
        one.default = lambda request: {"job_id": 7, "run_id": 9, "id": "q", "settings": {}}
        yield one


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def workspace(server: ScriptedServer, clock: FakeClock) -> Workspace:
    return connect(client_for(server.host, clock, workspace_id="42"))


class TestCreate:
    def test_is_sent_once_and_counted(self, workspace, server):
        """A create is one call and one write."""
        assert workspace.jobs.create({"name": "a"}) == 7
        assert len(server.sent(CREATE)) == 1
        assert (workspace.count.calls, workspace.count.writes) == (1, 1)

    def test_waits_as_told_after_429_and_is_repeated(self, workspace, server, clock):
        """429 says that it was not executed: Retry-After is honoured, and nothing but the last counts as a write."""
        server.will(CREATE, status=429, headers={"Retry-After": "7"}, times=2)
        assert workspace.jobs.create({"name": "a"}) == 7
        assert len(server.sent(CREATE)) == 3
        assert len(clock.waits) == 2
        assert all(7 <= wait <= 8 for wait in clock.waits)
        assert (workspace.count.calls, workspace.count.writes) == (3, 1)

    def test_gives_up_on_429_within_its_budget(self, workspace, server, clock):
        """A workspace that throttles for ever ends in Throttled, not in an endless wait."""
        server.will(CREATE, status=429, headers={"Retry-After": "50"}, times=1000)
        with pytest.raises(Throttled, match="rate limit"):
            workspace.jobs.create({"name": "a"})
        assert clock.now - 1000 < 130
        assert workspace.count.writes == 0

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_server_error_is_unclear_and_not_repeated(self, workspace, server, clock, status):
        """After 5xx the job may exist: it is never sent again, and nothing waits."""
        server.will(CREATE, status=status, body={"error_code": "X", "message": "boom"}, times=5)
        with pytest.raises(UnclearOutcome):
            workspace.jobs.create({"name": "a"})
        assert len(server.sent(CREATE)) == 1
        assert clock.waits == []
        assert workspace.count.writes == 1

    def test_reset_connection_is_unclear_and_not_repeated(self, workspace, server):
        """The SDK would repeat a POST after a reset; a create must not be."""
        server.will(CREATE, reset=True, times=5)
        with pytest.raises(UnclearOutcome, match="no answer"):
            workspace.jobs.create({"name": "a"})
        assert len(server.sent(CREATE)) == 1

    def test_time_out_after_the_commit_is_unclear_and_not_repeated(self, server):
        """A read time-out says nothing about what was done."""
        workspace = connect(client_for(server.host, workspace_id="42", http_timeout_seconds=0.3))
        server.will(CREATE, hang=True, times=5)
        with pytest.raises(UnclearOutcome, match="timed out"):
            workspace.jobs.create({"name": "a"})
        assert len(server.sent(CREATE)) == 1

    def test_broken_answer_is_unclear(self, workspace, server):
        """An answer that is no JSON came from something that may have passed the request on."""
        server.will(CREATE, body=b"<html>gateway</html>")
        with pytest.raises(UnclearOutcome):
            workspace.jobs.create({"name": "a"})
        assert len(server.sent(CREATE)) == 1

    def test_refused_connection_is_tried_again_then_unavailable(self, server, clock):
        """Nothing was sent, so it may be repeated; nothing is unclear."""
        workspace = connect(client_for(server.host, clock, workspace_id="42"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            workspace.jobs._calls._api_once._cfg.host = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Unavailable, match="connection refused"):
            workspace.jobs.create({"name": "a"})
        assert len(clock.waits) > 3
        assert workspace.count.writes == 0

    def test_refused_settings_name_the_platform_s_reason(self, workspace, server):
        """400 is final, and tells what the platform said."""
        body = {"error_code": "INVALID_PARAMETER_VALUE", "message": "Cluster xyz does not exist"}
        server.will(CREATE, status=400, body=body)
        with pytest.raises(InvalidRequest, match="Cluster xyz does not exist") as caught:
            workspace.jobs.create({"name": "a"})
        assert caught.value.status == 400
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"

    def test_threads_do_not_spoil_each_other(self, workspace, server):
        """One thread's failed create does not end another's: each has its own budget."""
        server.will(CREATE, status=500, times=4)
        outcomes: list[str] = []

        def create() -> None:
            try:
                workspace.jobs.create({"name": "a"})
                outcomes.append("done")
            except UnclearOutcome:
                outcomes.append("unclear")

        threads = [threading.Thread(target=create) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(outcomes) == ["done"] * 8 + ["unclear"] * 4
        assert (workspace.count.calls, workspace.count.writes) == (12, 12)

    def test_query_create_is_sent_once_too(self, workspace, server):
        server.will("/api/2.0/sql/queries", reset=True, times=5)
        with pytest.raises(UnclearOutcome):
            workspace.queries.create({"display_name": "q"})
        assert len(server.sent("/api/2.0/sql/queries")) == 1

    def test_query_create_makes_its_folder_when_it_is_missing(self, workspace, server):
        """404 says that nothing was created: the folder is made, then the query."""
        server.will("/api/2.0/sql/queries", status=404, body={"error_code": "RESOURCE_DOES_NOT_EXIST"})
        assert workspace.queries.create({"display_name": "q", "parent_path": "/Workspace/Shared/x"}) == "q"
        assert [request.path for request in server.requests] == [
            "/api/2.0/sql/queries",
            "/api/2.0/workspace/mkdirs",
            "/api/2.0/sql/queries",
        ]
        assert server.requests[1].body == {"path": "/Workspace/Shared/x"}


class TestSafeCalls:
    def test_reads_are_repeated_by_the_sdk(self, workspace, server, clock):
        """429 and 503 are the SDK's to repeat, as long as it is told to wait."""
        server.will(GET, status=429, headers={"Retry-After": "3"})
        server.will(GET, status=503, headers={"Retry-After": "4"})
        server.will(GET, reset=True)
        assert workspace.jobs.get(7).job_id == 7
        assert len(server.sent(GET)) == 4
        assert workspace.count.writes == 0

    def test_server_errors_of_safe_calls_are_repeated(self, workspace, server):
        """500 and 504, which the SDK does not repeat, are repeated where repeating is safe."""
        server.will(RESET, status=500, body={"message": "boom"})
        server.will(RESET, status=504, body={"message": "boom"})
        workspace.jobs.reset(7, {"name": "a"})
        assert len(server.sent(RESET)) == 3
        assert workspace.count.writes == 1

    def test_lasting_server_error(self, workspace, server):
        """A read that fails is Unavailable, a write unclear."""
        server.will(GET, status=500, body={"message": "boom"}, times=9)
        server.will(RESET, status=500, body={"message": "boom"}, times=9)
        with pytest.raises(Unavailable, match="boom"):
            workspace.jobs.get(7)
        with pytest.raises(UnclearOutcome, match="boom"):
            workspace.jobs.reset(7, {})

    def test_throttled_for_ever(self, workspace, server, clock):
        server.will(GET, status=429, headers={"Retry-After": "50"}, times=1000)
        with pytest.raises(Throttled):
            workspace.jobs.get(7)
        assert clock.now - 1000 < 200

    def test_run_now_carries_a_token_always(self, workspace, server):
        """Repeating a run-now without a token would start two runs; so there always is one."""
        server.will("/api/2.2/jobs/run-now", reset=True)
        assert workspace.jobs.run_now(7) == 9
        tokens = {request.body["idempotency_token"] for request in server.sent("/api/2.2/jobs/run-now")}
        assert len(server.sent("/api/2.2/jobs/run-now")) == 2
        assert len(tokens) == 1
        assert 1 <= len(tokens.pop()) <= 64

    def test_authentication_and_permission(self, workspace, server):
        """401 and 403 say what to do, without the SDK's dump of its configuration, and never the token."""
        server.will(GET, status=401, body={"error_code": "UNAUTHENTICATED", "message": "who are you"})
        server.will(GET, status=403, body={"error_code": "PERMISSION_DENIED", "message": "no"})
        for status in (401, 403):
            with pytest.raises(PermissionDenied) as caught:
                workspace.jobs.get(7)
            text = str(caught.value)
            assert caught.value.status == status
            assert "secret-token" not in text
            assert "Config" not in text
            assert "\n" not in text


class TestMissing:
    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (404, "RESOURCE_DOES_NOT_EXIST"),
            (404, "NOT_FOUND"),
            (400, "RESOURCE_DOES_NOT_EXIST"),
            (400, "INVALID_PARAMETER_VALUE"),
        ],
    )
    def test_every_way_to_say_that_a_job_is_gone(self, workspace, server, status, code):
        """404 and the 400 of older endpoints mean the same for get, reset and delete."""
        server.will(
            "/api/2.2/jobs/",
            status=status,
            body={"error_code": code, "message": "Job 7 does not exist."},
            times=3,
        )
        assert workspace.jobs.get(7) is None
        with pytest.raises(NotFound):
            workspace.jobs.reset(7, {})
        workspace.jobs.delete(7)

    def test_something_else_that_is_gone_is_not_the_job(self, workspace, server):
        """A reset whose settings name a cluster that is gone is refused; the job is there."""
        message = "Cluster 7 does not exist"
        server.will(RESET, status=400, body={"error_code": "INVALID_PARAMETER_VALUE", "message": message})
        with pytest.raises(InvalidRequest):
            workspace.jobs.reset(7, {})

    def test_another_job_that_is_gone_is_not_the_job(self, workspace, server):
        message = "Job 77 does not exist"
        server.will(RESET, status=400, body={"error_code": "INVALID_PARAMETER_VALUE", "message": message})
        with pytest.raises(InvalidRequest):
            workspace.jobs.reset(7, {})

    def test_a_gone_query(self, workspace, server):
        server.will(
            "/api/2.0/sql/queries/", status=404, body={"error_code": "RESOURCE_DOES_NOT_EXIST"}, times=2
        )
        assert workspace.queries.get("x") is None
        workspace.queries.delete("x")


class TestLogin:
    def test_without_credentials_one_sentence_says_what_to_do(self, monkeypatch, tmp_path):
        for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(UsageError, match=r"DATABRICKS_HOST.*profile.*--local DIR") as caught:
            workspace_client()
        assert "\n" not in str(caught.value)

    def test_workspace_id_comes_from_the_header(self, server):
        server.will(
            "/api/2.0/preview/scim/v2/Me", body={"userName": "me@x"}, headers={"X-Databricks-Org-Id": "123"}
        )
        assert connect(client_for(server.host)).workspace_id == "123"

    def test_a_host_that_is_down_is_said_soon(self, clock):
        """The first call has little patience: a wrong host must not look like a hang."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            host = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"connection refused.*DATABRICKS_HOST"):
            connect(client_for(host, clock))
        assert clock.now - 1000 < 15

    def test_a_busy_workspace_is_asked_again(self, server, clock):
        me = {"userName": "me@x"}
        server.will("/api/2.0/preview/scim/v2/Me", status=429, headers={"Retry-After": "4"})
        server.will("/api/2.0/preview/scim/v2/Me", status=500)
        server.will("/api/2.0/preview/scim/v2/Me", body=me, headers={"X-Databricks-Org-Id": "5"})
        assert connect(client_for(server.host, clock)).workspace_id == "5"

    def test_a_wrong_token_is_said_at_once(self, server):
        server.will("/api/2.0/preview/scim/v2/Me", status=401, body={"message": "Invalid access token"})
        with pytest.raises(PermissionDenied, match=r"Invalid access token.*DATABRICKS_TOKEN"):
            connect(client_for(server.host))
        assert len(server.requests) == 1

    def test_a_known_workspace_id_costs_no_call(self, workspace, server):
        assert workspace.workspace_id == "42"
        assert server.requests == []

    def test_the_token_is_nowhere_to_be_read(self, workspace):
        assert "secret-token" not in repr(workspace)


def test_nothing_is_dropped_on_the_way(workspace, server):
    """Fields that the installed SDK does not know travel both ways."""
    settings = {"name": "a", "field_of_tomorrow": {"x": [1]}, "tasks": [{"task_key": "t", "new_task": {}}]}
    workspace.jobs.create(settings)
    assert server.sent(CREATE)[0].body == settings
    server.will(GET, body={"job_id": 7, "settings": settings})
    assert workspace.jobs.get(7).settings == settings
