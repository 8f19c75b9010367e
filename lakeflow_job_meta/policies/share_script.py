"""For shares that Databricks cannot reach: the violating files as CSV, and a PowerShell script of the same rules.

The script (`remediate.ps1`) stands alone: it reads the CSV, or any other with `path` and `content_sha256`, chooses the
keepers itself, and is a dry run unless told otherwise.
"""

from __future__ import annotations

import csv
import io
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.policies.plan import HELD, KEEPER, REFUSED
from lakeflow_job_meta.policies.remediation_settings import MOVE, Rules, folder
from lakeflow_job_meta.ports import Volumes

if TYPE_CHECKING:
    from lakeflow_job_meta.policies.remediation_records import RemediationRecords

JsonObject = dict[str, Any]
COLUMNS = ("path", "content_sha256", "size", "legal_hold", "state", "reason", "violation_key")
SCRIPT, PLAN = "remediate.ps1", "plan.csv"
#: What a file system of Windows, or of PowerShell elsewhere, opens: a share, a drive, or an absolute path.
_REACHABLE = re.compile(r"(\\\\[^\\/?.]|[A-Za-z]:[\\/]|/(?!Volumes/))")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def write(volumes: Volumes, place: str, records: RemediationRecords, run_id: str, rules: Rules) -> JsonObject:
    """Write plan.csv and remediate.ps1 to a folder, in the place of earlier ones.

    Returns:
        `csv`, `script` (paths), `files` (rows), `omitted` (files that no path of a share leads to), `command`.

    Raises:
        UsageError: the folder is none.
        VolumeError: they cannot be written.
    """
    place = folder(place, "script")
    rows: list[JsonObject] = []
    omitted = 0
    for entry in records.entries(run_id, planned_only=False):
        item = entry.item
        if item.path:
            continue  # Databricks reaches it
        if not is_reachable(item.given_path):
            omitted += 1
            continue
        rows.append(
            {
                "path": item.given_path,
                "content_sha256": item.sha256,
                "size": item.size or "",
                "legal_hold": "true" if item.state == HELD else "",
                "state": item.state if item.state in {HELD, REFUSED, KEEPER} else "",
                "reason": item.reason if item.state in {HELD, REFUSED} else "",
                "violation_key": item.key,
            }
        )
    volumes.write(f"{place}/{PLAN}", plan_csv(rows).encode("utf-8-sig"))
    volumes.write(f"{place}/{SCRIPT}", script().encode("utf-8-sig"))
    return {
        "csv": f"{place}/{PLAN}",
        "script": f"{place}/{SCRIPT}",
        "files": len(rows),
        "omitted": omitted,
        "command": command(rules),
    }


def is_reachable(path: str) -> bool:
    r"""Whether a file system may open the path: `\\server\share\...`, `X:\...` or `/...`; a URL is none."""
    return bool(_REACHABLE.match(path)) and not any(ord(character) < 32 for character in path)


def plan_csv(rows: list[JsonObject]) -> str:
    """The rows as CSV. No cell begins with what a spreadsheet takes for a formula: paths begin as `is_reachable` says."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _plain(name, row[name]) for name in COLUMNS} for row in rows)
    return text.getvalue()


def command(rules: Rules) -> str:
    """How the script is called for these rules; a dry run."""
    keeper = rules.keeper.rule if rules.keeper else "oldest"
    names = {
        "oldest": "Oldest",
        "newest": "Newest",
        "shortest_path": "ShortestPath",
        "root": "PreferredRoot",
        "none": "None",
    }
    action = "Archive" if rules.action == MOVE else rules.action.capitalize()
    words = [".\\remediate.ps1", "-CsvPath", ".\\plan.csv", "-Action", action]
    words += ["-Keeper", names[keeper], "-ShareRoot", "<\\\\server\\share>"]
    if keeper == "root":
        words += ["-PreferredRoot", "<\\\\server\\share\\folder>"]
    return " ".join([*words, "-ArchiveRoot", "<\\\\server\\archive>"])


def script() -> str:
    """The text of the script, with the line ends of Windows."""
    place = resources.files("lakeflow_job_meta.policies") / "shipped" / SCRIPT
    return "\r\n".join(place.read_text(encoding="utf-8").splitlines()) + "\r\n"


def _plain(name: str, value: Any) -> Any:
    if name == "content_sha256" and not _SHA256.fullmatch(str(value)):
        return ""
    if name == "reason" and str(value)[:1] in {"=", "+", "-", "@"}:
        return f"'{value}"
    return value
