"""What a remediation is told: which policy, what to do with its files, and what must stay as it is.

KEYS is the one table of it: the task type's JSON Schema part, and the flags of the command line.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]

ARCHIVE, QUARANTINE, DELETE, MOVE = ACTIONS = ("archive", "quarantine", "delete", "move")
OLDEST, NEWEST, SHORTEST, ROOT, NONE = KEEPERS = ("oldest", "newest", "shortest_path", "root", "none")
#: A label that has one of these in its name holds its files, unless others are given.
HOLD_LABELS = ("legal hold", "litigation hold", "preservation hold")
STUB_MESSAGE = "This file was removed due to the records and retention policy."
_TEXT: JsonObject = {"type": "string", "minLength": 1}
_TEXTS: JsonObject = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_FLAG: JsonObject = {"type": "boolean"}

#: JSON Schema of each key of a `remediate` source.
KEYS: Mapping[str, JsonObject] = {
    "policy": {**_TEXT, "description": "The policy whose open violations are remediated."},
    "table": {
        **_TEXT,
        "description": "The table that the policy checked, catalog.schema.table; the tables of a remediation lie "
        "in its schema, and labels on hold are looked up in it.",
    },
    "action": {
        "type": "string",
        "enum": list(ACTIONS),
        "description": "archive and quarantine: into the target, under the content's SHA-256; move: into the target, "
        "names kept; delete: gone, or held in the target when there is one.",
    },
    "keeper": {
        **_TEXT,
        "description": "Which of the files with one content stays: oldest, newest, shortest_path, "
        "root:PATH[,PATH...] (a preferred folder, then the oldest), or none: all go.",
    },
    "target": {**_TEXT, "description": "Folder that the files go to, outside of where they are."},
    "roots": {
        **_TEXTS,
        "description": "Only files below these folders are touched. Default: every volume below /Volumes.",
    },
    "path_map": {
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "Folders of the datasource to the folders below /Volumes where the same files are.",
    },
    "execute": {**_FLAG, "description": "Do it. Default: false, a dry run that writes the plan only."},
    "plan": {
        **_TEXT,
        "description": "Execute the plan of this run (a dry run that was reviewed, or a run that failed).",
    },
    "permanent": {
        **_FLAG,
        "description": "Let delete without a target delete files that have no keeper; nothing can bring them back. "
        "Default: false.",
    },
    "stub": {
        **_FLAG,
        "description": "Leave a text file, NAME.archived.txt, that says where the file went. Default: true for "
        "archive and quarantine.",
    },
    "stub_message": {**_TEXT, "description": f"First line of a stub. Default: {STUB_MESSAGE!r}."},
    "hold_labels": {
        **_TEXTS,
        "description": "Files with a label that has one of these in its name are never touched. "
        f"Default: {', '.join(HOLD_LABELS)}.",
    },
    "min_size": {"type": "integer", "minimum": 1, "description": "Bytes; smaller files stay. Default: 1."},
    "exclude": {**_TEXTS, "description": "Patterns of paths that stay, such as */templates/*."},
    "violations_table": {
        **_TEXT,
        "description": "Where the violations are. Default: policy_violations in the schema of table.",
    },
    "warehouse_id": {**_TEXT, "description": "SQL warehouse for the tables. Default: the task's Spark."},
    "script": {
        **_TEXT,
        "description": "Folder to write plan.csv and remediate.ps1 to, for shares that Databricks cannot reach.",
    },
}


@dataclass(frozen=True)
class Keeper:
    """Which of the files with one content stays.

    Args:
        rule: one of KEEPERS.
        roots: preferred folders, best first, for `root`.
    """

    rule: str
    roots: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Keeper:
        """`oldest`, `newest`, `shortest_path`, `root:PATH[,PATH]` or `none`. Raises UsageError."""
        word, _, rest = text.strip().partition(":")
        name = word.strip().lower().replace("-", "_")
        name = {"shortest": SHORTEST, "preferred_root": ROOT, "preferred": ROOT}.get(name, name)
        roots = tuple(folder(part.strip(), "keeper") for part in rest.split(",") if part.strip())
        if name not in KEEPERS or (name == ROOT) != bool(roots):
            raise UsageError(
                f"keeper: {text!r} is no rule: write oldest, newest, shortest_path, root:PATH or none"
            )
        return cls(name, roots)

    def __str__(self) -> str:
        return f"{self.rule}:{','.join(self.roots)}" if self.roots else self.rule


@dataclass(frozen=True)
class Rules:
    """The rules of one remediation.

    Args:
        keeper: None: not said; then no two of the files may have one content.
        target: folder, without a slash at the end; empty for a delete that holds nothing.
        path_map: folders of the datasource to folders here.
    """

    policy: str
    table: TableName
    action: str
    keeper: Keeper | None = None
    target: str = ""
    roots: tuple[str, ...] = ()
    path_map: Mapping[str, str] = field(default_factory=dict)
    permanent: bool = False
    stub: bool = False
    stub_message: str = STUB_MESSAGE
    hold_labels: tuple[str, ...] = HOLD_LABELS
    min_size: int = 1
    exclude: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Rules:
        """Read and check what was given, keys as in KEYS.

        Raises:
            UsageError: naming the key that is wrong.
        """
        for name in ("policy", "table", "action"):
            if not given.get(name):
                raise UsageError(f"{name} is missing: a remediation needs policy, table and action")
        action = str(given["action"]).strip().lower()
        if action not in ACTIONS:
            raise UsageError(f"action: {given['action']!r} is none of {', '.join(ACTIONS)}")
        target = folder(str(given["target"]), "target") if given.get("target") else ""
        if not target and action != DELETE:
            raise UsageError(f"target is missing: {action} needs a folder that the files go to")
        stub = given.get("stub")
        held = given.get("hold_labels")
        return cls(
            policy=str(given["policy"]),
            table=TableName.parse(str(given["table"])),
            action=action,
            keeper=Keeper.parse(str(given["keeper"])) if given.get("keeper") else None,
            target=target,
            roots=tuple(folder(one, "roots") for one in _texts(given.get("roots"))),
            path_map={
                _prefix(str(one)): folder(str(other), "path_map")
                for one, other in (given.get("path_map") or {}).items()
            },
            permanent=flag(given, "permanent"),
            stub=action in {ARCHIVE, QUARANTINE} if stub is None else flag(given, "stub"),
            stub_message=str(given.get("stub_message") or STUB_MESSAGE),
            hold_labels=HOLD_LABELS if held is None else tuple(_texts(held)),
            min_size=_number(given, "min_size"),
            exclude=tuple(_texts(given.get("exclude"))),
        )

    def as_json(self) -> JsonObject:
        """As it is kept with the plan; `of` reads it back."""
        return {
            "policy": self.policy,
            "table": self.table.quoted,
            "action": self.action,
            "keeper": str(self.keeper) if self.keeper else None,
            "target": self.target,
            "roots": list(self.roots),
            "path_map": dict(self.path_map),
            "permanent": self.permanent,
            "stub": self.stub,
            "stub_message": self.stub_message,
            "hold_labels": list(self.hold_labels),
            "min_size": self.min_size,
            "exclude": list(self.exclude),
        }


def folder(text: str, key: str) -> str:
    """An absolute folder without a slash at its end. Raises UsageError."""
    path = text.strip().rstrip("/")
    if path.startswith("dbfs:/Volumes/"):
        path = path.removeprefix("dbfs:")
    parts = path.split("/")
    if not path.startswith("/") or "\x00" in path or any(part in {"", ".", ".."} for part in parts[1:]):
        raise UsageError(f"{key}: {text!r} is no folder: write an absolute path without . and ..")
    if parts[1] == "Volumes" and len(parts) < 5:
        raise UsageError(
            f"{key}: {text!r} is no folder of a volume: write /Volumes/catalog/schema/volume/..."
        )
    assert posixpath.normpath(path) == path
    return path


def _prefix(text: str) -> str:
    found = text.strip().rstrip("/\\")
    if not found:
        raise UsageError("path_map: a folder of the datasource must not be empty")
    return found


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    items = [value] if isinstance(value, str) else list(value)
    return [str(one).strip() for one in items if str(one).strip()]


def flag(given: Mapping[str, Any], name: str) -> bool:
    """A key that is true or false; false when it is not given. Raises UsageError."""
    value = given.get(name)
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false, not {value!r}")
    return bool(value)


def _number(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    try:
        found = 1 if value is None else int(value)
    except (TypeError, ValueError):
        found = 0
    if found < 1:
        raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}")
    return found
