"""Whose hit is it: by the unique upload name, by the token in it, then by the content's hash. Never a guess. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from lakeflow_job_meta.dxr.ledger import SentFile
from lakeflow_job_meta.dxr.responses import Hit


@dataclass(frozen=True, slots=True)
class Seen:
    """A hit as far as it has to be remembered.

    Args:
        hit_id: the document's id.
        digest: of all that it says.
        sha256: the content's, as Data X-Ray found it.
        by_name: matched by its name, not by its hash.
        extracted: it tells what became of the extraction of metadata.
    """

    hit_id: str
    digest: bytes
    sha256: str
    by_name: bool
    extracted: bool = True


class Matcher:
    """Matches the hits of one job to its files.

    Args:
        submission_id: part of every upload name of the job.
        files: of the job.
    """

    def __init__(self, submission_id: str, files: Sequence[SentFile]) -> None:
        self.files = files
        self._token = re.compile(re.escape(submission_id) + r"([0-9a-f]{5})(?![0-9a-f])")
        self._by_name = {unicodedata.normalize("NFC", one.upload_name): at for at, one in enumerate(files)}
        self._by_token = {}
        for at, one in enumerate(files):
            found = self._token.search(one.upload_name)
            if found is not None:
                self._by_token[found.group(1)] = at
        self._by_hash: dict[str, list[int]] = {}
        for at, one in enumerate(files):
            if one.sha256:
                self._by_hash.setdefault(one.sha256, []).append(at)

    def match(self, hit: Hit) -> tuple[int, bool] | None:
        """(the file's number, whether its name says so); None for a hit that is none of the job's files'."""
        name = unicodedata.normalize("NFC", hit.name).removeprefix("/")
        if name in self._by_name:
            return self._by_name[name], True
        token = self._token.search(name.rsplit("/", 1)[-1].lower())
        if token is not None and token.group(1) in self._by_token:
            return self._by_token[token.group(1)], True
        same = self._by_hash.get(hit.sha256, ()) if hit.sha256 else ()
        # two files of one content: the hash alone does not say which
        return (same[0], False) if len(same) == 1 else None


def seen(hit: Hit, by_name: bool) -> Seen:
    """What is remembered of a hit."""
    said = orjson.dumps(hit.source, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    extracted = hit.source.get("dxr#metadata_extraction_status") is not None
    return Seen(hit.id, hashlib.sha256(said).digest()[:16], hit.sha256, by_name, extracted)


def decide(file: SentFile, hits: Sequence[Seen]) -> tuple[Seen | None, str]:
    """The hit of a file, or why there is none: `(hit, "")`, `(None, "")` for no hit, `(None, reason)` for a doubt."""
    named = [one for one in hits if one.by_name] or list(hits)
    if not named:
        return None, ""
    if len(named) > 1 and file.sha256:
        named = [one for one in named if one.sha256 == file.sha256] or named
    if len(named) > 1:
        return None, f"{len(named)} documents in Data X-Ray claim to be this file"
    [one] = named
    if file.sha256 and one.sha256 and one.sha256 != file.sha256:
        return (
            None,
            f"the document of its name in Data X-Ray has other content (SHA-256 {one.sha256}, not {file.sha256})",
        )
    return one, ""
