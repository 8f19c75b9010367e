"""The client: endpoints, certificates, and that the token is never shown."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from lakeflow_job_meta.dxr.client import DxrClient, kql_text
from lakeflow_job_meta.dxr.multipart import FileChanged, MultipartBody, Upload
from lakeflow_job_meta.dxr.transport import Transport
from lakeflow_job_meta.errors import DxrError, DxrRefused, DxrUnavailable, UsageError
from tests.dxr.world import World

TOKEN = "eyJ-a-very-secret-token"


def upload(name: str, data: bytes, size: int | None = None) -> Upload:
    @contextmanager
    def opened() -> Any:
        yield io.BytesIO(data)

    return Upload(name, len(data) if size is None else size, opened)


def test_what_is_sent_is_received(world: World) -> None:
    """Names and bytes of any kind, empty files too."""
    files = {
        'a "b" ü \U0001f600.txt': b"one\r\n--x\r\n",
        "empty.bin": b"",
        "large.bin": bytes(range(256)) * 20_000,
    }
    job = world.client().submit(200, [upload(name, data) for name, data in files.items()])
    assert job.job_id
    received = dict(world.received())
    assert set(received) == set(files)
    assert all(received[name] == hashlib.sha256(data).hexdigest() for name, data in files.items())


def test_the_length_is_known_before(world: World) -> None:
    """And is exact, whatever is in a name."""
    body = MultipartBody([upload('q"uo\nte.txt', b"x" * 100), upload("ü.bin", b"")])
    data = b"".join(body)
    assert len(data) == body.length
    assert body.sent
    assert b"\nte.txt" not in data


@pytest.mark.parametrize(("size", "said"), [(50, "longer"), (500, "shorter")])
def test_a_file_of_another_size_breaks_the_body_off(world: World, size: int, said: str) -> None:
    """Nothing is accepted."""
    with pytest.raises(FileChanged, match=said) as caught:
        world.client().submit(200, [upload("x.txt", b"x" * 100, size)])
    assert caught.value.name == "x.txt"
    assert world.submitted() == []


def test_files_by_id(world: World) -> None:
    """By the endpoint where there is one, else by a query; content, too."""
    world.put("x.txt", "card 4111 1111 1111 1111")
    world.run_once()
    [row] = world.rows()
    client = world.client()
    by_endpoint = client.file(row["file_id"])
    world.dxr.knobs(files_get_by_id=False)
    by_query = world.client().file(row["file_id"])
    assert by_endpoint is not None
    assert by_query is not None
    assert by_endpoint["contentSha256"] == by_query["contentSha256"] == row["sha256"]
    assert client.file('no"such\\id') is None
    with client.content(row["file_id"]) as blocks:
        assert b"".join(blocks) == b"card 4111 1111 1111 1111"
    [redactor, *_] = client.redactors()
    assert "4111" not in client.redacted_text(row["file_id"], redactor["id"])
    assert {one["type"] for one in client.classifications()} >= {"LABEL", "ANNOTATOR"}
    assert any(one["name"] == "Payment card data" for one in client.labels())
    assert client.datasource(200)["id"] == 200


def test_a_wrong_query_has_the_servers_words(world: World) -> None:
    with pytest.raises(DxrRefused, match="400"), world.client().files("size:>=1") as lines:
        list(lines)
    assert kql_text('a"b\\c') == '"a\\"b\\\\c"'


def test_the_token_is_never_shown(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a repr, an error (the server's echo included), a log line at any level."""
    caplog.set_level(logging.DEBUG)

    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": f"bad header {request.headers['authorization']}"})

    client = DxrClient("https://dxr.example.org", TOKEN, sleep=lambda seconds: None)
    client._transport._http = httpx.Client(transport=httpx.MockTransport(echo))
    with pytest.raises(DxrRefused) as caught:
        client.job(200, "x")
    shown = f"{caught.value} {client!r} {client._transport!r} {caplog.text}"
    assert TOKEN not in shown
    assert "***" in str(caught.value)
    session = world.session(environment={"DXR_API_KEY": TOKEN})
    assert TOKEN not in repr(session)
    world.client().datasource(200)
    assert world.dxr.token not in caplog.text


@pytest.mark.parametrize("token", ["", "  ", "two\nlines", "schlüssel"])
def test_a_token_that_cannot_be_one(world: World, token: str) -> None:
    """Is told before anything is sent, without showing it."""
    with pytest.raises(UsageError, match="token") as caught:
        DxrClient(world.dxr.url, token).datasource(200)
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize("url", ["", "dxr.example.org", "ftp://x", "https://", "https://user:pw@host"])
def test_base_urls_that_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="base URL") as caught:
        DxrClient(url, TOKEN)
    assert "pw" not in str(caught.value)


def test_certificates_are_checked_by_default(tmp_path: Any) -> None:
    """A self-signed one is refused; a CA bundle or the switch lets it pass."""
    import ssl
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from tests.dxr.certificate import self_signed

    certificate, key = self_signed(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps({"id": 200}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{server.server_address[1]}"
    try:
        with pytest.raises(DxrUnavailable, match=r"(?i)certificate"):
            DxrClient(url, TOKEN, attempts=1).datasource(200)
        assert DxrClient(url, TOKEN, verify=False).datasource(200) == {"id": 200}
        assert DxrClient(url, TOKEN, verify=str(certificate)).datasource(200) == {"id": 200}
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_errors_of_httpx_are_ours() -> None:
    """No exception of the library comes through."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.DecodingError("bad gzip")

    transport = Transport("https://x.example.org", TOKEN, attempts=1)
    transport._http = httpx.Client(transport=httpx.MockTransport(broken))
    with pytest.raises(DxrError, match="bad gzip"):
        transport.call("asking", "GET", "/x")
