"""Injected faults as the SDK meets them, and the count of calls."""

from __future__ import annotations

import time

import pytest
import requests
from databricks.sdk.errors import DatabricksError, InternalError
from databricks.sdk.errors.platform import TemporarilyUnavailable, TooManyRequests

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.faults import Rule
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.server import build
from lakeflow_job_meta.local.state import Database
from tests.local.conftest import client_of, serving

CREATE = {"method": "POST", "path": "/api/2.2/jobs/create"}


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    folder = Folder.at(tmp_path_factory.mktemp("faults"))
    folder.prepare()
    with serving(build(folder, Database(folder.state), "t0ken"), "t0ken", str(folder.root)) as connection:
        yield connection


@pytest.fixture
def client(connection):
    yield client_of(connection, retry_timeout_seconds=1)
    connection.ask("DELETE", "/local/faults")
    connection.ask("DELETE", "/local/calls")


def count(client, name):
    return len(list(client.jobs.list(name=name)))


def test_throttling_names_the_wait(connection, client, unique):
    """429 with Retry-After strikes as often as it was told, then the call goes through."""
    connection.ask("POST", "/local/faults", {**CREATE, "status": 429, "retry_after": 7, "count": 1})
    raw = requests.post(
        f"{connection.host}/api/2.2/jobs/create",
        json={"name": unique},
        headers={"Authorization": f"Bearer {connection.token}"},
    )
    assert (raw.status_code, raw.headers["Retry-After"]) == (429, "7")
    client.jobs.create(name=unique)
    assert count(client, unique) == 1
    connection.ask("POST", "/local/faults", {**CREATE, "status": 429, "retry_after": 0})
    with pytest.raises((TooManyRequests, TimeoutError)):
        client.jobs.create(name=unique)


def test_server_errors(connection, client, unique):
    connection.ask("POST", "/local/faults", {**CREATE, "status": 500, "nth": 1})
    connection.ask("POST", "/local/faults", {**CREATE, "status": 503, "nth": 1, "retry_after": 5})
    with pytest.raises(InternalError, match="injected"):
        client.jobs.create(name=unique)
    with pytest.raises((TemporarilyUnavailable, TimeoutError)):
        client.jobs.create(name=unique)
    assert count(client, unique) == 0


def test_a_reset_before_the_call_changes_nothing(connection, client, unique):
    connection.ask("POST", "/local/faults", {**CREATE, "reset": "before"})
    with pytest.raises((requests.ConnectionError, TimeoutError)):
        client.jobs.create(name=unique)
    assert count(client, unique) == 0


def test_a_reset_after_the_commit_left_a_job(connection, client, unique):
    """The SDK repeats the POST, as it does in the cloud: two jobs."""
    connection.ask("POST", "/local/faults", {**CREATE, "reset": "after", "nth": 1})
    client_of(connection, retry_timeout_seconds=10).jobs.create(name=unique)
    assert count(client, unique) == 2
    assert connection.ask("GET", "/local/calls")["wrote"] == 2


def test_a_hang_after_the_commit(connection, client, unique):
    """The client gives up; the job is there."""
    connection.ask("POST", "/local/faults", {**CREATE, "hang": "after"})
    impatient = client_of(connection, retry_timeout_seconds=1, http_timeout_seconds=1)
    with pytest.raises((requests.Timeout, TimeoutError)):
        impatient.jobs.create(name=unique)
    assert count(client, unique) >= 1


def test_delay_and_html(connection, client, unique):
    connection.ask("POST", "/local/faults", {"path": "/api/2.2/jobs", "delay_ms": 300, "nth": 1})
    started = time.monotonic()
    client.jobs.create(name=unique)
    assert time.monotonic() - started >= 0.3
    connection.ask("POST", "/local/faults", {**CREATE, "html": True})
    with pytest.raises(DatabricksError):
        client.jobs.create(name=unique)
    assert count(client, unique) == 1


def test_chance_is_seeded(connection, client, unique):
    """The same seed strikes the same calls."""

    def struck():
        connection.ask("DELETE", "/local/faults")
        connection.ask(
            "POST",
            "/local/faults",
            {"path": "/api/2.0/secrets", "probability": 0.5, "seed": 3, "status": 418},
        )
        pattern = ""
        for _ in range(20):
            response = requests.get(
                f"{connection.host}/api/2.0/secrets/scopes/list",
                headers={"Authorization": f"Bearer {connection.token}"},
            )
            pattern += "x" if response.status_code == 418 else "."
        return pattern

    first = struck()
    assert first == struck()
    assert {"x", "."} == set(first)
    (rule,) = connection.ask("GET", "/local/faults")["rules"]
    assert rule["fitting"] == 20
    assert rule["applied"] == first.count("x")


def test_a_rate_limit(unique):
    """Calls beyond the rate are struck, others pass."""
    now = 0.0
    rule = Rule({"more_than": 3, "within_seconds": 1.0, "status": 429}, clock=lambda: now)
    struck = []
    for step in range(10):
        now = step * 0.2
        struck.append(rule.fits("GET", "/x"))
    assert struck == [False, False, False, True, True, False, False, False, True, True]


def test_calls_are_counted_by_what_they_wrote(connection, client, unique):
    job_id = client.jobs.create(name=unique).job_id
    client.jobs.get(job_id)
    with pytest.raises(DatabricksError):
        client.jobs.delete(1)
    calls = connection.ask("GET", "/local/calls")
    assert (calls["total"], calls["wrote"]) == (3, 1)
    assert {"method": "POST", "path": "/api/2.2/jobs/create", "count": 1, "wrote": 1} in calls["calls"]


def test_wrong_rules_are_refused(connection):
    for rule in ({}, {"status": "x"}, {"frequency": 1, "status": 500}, {"reset": "often"}, []):
        with pytest.raises(LocalError, match="400"):
            connection.ask("POST", "/local/faults", rule)
