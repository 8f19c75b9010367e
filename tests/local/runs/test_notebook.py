"""Notebook tasks: source and .ipynb notebooks, magics, widgets, exit values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lakeflow_job_meta.local.runs.task_process.notebook import statements
from lakeflow_job_meta.local.runs.task_process.source import NotebookError, read

from .conftest import Workspace, result, states
from .wheels import make_wheel

HEAD = "# Databricks notebook source\n"
CUT = "\n\n# COMMAND ----------\n\n"


def notebook(workspace: Workspace, path: str, *cells: str) -> str:
    """A source notebook at `path`, which is given without its suffix."""
    workspace.file(f"/Workspace{path}.py", HEAD + CUT.join(cells))
    return path


def task(key: str, path: str, **parameters: str) -> dict[str, Any]:
    return {"task_key": key, "notebook_task": {"notebook_path": path, "base_parameters": parameters}}


def test_source_notebook(workspace: Workspace, unique: str) -> None:
    """Cells share their variables, widgets have the parameters, exit ends it with a value."""
    path = notebook(
        workspace,
        f"/{unique}/main",
        "# DBTITLE 1,Setup\ndbutils.widgets.text('day', 'sunday')\ndbutils.widgets.dropdown('n', '1', ['1', '2'])",
        "# MAGIC %md\n# MAGIC # A title",
        "x = dbutils.widgets.get('day') + dbutils.widgets.get('n')\nprint(x)",
        "import os, sys\nprint(os.path.basename(os.getcwd()))",
        "dbutils.notebook.exit(f'{x}!')",
        "raise RuntimeError('never reached')",
    )
    run = workspace.run(
        [task("t", path, day="{{job.parameters.day}}")], parameters=[{"name": "day", "default": "mon"}]
    )
    assert result(run) == "SUCCESS"
    output = workspace.output(run, "t")
    assert output["notebook_output"]["result"] == "mon1!"
    assert output["logs"] == f"mon1\n{unique}\n"


def test_run_now_overrides(workspace: Workspace, unique: str) -> None:
    """notebook_params override base_parameters; job parameters are pushed down and win over both."""
    path = notebook(
        workspace, f"/{unique}/main", "dbutils.notebook.exit(str(sorted(dbutils.widgets.getAll().items())))"
    )
    job_id = workspace.job(
        [task("t", path, a="base", b="base", c="base")], parameters=[{"name": "c", "default": "job"}]
    )
    run = workspace.ended(workspace.run_now(job_id, notebook_params={"b": "now"}))
    assert (
        workspace.output(run, "t")["notebook_output"]["result"]
        == "[('a', 'base'), ('b', 'now'), ('c', 'job')]"
    )


def test_ipynb(workspace: Workspace, unique: str) -> None:
    """.ipynb notebooks run, IPython's own magics and shell lines included."""
    cells = [
        {"cell_type": "markdown", "source": ["# no code"]},
        {"cell_type": "code", "source": ["x = !echo from the shell\n", "print(x[0])"]},
        {"cell_type": "code", "source": "%%time\ny = 1"},
        {"cell_type": "code", "source": "%sh echo another"},
        {"cell_type": "code", "source": "import asyncio\nawait asyncio.sleep(0)\ndisplay([y])"},
    ]
    workspace.file(f"/Workspace/{unique}.ipynb", json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}))
    run = workspace.run([task("t", f"/Workspace/{unique}"), task("u", f"/{unique}.ipynb")])
    assert states(run) == {"t": "SUCCESS", "u": "SUCCESS"}
    logs = workspace.output(run, "t")["logs"]
    assert "from the shell\n" in logs
    assert "another\n" in logs
    assert logs.endswith("[1]\n")


def test_failing_cell(workspace: Workspace, unique: str) -> None:
    """The first cell that fails ends the notebook; error and trace are the cell's."""
    path = notebook(workspace, f"/{unique}/main", "def f():\n    return 1 / 0", "f()", "print('never')")
    run = workspace.run([task("t", path)])
    assert result(run) == "FAILED"
    output = workspace.output(run, "t")
    assert output["error"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in output["error_trace"] or "in f" in output["error_trace"]
    assert "never" not in output["logs"]


def test_run_magic_and_notebook_run(workspace: Workspace, unique: str) -> None:
    """%run shares the variables, dbutils.notebook.run gives a value, exit inside try ends all the same."""
    notebook(workspace, f"/{unique}/lib/shared", "VALUE = int(dbutils.widgets.get('v')) * 2")
    notebook(
        workspace,
        f"/{unique}/lib/child",
        "try:\n    dbutils.notebook.exit('got ' + dbutils.widgets.get('p'))\nexcept Exception:\n    print('swallowed')",
    )
    notebook(workspace, f"/{unique}/lib/bad", "raise KeyError('child')")
    path = notebook(
        workspace,
        f"/{unique}/main",
        "# MAGIC %run ./lib/shared $v=21",
        "a = dbutils.notebook.run('lib/child', 60, {'p': 'x'})",
        "try:\n    dbutils.notebook.run('./lib/bad', 60)\nexcept Exception as e:\n    b = f'{type(e).__name__} {e}'",
        "dbutils.notebook.exit(f'{VALUE} {a} {b}')",
    )
    run = workspace.run([task("t", path)])
    value = workspace.output(run, "t")["notebook_output"]["result"]
    assert value == f"42 got x WorkflowException /{unique}/lib/bad failed: KeyError: 'child'"


def test_pip(workspace: Workspace, unique: str) -> None:
    """%pip installs wheels; what is there already is fine; anything else is a clear failure."""
    make_wheel(
        workspace.folder.volume_path(f"/Volumes/main/{unique}/v"),
        "notebook_lib",
        {"notebook_lib.py": "V = 5\n"},
    )
    path = notebook(
        workspace,
        f"/{unique}/main",
        f"# MAGIC %pip install /Volumes/main/{unique}/v/notebook_lib-1.0-py3-none-any.whl pyyaml",
        "dbutils.library.restartPython()",
        "import notebook_lib, yaml\ndbutils.notebook.exit(str(notebook_lib.V))",
    )
    bad = notebook(workspace, f"/{unique}/bad", "# MAGIC %pip install no-such-package-anywhere")
    run = workspace.run([task("t", path), task("bad", bad)])
    assert workspace.output(run, "t")["notebook_output"]["result"] == "5"
    assert "without the network" in workspace.output(run, "bad")["error"]


def test_what_is_no_notebook(workspace: Workspace, unique: str) -> None:
    """A plain file, a missing path, another language and a Scala cell fail with their reason."""
    workspace.file(f"/Workspace/{unique}/plain.py", "print(1)\n")
    workspace.file(f"/Workspace/{unique}/scala.scala", "// Databricks notebook source\nval x = 1\n")
    notebook(workspace, f"/{unique}/cell", "# MAGIC %scala\n# MAGIC val x = 1")
    names = ("plain", "scala", "cell", "gone")
    run = workspace.run([task(name, f"/{unique}/{name}") for name in names])
    errors = {name: workspace.output(run, name)["error"] for name in names}
    assert set(states(run).values()) == {"FAILED"}
    assert "is a file, not a notebook" in errors["plain"]
    assert "Scala notebook" in errors["scala"]
    assert "%scala" in errors["cell"]
    assert "no notebook at" in errors["gone"]


def test_context(workspace: Workspace, unique: str) -> None:
    """The notebook's path and ids are where scripts look for them."""
    path = notebook(
        workspace,
        f"/{unique}/main",
        "c = dbutils.notebook.entry_point.getDbutils().notebook().getContext()\n"
        "dbutils.notebook.exit(c.notebookPath().get() + ' ' + c.tags().get('jobId').get())",
    )
    run = workspace.run([task("t", path)])
    assert workspace.output(run, "t")["notebook_output"]["result"] == f"/{unique}/main {run['job_id']}"


def test_source_cells(tmp_path: Any) -> None:
    """How a source file falls into cells."""
    file = tmp_path / "n.sql"
    file.write_text(
        "-- Databricks notebook source\nSELECT 1\n\n-- COMMAND ----------\n\n-- MAGIC %python\n-- MAGIC x = 1\n"
        '\n-- COMMAND ----------\n-- MAGIC %run ./other $a="b c"\n'
    )
    cells = read(str(file))
    assert [(cell.language, cell.line, cell.text.strip()) for cell in cells] == [
        ("sql", "", "SELECT 1"),
        ("python", "", "x = 1"),
        ("run", './other $a="b c"', ""),
    ]
    file.write_text("not a notebook")
    with pytest.raises(NotebookError, match="first line"):
        read(str(file))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT ';'; SELECT 2;", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s;' -- a ; b\n; /* ; */ ", ["SELECT 'it''s;' -- a ; b"]),
        ('SELECT "a;b", `c;d`', ['SELECT "a;b", `c;d`']),
        (" ;; ", []),
    ],
)
def test_statements(text: str, expected: list[str]) -> None:
    """A SQL cell is split at semicolons that end statements."""
    assert statements(text) == expected
