"""The monitor's entry point: parameters from everywhere, errors all at once, exit codes."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lakeflow_job_meta import main as entry
from lakeflow_job_meta.errors import LakeflowJobMetaError, UsageError
from lakeflow_job_meta.main import Parameters, read_parameters
from lakeflow_job_meta.names import TableName

TABLE = TableName("c", "s", "t")


def read(*arguments: str, widgets: dict[str, str] | None = None, **environment: str) -> Parameters:
    return read_parameters(arguments, widgets or {}, environment)


class TestReading:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("--control_table=c.s.t", "--check_interval_seconds=5", "--max_iterations=2", "--volume_path=/Volumes/c/s/v"),
            ("--control-table", "c.s.t", "--check-interval-seconds", "5", "--max-iterations", "2", "--volume-path", "/Volumes/c/s/v"),
            ("control_table", "c.s.t", "check_interval_seconds", "5", "max_iterations", "2", "volume_path", "/Volumes/c/s/v"),
            ("control_table=c.s.t", "check-interval-seconds=5", "--max_iterations", "2", "volume_path", "/Volumes/c/s/v"),
        ],
    )  # fmt: skip
    def test_flags_and_pairs(self, arguments: tuple[str, ...]) -> None:
        """`--key=value`, `--key value` and `key value`, with dashes or underscores, say the same."""
        assert read(*arguments) == Parameters(TABLE, "/Volumes/c/s/v", 5.0, 2)

    def test_widgets(self) -> None:
        """Widgets are parameters; foreign widgets are nobody's business; empty ones were not given."""
        widgets = {
            "control_table": "c.s.t",
            "volume_path": "",
            "check_interval_seconds": "60",
            "max_iterations": " ",
            "variables": "",
            "colour": "red",
        }
        assert read(widgets=widgets) == Parameters(TABLE)

    def test_the_strongest_wins(self) -> None:
        """Arguments before widgets before the environment; an empty argument was not given."""
        environment = {
            "LAKEFLOW_JOB_META_CONTROL_TABLE": "e.e.e",
            "LAKEFLOW_JOB_META_MAX_ITERATIONS": "7",
            "LAKEFLOW_JOB_META_VOLUME_PATH": "/Volumes/e/e/e",
        }
        got = read(
            "--max_iterations", "1", widgets={"control_table": "c.s.t", "max_iterations": "3"}, **environment
        )
        assert got == Parameters(TABLE, "/Volumes/e/e/e", 60.0, 1)
        assert read("--control_table=", **environment).control_table == TableName("e", "e", "e")

    def test_variables_and_settings(self) -> None:
        """Variables are a JSON object; every setting is a parameter, of its own type."""
        got = read(
            "--control_table=c.s.t",
            '--variables={"env": "dev", "n": 1}',
            "--drift",
            "Report",
            "drift_interval",
            "30",
        )
        assert got.flags == {"variables": {"env": "dev", "n": "1"}, "drift": "report", "drift_interval": 30.0}

    def test_everything_wrong_is_said_at_once(self) -> None:
        """One error names every parameter that is wrong, with what it must be."""
        with pytest.raises(UsageError) as raised:
            read(
                "--control_table=only.two", "--check_interval_seconds=0", "--max_iterations", "many",
                "--variables=[1]", "--volum_path=/Volumes/x", "--drift=never", "--volume_path",
            )  # fmt: skip
        text = str(raised.value)
        for part in (
            "'only.two' is not a table name", "check_interval_seconds must be a number of seconds above 0, not '0'",
            "max_iterations must be a whole number of at least 1, or empty for ever, not 'many'",
            "variables must be mapping", "did you mean --volume_path?", "drift must be enforce | report | ignore",
            "--volume_path has no value",
        ):  # fmt: skip
            assert part in text

    def test_a_missing_control_table(self) -> None:
        """The sentence says the three ways to give it."""
        with pytest.raises(
            UsageError,
            match=r"control_table is missing.*widget.*--control_table=.*LAKEFLOW_JOB_META_CONTROL_TABLE",
        ):
            read()

    @pytest.mark.parametrize("value", ["-1", "1.5", "nan", "inf", "soon"])
    def test_an_interval_that_is_none(self, value: str) -> None:
        """Negative, endless and wordy intervals are wrong; a fraction of a second is not."""
        if value == "1.5":
            assert (
                read("--control_table=c.s.t", f"--check_interval_seconds={value}").check_interval_seconds
                == 1.5
            )
            return
        with pytest.raises(UsageError, match="check_interval_seconds"):
            read("--control_table=c.s.t", f"--check_interval_seconds={value}")


class Monitor:
    """A monitor whose ticks are given."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        self.stopped = False
        self.asked: list[int | None] = []

    def run_continuous(self, max_iterations: int | None = None) -> dict[str, Any]:
        self.asked.append(max_iterations)
        return {"errors": self.errors}


class TestRunning:
    def test_errors_of_the_last_tick_count_only_when_ticks_are_limited(self) -> None:
        """Ended by SIGTERM it is a success, whatever the last tick met."""
        monitor = Monitor(["bad"])
        limited = entry.run(
            ["--control_table=c.s.t", "--max_iterations=3"],
            widgets={},
            environment={},
            make=lambda _: monitor,
        )  # type: ignore[arg-type,return-value]
        endless = entry.run(["--control_table=c.s.t"], widgets={}, environment={}, make=lambda _: monitor)  # type: ignore[arg-type,return-value]
        assert (limited, endless, monitor.asked) == (["bad"], [], [3, None])

    def test_wrong_parameters_leave_with_64(self, capsys: pytest.CaptureFixture[str]) -> None:
        """One sentence on stderr, exit code 64; the sentence is in the exception, for the run's page."""
        with pytest.raises(SystemExit) as left:
            entry.main(["--control_table=c.s.t", "--max_iterations=0"])
        assert left.value.code == 64
        assert "max_iterations" in str(left.value)
        assert capsys.readouterr().err.startswith("error: max_iterations must be")

    def test_in_a_notebook_the_kernel_s_arguments_are_not_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Called from a notebook, the widgets speak, and an error is raised as itself."""
        monkeypatch.setattr(sys, "argv", ["/x/ipykernel_launcher.py", "-f", "/x/kernel-1.json"])
        with pytest.raises(LakeflowJobMetaError, match="control_table is missing"):
            entry.main()

    def test_widgets_of_the_notebook_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`dbutils` of the process is asked for all widgets."""

        class Widgets:
            def getAll(self) -> dict[str, str]:  # noqa: N802
                return {"control_table": "only.two"}

        class DBUtils:
            widgets = Widgets()

        monkeypatch.setattr(sys, "argv", ["/x/ipykernel_launcher.py", "-f", "/x/kernel-1.json"])
        monkeypatch.setattr("builtins.dbutils", DBUtils(), raising=False)
        with pytest.raises(UsageError, match=r"only\.two"):
            entry.main()
