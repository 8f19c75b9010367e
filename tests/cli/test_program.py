"""The program: quick help, exit codes, one shape of errors, no traceback for anybody."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

from lakeflow_job_meta import __version__, errors
from lakeflow_job_meta.cli.program import COMMANDS, Program
from lakeflow_job_meta.cli.program import program as real
from lakeflow_job_meta.errors import MetadataError, Place, Problem
from tests.embedded import BIN, environment, run

#: What `--help` must not load.
HEAVY = (
    "databricks.sdk",
    "pyspark",
    "pysail",
    "httpx",
    "jsonschema",
    "yaml",
    "structlog",
    "rich",
    "sqlglot",
    "starlette",
)


@pytest.fixture
def failing() -> Iterator[Program]:
    """A program with one command, `fail`, that raises what the test puts there."""
    module = ModuleType("lakeflow_job_meta.cli.failing")
    module.error = KeyboardInterrupt()  # type: ignore[attr-defined]

    @click.command()
    @click.option("--format", "output", default="text")
    @click.pass_context
    def fail(ctx: click.Context, output: str) -> None:
        root = ctx.find_root().command
        assert isinstance(root, Program)
        root.json = output == "json"
        raise module.error  # type: ignore[attr-defined]

    module.fail = fail  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    made = Program(lazy={"fail": ("failing:fail", "Fails.")}, name="p", params=[click.Option(["--debug"], is_flag=True)],
                   callback=lambda debug: None)  # fmt: skip
    yield made
    del sys.modules[module.__name__]


def fail_with(program: Program, error: BaseException, *arguments: str) -> Result:
    sys.modules["lakeflow_job_meta.cli.failing"].error = error  # type: ignore[attr-defined]
    return CliRunner().invoke(program, ["fail", *arguments])


def loaded_by(arguments: list[str]) -> list[str]:
    """The heavy packages that these arguments load, in a process of their own."""
    code = f"""
import sys
from lakeflow_job_meta.cli import main
try:
    main({arguments!r})
except SystemExit as e:
    assert not e.code, e.code
print("LOADED", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    return done.stdout.rsplit("LOADED", 1)[1].split()


class TestHelp:
    def test_help_is_quick_and_loads_nothing_heavy(self) -> None:
        """The SDK, Spark, HTTP and even the table printer stay out of `--help`."""
        assert loaded_by(["--help"]) == []
        started = time.perf_counter()
        run(str(BIN / "lakeflow-job-meta"), "--help")
        assert time.perf_counter() - started < 2  # 0.1 s alone; other tests share the processors

    @pytest.mark.parametrize("command", [name for name in COMMANDS if name != "demo"])
    def test_help_of_a_command_loads_nothing_heavy(self, command: str) -> None:
        """Nor does the help of a command."""
        assert loaded_by([command, "--help"]) == []

    def test_every_command_is_listed_with_a_line(self) -> None:
        """The lazy list and the commands themselves agree."""
        text = CliRunner().invoke(real, ["--help"]).output
        with click.Context(real) as context:
            for name, (_, line) in COMMANDS.items():
                command = real.get_command(context, name)
                assert command is not None
                assert command.name == name
                assert f"  {name} " in text
                assert line in text

    def test_only_what_works_is_offered(self) -> None:
        """All commands are there, and nothing that is still to come."""
        assert set(COMMANDS) == {
            *("validate", "schema", "load", "plan", "apply", "run", "status", "monitor", "import", "deploy"),
            *("doctor", "demo", "local", "dxr", "policy", "dataset"),
        }

    def test_version(self) -> None:
        """The version of the package."""
        assert __version__ in CliRunner().invoke(real, ["--version"]).output

    def test_completion(self) -> None:
        """The shell asks, the program answers with commands."""
        answer = run(
            str(BIN / "lakeflow-job-meta"),
            env=environment(
                _LAKEFLOW_JOB_META_COMPLETE="bash_complete", COMP_WORDS="lakeflow-job-meta va", COMP_CWORD="1"
            ),
        )
        assert answer.stdout.strip() == "plain,validate"


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["frobnicate"],
            ["plan", "--frobnicate"],
            ["plan", "--format", "xml", "--control-table", "c.s.t"],
            ["plan", "--control-table", "only.two"],
            ["plan"],
            ["plan", "--control-table", "c.s.t", "--var", "novalue"],
            ["plan", "--control-table", "c.s.t", "--drift", "never"],
            ["plan", "--control-table", "c.s.t", "--parallel-calls", "many"],
            ["plan", "--control-table", "c.s.t", "--parallel-calls", "0"],
            ["apply", "--control-table", "c.s.t", "--yaml", "no/such/file.yaml"],
            ["apply", "--control-table", "c.s.t", "--plan", "no/such/plan.json"],
            ["apply", "--control-table", "c.s.t", "--take-over"],
            ["load", "--control-table", "c.s.t"],
            ["load", "no/such/folder", "--control-table", "c.s.t"],
            ["run", "--control-table", "c.s.t"],
            ["monitor", "--control-table", "c.s.t", "--max-iterations", "0"],
            ["monitor", "--control-table", "c.s.t", "--check-interval-seconds", "0"],
            ["validate"],
            ["validate", "no/such/file.yaml"],
            ["schema", "--out", "/no/such/folder/schema.json"],
            ["local", "frobnicate"],
            ["local", "reset", "--dir", "somewhere"],
            ["local", "up", "--dir", __file__],
        ],
        ids=" ".join,
    )
    def test_wrong_usage_is_64_and_one_sentence(self, arguments: list[str]) -> None:
        """An error on stderr, nothing on stdout, no traceback, exit code 64."""
        got = CliRunner(env={"LAKEFLOW_JOB_META_CONTROL_TABLE": None}).invoke(real, arguments)
        assert got.exit_code == 64
        assert got.stderr.startswith("error: ")
        assert got.stdout == ""
        assert "Traceback" not in got.output

    def test_a_wrong_setting_in_the_environment(self) -> None:
        """It is named as the environment variable that it is."""
        done = run(
            str(BIN / "lakeflow-job-meta"),
            "plan",
            "--control-table",
            "c.s.t",
            env=environment(LAKEFLOW_JOB_META_DRIFT="never"),
        )
        assert done.returncode == 64
        assert "LAKEFLOW_JOB_META_DRIFT" in done.stderr


class TestErrors:
    @pytest.mark.parametrize(
        "kind",
        [
            value
            for value in vars(errors).values()
            if isinstance(value, type)
            and issubclass(value, errors.LakeflowJobMetaError)
            and value is not MetadataError
        ],
    )
    def test_ours_are_one_sentence(self, failing: Program, kind: type[errors.LakeflowJobMetaError]) -> None:
        """Every error of ours: its sentence after `error:`, its own exit code."""
        got = fail_with(failing, kind("it is wrong; do this"))
        assert (got.exit_code, got.stderr, got.stdout) == (
            kind.exit_code,
            "error: it is wrong; do this\n",
            "",
        )

    def test_all_problems_are_listed_with_their_places(self, failing: Program) -> None:
        """A refusal shows file, line and column of everything."""
        problems = [Problem("one", Place("a.yaml", 3, 5)), Problem("two", Place("c.s.t", key="m/s"))]
        got = fail_with(failing, MetadataError(problems))
        assert got.exit_code == 1
        assert "  a.yaml:3:5: one\n  c.s.t [m/s]: two\n" in got.stderr

    def test_json_gets_the_error_on_stdout_too(self, failing: Program) -> None:
        """A program that reads stdout finds JSON there, whatever happened."""
        got = fail_with(
            failing, MetadataError([Problem("one", Place("a.yaml", 3, 5), "/modules/0")]), "--format", "json"
        )
        [problem] = json.loads(got.stdout)["error"]["problems"]
        assert (problem["path"], problem["line"], problem["pointer"]) == ("a.yaml", 3, "/modules/0")
        got = fail_with(failing, errors.TableNotFound("no"), "--format", "json")
        assert json.loads(got.stdout) == {"error": {"type": "TableNotFound", "message": "no"}}

    def test_what_nobody_expected_is_one_line(self, failing: Program) -> None:
        """A bug of ours: its kind, how to see more, exit code 1."""
        got = fail_with(failing, ZeroDivisionError("by zero\nand more"))
        assert got.exit_code == 1
        assert got.stderr.splitlines() == [
            "unexpected error: ZeroDivisionError: by zero (run `lakeflow-job-meta --debug ...` for the traceback)"
        ]

    def test_debug_shows_the_traceback(self, failing: Program) -> None:
        """Only for those who ask."""
        got = CliRunner(env={"LAKEFLOW_JOB_META_DEBUG": "1"}).invoke(failing, ["fail"])
        assert got.exit_code == 130
        sys.modules["lakeflow_job_meta.cli.failing"].error = ZeroDivisionError("by zero")  # type: ignore[attr-defined]
        got = CliRunner(env={"LAKEFLOW_JOB_META_DEBUG": "1"}).invoke(failing, ["fail"])
        assert "Traceback" in got.stderr

    def test_interrupted_is_130(self, failing: Program) -> None:
        """Ctrl-C ends without a traceback."""
        got = fail_with(failing, KeyboardInterrupt())
        assert got.exit_code == 130
        assert "Traceback" not in got.output

    def test_control_characters_do_not_reach_the_terminal(self, failing: Program) -> None:
        """A module's name may not move the cursor or ring the bell."""
        got = fail_with(failing, errors.PlanError("module '\x1b[2J\x07ü' is bad\u202e"))
        assert got.stderr == "error: module '\\x1b[2J\\x07ü' is bad\\u202e\n"

    def test_a_reader_that_goes_away_is_no_error(self) -> None:
        """`lakeflow-job-meta schema | head -1` is quiet."""
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {BIN / 'lakeflow-job-meta'} schema | head -c 1"],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        assert (done.stdout, done.stderr) == ("{", "")
