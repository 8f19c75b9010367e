"""Cached environments: wheels over the parent's packages, without the network."""

from __future__ import annotations

import subprocess
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.runs import own_wheel
from lakeflow_job_meta.local.runs.environments import Environments, dependencies_of

from .wheels import make_wheel


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder.at(tmp_path / "workspace")
    made.prepare()
    return made


def ask(python: Path, code: str) -> str:
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def libs(folder: Folder) -> Path:
    return folder.volumes / "main" / "lib" / "v"


def test_wheel_over_the_parent(folder: Folder) -> None:
    """The wheel can be imported, the parent's packages too, and it takes at most a few seconds."""
    make_wheel(libs(folder), "acme_etl", {"acme_etl.py": "VALUE = 1\n"}, requires=["databricks-sdk>=0.1"])
    begun = time.monotonic()
    python = Environments(folder).python(["/Volumes/main/lib/v/acme_etl-1.0-py3-none-any.whl", "pyyaml>=5"])
    assert time.monotonic() - begun < 10
    assert ask(python, "import acme_etl, yaml; print(acme_etl.VALUE, acme_etl.__file__)").startswith(
        f"1 {folder.environments}"
    )


def test_cached_until_the_wheel_changes(folder: Folder) -> None:
    """The same content is installed once; a wheel that changed under its path gives another environment."""
    line = "/Volumes/main/lib/v/acme_etl-1.0-py3-none-any.whl"
    environments = Environments(folder)
    make_wheel(libs(folder), "acme_etl", {"acme_etl.py": "VALUE = 1\n"})
    first = environments.python([line])
    made = (first.parent.parent / "pyvenv.cfg").stat().st_mtime_ns
    assert environments.python([line]) == first
    assert (first.parent.parent / "pyvenv.cfg").stat().st_mtime_ns == made
    make_wheel(libs(folder), "acme_etl", {"acme_etl.py": "VALUE = 2\n"})
    second = environments.python([line])
    assert second != first
    assert [ask(python, "import acme_etl; print(acme_etl.VALUE)") for python in (first, second)] == ["1", "2"]


def test_first_use_by_many(folder: Folder) -> None:
    """Several tasks that need a new environment at once all get it whole."""
    make_wheel(libs(folder), "acme_etl", {"acme_etl.py": "VALUE = 1\n"})
    found: list[str] = []
    environments = Environments(folder)

    def use() -> None:
        python = environments.python(["/Volumes/main/lib/v/acme_etl-1.0-py3-none-any.whl"])
        found.append(ask(python, "import acme_etl; print(acme_etl.VALUE)"))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["1"] * 4
    assert len([entry for entry in folder.environments.iterdir() if entry.is_dir()]) == 1


def test_half_made_one_is_made_again(folder: Folder) -> None:
    """What a killed process left unfinished is not used."""
    make_wheel(libs(folder), "acme_etl", {"acme_etl.py": "VALUE = 1\n"})
    line = "/Volumes/main/lib/v/acme_etl-1.0-py3-none-any.whl"
    environments = Environments(folder)
    python = environments.python([line])
    (python.parent.parent / "ready").unlink()
    for path in python.parent.parent.glob("lib/*/site-packages/acme_etl.py"):
        path.unlink()
    assert ask(environments.python([line]), "import acme_etl; print(acme_etl.VALUE)") == "1"


def test_requirements_file(folder: Folder) -> None:
    """`-r file` is read, relative wheels in it are found beside it, comments and index options are no matter."""
    make_wheel(libs(folder), "acme_etl", {"acme_etl.py": "VALUE = 1\n"})
    (libs(folder) / "requirements.txt").write_text(
        "# comment\n--index-url https://example.invalid/simple\npyyaml  # fine\nacme_etl-1.0-py3-none-any.whl\n"
    )
    python = Environments(folder).python(["-r /Volumes/main/lib/v/requirements.txt"])
    assert ask(python, "import acme_etl; print(acme_etl.VALUE)") == "1"


def test_editable_installs_do_not_leak(folder: Folder, tmp_path: Path) -> None:
    """The parent's .pth files are not run: what is only linked into it is not there."""
    python = Environments(folder).python(["pyyaml"])
    path = ask(python, "import sys; print(sys.path)")
    assert "__editable__" not in path
    assert ask(python, "import yaml; print(yaml.__name__)") == "yaml"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no-such-package-anywhere", "no-such-package-anywhere, which is not installed beside the workspace"),
        ("pyyaml>=999", r"pyyaml>=999, but version \S+ is installed"),
        ("/Volumes/main/lib/v/gone-1.0-py3-none-any.whl", "does not exist"),
        ("/Volumes/main/lib/v/no_wheel.whl", "no wheel"),
        ("git+https://example.invalid/x.git", "only wheels, requirements"),
        ("./relative-1.0-py3-none-any.whl", "absolute path"),
        ("-r /Volumes/main/lib/v/gone.txt", "does not exist"),
        ("/Volumes/../../etc/x-1.0-py3-none-any.whl", "no volume path"),
    ],
)
def test_what_cannot_be_installed(folder: Folder, line: str, message: str) -> None:
    """Every line that cannot be met is named with its reason."""
    libs(folder).mkdir(parents=True)
    (libs(folder) / "no_wheel.whl").write_text("x")
    with pytest.raises(LocalError, match=message):
        Environments(folder).python([line])


def test_all_problems_at_once(folder: Folder) -> None:
    """One error lists everything that is missing, what wheels need included."""
    make_wheel(
        libs(folder), "acme_etl", {"acme_etl.py": ""}, requires=["missing-one>=1", "x; extra == 'more'"]
    )
    with pytest.raises(LocalError) as raised:
        Environments(folder).python(["/Volumes/main/lib/v/acme_etl-1.0-py3-none-any.whl", "missing-two"])
    assert "missing-two" in str(raised.value)
    assert "acme_etl-1.0-py3-none-any.whl needs missing-one>=1" in str(raised.value)
    assert "extra" not in str(raised.value)


def test_wheels_meet_one_another(folder: Folder) -> None:
    """What one wheel needs may be another wheel of the list; extras bring their needs."""
    make_wheel(libs(folder), "base_lib", {"base_lib.py": "VALUE = 7\n"}, version="2.0")
    make_wheel(
        libs(folder),
        "acme_etl",
        {"acme_etl.py": "from base_lib import VALUE\n"},
        requires=["base-lib>=2; extra == 'all'"],
    )
    environments = Environments(folder)
    wheel = "/Volumes/main/lib/v/acme_etl-1.0-py3-none-any.whl"
    with pytest.raises(LocalError, match="base-lib>=2"):
        environments.python([f"{wheel}[all]"])
    python = environments.python([f"{wheel}[all]", "/Volumes/main/lib/v/base_lib-2.0-py3-none-any.whl"])
    assert ask(python, "import acme_etl; print(acme_etl.VALUE)") == "7"


def test_dependencies_of_a_task() -> None:
    """Environment and libraries together; none at all means the workspace's own interpreter."""
    settings = {
        "environments": [
            {"environment_key": "e", "spec": {"environment_version": "2", "dependencies": ["a"]}}
        ]
    }
    libraries = [{"whl": "/w.whl"}, {"pypi": {"package": "b"}}, {"requirements": "/r.txt"}]
    assert dependencies_of({"environment_key": "e", "libraries": libraries}, settings) == [
        "a",
        "/w.whl",
        "b",
        "-r /r.txt",
    ]
    assert dependencies_of({}, settings) is None
    assert dependencies_of({"environment_key": "e"}, {"environments": [{"environment_key": "e"}]}) == []
    with pytest.raises(LocalError, match="jar library"):
        dependencies_of({"libraries": [{"jar": "/x.jar"}]}, {})
    with pytest.raises(LocalError, match="not defined"):
        dependencies_of({"environment_key": "other"}, settings)


def test_tasks_that_start_together_make_the_packages_own_wheel(tmp_path: Path) -> None:
    """Nobody takes another's half-made file: each gets a whole wheel, and nothing is left beside it."""
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(own_wheel.build, [tmp_path] * 8))
    [wheel] = made
    assert zipfile.ZipFile(wheel).testzip() is None
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]
