"""`/Volumes` and `/Workspace` inside a task's process, for Python's own file functions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lakeflow_job_meta.local.runs import task_process
from lakeflow_job_meta.local.runs.task_process.paths import Paths

PROGRAM = """
import glob, os, pathlib, shutil, sys, zipfile
sys.path.insert(0, sys.argv[1])
from task_process.paths import Paths
os.mkdir("V"), os.mkdir("W")
root = os.getcwd()
Paths(root + "/V", root + "/W").install()

d = pathlib.Path("/Volumes/main/s/v/d")
d.mkdir(parents=True)
(d / "a.txt").write_text("hi")
(d / "sub").mkdir()
(d / "sub" / "b.txt").write_bytes(b"x")
assert sorted(p.name for p in d.iterdir()) == ["a.txt", "sub"]
found = sorted(str(p) for p in d.rglob("*.txt"))
assert found == ["/Volumes/main/s/v/d/a.txt", "/Volumes/main/s/v/d/sub/b.txt"], found
assert sorted(glob.glob("/Volumes/main/s/v/d/*")) == ["/Volumes/main/s/v/d/a.txt", "/Volumes/main/s/v/d/sub"]
assert (d / "a.txt").is_file() and d.is_dir() and os.path.isdir(d) and os.path.exists("/Volumes/main")
assert (d / "a.txt").stat().st_size == os.path.getsize(d / "a.txt") == 2
(d / "a.txt").rename(d / "c.txt")
shutil.copytree(d, "/Volumes/main/s/v/e")
walked = [(folder, sorted(files)) for folder, _, files in os.walk("/Volumes/main/s/v/e")]
assert walked == [("/Volumes/main/s/v/e", ["c.txt"]), ("/Volumes/main/s/v/e/sub", ["b.txt"])], walked
with os.scandir("/Volumes/main/s/v/e") as entries:
    assert sorted((e.path, e.is_dir()) for e in entries)[0] == ("/Volumes/main/s/v/e/c.txt", False)
shutil.rmtree("/Volumes/main/s/v/e")
assert not os.path.exists("/Volumes/main/s/v/e")
shutil.move("/Volumes/main/s/v/d/c.txt", "/Volumes/main/s/v/d/m.txt")
assert open("/Volumes/main/s/v/d/m.txt").read() == "hi"
with zipfile.ZipFile("/Volumes/main/z.zip", "w") as archive:
    archive.write("/Volumes/main/s/v/d/m.txt", "m")
pathlib.Path("/Workspace/lib").mkdir()
pathlib.Path("/Workspace/lib/from_the_workspace.py").write_text("X = 1")
sys.path.append("/Workspace/lib")
import from_the_workspace
os.chdir("/Volumes/main")
assert os.path.exists("z.zip") and os.path.realpath("/Volumes/main") == "/Volumes/main"
"""


def test_mounts(tmp_path: Path) -> None:
    """open, os, pathlib, glob, shutil, zipfile and imports work below the mounts, and only there."""
    folder = str(Path(task_process.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "V" / "main" / "z.zip").is_file()
    assert (tmp_path / "W" / "lib" / "from_the_workspace.py").is_file()


def test_there_and_back() -> None:
    """A path is mapped to its file, and a file shown as its path; everything else stays."""
    paths = Paths("/data/V", "/data/W")
    for shown, local in (
        ("/Volumes/c/s/v/x", "/data/V/c/s/v/x"),
        ("/Volumes/c/s/v/", "/data/V/c/s/v/"),
        ("/Workspace", "/data/W"),
        ("/tmp/x", "/tmp/x"),
        ("/Volumes2/x", "/Volumes2/x"),
        ("relative", "relative"),
    ):
        assert paths.local(shown) == local
        assert paths.shown(local) == shown
