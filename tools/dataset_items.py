"""docs/datasets_items.md: every item of the specification of datasets, and the tests that are named after it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAD = """<!-- Made by `make generate`; do not edit. -->

# Items of the dataset sync, and their tests

Every item of the specification, and the tests that show it (paths below `tests/`). Kinds: L on a real engine, G generated settings, F over real HTTP against the embedded workspace, P pure, W on a real workspace (skipped, loudly, where none is named), doc: a statement of [datasets](datasets.md).
"""
#: Tests that are not named after an item, and show it.
MORE = {
    "G12": (
        "cli/test_doctor.py::test_each_broken_piece_is_named",
        "cli/test_doctor.py::test_a_host_without_credentials",
        "cli/test_doctor.py::test_what_does_not_exist_is_named",
    ),
    "K1": ("test_docs.py::test_commands_of_page_run",),
    "K5": ("test_docs.py::test_commands_of_page_run",),
}
#: Section, and its items: name, what it is, kinds of its tests.
SECTIONS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "A. Ingest and local access",
        (
            ("A1", "CSV -> Parquet", "L"),
            ("A2", "Excel -> Parquet, dates included", "L"),
            ("A3", "JSON records -> Parquet", "L"),
            ("A4", "Unsupported/empty file refused clearly", "P"),
            ("A5", "Landed file name is ours, not the client's", "P"),
            ("A6", "Instant local query with DuckDB, table `dataset`", "L"),
            ("A7", "Query returns columns, rows, row_count, query; default limit 100, max 1000", "L"),
            ("A8", "Read-only, sandboxed", "L"),
            ("A9", "Nulls, NaN, inf, timestamps, decimals as strict JSON", "L"),
            ("A10", "Preview, schema, summary", "L"),
            ("A11", "Upload < 2 s for 10,000 rows; query 10–100 ms", "L"),
        ),
    ),
    (
        "B. Trigger and switches",
        (
            (
                "B1",
                "Auto sync on upload: the row appears, the next monitor pass generates/updates the job and starts it",
                "F",
            ),
            ("B2", "Upload never blocked or failed by the sync", "F"),
            ("B3", "Master switch off: nothing generated", "F"),
            ("B4", "Auto off: not_synced; manual trigger works", "F"),
            ("B5", "Manual trigger answers with the truth", "F"),
            ("B6", "Per-dataset switch", "G"),
            ("B7", "One active sync a dataset (workflow id uniqueness)", "F/G"),
            ("B8", "Every documented setting is read", "P"),
            ("B9", "Test without Databricks", "L"),
        ),
    ),
    (
        "C. Bronze",
        (
            ("C1", "Bronze table created from the landed Parquet, columns and values untouched", "L"),
            ("C2", "External mode", "G"),
            ("C3", "Measured row count", "L"),
            ("C4", "Lineage columns", "L"),
            ("C5", "Idempotent re-run", "L"),
            ("C6", "File missing/corrupt: permanent error", "L/F"),
            ("C7", "Parquet only, checked", "L"),
        ),
    ),
    (
        "D. Silver",
        (
            ("D1", "Type inference string -> integer, float, boolean, date, timestamp", "L"),
            ("D2", "Leading zeros, overflow, mixed columns stay string", "L"),
            ("D3", "Null handling", "L"),
            ("D4", "Duplicate removal, full row and by key with order", "L"),
            ("D5", "snake_case columns", "P/L"),
            ("D6", "Managed table, replaced atomically", "L"),
            ("D7", "Silver re-sync shows new data (upstream does not)", "L"),
            ("D8", "Custom options honoured (upstream ignores them)", "L"),
            ("D9", "Bronze ok, silver failed is visible", "L/F"),
        ),
    ),
    (
        "E. Naming and tenancy",
        (
            ("E1", "`catalog_tenant_{id}.bronze.{name}`, `.silver.{name}_clean`", "P"),
            ("E2", "Normaliser total, idempotent, <= 255, legal", "P"),
            ("E3", "Collisions never overwrite", "L"),
            ("E4", "Catalog/schemas ensured, or checked if creation isn't allowed", "G/F"),
            ("E5", "Tenant isolation enforced by us", "P/L"),
            ("E6", "UC permissions", "G/W"),
            ("E7", "No injection", "P/L"),
        ),
    ),
    (
        "F. Orchestration, retries, timeouts",
        (
            ("F1", "Order bronze -> silver -> record", "G"),
            ("F2", "3 attempts, 300 s", "G"),
            ("F3", "Local runner retries alike", "L"),
            ("F4", "Backoff documented honestly", "P"),
            ("F5", "Timeouts 5/10/1 min configurable", "G/L"),
            ("F6", "Durable: process death loses nothing", "L"),
            ("F7", "Transient vs permanent errors", "P"),
            ("F8", "Serverless double retry avoided", "G"),
            ("F9", "Change detection: edited row updates the job, unchanged row makes no call", "F"),
            ("F10", "Large data", "L"),
        ),
    ),
    (
        "G. Status and monitoring",
        (
            ("G1", "Five statuses, only legal transitions", "P/L"),
            ("G2", "Each status is persisted: re-read by a fresh process", "L"),
            ("G3", "Status command with the ten keys of the seed", "L"),
            ("G4", "Metadata view has last_sync_attempt, and last_sync_error null after success", "L"),
            (
                "G5",
                "Ingest reply carries databricks_enabled and sync_status (seed's example; upstream's lacks it)",
                "L",
            ),
            ("G6", "Badges: label and color of each status, the error on hover, unknown is not pending", "P"),
            ("G7", "Find the run of a dataset, list a tenant's", "F"),
            (
                "G8",
                "Stuck pending > 5 min is detected with causes (monitor not running, job missing/paused, queue)",
                "F",
            ),
            ("G9", "Reconciler maps all Jobs results", "F"),
            ("G10", "Metrics: success rate, duration, runs needing > 1 attempt, oldest pending", "L"),
            ("G11", "Alerts: failure rate > 0.1 over 5 min; monitor (worker) heartbeat missing", "L/G"),
            (
                "G12",
                "doctor and diagnose: host, login, warehouse, catalog, volume, control table really probed",
                "F",
            ),
            ("G13", "Logs per dataset and run", "L"),
            ("G14", "Row counts local vs bronze vs silver compared", "L"),
        ),
    ),
    (
        "H. Files and secrets (instead of the internal endpoint and the shared key)",
        (
            ("H1", "File transfer by UC Volume, no endpoint, no shared secret", "F"),
            ("H2", "Path validation", "P"),
            ("H3", "File type validation (seed claims, upstream lacks)", "L"),
            ("H4", "Auth through Databricks unified auth/secret scope; nothing in the control table", "P"),
            ("H5", "Key rotation", "doc"),
            ("H6", "File deleted before the sync", "L"),
        ),
    ),
    (
        "I. Query after sync",
        (
            ("I1", "Bronze and silver queryable by name", "L/W"),
            ("I2", "Cross-dataset join in silver", "L"),
            ("I3", '"Local works, Databricks fails" help: table exists? describe, counts', "F/L"),
        ),
    ),
    (
        "J. Lifecycle (seed's limitations and futures, to do better)",
        (
            ("J1", "Re-upload is a new version of the same dataset", "L"),
            ("J2", "Schema evolution", "L"),
            ("J3", "Delete: tables kept by default, dropped when told", "L/F"),
            ("J4", "Batching", "G"),
            ("J5", "Incremental append", "L"),
            ("J6", "Gold layer", "G"),
            ("J7", "Federation and streaming: out of scope, stated", "doc"),
            ("J8", "Cost by tenant (FAQ)", "G/W"),
        ),
    ),
    (
        "K. Packaging, docs, tests",
        (
            ("K1", "Local set-up in a few commands, no Docker/Temporal/Postgres", "L"),
            ("K2", "Unit, workflow and end-to-end tests; the workspace's skipped loudly", "P"),
            (
                "K3",
                "Deploy: bundle/job JSON validates against the SDK classes; pre-deployment checks = G12",
                "G",
            ),
            ("K4", "Troubleshooting doc: the seed's seven cases, each tied to a test id above", "P"),
            (
                "K5",
                "README statements are tested (upstream's were false: response fields, GET query, hover, retries)",
                "L",
            ),
        ),
    ),
)


def tests() -> dict[str, list[str]]:
    """`file::function` of the tests about datasets, by the item that they are named after."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*dataset*.py")) + sorted(
        (ROOT / "tests/datasets").glob("test_*.py")
    ):
        name = path.relative_to(ROOT / "tests").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match = isinstance(node, ast.FunctionDef) and re.match(r"test((?:_[a-k]\d{1,2})+)_", node.name)
            if not match or not isinstance(node, ast.FunctionDef):
                continue
            for item in re.findall(r"[a-k]\d{1,2}", match.group(1)):
                test = f"{name}::{node.name}"
                if test not in found.setdefault(item.upper(), []):
                    found[item.upper()].append(test)
    return found


def page() -> str:
    """The whole page."""
    named = tests()
    lines = [HEAD]
    for title, items in SECTIONS:
        lines += [f"## {title}", "", "| item | what | kinds | tests |", "|---|---|---|---|"]
        for item, what, kinds in items:
            shown = ", ".join(f"`{test}`" for test in (*named.get(item, ()), *MORE.get(item, ())))
            lines.append(f"| {item} | {what} | {kinds} | {shown} |")
        lines.append("")
    return "\n".join(lines)
