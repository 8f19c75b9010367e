"""A simulator over real loopback HTTP, in a thread of this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lakeflow_job_meta.local.dxr.app import Simulator
from lakeflow_job_meta.local.dxr.knobs import knobs_of
from lakeflow_job_meta.local.dxr.rules import Rules, read_rules
from lakeflow_job_meta.local.dxr.serving import listen
from lakeflow_job_meta.local.dxr.store import Store

TOKEN = "eyJ-test"
TERMINAL = ("FINISHED", "FAILED")
_RULES = read_rules()


@dataclass
class Dxr:
    """A simulator that is up.

    Args:
        url: its base, without `/api`.
        token: for the Authorization header.
        simulator: the object itself.
        http: a client with the token, below `url`.
    """

    url: str
    token: str
    simulator: Simulator
    http: httpx.Client

    def client(self, **options: Any) -> httpx.Client:
        """A client of its own; the caller closes it."""
        options.setdefault("timeout", 30)
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, **options)

    def knobs(self, **changed: Any) -> None:
        """Changes knobs over HTTP."""
        response = self.http.patch("/_simulator/knobs", json=changed)
        assert response.status_code == 200, response.text

    def counters(self) -> Any:
        return self.http.get("/_simulator/counters").json()

    def submit(self, files: Mapping[str, bytes] | Sequence[tuple[str, bytes]], datasource: int = 200) -> Any:
        """Submits files; the answer's JSON."""
        pairs = list(files.items()) if isinstance(files, Mapping) else list(files)
        response = self.http.post(
            f"/api/on-demand-classifiers/{datasource}/jobs", files=[("files", pair) for pair in pairs]
        )
        assert response.status_code in (200, 202), response.text
        return response.json()

    def job(self, job_id: Any, datasource: int = 200) -> Any:
        return self.http.get(f"/api/on-demand-classifiers/{datasource}/jobs/{job_id}").json()

    def wait(self, job_id: Any, datasource: int = 200, seconds: float = 20) -> Any:
        """Polls a flat job to its end."""
        return wait_for(
            lambda: found if (found := self.job(job_id, datasource)).get("state") in TERMINAL else None,
            seconds,
        )

    def classified(self, files: Mapping[str, bytes], datasource: int = 200) -> dict[str, Any]:
        """Submits files, waits for the job, and gives `_source` by file name."""
        job = self.wait(self.submit(files, datasource)["id"], datasource)
        return {hit["_source"]["ds#file_name"]: hit["_source"] for hit in self.hits(job["datasourceScanId"])}

    def search(self, *items: Mapping[str, Any], **fields: Any) -> httpx.Response:
        """A search with these query items; `fields` as the request's."""
        body = {"mode": "DXR_JSON_QUERY", "datasourceIds": [], "pageNumber": 0, "pageSize": 100}
        return self.http.post(
            "/api/indexed-files/search", json={**body, "filter": {"query_items": list(items)}, **fields}
        )

    def hits(self, scan_id: Any) -> Any:
        return self.search(scan(scan_id)).json()["hits"]["hits"]


def item(parameter: str, value: Any, kind: str, strategy: str, **more: Any) -> dict[str, Any]:
    """A query item of its own group."""
    base = {
        "parameter": parameter,
        "value": value,
        "type": kind,
        "match_strategy": strategy,
        "operator": "AND",
    }
    return {**base, "group_id": 0, "group_order": 0, **more}


def scan(scan_id: Any) -> dict[str, Any]:
    """The query item for the files of a scan."""
    return item("dxr#datasource_scan_id", scan_id, "number", "exact")


def wait_for(question: Callable[[], Any], seconds: float = 20) -> Any:
    """What `question` answers as soon as that is something."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        assert time.monotonic() < deadline, "still not"
        time.sleep(0.01)


@contextlib.contextmanager
def running_dxr(
    folder: Path,
    knobs: Mapping[str, Any] | None = None,
    rules: Rules | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Dxr]:
    """A simulator with its state in `folder`, served in a thread until the block ends."""
    import uvicorn

    from lakeflow_job_meta.local.host import _Protocol, _Server

    async def nothing() -> None:
        return

    simulator = Simulator(Store(folder, clock), TOKEN, rules=rules or _RULES, knobs=knobs_of(knobs or {}))
    simulator.start()
    ready = threading.Event()
    with listen(0) as listener:
        config = uvicorn.Config(
            simulator.app, http=_Protocol, lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        server = _Server(config, ready.set, nothing())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert ready.wait(10)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
            ) as client:
                yield Dxr(url, TOKEN, simulator, client)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)
            simulator.stop()


@pytest.fixture
def dxr(tmp_path: Path) -> Iterator[Dxr]:
    """A simulator of this test alone."""
    with running_dxr(tmp_path / "dxr") as running:
        yield running
