"""Makes wheels out of thin air: a wheel is a zip file with metadata."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, str],
    *,
    version: str = "1.0",
    requires: Sequence[str] = (),
    entry_points: str = "",
) -> Path:
    """A wheel with the modules in `files`; entry_points is the text of entry_points.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    content = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if entry_points:
        content[f"{info}/entry_points.txt"] = entry_points
    content[f"{info}/RECORD"] = "".join(f"{entry},,\n" for entry in (*content, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in content.items():
            archive.writestr(entry, text)
    return path
