"""A loopback HTTP server that answers as a test scripts it, resets and hangs included.

Every request is recorded. For each one the first scripted `Answer` that fits and is not used up decides;
without one, `default` is asked.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class Answer:
    """What to do with a request whose path starts with `path`; `times` requests, then used up."""

    path: str
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    hang: bool = False
    times: int = 1
    method: str = ""


@dataclass
class ScriptedServer:
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    script: list[Answer] = field(default_factory=list)
    default: Callable[[Request], Any] = lambda request: {}
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def will(self, path: str, **answer: Any) -> None:
        self.script.append(Answer(path, **answer))

    def sent(self, path: str) -> list[Request]:
        """The recorded requests whose path starts with `path`."""
        return [request for request in self.requests if request.path.startswith(path)]


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            request = Request(
                self.command,
                url.path,
                {name: values[-1] for name, values in parse_qs(url.query).items()},
                json.loads(raw) if raw else None,
                dict(self.headers),
            )
            with lock:
                if url.path != "/.well-known/databricks-config":
                    server.requests.append(request)
                answer = next(
                    (
                        a
                        for a in server.script
                        if a.times > 0 and url.path.startswith(a.path) and a.method in ("", self.command)
                    ),
                    None,
                )
                if answer is not None:
                    answer.times -= 1
            if answer is None:
                answer = Answer("", body=server.default(request))
            if answer.hang:
                server.released.wait(20)
                self.close_connection = True
                return
            if answer.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body or {}).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:  # the connection was reset on purpose
                return

    return Handler


@contextmanager
def serving() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    http.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join(5)
