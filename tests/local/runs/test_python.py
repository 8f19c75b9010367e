"""Python file and wheel tasks, each in a real child process."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import TOKEN, Workspace, after, python_task, result, states
from .wheels import make_wheel

POINTS = "[console_scripts]\nacme-run = acme.cli:main\n[acme.tasks]\nload = acme.cli:load\n"
CLI = """
import sys
def main():
    print("main", sys.argv)
def load():
    print("load", sys.argv)
    sys.exit(0)
def fail():
    sys.exit(3)
"""


def wheel_task(key: str, entry_point: str, **fields: Any) -> dict[str, Any]:
    more = {
        name: fields.pop(name) for name in ("libraries", "environment_key", "depends_on") if name in fields
    }
    return {
        "task_key": key,
        "python_wheel_task": {"package_name": "acme", "entry_point": entry_point, **fields},
        **more,
    }


@pytest.fixture(scope="module")
def wheel(workspace: Workspace) -> str:
    folder = workspace.folder.volume_path("/Volumes/main/lib/wheels")
    files = {"acme/__init__.py": "from .cli import *\n", "acme/cli.py": CLI}
    return "/Volumes/main/lib/wheels/" + make_wheel(folder, "acme", files, entry_points=POINTS).name


def test_file(workspace: Workspace, unique: str) -> None:
    """Arguments, its folder on sys.path, its folder as the current one, `__main__`, captured output."""
    workspace.file(f"/Workspace/{unique}/beside.py", "VALUE = 42\n")
    path = workspace.file(
        f"/Workspace/{unique}/main.py",
        "import os, sys, beside\n"
        "if __name__ == '__main__':\n"
        "    print(sys.argv[1:], beside.VALUE, os.path.basename(os.getcwd()), __file__ == sys.argv[0])\n"
        "    print('to stderr', file=sys.stderr)\n",
    )
    run = workspace.run([python_task("t", path, "a b", "--x=1", "{{task.name}}")])
    logs = workspace.output(run, "t")["logs"]
    assert f"['a b', '--x=1', 't'] 42 {unique} True\n" in logs
    assert "to stderr\n" in logs


def test_file_of_a_volume(workspace: Workspace) -> None:
    """A Python file may lie in a volume, with or without dbfs: in front."""
    workspace.file("/Volumes/main/code/v/main.py", "print('from a volume')\n")
    run = workspace.run(
        [
            python_task("a", "/Volumes/main/code/v/main.py"),
            python_task("b", "dbfs:/Volumes/main/code/v/main.py"),
        ]
    )
    assert workspace.output(run, "a")["logs"] == workspace.output(run, "b")["logs"] == "from a volume\n"


def test_errors(workspace: Workspace, unique: str) -> None:
    """Exceptions, exit codes, a killed process and a missing file all fail with their reason."""
    files = {
        "raises": "def inner():\n    raise ValueError('boom')\ninner()\n",
        "syntax": "this is no python\n",
        "exits": "import sys\nsys.exit(4)\n",
        "words": "import sys\nsys.exit('no good')\n",
        "dies": "import os\nos.kill(os.getpid(), 9)\n",
        "fine": "import sys\nsys.exit(0)\n",
    }
    tasks = [
        python_task(key, workspace.file(f"/Workspace/{unique}/{key}.py", text)) for key, text in files.items()
    ]
    run = workspace.run(
        [*tasks, python_task("gone", "/Workspace/gone.py"), python_task("cloud", "s3://bucket/x.py")]
    )
    assert states(run) == {
        **dict.fromkeys(files, "FAILED"),
        "fine": "SUCCESS",
        "gone": "FAILED",
        "cloud": "FAILED",
    }
    outputs = {key: workspace.output(run, key) for key in states(run)}
    assert outputs["raises"]["error"] == "ValueError: boom"
    assert "in inner" in outputs["raises"]["error_trace"]
    assert "task_process" not in outputs["raises"]["error_trace"]
    assert "SyntaxError" in outputs["syntax"]["error"]
    assert outputs["exits"]["error"] == "SystemExit: 4"
    assert outputs["words"]["error"] == "SystemExit: no good"
    assert "signal 9" in outputs["dies"]["error"]
    assert "does not exist" in outputs["gone"]["error"]
    assert "/Volumes" in outputs["cloud"]["error"]


def test_mounts(workspace: Workspace, unique: str) -> None:
    """/Volumes and /Workspace are there for open, os, pathlib, shutil and imports."""
    workspace.file(f"/Workspace/Shared/{unique}/helpers.py", "VALUE = 'imported'\n")
    path = workspace.file(
        f"/Workspace/{unique}/main.py",
        f"""
import os, pathlib, shutil, sys
folder = pathlib.Path('/Volumes/main/{unique}/v/out')
folder.mkdir(parents=True)
(folder / 'a.txt').write_text('hello')
shutil.copy(folder / 'a.txt', folder / 'b.txt')
os.rename(folder / 'b.txt', str(folder / 'c.txt'))
with open('/Volumes/main/{unique}/v/out/c.txt') as file:
    print(file.read(), sorted(os.listdir(folder)), os.path.exists('/Volumes/main/{unique}/v/none'))
sys.path.append('/Workspace/Shared/{unique}')
import helpers
print(helpers.VALUE, [p.name for p in folder.glob('*.txt')].__len__())
""",
    )
    run = workspace.run([python_task("t", path)])
    assert workspace.output(run, "t").get("error") is None
    assert workspace.output(run, "t")["logs"] == "hello ['a.txt', 'c.txt'] False\nimported 2\n"
    assert workspace.folder.volume_path(f"/Volumes/main/{unique}/v/out/c.txt").read_text() == "hello"


def test_dbutils(workspace: Workspace, unique: str) -> None:
    """dbutils is a builtin, importable in the three usual ways, and passes values between tasks."""
    first = workspace.file(
        f"/Workspace/{unique}/first.py",
        f"""
from pyspark.dbutils import DBUtils
from databricks.sdk.runtime import dbutils as imported
assert DBUtils(None) is dbutils is imported
dbutils.jobs.taskValues.set(key='rows', value={{'n': 3}})
fs = dbutils.fs
fs.mkdirs('/Volumes/main/{unique}/v/d')
fs.put('/Volumes/main/{unique}/v/d/f.txt', 'some text', True)
fs.cp('dbfs:/Volumes/main/{unique}/v/d', '/Volumes/main/{unique}/v/e', True)
fs.mv('/Volumes/main/{unique}/v/e/f.txt', '/Volumes/main/{unique}/v/e/g.txt')
fs.rm('/Volumes/main/{unique}/v/d', recurse=True)
print([(i.path, i.name, i.size, i.isDir()) for i in fs.ls('/Volumes/main/{unique}/v')])
print([(i.path, i.name, i.size, i.isDir()) for i in fs.ls('/Volumes/main/{unique}/v/e')])
print(fs.head('/Volumes/main/{unique}/v/e/g.txt', 4))
""",
    )
    second = workspace.file(
        f"/Workspace/{unique}/second.py",
        "print(dbutils.jobs.taskValues.get('first', 'rows'), dbutils.jobs.taskValues.get('first', 'no', default='d'))\n",
    )
    run = workspace.run(
        [python_task("first", first), python_task("second", second, depends_on=after("first"))]
    )
    assert workspace.output(run, "first").get("error") is None
    volume = f"dbfs:/Volumes/main/{unique}/v/"
    assert workspace.output(run, "first")["logs"].splitlines()[-3:] == [
        f"[('{volume}e/', 'e/', 0, True)]",
        f"[('{volume}e/g.txt', 'g.txt', 9, False)]",
        "some",
    ]
    assert workspace.output(run, "second")["logs"] == "{'n': 3} d\n"


def test_secrets(workspace: Workspace, unique: str) -> None:
    """Secrets are read by dbutils and by references, and never stand in what is kept."""
    client = workspace.client
    client.secrets.create_scope(unique)
    client.secrets.put_secret(unique, "key", string_value="s3cr3t-value")
    path = workspace.file(
        f"/Workspace/{unique}.py",
        f"""
import os, sys
value = dbutils.secrets.get('{unique}', 'key')
assert value == sys.argv[1] == os.environ['PASSWORD'] == 's3cr3t' + '-value'
print(value, os.environ['DATABRICKS_TOKEN'], [k.key for k in dbutils.secrets.list('{unique}')])
try:
    dbutils.secrets.get('{unique}', 'other')
except Exception as e:
    print(e)
raise ValueError('leaks ' + value)
""",
    )
    reference = f"{{{{secrets/{unique}/key}}}}"
    run = workspace.run(
        [python_task("t", path, reference, job_cluster_key="c")],
        job_clusters=[
            {
                "job_cluster_key": "c",
                "new_cluster": {"spark_env_vars": {"PASSWORD": reference}, "num_workers": 0},
            }
        ],
    )
    output = workspace.output(run, "t")
    assert output["error"] == "ValueError: leaks [REDACTED]"
    assert "[REDACTED] [REDACTED] ['key']" in output["logs"]
    assert f"Secret does not exist with scope: {unique} and key: other" in output["logs"]
    assert "s3cr3t-value" not in str(output)
    kept = b"".join(p.read_bytes() for p in workspace.folder.runs.rglob("*") if p.is_file())
    assert b"s3cr3t-value" not in kept
    assert TOKEN.encode() not in kept
    for table in ("runs", "task_runs", "task_values"):
        assert "s3cr3t-value" not in str(
            [tuple(row) for row in workspace.database.read(f"SELECT * FROM {table}")]
        )
    missing = workspace.run([python_task("t", path, f"{{{{secrets/{unique}/gone}}}}")])
    assert "Secret does not exist" in workspace.output(missing, "t")["error"]


def test_environment_of_a_task(workspace: Workspace, unique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task sees the workspace's address and folders, and nothing of the process that runs it."""
    monkeypatch.setenv("DATABRICKS_CONFIG_PROFILE", "leak")
    monkeypatch.setenv("LAKEFLOW_JOB_META_VARIABLES", "leak")
    monkeypatch.setenv("PYTHONPATH", "/leak")
    path = workspace.file(
        f"/Workspace/{unique}.py",
        "import os\nprint({k: v for k, v in os.environ.items() if k.startswith(('DATABRICKS', 'LAKEFLOW')) or 'leak' in v})\n"
        "from databricks.sdk import WorkspaceClient\nprint(WorkspaceClient().current_user.me().user_name)\n",
    )
    run = workspace.run([python_task("t", path)])
    logs = workspace.output(run, "t")["logs"]
    assert "leak" not in logs
    assert workspace.host in logs
    assert f"'LAKEFLOW_JOB_META_VOLUMES_ROOT': '{workspace.folder.volumes}'" in logs
    assert "local@localhost" in logs


def test_wheel(workspace: Workspace, wheel: str) -> None:
    """Entry points of any group, then functions of the package; parameters by place or by name."""
    env = {"environment_key": "e"}
    run = workspace.run(
        [
            wheel_task("script", "acme-run", parameters=["a", "{{job.name}}"], **env),
            wheel_task("group", "load", named_parameters={"day": "mon", "n": "1"}, **env),
            wheel_task("function", "fail", **env),
            wheel_task("nothing", "no_such", **env),
        ],
        name="the-job",
        environments=[
            {"environment_key": "e", "spec": {"environment_version": "2", "dependencies": [wheel]}}
        ],
    )
    assert workspace.output(run, "script")["logs"] == "main ['acme', 'a', 'the-job']\n"
    assert workspace.output(run, "group")["logs"] == "load ['acme', '--day=mon', '--n=1']\n"
    assert workspace.output(run, "function")["error"] == "SystemExit: 3"
    assert "no entry point and no function 'no_such'" in workspace.output(run, "nothing")["error"]


def test_wheel_as_library(workspace: Workspace, wheel: str) -> None:
    """A wheel may come as a library of the task; without any the error says what to do."""
    run = workspace.run(
        [wheel_task("with", "acme-run", libraries=[{"whl": wheel}]), wheel_task("without", "acme-run")],
    )
    assert states(run) == {"with": "SUCCESS", "without": "FAILED"}
    assert "add its wheel" in workspace.output(run, "without")["error"]


def test_job_parameters_go_to_named_parameters(workspace: Workspace, wheel: str) -> None:
    """Job parameters are pushed to tasks with named parameters and win; run-now overrides both kinds."""
    job_id = workspace.job(
        [
            wheel_task(
                "named", "load", named_parameters={"day": "mon", "k": "v"}, libraries=[{"whl": wheel}]
            ),
            wheel_task("placed", "load", parameters=["x"], libraries=[{"whl": wheel}]),
        ],
        parameters=[{"name": "day", "default": "sun"}],
    )
    run = workspace.ended(workspace.run_now(job_id))
    assert "['acme', '--day=sun', '--k=v']" in workspace.output(run, "named")["logs"]
    assert "['acme', 'x']" in workspace.output(run, "placed")["logs"]
    run = workspace.ended(
        workspace.run_now(
            job_id, python_named_params={"k": "w"}, python_params=["y"], job_parameters={"day": "tue"}
        )
    )
    assert "['acme', '--day=tue', '--k=w']" in workspace.output(run, "named")["logs"]
    assert "['acme', 'y']" in workspace.output(run, "placed")["logs"]


def test_missing_library(workspace: Workspace) -> None:
    """A dependency that is nowhere fails the task with a message that says so."""
    run = workspace.run(
        [wheel_task("t", "x", environment_key="e")],
        environments=[{"environment_key": "e", "spec": {"dependencies": ["no-such-thing==1"]}}],
    )
    assert result(run) == "FAILED"
    assert run["tasks"][0]["status"]["termination_details"]["code"] == "LIBRARY_INSTALLATION_ERROR"
    assert "no-such-thing==1, which is not installed" in workspace.output(run, "t")["error"]
