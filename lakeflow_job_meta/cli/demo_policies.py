"""The demo's last part: SQL policies over the snapshot find what was planted, and a dry run plans what to do.

The policies are the ones that come with the package; they ran as the last task of the job `documents`.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import Any

from lakeflow_job_meta.cli.demo_stage import Demo, expect

INBOX = "/Volumes/main/demo/inbox"
RECORD = f"{INBOX}/records/minutes-2014.txt"
ROT = f"{INBOX}/notes/agenda.tmp"
COPIES = (f"{INBOX}/archive/meeting copy.txt", f"{INBOX}/notes/meeting.txt")
#: What the shipped policies find, in the order in which they ran.
FOUND = {
    "duplicate_files": ("WARN", set(COPIES)),
    "retention_gap": ("WARN", {RECORD}),
    "rot_files": ("WARN", {ROT}),
    "legal_hold": ("PASS", set()),
    "over_exposed": ("PASS", set()),
    "stale_data": ("PASS", set()),
    "missing_classification": ("PASS", set()),
    "dlp_mismatch": ("PASS", set()),
}
SNAPSHOT = "main.demo.dxr_snapshot"


def make_old(demo: Demo) -> None:
    """The record was last changed in 2014, and the copy is younger than what it is a copy of."""
    folder = demo.folder / "Volumes"
    long_ago = datetime(2014, 5, 12, tzinfo=timezone.utc).timestamp()
    for path, moment in ((RECORD, long_ago), (COPIES[1], time.time() - 400 * 86_400)):
        os.utime(folder / path.removeprefix("/Volumes/"), (moment, moment))


def check(demo: Demo) -> None:
    """The last run's results, the violations that are open, and a policy that fails."""
    frame = demo.spark.sql("SELECT * FROM main.demo.v_policy_latest ORDER BY policy")
    found = {row["policy"]: row.asDict() for row in frame.collect()}
    expect(set(found) == set(FOUND), f"the policies {sorted(found)} were run")
    columns = ("policy", "severity", "status", "violations", "threshold", "on_violation")
    demo.table(
        "what the policies of the job's last run found",
        columns,
        [[found[policy][column] for column in columns] for policy in FOUND],
    )
    opened = demo.show_rows(
        "open violations", "SELECT policy, path, severity FROM main.demo.v_policy_open ORDER BY policy, path"
    )
    for policy, (status, paths) in FOUND.items():
        told, there = found[policy], {path for name, path, _ in opened if name == policy}
        expect(told["status"] == status, f"{policy} is {told['status']}: {told['error'] or there}")
        expect(there == paths, f"{policy} found {sorted(there)}")
    keys = ("status", "violations", "new", "resolved", "threshold", "error")
    demo.facts["policies"] = [
        {
            "name": policy,
            **{key: found[policy][key] for key in keys},
            "seconds": round(found[policy]["seconds"], 3),
        }
        for policy in FOUND
    ]
    reports = [
        entry.path for entry in demo.client.files.list_directory_contents("/Volumes/main/demo/reports")
    ]
    expect(len(reports) == 2, f"the reports of two runs were expected, there are {reports}")
    demo.say("    the same as CSV and JSON in /Volumes/main/demo/reports, a folder a run")
    _fail(demo)


def _fail(demo: Demo) -> None:
    """As it is shipped, an overdue record fails the run, after all is recorded."""
    from lakeflow_job_meta.errors import PolicyRunFailed
    from lakeflow_job_meta.policies.settings import read
    from lakeflow_job_meta.policies.tasks import PolicySession, perform

    demo.say("\nAs it is shipped, retention_gap does not warn, it fails; by hand:")
    demo.show(
        f"lakeflow-job-meta policy run retention_gap --table {SNAPSHOT}",
        "bash",
    )
    runtime = demo.manager.runtime
    given: dict[str, Any] = {
        "table": SNAPSHOT,
        "policies": "retention_gap",
        "views": False,
    }
    session = PolicySession(read(given), runtime.tables, runtime.volumes, "by-hand", runtime.clock, _quiet)
    try:
        perform(session)
    except PolicyRunFailed as failure:
        demo.say(f"    error: {failure}", "failed")
        [outcome] = failure.summary["policies"]
        expect(
            (outcome["status"], outcome["new"]) == ("FAIL", 0),
            f"retention_gap is {outcome['status']}, {outcome['new']} new",
        )
        return
    expect(False, "retention_gap did not fail")


def plan_remediation(demo: Demo) -> None:
    """A dry run over the copies names the file that stays, and touches nothing."""
    from lakeflow_job_meta.policies.remediate import RemediationSession, perform

    runtime = demo.manager.runtime
    given = {
        "policy": "duplicate_files",
        "table": SNAPSHOT,
        "action": "archive",
        "keeper": "oldest",
        "target": "/Volumes/main/demo/reports/archive",
    }
    demo.show(
        f"lakeflow-job-meta policy remediate duplicate_files --table {SNAPSHOT} \\\n"
        "    --action archive --keeper oldest --target /Volumes/main/demo/reports/archive",
        "bash",
    )
    summary = perform(RemediationSession(runtime.tables, runtime.volumes, runtime.clock), given)
    files = summary["files"]
    demo.table(
        f"the plan, from {summary['plan_table']}",
        ("file", "what becomes of it", "keeper"),
        [(one["path"].removeprefix(INBOX), one["state"], one["keeper"].removeprefix(INBOX)) for one in files],
    )
    expect((summary["planned"], summary["done"]) == (1, 0), f"{summary['planned']} files are planned")
    [planned] = [one for one in files if one["keeper"] and one["path"] != one["keeper"]]
    expect(planned["path"] == COPIES[0], f"{planned['path']} would go")
    expect(planned["keeper"] == COPIES[1], f"{planned['keeper']} would stay")
    there = {entry.path for entry in demo.client.files.list_directory_contents(f"{INBOX}/archive")}
    expect(COPIES[0] in there, "the dry run touched a file")
    demo.facts["remediation"] = {"planned": summary["planned"], "keeper": planned["keeper"]}
    demo.say(
        f"    {COPIES[1]} stays, the copy would go; nothing was touched: --execute does it, `policy undo` undoes it"
    )


def _quiet(event: str, **facts: Any) -> None:
    """No log."""
