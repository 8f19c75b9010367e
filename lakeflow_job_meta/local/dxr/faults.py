"""Faults of calls: refusals, resets, hangs and delays by route, around the simulator's application."""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakeflow_job_meta.local.dxr.answers import Json, Refusal, refused
from lakeflow_job_meta.local.faults import abort, nowhere, read_all, until_gone

_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("submit", "POST", r"/on-demand-classifiers/[^/]+/jobs"),
    ("job", "GET", r"/on-demand-classifiers/[^/]+/jobs/[^/]+"),
    ("search", "POST", r"/indexed-files/search"),
    ("files", "GET", r"/(v1|vbeta)/files|/vbeta/indexed-files"),
    ("content", "GET", r"/v1/files/[^/]+/content"),
    ("redacted_text", "GET", r"/v1/files/[^/]+/redacted-text"),
    ("text", "GET", r"/v1/files/[^/]+/text"),
    ("file", "GET", r"/(v1|vbeta)/files/[^/]+"),
    ("index_status", "GET", r"/datasources/ingester/[^/]+/index/status"),
    ("tags", "GET", r"/tags(/[^/]+)?"),
    ("metadata_extractors", "GET", r"/metadata-extractors(/[^/]+)?"),
    ("data_classes", "GET", r"/data-classes(/[^/]+)?|/datasources/ingester/index/classes"),
    ("datasources", "GET", r"/datasources(/[^/]+)?"),
    ("classifications", "GET", r"/(v1|vbeta)/classifications"),
    ("redactors", "GET", r"/v1/redactors"),
    ("metadata_fields", "GET", r"/v1/metadata-fields"),
)
_COMPILED = [(name, method, re.compile(pattern)) for name, method, pattern in _ROUTES]
PAGE = "<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1>upstream error</body></html>"


def route_of(method: str, path: str) -> str:
    """The name of the route that a call (path without the prefix) takes; `other` when none."""
    for name, verb, pattern in _COMPILED:
        if verb == method and pattern.fullmatch(path):
            return name
    return "other"


@dataclass
class Rule:
    """A fault with its own counts and its own chance."""

    spec: Json
    fitting: int = 0
    applied: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.chance.seed(self.spec.get("seed", 0))

    def fits(self, route: str) -> bool:
        """Whether it strikes this call; moves the counts."""
        spec = self.spec
        wanted = spec.get("route", "*")
        if wanted != "*" and route != wanted and route not in (wanted if isinstance(wanted, list) else ()):
            return False
        self.fitting += 1
        if "nth" in spec and self.fitting != spec["nth"]:
            return False
        if self.fitting <= spec.get("skip", 0) or self.applied >= spec.get("count", self.applied + 1):
            return False
        if "probability" in spec and self.chance.random() >= spec["probability"]:
            return False
        self.applied += 1
        return True


class Faults:
    """The rules in force, and the calls counted by route and status; thread-safe."""

    def __init__(self, specs: list[Json]) -> None:
        self._lock = threading.Lock()
        self._rules = [Rule(spec) for spec in specs]
        self._calls: Counter[tuple[str, str]] = Counter()
        self._under_way: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    def replace(self, specs: list[Json]) -> None:
        """Puts other rules in force; their counts begin anew."""
        with self._lock:
            self._rules = [Rule(spec) for spec in specs]

    def strike(self, route: str) -> Json | None:
        """The rule that strikes this call, None for most."""
        with self._lock:
            return next((rule.spec for rule in self._rules if rule.fits(route)), None)

    def began(self, route: str) -> None:
        with self._lock:
            self._under_way[route] += 1
            self._most[route] = max(self._most[route], self._under_way[route])

    def ended(self, route: str, outcome: str) -> None:
        with self._lock:
            self._under_way[route] -= 1
            self._calls[route, outcome] += 1

    def under_way(self) -> bool:
        """Whether a call is being answered."""
        with self._lock:
            return any(self._under_way.values())

    def counts(self) -> Json:
        """Calls by route and outcome (a status, or `aborted`), the most at once, and what each rule did."""
        with self._lock:
            calls: dict[str, dict[str, int]] = {}
            for (route, outcome), count in sorted(self._calls.items()):
                calls.setdefault(route, {})[outcome] = count
            return {
                "calls": calls,
                "at_once": dict(self._most),
                "http_faults": [{"fitting": each.fitting, "applied": each.applied} for each in self._rules],
            }

    def forget_counts(self) -> None:
        with self._lock:
            self._calls.clear()
            self._most.clear()


class Struck:
    """Counts calls and carries out the rules around an application whose paths have no prefix."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = route_of(scope["method"], scope["path"])
        outcome = "aborted"

        async def watching(message: MutableMapping[str, Any]) -> None:
            nonlocal outcome
            if message["type"] == "http.response.start":
                outcome = str(message["status"])
            await send(message)

        self._faults.began(route)
        try:
            await self._strike(self._faults.strike(route) or {}, scope, receive, watching)
        finally:
            self._faults.ended(route, outcome)

    async def _strike(self, rule: Json, scope: Scope, receive: Receive, send: Send) -> None:
        if rule.get("delay_seconds"):
            await asyncio.sleep(rule["delay_seconds"])
        reset, hang = rule.get("reset"), rule.get("hang")
        if reset == "before":
            await abort(scope)
        elif reset == "after":
            await self._app(scope, receive, nowhere)
            await abort(scope)
        elif reset == "upload":
            await self._app(scope, _cut_upload(scope, receive, rule.get("after_bytes", 0)), nowhere)
        elif reset == "response":
            await self._app(scope, receive, _cut_response(scope, send, rule.get("after_bytes", 0)))
        elif hang:
            if hang == "after":
                await self._app(scope, receive, nowhere)
            else:
                await read_all(receive)
            await until_gone(receive, float(rule.get("hang_seconds", 3600)))
            await abort(scope)
        elif "status" in rule or "body" in rule:
            await read_all(receive)
            await _refusal(rule, scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _refusal(rule: Json, path: str) -> Response:
    status = rule.get("status", 502)
    body = rule.get("body", "empty" if status == 403 else "json")
    response: Response
    if body == "html":
        response = HTMLResponse(PAGE, status)
    elif body == "text":
        response = PlainTextResponse(f"injected fault: HTTP {status}", status)
    elif body == "empty":
        response = Response(status_code=status)
    else:
        response = refused(Refusal(status, f"injected fault: HTTP {status}"), path)
    if "retry_after" in rule:
        response.headers["Retry-After"] = str(rule["retry_after"])
    return response


def _cut_upload(scope: Scope, receive: Receive, most: int) -> Receive:
    """A `receive` that resets the connection once so many bytes of the body have come."""
    seen = 0

    async def cut() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if message["type"] == "http.request" and (seen >= most or not message.get("more_body")):
            await abort(scope)
            return {"type": "http.disconnect"}
        return message

    return cut


def _cut_response(scope: Scope, send: Send, most: int) -> Send:
    """A `send` that resets the connection once so many bytes of the answer have gone."""
    sent = 0
    cut = False

    async def cutting(message: Message) -> None:
        nonlocal sent, cut
        if cut:
            return
        if message["type"] == "http.response.body":
            body: bytes = message.get("body", b"")
            if sent + len(body) >= most or not message.get("more_body"):
                await send({"type": "http.response.body", "body": body[: most - sent], "more_body": True})
                # What was written must leave before the reset throws it away.
                await asyncio.sleep(0.05)
                cut = True
                await abort(scope)
                return
            sent += len(body)
        await send(message)

    return cutting
