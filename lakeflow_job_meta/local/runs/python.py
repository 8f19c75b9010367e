"""Notebook, Python file and wheel tasks: each runs in a child process of its own."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.api.call import USER
from lakeflow_job_meta.local.runs.environments import dependencies_of
from lakeflow_job_meta.local.runs.processes import run_child
from lakeflow_job_meta.local.runs.task_process import source
from lakeflow_job_meta.local.runs.tasks import TaskContext, TaskFailure, refuse

Json = dict[str, Any]

LOG_NAME = "output.log"
_PROGRAM = Path(__file__).parent / "task_process"
#: Variables of the workspace's own process that must not reach a task.
_OURS = ("DATABRICKS_", "SPARK_", "LAKEFLOW_JOB_META_", "PYTHON", "PIP_", "VIRTUAL_ENV", "COV_", "PYTEST_")
_RESULT_LIMIT = 5 * 1024 * 1024


def run_notebook(context: TaskContext) -> None:
    """Runs a notebook_task; the value of `dbutils.notebook.exit` becomes its output.

    Raises:
        TaskFailure: a cell failed, or there is no such notebook.
    """
    task = context.task["notebook_task"]
    if task.get("source") == "GIT":
        raise refuse("the embedded workspace checks out no Git repository: set source to WORKSPACE")
    path = task["notebook_path"]
    try:
        file = Path(source.find(str(context.services.file(path))))
        source.read(str(file), path)
    except source.NotebookError as e:
        raise TaskFailure(f"Unable to run the notebook {path}: {e}", code="RESOURCE_NOT_FOUND") from e
    widgets = {
        **(task.get("base_parameters") or {}),
        **(context.run.request.get("notebook_params") or {}),
        **context.job_parameters,
    }
    report = _run(
        context,
        {"kind": "notebook", "file": str(file), "notebook_path": path, "widgets": _texts(widgets)},
        cwd=file.parent,
    )
    value = report.get("value")
    if value is not None:
        text = context.redact(str(value))
        context.record.output["result"] = text[:_RESULT_LIMIT]
        context.record.output["truncated"] = len(text) > _RESULT_LIMIT


def run_python_file(context: TaskContext) -> None:
    """Runs a spark_python_task.

    Raises:
        TaskFailure: it raised, or there is no such file.
    """
    task = context.task["spark_python_task"]
    if task.get("source") == "GIT":
        raise refuse("the embedded workspace checks out no Git repository: set source to WORKSPACE")
    path = task["python_file"]
    file = context.services.file(path)
    if not file.is_file():
        raise TaskFailure(
            f"Cannot read the python file {path}: it does not exist.", code="RESOURCE_NOT_FOUND"
        )
    arguments = context.run.request.get("python_params") or task.get("parameters") or []
    _run(
        context,
        {"kind": "file", "file": str(file), "arguments": [str(a) for a in arguments]},
        cwd=file.parent,
    )


def run_wheel(context: TaskContext) -> None:
    """Runs a python_wheel_task; named parameters become `--key=value`.

    Raises:
        TaskFailure: it raised, or package or entry point are missing.
    """
    task = context.task["python_wheel_task"]
    request = context.run.request
    arguments = [str(a) for a in request.get("python_params") or task.get("parameters") or []]
    named = {**(task.get("named_parameters") or {}), **(request.get("python_named_params") or {})}
    if named and not task.get("parameters"):
        # Job parameters are pushed down to tasks that take parameters by name, and win.
        arguments = [f"--{key}={value}" for key, value in _texts({**named, **context.job_parameters}).items()]
    _run(
        context,
        {
            "kind": "wheel",
            "package": task["package_name"],
            "entry_point": task["entry_point"],
            "arguments": arguments,
        },
        cwd=None,
    )


def _texts(values: Json) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in values.items()}


def _run(context: TaskContext, order: Json, cwd: Path | None) -> Json:
    """Runs an order in a child process and returns its report."""
    record, folder = context.record, context.services.folder
    begun = time.monotonic()
    python = _interpreter(context)
    shutil.rmtree(context.scratch, ignore_errors=True)
    scratch = context.scratch / "scratch"
    scratch.mkdir(parents=True)
    environment = _environment(context, python)
    record.setup_ms = int((time.monotonic() - begun) * 1000)
    order |= {
        "scratch": str(scratch),
        "volumes": str(folder.volumes),
        "workspace": str(folder.workspace),
        "path": [str(cwd)] if cwd is not None else [],
        "task_values": dict(context.values),
        "inside_job": True,
        "context": {
            "jobId": context.run.job_id,
            "runId": record.run_id,
            "multitaskParentRunId": context.run.run_id,
            "taskKey": record.task_key,
            "jobName": context.run.name,
            "user": USER,
        },
    }

    def started(pid: int, when: str) -> None:
        record.pid, record.pid_started = pid, when
        context.save()

    code = run_child(
        [str(python), "-u", str(_PROGRAM)],
        order=order,
        cwd=cwd or scratch,
        environment=environment,
        log=context.scratch / LOG_NAME,
        redact=context.redact,
        stop=context.stop,
        started=started,
    )
    record.pid, record.pid_started = 0, ""
    report = _report(scratch)
    record.output["values"] = _values(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    if report is None:
        raise TaskFailure(
            f"The Python process exited with {_ending(code)} before the task ended.", code="DRIVER_ERROR"
        )
    if "error" in report:
        raise TaskFailure(report["error"], trace=report.get("trace", ""))
    return report


def _interpreter(context: TaskContext) -> Path:
    try:
        dependencies = dependencies_of(context.task, context.settings)
        if dependencies is None:
            return Path(sys.executable)
        return context.services.environments.python(dependencies)
    except LocalError as e:
        raise TaskFailure(str(e), code="LIBRARY_INSTALLATION_ERROR") from e


def _environment(context: TaskContext, python: Path) -> dict[str, str]:
    """The variables of a child: this process's without what is ours or Databricks', plus the task's own."""
    services = context.services
    found = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    found.update(_own_variables(context))
    found.update(services.environment)
    direct = [found.get("NO_PROXY", ""), "127.0.0.1", "localhost"]
    found.update(
        LAKEFLOW_JOB_META_VOLUMES_ROOT=str(services.folder.volumes),
        LAKEFLOW_JOB_META_WORKSPACE_ROOT=str(services.folder.workspace),
        PATH=os.pathsep.join([str(python.parent), found.get("PATH", os.defpath)]),
        NO_PROXY=",".join(filter(None, direct)),
        no_proxy=",".join(filter(None, direct)),
        PYTHONIOENCODING="utf-8",
        SPARK_HOME=str(
            services.folder.private
        ),  # any folder: without one pyspark-client looks for Spark's jars
    )
    return found


def _own_variables(context: TaskContext) -> dict[str, str]:
    """spark_env_vars of the task's cluster and the job's environment_variables, references replaced."""
    task, settings = context.task, context.settings
    cluster = task.get("new_cluster") or {}
    key = task.get("job_cluster_key")
    for item in settings.get("job_clusters") or []:
        if key and item.get("job_cluster_key") == key:
            cluster = item.get("new_cluster") or {}
    found = dict(cluster.get("spark_env_vars") or {})
    key = task.get("environment_variables_key")
    for item in settings.get("environment_variables") or []:
        if key and item.get("environment_variables_key") == key:
            found.update((item.get("spec") or {}).get("variables") or {})
    return _texts(context.scope.expand(found))


def _report(scratch: Path) -> Json | None:
    try:
        return dict(orjson.loads((scratch / "result.json").read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None


def _values(scratch: Path) -> Json:
    try:
        return dict(orjson.loads((scratch / "values.json").read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"
