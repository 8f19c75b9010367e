"""Names: tables and their quoting, task keys, ownership tags, hashes. Pure; knows only errors.

Every identifier and string that reaches SQL goes through here or is bound as a parameter.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from lakeflow_job_meta.errors import UsageError

#: Tag on every job of ours: the hash of the control table's full name.
TABLE_TAG = "lakeflow_job_meta"
#: Tag on every job of ours: slug and hash of the module, and what retiring remembers.
MODULE_TAG = "lakeflow_job_meta_module"
#: Users keep this many of the platform's 25 tags.
USER_TAGS = 23

# Unity Catalog: at most 255 characters, no dot, slash, space or control characters.
_UC_FORBIDDEN = re.compile(r"[./ \x00-\x1f\x7f]")
_TASK_KEY_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
_SLUG_FORBIDDEN = re.compile(r"[^a-z0-9_]+")
_PARTS = re.compile(r"`((?:[^`]|``)+)`|([^.`]+)")


def quote_identifier(name: str) -> str:
    """`name` between backticks, inner backticks doubled: safe for any string."""
    return "`" + name.replace("`", "``") + "`"


def canonical_json(value: Any) -> str:
    """JSON text that is equal for equal values: sorted keys, no spaces, no escapes for Unicode."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any, length: int = 64) -> str:
    """SHA-256 in hex of a text, bytes, or any JSON value in canonical form, cut to `length`."""
    if isinstance(value, bytes):
        data = value
    else:
        text = value if isinstance(value, str) else canonical_json(value)
        data = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:length]


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A three-part Unity Catalog name, stored in lower case as Unity Catalog does."""

    catalog: str
    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """`catalog.schema.table`, parts optionally between backticks.

        Raises:
            UsageError: it has not three parts, or a part breaks Unity Catalog's rules
                (1 to 255 characters; no dot, slash, space or control character).
        """
        parts: list[str] = []
        position = 0
        while True:
            match = _PARTS.match(text, position)
            if match is None:
                break
            quoted, plain = match.groups()
            parts.append(quoted.replace("``", "`") if quoted is not None else plain)
            position = match.end()
            if position == len(text) or text[position] != ".":
                break
            position += 1
        if position != len(text) or len(parts) != 3:
            raise UsageError(f"{text!r} is not a table name: write catalog.schema.table")
        for part in parts:
            if len(part) > 255 or _UC_FORBIDDEN.search(part):
                raise UsageError(
                    f"{part!r} in {text!r} is not a Unity Catalog name: at most 255 characters, "
                    "without dots, slashes, spaces and control characters"
                )
        return cls(*(part.lower() for part in parts))

    @property
    def quoted(self) -> str:
        """The name for SQL, every part between backticks."""
        return ".".join(quote_identifier(part) for part in (self.catalog, self.schema, self.table))

    def companion(self, suffix: str) -> TableName:
        """The table beside this one whose name has `_suffix` appended."""
        return TableName(self.catalog, self.schema, f"{self.table}_{suffix}")

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"


def task_key(source_id: str, step: str = "") -> str:
    """The task_key of a source: characters that the Jobs API forbids become `_`.

    At most 100 characters; a longer one is cut, and gets `_` and 8 hex digits of the whole id's hash.

    Args:
        step: name of one of several tasks of the source; the key ends in `__<step>`.
    """
    end = f"__{step}" if step else ""
    key = _TASK_KEY_FORBIDDEN.sub("_", source_id)
    if len(key) + len(end) > 100:
        key = f"{key[: 91 - len(end)]}_{digest(source_id, 8)}"
    return key + end


def table_tag(control_table: TableName) -> str:
    """Value of TABLE_TAG: the first 32 hex digits of the full name's hash."""
    return digest(str(control_table), 32)


def module_tag(module_name: str) -> str:
    """Value of MODULE_TAG for a live module: `slug-hash`, at most 37 of `[a-z0-9_-]`.

    The hash decides; the slug is for people.
    """
    slug = _SLUG_FORBIDDEN.sub("_", module_name.lower()).strip("_")[:20]
    return f"{slug or 'module'}-{digest(module_name, 16)}"


def retired_tag(module_name: str, former_pause_status: str | None) -> str:
    """Value of MODULE_TAG for a retired module.

    It remembers the trigger's former pause status (None: the job had no trigger), so that a lost
    `_jobs` table can be rebuilt from the tags. No third tag: users keep 23.
    """
    return f"{module_tag(module_name)}-retired" + (
        f"-{former_pause_status.lower()}" if former_pause_status else ""
    )


@dataclass(frozen=True, slots=True)
class ModuleTag:
    """What the value of a MODULE_TAG says."""

    live: str
    retired: bool
    former_pause_status: str | None


_MODULE_TAG = re.compile(r"([a-z0-9_]{1,20}-[0-9a-f]{16})(-retired(?:-(paused|unpaused))?)?")


def read_module_tag(value: str) -> ModuleTag | None:
    """The parts of a MODULE_TAG's value; None when it is not one of ours."""
    match = _MODULE_TAG.fullmatch(value)
    if match is None:
        return None
    former = match.group(3)
    return ModuleTag(match.group(1), match.group(2) is not None, former.upper() if former else None)
