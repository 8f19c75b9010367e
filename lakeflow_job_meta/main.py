"""Entry point of the monitor: a job's task (wheel, Python file or notebook), or a console script.

Parameters come as widgets (a notebook's base_parameters), as `--flags`, as `KEY VALUE` pairs, or from
the environment. An empty text means: not given, since a job's parameter cannot be left out.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.errors import LakeflowJobMetaError, UsageError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.settings import BY_NAME

if TYPE_CHECKING:
    from lakeflow_job_meta.monitor import MetadataMonitor

#: Parameters of the monitor itself; every setting is one too.
PARAMETERS = (
    "control_table",
    "volume_path",
    "check_interval_seconds",
    "max_iterations",
    "variables",
    "warehouse_id",
)
_OWN_ENVIRONMENT = "LAKEFLOW_JOB_META_"


@dataclass(frozen=True)
class Parameters:
    """What the monitor was told; `flags` are settings by name."""

    control_table: TableName
    volume_path: str | None = None
    check_interval_seconds: float = 60.0
    max_iterations: int | None = None
    warehouse_id: str | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)


class _Left(SystemExit):
    """Leaves with an exit code and a sentence: Databricks shows the one, shells the other."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the monitor until it is stopped, or for `max_iterations` ticks.

    Args:
        arguments: `--name=value`, `--name value` or `name value`; None: those of the process, and
            in a notebook its widgets.

    Raises:
        LakeflowJobMetaError: in a notebook: wrong parameters, or the last tick had errors.
        SystemExit: elsewhere: 64 for wrong parameters, 1 when the last tick had errors.
    """
    in_notebook = arguments is None and _started_by_kernel(sys.argv)
    try:
        errors = run(arguments, widgets=_widgets(), in_notebook=in_notebook)
    except LakeflowJobMetaError as error:
        if in_notebook:
            raise
        raise _left(f"error: {error}", error.exit_code) from error
    if errors:
        text = f"the last tick had {len(errors)} error{'s' if len(errors) > 1 else ''}: " + "; ".join(errors)
        if in_notebook:
            raise LakeflowJobMetaError(text)
        raise _left(f"error: {text}", 1)


def run(
    arguments: Sequence[str] | None,
    *,
    widgets: Mapping[str, str],
    in_notebook: bool = False,
    environment: Mapping[str, str] | None = None,
    make: Callable[[Parameters], MetadataMonitor] | None = None,
) -> list[str]:
    """Read the parameters, run the monitor; returns the errors of the last tick when the ticks were limited.

    Args:
        arguments: as in `main`.
        widgets: parameters of a notebook; arguments win over them.
        make: builds the monitor.
    """
    if arguments is None:
        arguments = [] if in_notebook else sys.argv[1:]
    parameters = read_parameters(arguments, widgets, os.environ if environment is None else environment)
    configure_log()
    _log_start(parameters)
    monitor = (make or _make)(parameters)
    last = monitor.run_continuous(parameters.max_iterations)
    limited = parameters.max_iterations is not None and not monitor.stopped
    return list(last.get("errors", ())) if limited else []


def read_parameters(
    arguments: Sequence[str], widgets: Mapping[str, str], environment: Mapping[str, str]
) -> Parameters:
    """The parameters, strongest first: arguments, widgets, environment.

    Raises:
        UsageError: listing everything that is wrong.
    """
    wrong: list[str] = []
    given = {name: value for name, value in widgets.items() if name in PARAMETERS or name in BY_NAME}
    given |= _arguments(arguments, wrong)
    given = {name: value.strip() for name, value in given.items() if value.strip()}
    for name in PARAMETERS:
        value = environment.get(f"{_OWN_ENVIRONMENT}{name.upper()}")
        if value and name not in BY_NAME:  # settings are read from the environment by the runtime
            given.setdefault(name, value)
    table = _read(given, "control_table", TableName.parse, wrong)
    if "control_table" not in given:
        wrong.append(
            "control_table is missing: give it as a widget (base_parameters), as --control_table=CATALOG.SCHEMA.TABLE, "
            f"or as {_OWN_ENVIRONMENT}CONTROL_TABLE"
        )
    interval = _read(given, "check_interval_seconds", _positive, wrong)
    iterations = _read(given, "max_iterations", _count, wrong)
    flags: dict[str, Any] = {}
    for name in sorted(set(given) & set(BY_NAME)):
        value = _read(given, name, lambda text, name=name: BY_NAME[name].read(text, "parameter"), wrong)  # type: ignore[misc]
        if value is not None:
            flags[name] = value
    if wrong:
        raise UsageError("; ".join(wrong))
    assert table is not None
    return Parameters(
        control_table=table,
        volume_path=given.get("volume_path"),
        check_interval_seconds=60.0 if interval is None else interval,
        max_iterations=iterations,
        warehouse_id=given.get("warehouse_id"),
        flags=flags,
    )


def configure_log() -> None:
    """Log lines on stderr: for people on a terminal, else one JSON object a line. Keeps what is configured already."""
    import structlog

    if structlog.is_configured():
        return
    shown: Any = structlog.processors.JSONRenderer(default=str)
    if sys.stderr.isatty():
        shown = structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if sys.stderr.isatty() else [structlog.processors.format_exc_info]),
            shown,
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _log_start(parameters: Parameters) -> None:
    """Which code runs, and from where: the first question after a deployment."""
    import structlog

    from lakeflow_job_meta import __version__

    structlog.get_logger("lakeflow_job_meta.main").info(
        "monitor starts",
        version=__version__,
        code=str(PurePath(__file__).parent),
        control_table=str(parameters.control_table),
        volume_path=parameters.volume_path,
    )


def _make(parameters: Parameters) -> MetadataMonitor:
    from lakeflow_job_meta.monitor import MetadataMonitor

    return MetadataMonitor(
        parameters.control_table,
        parameters.check_interval_seconds,
        parameters.volume_path,
        warehouse_id=parameters.warehouse_id,
        flags=parameters.flags,
    )


def _arguments(arguments: Sequence[str], wrong: list[str]) -> dict[str, str]:
    """`--name=value`, `--name value` and `name value`, dashes and underscores alike."""
    known = {*PARAMETERS, *BY_NAME}
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = name.removeprefix("--").replace("-", "_")
        if name not in known:
            close = get_close_matches(name, sorted(known), n=1)
            hint = (
                f"did you mean --{close[0]}?"
                if close
                else f"known are {', '.join(PARAMETERS)}, and every setting"
            )
            wrong.append(f"unknown parameter {word!r} ({hint})")
            if word.startswith("--") and not equals and rest and not rest[0].startswith("--"):
                rest.pop(0)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                wrong.append(f"{word} has no value")
                continue
            value = rest.pop(0)
        given[name] = value
    return given


def _read(given: Mapping[str, str], name: str, convert: Callable[[str], Any], wrong: list[str]) -> Any:
    if name not in given:
        return None
    try:
        return convert(given[name])
    except UsageError as error:
        wrong.append(str(error))
    except ValueError as error:
        wrong.append(f"{name} must be {error}, not {given[name]!r}")
    return None


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError("a number of seconds above 0")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("a whole number of at least 1, or empty for ever")
    return int(text)


def _started_by_kernel(argv: Sequence[str]) -> bool:
    """Whether the process's arguments are a notebook kernel's own, and none of ours."""
    program = PurePath(argv[0]).name if argv else ""
    return "ipykernel_launcher" in program or any(
        word == "-f" and file.endswith(".json") for word, file in pairwise(argv)
    )


def _widgets() -> dict[str, str]:
    """The widgets of the notebook that this runs in; empty elsewhere."""
    dbutils = getattr(builtins, "dbutils", None)
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        dbutils = shell.user_ns.get("dbutils", dbutils)
    read = getattr(getattr(dbutils, "widgets", None), "getAll", None)
    return {str(name): str(value) for name, value in dict(read()).items()} if callable(read) else {}


def _left(text: str, code: int) -> SystemExit:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    return _Left(text, code)


if __name__ == "__main__":
    main()
