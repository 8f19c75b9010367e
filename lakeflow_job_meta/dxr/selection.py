"""Which files of a volume a run takes, and why the others are left. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from lakeflow_job_meta.dxr.ledger import Checkpoint, to_milliseconds
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.ports import FileInfo

#: What to do with a file: send it, hash it first, leave it, or count it as failed for good.
Verdict = Literal["new", "hash", "unchanged", "given_up"]
#: Milliseconds: a time cut to whole seconds is equal to one that is not.
_SECOND = 1000
_UNSAFE = re.compile(r"[^\w.\- ]+")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,12}")
#: Characters of the file's own name that are kept in its upload name.
_STEM = 60


@dataclass(frozen=True)
class Selection:
    """The files that a run is about, by path below the volume.

    Args:
        include: globs; none: every file.
        exclude: globs.
        since: only files modified then or later.
        sample_percent: share of the files; the same ones in every run.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    since: datetime | None = None
    sample_percent: float = 100.0

    def __post_init__(self) -> None:
        _ = self._included, self._excluded  # a wrong pattern is told before anything is done

    def takes(self, relative_path: str, info: FileInfo) -> bool:
        """Whether the file is one of them."""
        if self._included and not any(one.fullmatch(relative_path) for one in self._included):
            return False
        if any(one.fullmatch(relative_path) for one in self._excluded):
            return False
        if self.since is not None and info.modified_at < to_milliseconds(self.since):
            return False
        return self.sample_percent >= 100 or _share(relative_path) < self.sample_percent

    @cached_property
    def _included(self) -> list[re.Pattern[str]]:
        return [glob(one) for one in self.include]

    @cached_property
    def _excluded(self) -> list[re.Pattern[str]]:
        return [glob(one) for one in self.exclude]


def glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: `*` and `?` stay in one folder, `**` crosses; without `/` it is about names.

    Raises:
        UsageError: the pattern is empty.
    """
    wanted = pattern.strip().lstrip("/")
    if not wanted:
        raise UsageError("an include or exclude pattern is empty: write one like *.pdf or finance/**")
    if "/" not in wanted:
        wanted = f"**/{wanted}"
    if wanted.endswith("/"):
        wanted += "**"
    parts: list[str] = []
    position = 0
    while position < len(wanted):
        if wanted.startswith("**/", position):
            parts.append("(?:.*/)?")
            position += 3
        elif wanted.startswith("**", position):
            parts.append(".*")
            position += 2
        elif wanted[position] == "*":
            parts.append("[^/]*")
            position += 1
        elif wanted[position] == "?":
            parts.append("[^/]")
            position += 1
        elif wanted[position] == "[" and (end := wanted.find("]", position + 2)) > 0:
            inner = wanted[position + 1 : end].replace("\\", "\\\\")
            inner = "^" + inner[1:] if inner[0] == "!" else inner
            parts.append(f"[{inner}]")
            position = end + 1
        else:
            parts.append(re.escape(wanted[position]))
            position += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a pattern of file names: {error}") from error


def judge(
    info: FileInfo,
    known: Checkpoint | None,
    *,
    in_flight: bool,
    reprocess: bool = False,
    max_attempts: int = 3,
) -> Verdict:
    """What to do with a file.

    Args:
        in_flight: the job that the checkpoint names is still open.
        reprocess: send it even if it did not change.
    """
    if known is None or known.state in {"skipped", "deleted"}:
        return "new"
    unchanged = known.size == info.size
    if unchanged and not same_time(known.modified_at, info.modified_at):
        return "hash" if known.checksum and not reprocess else "new"
    if not unchanged:
        return "new"
    if known.state == "submitted":
        return "unchanged" if in_flight else "new"
    if reprocess:
        return "new"
    if known.state == "classified":
        return "unchanged"
    return "new" if known.attempts < max_attempts else "given_up"


def same_time(one: int | None, other: int | None) -> bool:
    """Whether two times in ms are equal, one of them perhaps cut to whole seconds."""
    if one is None or other is None:
        return False
    if one % _SECOND and other % _SECOND:
        return one == other
    return one // _SECOND == other // _SECOND


def upload_name(path: str, submission_id: str, number: int) -> str:
    """A name that no other upload has: the file's own, made safe, with a token before its extension.

    The token is in the last part, so that it stays when Data X-Ray drops folders.
    """
    name = unicodedata.normalize("NFC", path.rsplit("/", 1)[-1])
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or not _EXTENSION.fullmatch(f".{extension}"):
        stem, extension = name, ""
    stem = _UNSAFE.sub("_", stem).strip(" .")[:_STEM].strip(" .") or "file"
    return f"{stem}_{token(submission_id, number)}" + (f".{extension}" if extension else "")


def token(submission_id: str, number: int) -> str:
    """What makes an upload name unique: the submission and the file's number in it."""
    return f"{submission_id}{number:05x}"


def _share(text: str) -> float:
    """A number from 0 to 100 that depends on nothing but the text."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 * 100
