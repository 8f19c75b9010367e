"""Runs the simulator: in the foreground, or as a child of an embedded workspace on a socket of its parent.

`python -m lakeflow_job_meta.local.dxr.serving FOLDER --fd N` is that child. It ends when its standard
input does, which is when the parent is gone, and writes a byte now and then while it is used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lakeflow_job_meta.errors import LakeflowJobMetaError, LocalError
from lakeflow_job_meta.local.dxr.knobs import Knobs, read_knobs

TOKEN_FILE = "token"
RULES_FILE = "rules.yaml"
FAULTS_FILE = "faults.yaml"
"""In the simulator's folder, `rules.yaml` and `faults.yaml` are read at every start, beside those that were given."""
BEAT_SECONDS = 1.0


def environment(url: str, token: str) -> dict[str, str]:
    """Variables with which the tasks, the commands and the seeds' own programs reach a simulator."""
    return {"DXR_BASE_URL": url, "DXR_BEARER_TOKEN": token, "DXR_API_KEY": token}


def token_of(folder: Path) -> str:
    """The token of a simulator's folder, made once, with mode 0600."""
    from lakeflow_job_meta.local.dxr.token import new_token

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / TOKEN_FILE
    with contextlib.suppress(FileNotFoundError):
        token = path.read_text().strip()
        if token:
            return token
    token = new_token()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def serve(
    port: int,
    *,
    folder: Path | None = None,
    rules: Sequence[Path] = (),
    faults: Path | None = None,
    on_ready: Callable[[dict[str, str]], None] | None = None,
) -> None:
    """Serves a simulator on loopback in the foreground until SIGTERM or SIGINT; call it in the main thread.

    Args:
        port: of 127.0.0.1; 0 for any that is free.
        folder: its state, made when missing; a temporary one, deleted at the end, when None.
        rules: files that extend the package's rules.
        faults: a file of knobs.
        on_ready: called once with `environment()` when it answers.

    Raises:
        LocalError: the port is taken, or a file cannot be read or is wrong.
    """
    with contextlib.ExitStack() as opened:
        if folder is None:
            made = opened.enter_context(
                tempfile.TemporaryDirectory(prefix="dxr-", ignore_cleanup_errors=True)
            )
            folder = Path(made)
        listener = opened.enter_context(listen(port))
        token = token_of(folder)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def ready() -> None:
            if on_ready is not None:
                on_ready(environment(url, token))

        _serve(listener, folder, token, rules, faults, ready)


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback.

    Raises:
        LocalError: the port cannot be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
    except OSError as e:
        listener.close()
        raise LocalError(
            f"port {port} of 127.0.0.1 cannot be used: {e.strerror}; choose another --port"
        ) from e
    return listener


def _serve(
    listener: socket.socket,
    folder: Path,
    token: str,
    rules: Sequence[Path],
    faults: Path | None,
    ready: Callable[[], None],
    *,
    is_child: bool = False,
) -> None:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from lakeflow_job_meta.local.dxr.app import Simulator
    from lakeflow_job_meta.local.dxr.rules import read_rules
    from lakeflow_job_meta.local.dxr.store import Store
    from lakeflow_job_meta.local.faults import TRANSPORT

    class Protocol(HttpToolsProtocol):
        """Lets the faults reach the connection."""

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]

    class Server(uvicorn.Server):
        """Tells when it accepts connections."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()
                if is_child:
                    loop = asyncio.get_running_loop()
                    loop.add_reader(sys.stdin.fileno(), self._parent_is_gone)
                    loop.call_later(BEAT_SECONDS, self._beat, 0)

        def _beat(self, calls: int) -> None:
            if simulator.calls != calls or simulator.is_busy():
                with contextlib.suppress(OSError):  # the parent is gone: its end of input says so too
                    os.write(sys.stdout.fileno(), b".")
            asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat, simulator.calls)

        def _parent_is_gone(self) -> None:
            # Nothing is ever written there: what can be read is the end.
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self.should_exit = True
            self.force_exit = True

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            with super().capture_signals():
                yield
                # Uvicorn would raise the signal again: the end was orderly.
                self._captured_signals.clear()

    own_rules = [folder / RULES_FILE] if (folder / RULES_FILE).is_file() else []
    if faults is None and (folder / FAULTS_FILE).is_file():
        faults = folder / FAULTS_FILE
    knobs = read_knobs(faults) if faults is not None else Knobs()
    simulator = Simulator(Store(folder), token, rules=read_rules(*own_rules, *rules), knobs=knobs)
    simulator.start()
    try:
        config = uvicorn.Config(
            simulator.app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=2,
            backlog=2048,
        )
        Server(config).run(sockets=[listener])
    finally:
        simulator.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """The child of an embedded workspace. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m lakeflow_job_meta.local.dxr.serving")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    given = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        with socket.socket(fileno=given.fd) as listener:
            _serve(listener, given.folder, token_of(given.folder), (), None, lambda: None, is_child=True)
    except LakeflowJobMetaError as e:
        logging.getLogger("lakeflow_job_meta.local.dxr").error("%s", e)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # Threads that classify must not keep a process that is done.
    os._exit(code)
