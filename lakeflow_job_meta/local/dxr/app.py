"""The simulator as an ASGI application: the token, the prefix, the routes, and the admin endpoints.

`/_simulator/...` is for tests and never part of Data X-Ray: `knobs` (GET; PUT replaces, PATCH changes),
`counters` (GET, DELETE), `jobs` (GET all; POST makes one that has ended, with `count` files that were never
uploaded), `token` (PUT `{"token": ...}` or `{}` for a new one: what a user does who makes a new PAT) and
`reset` (POST: the knobs of the start). It always takes the token that the simulator was started with.
"""

from __future__ import annotations

import hmac
import logging
import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.local.dxr import lookups, seeding
from lakeflow_job_meta.local.dxr.answers import Json, Refusal, answer, envelope, refused
from lakeflow_job_meta.local.dxr.classify import classify, redact
from lakeflow_job_meta.local.dxr.crawl import Crawlers, first_state
from lakeflow_job_meta.local.dxr.datasources import DATASOURCES
from lakeflow_job_meta.local.dxr.documents import Indexed
from lakeflow_job_meta.local.dxr.faults import Faults, Struck
from lakeflow_job_meta.local.dxr.jobs import job_json
from lakeflow_job_meta.local.dxr.knobs import Knobs, knobs_of
from lakeflow_job_meta.local.dxr.rules import Rules, read_rules
from lakeflow_job_meta.local.dxr.search import search
from lakeflow_job_meta.local.dxr.store import Document, Store
from lakeflow_job_meta.local.dxr.stream import JsonLines, StreamFaults, lines_of
from lakeflow_job_meta.local.dxr.submit import receive
from lakeflow_job_meta.local.dxr.token import new_token

log = logging.getLogger("lakeflow_job_meta.local.dxr")

ADMIN = "/_simulator"


class Simulator:
    """One Data X-Ray.

    Args:
        store: its memory.
        token: the bearer token that calls must carry.
        rules: of classification; those of the package when missing.
        knobs: how it behaves at the start.
    """

    def __init__(
        self, store: Store, token: str, *, rules: Rules | None = None, knobs: Knobs | None = None
    ) -> None:
        self.store = store
        self.rules = rules or read_rules()
        self.knobs = knobs or Knobs()
        self._first_knobs = self.knobs
        self._admin_token = token
        self._token = token
        self._token_calls = 0
        self._uploaded = {"submits": 0, "files": 0, "bytes": 0}
        self._lock = threading.Lock()
        self.faults = Faults(self.knobs.http_faults)
        self.stream_faults = StreamFaults(self.knobs.stream_faults)
        self.crawlers = Crawlers(store, self._classify, lambda: self.knobs)
        self.calls = 0
        """All calls so far."""
        self.app: ASGIApp = Gate(self, self._routes())

    def start(self) -> None:
        """Goes on with the jobs that a former process left."""
        self.crawlers.resume()

    def stop(self) -> None:
        self.crawlers.stop()
        self.store.close()

    def set_knobs(self, knobs: Knobs) -> None:
        """Puts knobs in force; counts of faults begin anew where the faults changed."""
        old, self.knobs = self.knobs, knobs
        if knobs.http_faults != old.http_faults or not knobs.http_faults:
            self.faults.replace(knobs.http_faults)
        if knobs.stream_faults != old.stream_faults or not knobs.stream_faults:
            self.stream_faults.replace(knobs.stream_faults)
        if knobs.token_revoked_after != old.token_revoked_after:
            self._token_calls = 0
        self.crawlers.fail_from_now()

    def hidden_for(self, given: str) -> Sequence[int] | None:
        """The datasources that the bearer of a token cannot see; None when it may not call at all."""
        for token, visibility in self.knobs.tokens.items():
            if hmac.compare_digest(given.encode(), token.encode()):
                return list(visibility.get("hidden_datasources", ()))
        with self._lock:
            self._token_calls += 1
            revoked = (
                self.knobs.token_revoked_after is not None
                and self._token_calls > self.knobs.token_revoked_after
            )
        if revoked or not hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return self.knobs.hidden_datasources

    def is_busy(self) -> bool:
        """Whether a call or a crawl is under way."""
        return self.faults.under_way() or self.crawlers.are_active()

    def is_admin(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._admin_token.encode())

    def _classify(self, name: str, content_type: str, size: int, path: Any) -> Document:
        return classify(self.rules, name, content_type, size, path, max_text=self.knobs.max_text_bytes)

    # ------------------------------------------------------------ routes

    def _routes(self) -> list[Route]:
        return [
            Route("/on-demand-classifiers/{datasource}/jobs", self._submit, methods=["POST"]),
            Route("/on-demand-classifiers/{datasource}/jobs/{job}", self._job, methods=["GET"]),
            Route("/datasources/ingester/{datasource}/index/status", self._index_status, methods=["GET"]),
            Route("/indexed-files/search", self._search, methods=["POST"]),
            *(
                Route(path, self._files, methods=["GET"])
                for path in ("/v1/files", "/vbeta/files", "/vbeta/indexed-files")
            ),
            Route("/v1/files/{file}", self._file, methods=["GET"]),
            Route("/v1/files/{file}/content", self._content, methods=["GET"]),
            Route("/v1/files/{file}/text", self._text, methods=["GET"]),
            Route("/v1/files/{file}/redacted-text", self._redacted_text, methods=["GET"]),
            *lookups.routes(self.rules, self.store),
            Route(f"{ADMIN}/knobs", self._knobs, methods=["GET", "PUT", "PATCH"]),
            Route(f"{ADMIN}/counters", self._counters, methods=["GET", "DELETE"]),
            Route(f"{ADMIN}/jobs", self._all_jobs, methods=["GET", "POST"]),
            Route(f"{ADMIN}/token", self._replace_token, methods=["PUT"]),
            Route(f"{ADMIN}/reset", self._reset, methods=["POST"]),
        ]

    def _datasource(self, request: Request) -> int:
        given = str(request.path_params["datasource"])
        number = int(given) if given.isascii() and given.isdigit() else 0
        if number not in DATASOURCES or number in request.scope["dxr.hidden"]:
            raise Refusal(404, f"Datasource {given} not found")
        return number

    async def _submit(self, request: Request) -> Response:
        datasource = self._datasource(request)
        knobs = self.knobs
        try:
            upload = await receive(request, self.store.incoming, knobs)
        except ClientDisconnect:
            return Response(status_code=400)
        job_id = str(uuid.uuid4()) if knobs.job_id_type == "str" else None
        try:
            job = await run_sync(self.store.add_job, job_id, datasource, upload.files, first_state(knobs))
        finally:
            await run_sync(upload.discard)
        with self._lock:
            self._uploaded["submits"] += 1
            self._uploaded["files"] += len(upload.files)
            self._uploaded["bytes"] += sum(each.size for each in upload.files)
        if knobs.scan_id_when == "submit":
            scan_id = await run_sync(self.store.start_scan, job.number)
            job = replace(job, scan_id=scan_id)
        self.crawlers.wake(datasource)
        shown = job_json(job, knobs, submitted=True)
        return answer(shown, knobs.submit_status)

    def _job(self, request: Request) -> Response:
        job = self.store.job(self._datasource(request), str(request.path_params["job"]))
        if job is None:
            raise Refusal(404, f"Job {request.path_params['job']} not found")
        self.store.polled(job)
        return answer(job_json(job, self.knobs))

    def _index_status(self, request: Request) -> Response:
        datasource = self._datasource(request)
        return answer(lookups.index_status(self.store, datasource, self.crawlers.is_active(datasource)))

    async def _search(self, request: Request) -> Response:
        body = await _json(request)
        found = await run_sync(search, self.store, self.rules, self.knobs, body, request.scope["dxr.hidden"])
        return answer(found)

    def _files(self, request: Request) -> Response:
        query = request.query_params.get("q")
        lines = lines_of(self.store, self.rules, self.knobs, query, request.scope["dxr.hidden"])
        return JsonLines(lines, self.stream_faults.take())

    def _file(self, request: Request) -> Response:
        if not self.knobs.files_get_by_id:
            raise Refusal(404, "Not Found")
        # Bare, unlike everything else of the public API (contract, 6.2).
        return answer(self._indexed(request).metadata())

    def _content(self, request: Request) -> Response:
        indexed = self._indexed(request)
        path = self.store.content_path(indexed.row["file_id"])
        if not path.is_file():
            raise Refusal(404, "The file's content is not available")
        name = str(indexed.row["name"]).rsplit("/", 1)[-1]
        return FileResponse(path, media_type=indexed.document["mime_type"], filename=name)

    def _text(self, request: Request) -> Response:
        return envelope({"text": self.store.text(self._indexed(request).row["seq"])})

    def _redacted_text(self, request: Request) -> Response:
        given = request.query_params.get("redactor_id", "")
        if not given.isdigit():
            raise Refusal(400, "Required request parameter 'redactor_id' is not present", "BAD_REQUEST")
        indexed = self._indexed(request)
        redactor = self.rules.redactor_by_id.get(int(given))
        if redactor is None:
            raise Refusal(404, f"Redactor {given} not found")
        text = self.store.text(indexed.row["seq"])
        return envelope({"redactedText": redact(redactor, text, indexed.document["annotations"])})

    def _indexed(self, request: Request) -> Indexed:
        self.store.reveal(self.knobs)
        row = self.store.visible(str(request.path_params["file"]), request.scope["dxr.hidden"])
        if row is None:
            raise Refusal(404, "File not found")
        return Indexed(row, self.rules, self.knobs, self.store.clock())

    # ------------------------------------------------------------ admin

    async def _knobs(self, request: Request) -> Response:
        if request.method != "GET":
            try:
                base = self.knobs if request.method == "PATCH" else self._first_knobs
                self.set_knobs(knobs_of(await _json(request), base))
            except UsageError as e:
                raise Refusal(400, str(e)) from e
        return answer(self.knobs.to_json())

    def _counters(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.forget_counts()
            with self._lock:
                self._uploaded = dict.fromkeys(self._uploaded, 0)
        return answer(
            {**self.faults.counts(), **self._uploaded, "crawled": sum(self.crawlers.crawled.values())}
        )

    async def _all_jobs(self, request: Request) -> Response:
        if request.method == "POST":
            body = await _json(request)
            return answer(await run_sync(seeding.seed, self.store, self.rules, body))
        jobs = await run_sync(self.store.jobs)
        return answer({"jobs": [job_json(job, Knobs(scan_id_when="submit")) for job in jobs]})

    async def _replace_token(self, request: Request) -> Response:
        body = await _json(request)
        self._token = str(body.get("token") or new_token())
        with self._lock:
            self._token_calls = 0
        self.knobs = knobs_of({"token_revoked_after": None}, self.knobs)
        return answer({"token": self._token})

    def _reset(self, request: Request) -> Response:
        self._token = self._admin_token
        self.set_knobs(self._first_knobs)
        self.faults.replace(self.knobs.http_faults)
        self.stream_faults.replace(self.knobs.stream_faults)
        self.faults.forget_counts()
        return answer({})


class Gate:
    """The outermost layer: the prefix, the token, and what the simulator does with what it refuses.

    Args:
        simulator: whose gate it is.
        routes: of its application.
    """

    def __init__(self, simulator: Simulator, routes: list[Route]) -> None:
        app = Starlette(
            routes=routes,
            exception_handlers={Refusal: _refusal, HTTPException: _http_error, Exception: _broken},
        )
        app.router.redirect_slashes = False
        self._simulator = simulator
        self._plain = app
        self._struck = Struck(app, simulator.faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        self._simulator.calls += 1
        path, prefix = scope["path"], self._simulator.knobs.prefix
        if path.startswith(ADMIN + "/"):
            await self._admin(scope, receive, send)
            return
        if prefix and not path.startswith(prefix + "/"):
            await answer({"error": "Not Found"}, 404)(scope, receive, send)
            return
        inner = {**scope, "path": path[len(prefix) :], "raw_path": None}
        hidden = self._simulator.hidden_for(_bearer(scope))
        if hidden is None:
            refusal = Refusal(401, "The access token is missing, expired or was replaced")
            await refused(refusal, inner["path"])(inner, receive, send)
            return
        await self._struck({**inner, "dxr.hidden": hidden}, receive, send)

    async def _admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._simulator.is_admin(_bearer(scope)):
            await self._plain(scope, receive, send)
        else:
            await Response(status_code=401)(scope, receive, send)


def _bearer(scope: Scope) -> str:
    given: bytes = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    kind, _, token = given.decode("latin-1").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


async def _json(request: Request) -> Json:
    body = await request.body()
    try:
        data = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as e:
        raise Refusal(400, f"the body is no JSON: {e}") from e
    if not isinstance(data, dict):
        raise Refusal(400, "the body must be a JSON object")
    return data


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error, request.scope["path"])


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(Refusal(error.status_code, str(error.detail)), request.scope["path"])


async def _broken(request: Request, error: Exception) -> Response:
    # The outermost boundary: Starlette raises the error again after this answer, which logs it.
    return refused(Refusal(500, f"{type(error).__name__}: {error}"), request.scope["path"])
