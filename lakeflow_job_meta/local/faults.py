"""Faults on demand, and a count of calls: what tests need to know about a client.

`/local/faults` takes rules (POST a list or one; GET; DELETE), `/local/calls` counts (GET; DELETE
resets). Paths below `/local/` are neither counted nor troubled. A rule::

    {"method": "POST", "path": "/api/2.2/jobs/create", "nth": 3, "reset": "after"}

Which calls (all must fit): `method` (any when missing), `path` (a prefix), `nth` (only the n-th fitting
call, from 1), `probability` (0 to 1, with `seed`), `more_than` with `within_seconds` (only calls beyond
that rate: with status 429 it is the platform's rate limit), `count` (at most so many times).
What happens: `delay_ms` first, then one of `status` (with `retry_after` seconds, `error_code`, `message`),
`html` (an HTML page with `status`, 502 when missing), `reset` (`before` the call is handled, or `after` it
was carried out), `hang` (`after`: carried out, and never answered until the client gives up or
`hang_seconds` passed).
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakeflow_job_meta.local.api.call import Call, Json, answer, route
from lakeflow_job_meta.local.api.errors import invalid

TRANSPORT = "lakeflow.transport"
"""Key of the ASGI scope under which the server puts the connection's transport."""

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "path": str,
    "nth": int,
    "probability": (int, float),
    "seed": int,
    "more_than": int,
    "within_seconds": (int, float),
    "count": int,
    "delay_ms": (int, float),
    "status": int,
    "retry_after": int,
    "error_code": str,
    "message": str,
    "html": bool,
    "reset": str,
    "hang": str,
    "hang_seconds": (int, float),
}
_CODES = {429: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}
#: Calls that change nothing although their method could.
_READING = (
    "/api/2.0/fs/create-download-url",
    "/api/2.0/sql/statements",
    "/api/2.0/fs/create-upload-part-urls",
)
_MAX_PATHS = 10_000


@dataclass
class Rule:
    """One rule with its own count of fitting calls and its own chance."""

    spec: Json
    fitting: int = 0
    applied: int = 0
    chance: random.Random = field(default_factory=random.Random)
    passed: deque[float] = field(default_factory=deque)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.chance.seed(self.spec.get("seed", 0))

    def fits(self, method: str, path: str) -> bool:
        """Whether this call is struck; moves the counts."""
        spec = self.spec
        if spec.get("method", method).upper() != method or not path.startswith(spec.get("path", "/")):
            return False
        self.fitting += 1
        if "nth" in spec and self.fitting != spec["nth"]:
            return False
        if "count" in spec and self.applied >= spec["count"]:
            return False
        if "probability" in spec and self.chance.random() >= spec["probability"]:
            return False
        if "more_than" in spec and not self._exceeds(spec["more_than"], spec.get("within_seconds", 1.0)):
            return False
        self.applied += 1
        return True

    def _exceeds(self, most: int, seconds: float) -> bool:
        """Whether `most` calls have passed within the last seconds; a call that passes is noted."""
        now = self.clock()
        while self.passed and self.passed[0] <= now - seconds:
            self.passed.popleft()
        if len(self.passed) >= most:
            return True
        self.passed.append(now)
        return False


class Faults:
    """The rules in force and the calls counted; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._calls: Counter[tuple[str, str]] = Counter()
        self._wrote: Counter[tuple[str, str]] = Counter()

    def routes(self) -> list[Route]:
        return [
            route("GET", "/local/faults", self._list),
            route("POST", "/local/faults", self._add),
            route("DELETE", "/local/faults", self._clear),
            route("GET", "/local/calls", self._show_calls),
            route("DELETE", "/local/calls", self._reset_calls),
        ]

    def add(self, spec: Json) -> None:
        """Adds a rule. Raises ApiError 400 for one that says nothing or too much."""
        _check(spec)
        with self._lock:
            self._rules.append(Rule(spec))

    def strike(self, method: str, path: str) -> Json | None:
        """The rule that strikes this call, None for most."""
        with self._lock:
            for rule in self._rules:
                if rule.fits(method, path):
                    return rule.spec
        return None

    def counted(self, method: str, path: str, status: int) -> None:
        """Counts a call that reached the workspace and was answered with `status`."""
        with self._lock:
            key = (method, path if len(self._calls) < _MAX_PATHS else "(other)")
            self._calls[key] += 1
            if status < 400 and method not in ("GET", "HEAD") and not path.startswith(_READING):
                self._wrote[key] += 1

    def calls(self) -> Json:
        with self._lock:
            return {
                "total": sum(self._calls.values()),
                "wrote": sum(self._wrote.values()),
                "calls": [
                    {"method": method, "path": path, "count": count, "wrote": self._wrote[method, path]}
                    for (method, path), count in sorted(self._calls.items())
                ],
            }

    def _list(self, call: Call) -> Json:
        with self._lock:
            return {"rules": [{**r.spec, "fitting": r.fitting, "applied": r.applied} for r in self._rules]}

    def _add(self, call: Call) -> Json:
        rules = call.body.get("rules", [call.body])
        if not isinstance(rules, list):
            raise invalid("rules must be a list")
        for spec in rules:
            _check(spec)
        for spec in rules:
            self.add(spec)
        return self._list(call)

    def _clear(self, call: Call) -> Json:
        with self._lock:
            self._rules.clear()
        return {}

    def _show_calls(self, call: Call) -> Json:
        return self.calls()

    def _reset_calls(self, call: Call) -> Json:
        with self._lock:
            self._calls.clear()
            self._wrote.clear()
        return {}


def _check(spec: Any) -> None:
    if not isinstance(spec, dict):
        raise invalid("a rule must be an object")
    for name, value in spec.items():
        if name not in _FIELDS:
            raise invalid(f"unknown field {name!r} in a rule; expected {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[name]):
            raise invalid(f"{name} of a rule has the wrong type")
    if spec.get("reset") not in (None, "before", "after") or spec.get("hang") not in (None, "after"):
        raise invalid("reset is 'before' or 'after', hang is 'after'")
    if not any(name in spec for name in ("status", "html", "reset", "hang", "delay_ms")):
        raise invalid("a rule needs something to do: status, html, reset, hang or delay_ms")


class FaultsMiddleware:
    """Counts calls and carries out the rules around an ASGI application."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/local/", "/.well-known/")):
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        rule = self._faults.strike(method, path)
        if rule is None:
            await self._carry_out(scope, receive, send)
            return
        if rule.get("delay_ms"):
            await asyncio.sleep(rule["delay_ms"] / 1000)
        if rule.get("reset") == "before":
            await abort(scope)
        elif rule.get("reset") == "after":
            await self._carry_out(scope, receive, nowhere)
            await abort(scope)
        elif rule.get("hang"):
            await self._carry_out(scope, receive, nowhere)
            await until_gone(receive, float(rule.get("hang_seconds", 3600)))
            await abort(scope)
        elif rule.get("html") or "status" in rule:
            await read_all(receive)
            await _refusal(rule)(scope, receive, send)
        else:
            await self._carry_out(scope, receive, send)

    async def _carry_out(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500

        async def watching(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            self._faults.counted(scope["method"], scope["path"], status)


def _refusal(rule: Json) -> ASGIApp:
    if rule.get("html"):
        return HTMLResponse(
            "<html><head><title>Bad gateway</title></head><body><pre>upstream error</pre></body></html>",
            status_code=rule.get("status", 502),
        )
    status = rule["status"]
    headers = {"Retry-After": str(rule["retry_after"])} if "retry_after" in rule else {}
    body = {
        "error_code": rule.get("error_code", _CODES.get(status, "UNKNOWN")),
        "message": rule.get("message", f"injected fault: HTTP {status}"),
    }
    return answer(body, status, headers)


async def nowhere(message: Message) -> None:
    """A `send` whose response nobody gets."""


async def read_all(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


async def until_gone(receive: Receive, seconds: float) -> None:
    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except asyncio.TimeoutError:
        return


async def abort(scope: Scope) -> None:
    """Ends the connection with a reset (RST), as a broken network does."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    # The server learns of it in its next round; before that it would try to answer.
    await asyncio.sleep(0.01)
