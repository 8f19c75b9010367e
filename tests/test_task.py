"""The entry point of our own tasks: named parameters, the accepted definition, the runner, clean failures."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lakeflow_job_meta import task
from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.errors import TaskError, UsageError
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.task import Arguments, execute, parse


@dataclass
class Runtime:
    """What a task asks of the runtime, over this test run's Sail."""

    tables: Any
    workspace: Any
    volumes: Any = field(default_factory=lambda: FuseVolumes(None))
    spark: Any = None
    secrets: Any = None
    catalog: Any = None
    warehouse: Any = None
    environment: dict[str, str] = field(default_factory=dict)

    def clock(self) -> datetime:
        return datetime.now(timezone.utc)


@pytest.fixture
def runtime(tables: Any) -> Runtime:
    return Runtime(tables, SimpleNamespace(workspace_id="42"))


Accept = Callable[[ModuleDefinition], None]


@pytest.fixture
def accept(runtime: Runtime, control_name: TableName) -> Accept:
    """Writes a definition down as accepted, as an apply does."""

    def save(definition: ModuleDefinition) -> None:
        records = JobRecords(runtime.tables, control_name, "42")
        token = str(uuid.uuid4())
        records.insert({definition.module_name: definition.module_name})
        assert records.claim([definition.module_name], token, 60)
        records.save(
            [JobRecord(definition.module_name, job_id=1, definition=definition.as_json(), status="active")],
            token,
        )

    return save


def script_module(path: Path, task_type: str = "sql_script") -> ModuleDefinition:
    source = SourceDefinition(
        "extract", "sql", 1, task_type, {"sql_file_path": str(path), "parameters": {"n": "5"}}
    )
    return ModuleDefinition("sales", {}, (source,))


class TestParse:
    def test_named_parameters(self) -> None:
        """Named parameters of a wheel task arrive as `--name=value`; a value may hold anything."""
        got = parse(
            [
                "--control_table=c.s.t",
                "--module_name=a=b --c",
                "--source_id=s",
                "--run_id=7",
                "--day=2025-01-01",
            ]
        )
        assert got == Arguments(TableName("c", "s", "t"), "a=b --c", "s", "7", {"day": "2025-01-01"})

    def test_everything_wrong_at_once(self) -> None:
        """What is missing and what is no parameter is listed in one error."""
        with pytest.raises(
            UsageError, match=r"'stray' is not --name=value; --module_name is missing; --source_id is missing"
        ):
            parse(["--control_table=c.s.t", "stray", "--source_id="])


class TestExecute:
    def test_the_accepted_definition_is_run(
        self, runtime: Runtime, accept: Accept, control_name: TableName, tmp_path: Path
    ) -> None:
        """The definition in `_jobs` decides, with no control table there at all; further parameters win."""
        (tmp_path / "a.sql").write_text("SELECT 1 WHERE CAST(:n AS INT) = 6")
        accept(script_module(tmp_path / "a.sql"))
        summary = execute(Arguments(control_name, "sales", "extract", "7", {"n": "6"}), runtime)  # type: ignore[arg-type]
        assert summary["statements"][0]["rows"] == 1
        assert {k: summary[k] for k in ("module", "source", "task_type", "run_id")} == {
            "module": "sales", "source": "extract", "task_type": "sql_script", "run_id": "7"
        }  # fmt: skip

    def test_a_module_that_was_never_accepted(self, runtime: Runtime, control_name: TableName) -> None:
        """The sentence names table and workspace, and says to apply."""
        with pytest.raises(
            TaskError,
            match=r"'sales' has no accepted definition in .*etl_control_jobs for workspace 42: apply",
        ):
            execute(Arguments(control_name, "sales", "extract", "", {}), runtime)  # type: ignore[arg-type]

    def test_an_unknown_source(
        self, runtime: Runtime, accept: Accept, control_name: TableName, tmp_path: Path
    ) -> None:
        """A source that the accepted definition lacks is named, with the nearest one."""
        accept(script_module(tmp_path))
        with pytest.raises(TaskError, match=r"no source 'extarct' .*did you mean 'extract'\?"):
            execute(Arguments(control_name, "sales", "extarct", "", {}), runtime)  # type: ignore[arg-type]

    def test_a_task_type_of_another_version(
        self, runtime: Runtime, accept: Accept, control_name: TableName, tmp_path: Path
    ) -> None:
        """A task type that this version cannot run says which it can."""
        accept(script_module(tmp_path, "from_the_future"))
        with pytest.raises(TaskError, match=r"'from_the_future' is not run by this version .*sql_script"):
            execute(Arguments(control_name, "sales", "extract", "", {}), runtime)  # type: ignore[arg-type]


class TestMain:
    def test_failure_leaves_with_one_sentence(self) -> None:
        """As a process: exit code 1, the sentence on stderr, no traceback, nothing on stdout."""
        command = [sys.executable, "-m", "lakeflow_job_meta.task", "--control_table=c.s.t", "--module_name=m"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: --source_id is missing")
        assert "Traceback" not in done.stderr

    def test_success_prints_one_json_line(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The summary is the one line on stdout."""
        monkeypatch.setattr(task, "execute", lambda arguments: {"module": arguments.module_name})
        task.main(["--control_table=c.s.t", "--module_name=m", "--source_id=s"])
        assert json.loads(capsys.readouterr().out) == {"module": "m"}

    def test_every_runner_can_be_found(self) -> None:
        """Each registered runner exists."""
        for task_type in task.RUNNERS:
            assert callable(task.find_runner(task_type))

    def test_task_types_of_ours_have_runners(self) -> None:
        """Whatever the metadata accepts as a task of ours, the entry point runs."""
        from lakeflow_job_meta.metadata.task_types import TASK_TYPES

        assert {name for name, kind in TASK_TYPES.items() if kind.ours} == set(task.RUNNERS)
