"""The tables of remediations. Columns only; what is done with them stands in `remediation_records` and `remediation_lock`."""

from __future__ import annotations

from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition

_TEXT, _TIME, _LONG = "STRING", "TIMESTAMP", "BIGINT"
#: Names of the tables in the schema of the table that was checked.
PLAN, LOG, LOCK = "remediation_plan", "remediation_log", "remediation_lock"


def plan(name: TableName) -> TableDefinition:
    """One row for each violating file and run."""
    return TableDefinition(
        name,
        (
            Column("run_id", _TEXT, "the run that planned it"),
            Column("seq", _LONG, "number of the file in the plan, from 1"),
            Column("policy", _TEXT, "the policy"),
            Column("table_name", _TEXT, "the table that was checked"),
            Column("path", _TEXT, "the file; empty when it is not reached from here"),
            Column("given_path", _TEXT, "the file's path as the violation has it"),
            Column("violation_key", _TEXT, "the violation in policy_violations"),
            Column("state", _TEXT, "planned, keeper, held, skipped or refused"),
            Column("reason", _TEXT, "why it stays"),
            Column("action", _TEXT, "archive, quarantine, delete or move; NULL for a file that stays"),
            Column("content_sha256", _TEXT, "SHA-256 of the content, in hex"),
            Column("size", _LONG, "bytes"),
            Column("modified_ns", _LONG, "modification time, ns since 1970"),
            Column("keeper", _TEXT, "the file with the same content that stays"),
            Column("target", _TEXT, "where the file goes"),
            Column("stub", _TEXT, "the text file that says so"),
            Column("root", _TEXT, "the folder that the file must not leave"),
            Column("planned_at", _TIME, "when it was planned"),
        ),
        "Policies: plans of remediations (lakeflow_job_meta)",
    )


def log(name: TableName) -> TableDefinition:
    """Append-only: one row for each step of each file, and of each run."""
    return TableDefinition(
        name,
        (
            Column("run_id", _TEXT, "the run"),
            Column("seq", _LONG, "number of the file in the plan; NULL for a step of the run"),
            Column(
                "step",
                _TEXT,
                "of a file: begin, ready, done, skipped, failed, undo_begin, undone, undo_failed; of a run: planned, "
                "execute, executed, undo, undo_done",
            ),
            Column("at", _TIME, "when it was written"),
            Column("policy", _TEXT, "the policy"),
            Column("path", _TEXT, "the file"),
            Column("action", _TEXT, "archive, quarantine, delete or move"),
            Column("content_sha256", _TEXT, "SHA-256 of the content, in hex"),
            Column("size", _LONG, "bytes"),
            Column("modified_ns", _LONG, "modification time of the original, ns since 1970"),
            Column("mode", "INT", "permission bits of the original; NULL where files have none"),
            Column("keeper", _TEXT, "the file with the same content that stays"),
            Column("target", _TEXT, "where the bytes are, from the step ready on"),
            Column("stub", _TEXT, "the stub that was left"),
            Column("reason", _TEXT, "why it was skipped or failed, or what else is to be said"),
            Column("details", _TEXT, "of a run's step: the rules, or the counts, a JSON object"),
            Column("owner", _TEXT, "host and process that did it"),
        ),
        "Policies: every step of remediations (lakeflow_job_meta)",
    )


def lock(name: TableName) -> TableDefinition:
    """One row: who may touch files."""
    return TableDefinition(
        name,
        (
            Column("name", _TEXT, "always remediation"),
            Column("token", _TEXT, "the holder's; empty when it is free"),
            Column("owner", _TEXT, "the holder's host and process"),
            Column("run_id", _TEXT, "what it works on"),
            Column("until", _TIME, "when it is free again unless it is renewed"),
        ),
        "Policies: the lock of remediations (lakeflow_job_meta)",
    )
