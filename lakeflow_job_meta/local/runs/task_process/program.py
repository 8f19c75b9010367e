"""Reads one order, runs it, and leaves a report."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
import types
from importlib import import_module, metadata
from typing import Any

from . import session
from .dbutils import DBUtils, NotebookExit
from .paths import Paths

_HERE = os.path.dirname(os.path.abspath(__file__))
_TRACE_LIMIT = 200_000


def main() -> int:
    """Runs what standard input orders.

    The order is one line of JSON: kind (notebook, file, wheel), file or package and entry_point,
    arguments, widgets, scratch (a folder for `result.json` and `values.json`), volumes, workspace,
    path (folders for sys.path), task_values, inside_job, notebook_path, context.

    Returns:
        0 when it succeeded, else 1.
    """
    order = _order()
    report = _execute(order)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    temporary = os.path.join(order["scratch"], "result.json.new")
    with open(temporary, "w", encoding="utf-8", errors="replace") as file:
        json.dump(report, file)
    os.replace(temporary, temporary[: -len(".new")])
    session.close()
    return 1 if "error" in report else 0


def _order() -> dict[str, Any]:
    """Reads the order; standard input stays open only to notice the end of who gave it."""
    channel = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    data = b""
    while not data.endswith(b"\n"):
        chunk = os.read(channel, 1 << 16)
        if not chunk:
            sys.exit("no order on standard input")
        data += chunk
    threading.Thread(target=_watch, args=(channel,), daemon=True).start()
    return dict(json.loads(data))


def _watch(channel: int) -> None:
    """Ends this process and its children when the engine has gone: nobody would wait for them."""
    while os.read(channel, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _execute(order: dict[str, Any]) -> dict[str, Any]:
    paths = Paths(order["volumes"], order["workspace"])
    dbutils = DBUtils(order, paths)
    paths.install()
    names = session.install(dbutils)
    sys.path[:0] = order.get("path", [])
    try:
        if order["kind"] == "notebook":
            from .notebook import Runner

            value = Runner(names, dbutils, paths, order["scratch"]).run(order["file"], order["notebook_path"])
            return {"value": value}
        if order["kind"] == "wheel":
            _wheel(order["package"], order["entry_point"], order["arguments"])
        else:
            _file(order["file"], order["arguments"])
    except SystemExit as e:
        if e.code in (None, 0):
            return {}
        return {"error": f"SystemExit: {e}", "trace": ""}
    except NotebookExit as e:
        return {"value": e.value}
    except BaseException as e:  # noqa: BLE001  # outermost boundary: whatever a task raises is its result
        return {"error": _message(e), "trace": _trace(e)}
    return {}


def _file(file: str, arguments: list[str]) -> None:
    sys.argv = [file, *arguments]
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=file, __builtins__=__builtins__)
    sys.modules["__main__"] = module
    with open(file, "rb") as source:
        code = compile(source.read(), file, "exec")
    exec(code, module.__dict__)  # noqa: S102  # running the user's file is the task


def _wheel(package: str, entry_point: str, arguments: list[str]) -> None:
    """Calls an entry point of an installed package, else the function `package.entry_point()`."""
    sys.argv = [package, *arguments]
    module = package.replace("-", "_")
    try:
        points = metadata.distribution(package).entry_points
    except metadata.PackageNotFoundError:
        points = None
    found = [point for point in points or () if point.name == entry_point]
    if found:
        found[0].load()()
        return
    try:
        function = getattr(import_module(module), entry_point, None)
    except ModuleNotFoundError as e:
        if e.name != module:
            raise
        raise ModuleNotFoundError(
            f"package {package!r} is not installed: add its wheel to the task's environment or libraries"
        ) from None
    if not callable(function):
        raise LookupError(  # noqa: TRY004
            f"package {package!r} has no entry point and no function {entry_point!r}"
        )
    function()


def _message(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _trace(error: BaseException) -> str:
    """The traceback without the frames of this program and of IPython's shell."""
    summary = traceback.TracebackException.from_exception(error)
    _without_our_frames(summary)
    text = "".join(summary.format())
    return text if len(text) <= _TRACE_LIMIT else text[:_TRACE_LIMIT] + "\n...\n"


def _without_our_frames(summary: traceback.TracebackException | None) -> None:
    while summary is not None:
        kept = [
            frame
            for frame in summary.stack
            if not frame.filename.startswith(_HERE) and "IPython/core/interactiveshell" not in frame.filename
        ]
        summary.stack[:] = kept or summary.stack
        summary = summary.__cause__ or (None if summary.__suppress_context__ else summary.__context__)
