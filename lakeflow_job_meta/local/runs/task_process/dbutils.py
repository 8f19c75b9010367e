"""`dbutils` for a task of the embedded workspace."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

from . import source
from .filesystem import FileSystem
from .paths import Paths

_VALUE_LIMIT = 48 * 1024


class NotebookExit(BaseException):
    """Ends the notebook with a value; no `except Exception` of a user's cell may keep it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class WorkflowException(Exception):
    """A notebook that was run by `dbutils.notebook.run` failed."""


class InputWidgetNotDefined(Exception):
    """There is no widget of that name."""


class SecretScope(NamedTuple):
    name: str


class SecretMetadata(NamedTuple):
    key: str


SecretList = list[SecretMetadata]
ScopeList = list[SecretScope]


class Secrets:
    """`dbutils.secrets`, read through the workspace's API."""

    def get(self, scope: str, key: str) -> str:
        return self.getBytes(scope, key).decode()

    def getBytes(self, scope: str, key: str) -> bytes:  # noqa: N802
        found = _api("/api/2.0/secrets/get", scope=scope, key=key)
        return base64.b64decode(found["value"])

    def list(self, scope: str) -> SecretList:
        return [
            SecretMetadata(item["key"])
            for item in _api("/api/2.0/secrets/list", scope=scope).get("secrets", [])
        ]

    def listScopes(self) -> ScopeList:  # noqa: N802
        return [SecretScope(item["name"]) for item in _api("/api/2.0/secrets/scopes/list").get("scopes", [])]


def _api(path: str, **query: str) -> dict[str, Any]:
    url = os.environ["DATABRICKS_HOST"].rstrip("/") + path + "?" + urllib.parse.urlencode(query)
    request = urllib.request.Request(  # noqa: S310  # the workspace's own address
        url, headers={"Authorization": f"Bearer {os.environ['DATABRICKS_TOKEN']}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback goes through no proxy
    try:
        with opener.open(request, timeout=60) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as e:
        try:
            message = json.load(e).get("message")
        except ValueError:
            message = None
        raise LookupError(message or f"{path} answered {e.code}") from None


class Widgets:
    """`dbutils.widgets`: parameters of the task, and defaults of the notebook.

    Args:
        arguments: parameters that the task was given; they win over defaults.
    """

    def __init__(self, arguments: dict[str, str]) -> None:
        self._arguments = arguments
        self._defaults: dict[str, str] = {}

    def text(self, name: str, defaultValue: str = "", label: str | None = None) -> None:  # noqa: N803
        self._defaults[name] = str(defaultValue)

    def dropdown(self, name: str, defaultValue: str, choices: Any = (), label: str | None = None) -> None:  # noqa: N803
        self._defaults[name] = str(defaultValue)

    combobox = multiselect = dropdown

    def get(self, name: str) -> str:
        found = self._arguments.get(name, self._defaults.get(name))
        if found is None:
            raise InputWidgetNotDefined(f"No input widget named {name} is defined")
        return found

    def getAll(self) -> dict[str, str]:  # noqa: N802
        return {**self._defaults, **self._arguments}

    def getArgument(self, name: str, defaultValue: str = "") -> str:  # noqa: N802, N803
        return self.getAll().get(name, defaultValue)

    def give(self, name: str, value: str) -> None:
        """Sets a parameter from outside, as `%run` does; no name of Databricks' own."""
        self._arguments[name] = value

    def remove(self, name: str) -> None:
        self._defaults.pop(name, None)
        self._arguments.pop(name, None)

    def removeAll(self) -> None:  # noqa: N802
        self._defaults.clear()
        self._arguments.clear()


class TaskValues:
    """`dbutils.jobs.taskValues`.

    Args:
        others: the values of tasks that ran before, by task key.
        file: where the values of this task go.
        inside_job: whether a job runs this; without one there is nothing to set or get.
    """

    def __init__(self, others: dict[str, dict[str, Any]], file: str, inside_job: bool) -> None:
        self._others = others
        self._file = file
        self._inside_job = inside_job
        self._own: dict[str, Any] = {}

    def set(self, key: str, value: Any) -> None:
        """Sets a value that JSON can hold, at most 48 KiB of it."""
        if not self._inside_job:
            return
        text = json.dumps(value)
        if len(text.encode()) > _VALUE_LIMIT:
            raise ValueError(f"task value {key!r} is larger than 48 KiB of JSON")
        self._own[str(key)] = value
        with open(self._file + ".new", "w", encoding="utf-8") as file:
            json.dump(self._own, file)
        os.replace(self._file + ".new", self._file)

    def get(self, taskKey: str, key: str, default: Any = None, debugValue: Any = None) -> Any:  # noqa: N803
        """The value that another task set."""
        if not self._inside_job:
            if debugValue is None:
                raise TypeError("Must pass debugValue when calling get outside of a job context")
            return debugValue
        found = self._others.get(taskKey)
        if found is not None and key in found:
            return found[key]
        if default is None:
            raise ValueError(f"No task value {key!r} of task {taskKey!r} was set, and no default was given")
        return default


class Notebook:
    """`dbutils.notebook`.

    Args:
        order: what this process was told to run.
        paths: where the mounts are.
    """

    def __init__(self, order: dict[str, Any], paths: Paths) -> None:
        self._order = order
        self._paths = paths
        self.entry_point = SimpleNamespace(
            getDbutils=lambda: SimpleNamespace(notebook=lambda: SimpleNamespace(getContext=self.getContext))
        )

    def exit(self, value: Any = "") -> NoReturn:
        raise NotebookExit(value if isinstance(value, str) else str(value))

    def run(self, path: str, timeout_seconds: int = 0, arguments: dict[str, Any] | None = None) -> str:
        """Runs another notebook in a process of its own; returns what it exits with.

        Raises:
            WorkflowException: it failed or took longer than `timeout_seconds` (0: no limit).
        """
        shown = path if path.startswith("/") else _beside(self._order.get("notebook_path", "/"), path)
        local = source.find(
            self._paths.local(shown if shown.startswith("/Workspace/") else "/Workspace" + shown)
        )
        with tempfile.TemporaryDirectory() as scratch:
            order = {
                **self._order,
                "kind": "notebook",
                "file": local,
                "notebook_path": shown,
                "widgets": {key: str(value) for key, value in (arguments or {}).items()},
                "scratch": scratch,
                "inside_job": False,
            }
            sys.stdout.flush()
            process = subprocess.Popen(
                [sys.executable, os.path.dirname(os.path.abspath(__file__))], stdin=subprocess.PIPE, text=True
            )
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            try:
                process.wait(timeout_seconds or None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise WorkflowException(f"{shown} took longer than {timeout_seconds} s") from None
            finally:
                process.stdin.close()
            try:
                with open(os.path.join(scratch, "result.json"), encoding="utf-8") as file:
                    report = json.load(file)
            except OSError:
                raise WorkflowException(f"{shown} ended with code {process.returncode}") from None
        if report.get("error"):
            raise WorkflowException(f"{shown} failed: {report['error']}")
        return str(report.get("value") or "")

    def getContext(self) -> Any:  # noqa: N802
        """The few parts of the notebook context that scripts ask for."""
        tags = {name: str(value) for name, value in self._order.get("context", {}).items()}
        found = {
            "apiUrl": os.environ.get("DATABRICKS_HOST", ""),
            "apiToken": os.environ.get("DATABRICKS_TOKEN", ""),
            "notebookPath": self._order.get("notebook_path", ""),
            "jobId": tags.get("jobId", ""),
            "currentRunId": tags.get("runId", ""),
            "userName": tags.get("user", ""),
        }
        context = {name: _option(value) for name, value in found.items()}
        text = json.dumps({"tags": tags, "extraContext": {"notebook_path": found["notebookPath"]}})
        return SimpleNamespace(
            **context,
            tags=lambda: SimpleNamespace(get=lambda name: SimpleNamespace(get=lambda: tags.get(name))),
            toJson=lambda: text,
            safeToJson=lambda: text,
        )


def _option(value: str) -> Any:
    """A method that returns what has a `get`, as Scala's Option does."""
    return lambda: SimpleNamespace(get=lambda: value)


def _beside(notebook: str, path: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(notebook), path))


class Library:
    """`dbutils.library`: nothing has to restart here, a fresh process runs every task."""

    def restartPython(self) -> None:  # noqa: N802
        print("restartPython: nothing to do in the embedded workspace")


class DBUtils:
    """`dbutils`.

    Args:
        order: what this process was told to run.
        paths: where the mounts are.
    """

    def __init__(self, order: dict[str, Any], paths: Paths) -> None:
        self.fs = FileSystem(paths)
        self.secrets = Secrets()
        self.widgets = Widgets(dict(order.get("widgets") or {}))
        self.notebook = Notebook(order, paths)
        self.library = Library()
        values = os.path.join(order["scratch"], "values.json")
        inside = bool(order.get("inside_job"))
        self.jobs = SimpleNamespace(taskValues=TaskValues(order.get("task_values") or {}, values, inside))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"dbutils.{name} does not exist in the embedded workspace")

    def help(self) -> None:
        print("dbutils of the embedded workspace: fs, jobs.taskValues, library, notebook, secrets, widgets")
