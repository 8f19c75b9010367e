"""The package from outside: its names, its version, how quick it is to import, what it ships."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lakeflow_job_meta
from lakeflow_job_meta import errors
from tests.embedded import build_wheel

ROOT = Path(__file__).parents[1]
HEAVY = (
    "databricks",
    "pyspark",
    "httpx",
    "pysail",
    "deltalake",
    "starlette",
    "pandas",
    "sqlglot",
    "jsonschema",
    "click",
    "rich",
)


def test_public_names_are_pinned() -> None:
    """Nothing is added to or taken from the public names by accident."""
    tree = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert set(lakeflow_job_meta.__all__) == tree | {
        "DatasetManager",
        "JobOrchestrator",
        "MetadataManager",
        "MetadataMonitor",
        "__version__",
    }
    assert dir(lakeflow_job_meta) == sorted(lakeflow_job_meta.__all__)


@pytest.mark.parametrize("name", lakeflow_job_meta.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Each name is imported when it is asked for."""
    assert getattr(lakeflow_job_meta, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there fails as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = lakeflow_job_meta.Nonsense


def test_services_take_the_arguments_that_are_promised() -> None:
    """The three services are made as the seed's README shows."""
    for service in (
        lakeflow_job_meta.MetadataManager,
        lakeflow_job_meta.JobOrchestrator,
        lakeflow_job_meta.MetadataMonitor,
    ):
        parameters = list(inspect.signature(service).parameters)
        assert parameters[0] == "control_table"
        assert {"spark", "workspace_client"} <= set(parameters)
    monitor = inspect.signature(lakeflow_job_meta.MetadataMonitor).parameters
    assert monitor["check_interval_seconds"].default == 60
    assert monitor["volume_path"].default is None


def test_version_is_one() -> None:
    """The installed distribution has the version that the package names."""
    assert importlib.metadata.version("lakeflow-job-meta") == lakeflow_job_meta.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", lakeflow_job_meta.__version__)
    assert f"## {lakeflow_job_meta.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def _loaded_by(code: str) -> set[str]:
    script = f"import sys; {code}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    """`import lakeflow_job_meta` loads no SDK, no Spark, no HTTP, and none of its own rooms."""
    loaded = _loaded_by("import lakeflow_job_meta")
    assert not loaded & set(HEAVY)
    assert {name for name in loaded if name.startswith("lakeflow_job_meta")} == {"lakeflow_job_meta"}


def test_help_loads_nothing_heavy() -> None:
    """`lakeflow-job-meta --help` loads no SDK, no Spark and no HTTP."""
    code = (
        "from lakeflow_job_meta.cli.program import program; program.main(['--help'], standalone_mode=False)"
    )
    assert not _loaded_by(code) & (set(HEAVY) - {"click"})


def _quickest(command: list[str], tries: int = 5) -> float:
    seconds = []
    for _ in range(tries):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def test_import_and_help_are_quick() -> None:
    """An import costs less than 0.15 s over a bare interpreter; `--help` less than 0.4 s in all."""
    bare = _quickest([sys.executable, "-c", "pass"])
    assert _quickest([sys.executable, "-c", "import lakeflow_job_meta"]) - bare < 0.15
    assert _quickest([str(Path(sys.executable).parent / "lakeflow-job-meta"), "--help"]) < 0.4


def test_console_scripts_are_installed() -> None:
    """The three entry points are declared, and lead to functions."""
    scripts = {
        entry.name: entry
        for entry in importlib.metadata.entry_points(group="console_scripts")
        if entry.name.startswith("lakeflow-job-meta")
    }
    assert set(scripts) == {"lakeflow-job-meta", "lakeflow-job-meta-monitor", "lakeflow-job-meta-task"}
    assert all(callable(entry.load()) for entry in scripts.values())


def test_base_dependencies_are_what_a_cluster_needs() -> None:
    """The wheel asks a cluster for nothing that only a laptop needs."""
    required = importlib.metadata.requires("lakeflow-job-meta") or []
    base = {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower() for line in required if "extra ==" not in line}
    assert base == {
        "click", "databricks-sdk", "httpx", "msgspec", "orjson", "python-dotenv", "pyyaml", "rich", "sqlglot", "structlog", "tenacity",
    }  # fmt: skip


def test_pinned_requirements_name_no_address() -> None:
    """requirements-dev.txt pins every package exactly, and names no registry."""
    lines = [
        line for line in (ROOT / "requirements-dev.txt").read_text().splitlines() if not line.startswith("#")
    ]
    assert lines
    assert all(re.match(r"^[A-Za-z0-9._-]+==\S+( ;.*)?$", line) for line in lines)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


def test_wheel_ships_its_data(wheel: Path) -> None:
    """The wheel has the schema, the type marker, and the demo's files; no tests, no tools."""
    import zipfile

    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "lakeflow_job_meta/py.typed",
        "lakeflow_job_meta/metadata/schema.json",
        "lakeflow_job_meta/policies/shipped/duplicate_files.sql",
        "lakeflow_job_meta/cli/demo_files/volume/sales.yaml",
        "lakeflow_job_meta/cli/demo_files/workspace/daily_sales.ipynb",
        "lakeflow_job_meta/cli/demo_files/wheel/pyproject.toml",
        "lakeflow_job_meta/cli/demo_files/wheel/demo_orders/__init__.py",
    ):
        assert needed in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"lakeflow_job_meta", f"lakeflow_job_meta-{lakeflow_job_meta.__version__}.dist-info"}


@pytest.mark.slow
def test_wheel_installs_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """From the package index it pulls nothing that only a laptop needs; import and `--help` are quick there.

    Left out where no package index answers.
    """
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    install = [*pip, "install", "--quiet", "--retries", "0", "--timeout", "10"]
    if subprocess.run([*install, "click"], capture_output=True, check=False).returncode:
        pytest.skip("no package index answers")
    done = subprocess.run([*install, str(wheel)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([*pip, "list", "--format", "freeze"], capture_output=True, text=True, check=True)
    installed = {line.split("==")[0].lower().replace("_", "-") for line in listed.stdout.split()}
    assert "databricks-sdk" in installed
    assert not installed & {
        "pysail", "pyspark", "pyspark-client", "deltalake", "starlette", "uvicorn", "pandas", "pyarrow", "nbclient",
        "ipykernel", "grpcio", "duckdb", "jsonschema", "pytest",
    }  # fmt: skip
    bare = _quickest([str(python), "-c", "pass"])
    assert _quickest([str(python), "-c", "import lakeflow_job_meta"]) - bare < 0.15
    assert _quickest([str(python.with_name("lakeflow-job-meta")), "--help"]) < 0.4
    for command in ("deploy", "doctor"):
        subprocess.run(
            [str(python.with_name("lakeflow-job-meta")), command, "--help"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    packed = "from lakeflow_job_meta.deployment.wheel import of_this_installation as own; print(own().name)"
    found = subprocess.run([str(python), "-c", packed], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == wheel.name
