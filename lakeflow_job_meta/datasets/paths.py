"""Where landed files lie, and which paths may be named. Pure, but for links, which only the file system knows.

`<landing>/<tenant>/<dataset_id>/<version>.parquet`: every part is ours, nothing of a client's file name is in it.
"""

from __future__ import annotations

import os
import re

from lakeflow_job_meta.datasets.naming import tenant_part
from lakeflow_job_meta.errors import DatasetError

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def landed_path(landing: str, tenant_id: str, dataset_id: str, version: int) -> str:
    """The path of a version's Parquet file.

    Raises:
        DatasetError: the dataset's id is no plain name.
    """
    if not _PART.fullmatch(dataset_id):
        raise DatasetError(f"{dataset_id!r} is no id of a dataset: letters, digits, `-` and `_` only")
    return f"{landing.rstrip('/')}/{tenant_part(tenant_id)}/{dataset_id}/{version}.parquet"


def check_path(path: str, landing: str, tenant_id: str, dataset_id: str = "") -> str:
    """The path, when it is one of the tenant's landed files (and the dataset's, when that is given).

    `..`, backslashes, control characters, percent signs (an encoded path) and links that lead out of the
    tenant's folder are refused; two dots inside a name are not.

    Raises:
        DatasetError: naming what is wrong with it.
    """
    wrong = _wrong(path)
    if wrong:
        raise DatasetError(f"{path!r} is no path of a landed file: {wrong}")
    folder = f"{landing.rstrip('/')}/{tenant_part(tenant_id)}/"
    if dataset_id:
        folder += f"{dataset_id}/"
    if not path.startswith(folder):
        raise DatasetError(
            f"{path!r} lies outside {folder}: a dataset may only name files that were landed for it"
        )
    _check_links(path, landing)
    return path


def _wrong(path: str) -> str:
    if not path.startswith("/"):
        return "it must be absolute"
    if "\\" in path:
        return "it has a backslash"
    if "%" in path:
        return "it has a percent sign; write it without encoding"
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        return "it has a control character"
    parts = path[1:].split("/")
    if ".." in parts:
        return "it has `..`"
    if "" in parts or "." in parts:
        return "it has an empty part or `.`"
    return "" if path.endswith(".parquet") else "it does not end in .parquet"


def _check_links(path: str, landing: str) -> None:
    """Where the file can be seen as a file here, nothing below the landing folder may be a link."""
    if not os.path.lexists(path):
        return
    root = landing.rstrip("/")
    if os.path.realpath(path) != os.path.realpath(root) + path[len(root) :]:
        raise DatasetError(f"{path!r} leads elsewhere by a link: land the file itself")
