"""The wheel of this very package, made where it is installed in editable mode, so that its own tasks run there, too.

Environments see no editable installs, and that is right for anybody's package; but a task of ours asks for the
version that rendered it, which is the one that is running here.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from tempfile import NamedTemporaryFile

import lakeflow_job_meta

#: As environments spell it.
NAME = "lakeflow-job-meta"
_STEM = "lakeflow_job_meta"
#: Every file of the archive has it, so that equal sources make equal wheels.
_DATE = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: lakeflow_job_meta\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build(folder: Path) -> Path:
    """The wheel of the sources as they are now, in a folder named by their hash; made once.

    Args:
        folder: where such wheels lie.
    """
    source = Path(lakeflow_job_meta.__file__).parent
    files = [(f"{_STEM}/{path.relative_to(source).as_posix()}", path.read_bytes()) for path in _files(source)]
    version = lakeflow_job_meta.__version__
    information = f"{_STEM}-{version}.dist-info"
    files += [(f"{information}/{name}", text.encode()) for name, text in _information()]
    record = "".join(f"{name},{_digest(data)},{len(data)}\n" for name, data in files)
    files.append((f"{information}/RECORD", f"{record}{information}/RECORD,,\n".encode()))
    key = hashlib.sha256("".join(f"{name}:{_digest(data)}" for name, data in files).encode()).hexdigest()[:24]
    target = folder / f"own-{key}" / f"{_STEM}-{version}-py3-none-any.whl"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # tasks that start together make it at the same time: a file each, and the last one stays
        with NamedTemporaryFile(dir=target.parent, suffix=".partial", delete=False) as partial:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for name, data in files:
                    archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
            Path(partial.name).replace(target)
    return target


def _files(source: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _information() -> Iterator[tuple[str, str]]:
    distribution = metadata.distribution(NAME)
    yield "METADATA", distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    yield "WHEEL", _WHEEL
    yield "entry_points.txt", distribution.read_text("entry_points.txt") or ""


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
