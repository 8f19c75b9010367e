"""What goes wrong with calls, over real HTTP: refusals, resets, hangs, tokens, prefixes."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.local.dxr.conftest import running_dxr, wait_for

URL = "/api/on-demand-classifiers/200/jobs"
ONE = [("files", ("a.txt", b"x" * 300_000))]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_refusals_for_a_while(dxr, status):
    """The first two calls of a route fail, then it is well; other routes never do."""
    dxr.knobs(http_faults=[{"route": "tags", "count": 2, "status": status}])
    assert [dxr.http.get("/api/tags/7").status_code for _ in range(3)] == [status, status, 200]
    assert dxr.http.get("/api/datasources").status_code == 200
    assert dxr.counters()["http_faults"] == [{"fitting": 3, "applied": 2}]


def test_too_many_requests(dxr):
    """429 with Retry-After, as seconds or as a date."""
    dxr.knobs(http_faults=[{"route": ["search", "job"], "status": 429, "retry_after": 2}])
    assert dxr.search().headers["retry-after"] == "2"
    assert dxr.http.get(f"{URL}/x").status_code == 429
    dxr.knobs(http_faults=[{"status": 429, "retry_after": "Sat, 21 Nov 2026 12:00:00 GMT"}])
    assert dxr.search().headers["retry-after"].endswith("GMT")


@pytest.mark.parametrize(
    ("rule", "status", "text"),
    [
        ({"body": "html", "status": 200}, 200, "<html"),
        ({"body": "html"}, 502, "<html"),
        ({"body": "text", "status": 500}, 500, "injected fault"),
        ({"body": "empty", "status": 503}, 503, ""),
        ({"status": 403}, 403, ""),
    ],
)
def test_bodies_of_errors(dxr, rule, status, text):
    """An HTML page (even with 200), plain text, nothing at all; a 403 has no body unless it is said."""
    dxr.knobs(http_faults=[{"route": "search", **rule}])
    answer = dxr.search()
    assert answer.status_code == status
    assert answer.text.startswith(text)
    assert bool(answer.text) is bool(text)


def test_shapes_of_errors(dxr):
    """The public API wraps its errors, the internal one does not."""
    dxr.knobs(http_faults=[{"status": 500}])
    assert dxr.http.get("/api/v1/redactors").json()["error"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "injected" in dxr.http.get("/api/tags").json()["error"]


def test_nth_skip_and_probability(dxr):
    """Which calls are struck is said exactly, or by a seeded chance."""
    dxr.knobs(http_faults=[{"route": "tags", "nth": 2, "status": 500}])
    assert [dxr.http.get("/api/tags").status_code for _ in range(3)] == [200, 500, 200]
    dxr.knobs(http_faults=[{"route": "tags", "skip": 1, "status": 500}])
    assert [dxr.http.get("/api/tags").status_code for _ in range(3)] == [200, 500, 500]

    def drawn():
        dxr.knobs(http_faults=[])
        dxr.knobs(http_faults=[{"route": "tags", "probability": 0.5, "seed": 7, "status": 500}])
        return [dxr.http.get("/api/tags").status_code for _ in range(20)]

    first = drawn()
    assert {200, 500} == set(first)
    assert drawn() == first


def test_reset_before(dxr):
    """The connection is reset before the call is looked at: nothing happened."""
    dxr.knobs(http_faults=[{"route": "submit", "reset": "before"}])
    with pytest.raises(httpx.TransportError):
        dxr.http.post(URL, files=ONE)
    assert dxr.counters()["submits"] == 0


def test_reset_in_the_upload(dxr):
    """The connection is reset after some bytes of the body: no job, no bytes kept."""
    dxr.knobs(http_faults=[{"route": "submit", "reset": "upload", "after_bytes": 100_000, "count": 1}])
    with pytest.raises(httpx.TransportError):
        dxr.http.post(URL, files=ONE)
    wait_for(lambda: not list(dxr.simulator.store.incoming.iterdir()))
    assert dxr.http.get("/_simulator/jobs").json()["jobs"] == []
    assert dxr.http.post(URL, files=ONE).status_code == 202


def test_reset_after(dxr):
    """The submit is carried out and its answer lost: an orphan job is there."""
    dxr.knobs(http_faults=[{"route": "submit", "reset": "after"}])
    with pytest.raises(httpx.TransportError):
        dxr.http.post(URL, files=ONE)
    assert len(wait_for(lambda: dxr.http.get("/_simulator/jobs").json()["jobs"])) == 1


def test_reset_in_the_answer(dxr):
    """So many bytes of the answer come, then the connection is reset."""
    source = dxr.classified({"a.bin": b"x" * 500_000})["a.bin"]
    dxr.knobs(http_faults=[{"route": "content", "reset": "response", "after_bytes": 1000}])
    got = b""
    with (
        pytest.raises(httpx.TransportError),
        dxr.http.stream("GET", f"/api/v1/files/{source['dxr#file_id']}/content") as response,
    ):
        for piece in response.iter_raw():
            got += piece
    assert len(got) == 1000


@pytest.mark.parametrize(("hang", "jobs"), [("before", 0), ("after", 1)])
def test_hangs(dxr, hang, jobs):
    """No answer ever comes, whether the call was carried out or not."""
    dxr.knobs(http_faults=[{"route": "submit", "hang": hang}])
    with pytest.raises(httpx.ReadTimeout), dxr.client(timeout=0.5) as client:
        client.post(URL, files=[("files", ("a.txt", b"x"))])
    assert len(dxr.http.get("/_simulator/jobs").json()["jobs"]) == jobs


def test_slow(dxr):
    """An answer may take its time, and be well."""
    dxr.knobs(http_faults=[{"route": "tags", "delay_seconds": 0.3}])
    began = time.monotonic()
    assert dxr.http.get("/api/tags").status_code == 200
    assert time.monotonic() - began >= 0.3


def test_a_replaced_token(dxr):
    """After so many calls the token was replaced: 401 until the new one is used, nothing else changes."""
    dxr.knobs(token_revoked_after=2)
    assert [dxr.http.get("/api/tags").status_code for _ in range(4)] == [200, 200, 401, 401]
    assert dxr.http.get("/api/v1/redactors").json()["error"]["code"] == "UNAUTHORIZED"
    new = dxr.http.put("/_simulator/token", json={}).json()["token"]
    assert dxr.http.get("/api/tags").status_code == 401
    assert dxr.http.get("/api/tags", headers={"Authorization": f"Bearer {new}"}).status_code == 200
    assert dxr.http.post("/_simulator/reset").status_code == 200
    assert dxr.http.get("/api/tags").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic eyJ-test"},
        {"Authorization": "Bearer é".encode()},
    ],
)
def test_without_the_token(dxr, headers):
    """401 for a missing, wrong or oddly written token, for the simulator's own endpoints too."""
    with httpx.Client(base_url=dxr.url) as client:
        for path in ("/api/tags", "/api/v1/files", "/_simulator/knobs"):
            assert client.get(path, headers=headers).status_code == 401
        assert client.post(URL, files=ONE, headers=headers).status_code == 401


def test_prefixes(tmp_path):
    """`/api/api` is 404; another prefix, or none, takes the place of `/api`."""
    with running_dxr(tmp_path) as dxr:
        assert dxr.http.get("/api/api/tags").status_code == 404
        assert dxr.http.get("/tags").status_code == 404
        dxr.knobs(prefix="")
        assert dxr.http.get("/tags").status_code == 200
        assert dxr.http.get("/api/tags").status_code == 404
        dxr.knobs(prefix="/dxr/api")
        assert dxr.http.get("/dxr/api/v1/redactors").status_code == 200


def test_knobs_over_http(dxr):
    """PATCH changes what it names, PUT starts from the knobs of the start, a wrong one is 400 and changes nothing."""
    dxr.knobs(fleet=3)
    dxr.knobs(require_q=True)
    assert dxr.http.get("/_simulator/knobs").json()["fleet"] == 3
    assert dxr.http.put("/_simulator/knobs", json={"require_q": True}).json()["fleet"] == 0
    refused = dxr.http.patch("/_simulator/knobs", json={"flet": 3})
    assert refused.status_code == 400
    assert "did you mean 'fleet'" in refused.json()["error"]
    assert dxr.http.get("/_simulator/knobs").json()["fleet"] == 0


def test_most_at_once(dxr):
    """The counters tell how many calls of a route were under way together."""
    import concurrent.futures

    dxr.knobs(http_faults=[{"route": "tags", "delay_seconds": 0.3}])
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: dxr.http.get("/api/tags"), range(3)))
    assert dxr.counters()["at_once"]["tags"] == 3
