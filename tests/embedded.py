"""An embedded workspace for a test module, and programs that are run against it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from lakeflow_job_meta.local import process
from lakeflow_job_meta.local.connection import Connection

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
T = TypeVar("T")
# pyspark looks for its home, and gives up where there is no main file (as under xdist); any folder will do.
os.environ.setdefault("SPARK_HOME", str(ROOT))


def environment(connection: Connection | None = None, **more: str) -> dict[str, str]:
    """This process's environment for a child: no workspace but the given one, our programs first in PATH."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABRICKS_", "SPARK_", "LAKEFLOW_JOB_META_", "PYTEST_"))
    }
    kept["PATH"] = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
    kept["NO_COLOR"] = "1"
    if connection is not None:
        kept.update(connection.environment())
    return {**kept, **more}


@contextmanager
def running(folder: Path) -> Iterator[Connection]:
    """The embedded workspace of `folder`, ended with the block."""
    try:
        yield process.ensure_up(folder)
    finally:
        process.stop(folder)


def run(
    *command: str,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    seconds: float = 240,
) -> subprocess.CompletedProcess[str]:
    """A program to its end; its output is kept."""
    return subprocess.run(
        command,
        env=dict(env) if env is not None else environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def build_wheel(target: Path, version: str = "") -> Path:
    """The wheel of this package, built from a copy: builds side by side would share a folder.

    Args:
        version: given to the copy, so that the wheel can be told from the checkout.
    """
    source = target / "source"
    shutil.copytree(
        ROOT / "lakeflow_job_meta", source / "lakeflow_job_meta", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    if version:
        module = source / "lakeflow_job_meta" / "__init__.py"
        text, count = re.subn(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', module.read_text())
        assert count == 1
        module.write_text(text)
    env = environment(None, PYTHONWARNINGS="ignore")
    done = run(
        "python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source), env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = target.glob("*.whl")
    return wheel


def wait_for(question: Callable[[], T | None], what: str, seconds: float = 90) -> T:
    """What `question` answers as soon as that is something; fails when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} seconds still not: {what}")
        time.sleep(0.25)
