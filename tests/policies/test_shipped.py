"""The shipped policies: each finds what it should in a snapshot and in a metadata table, and nothing else."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from lakeflow_job_meta.errors import TableNotFound
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies.definition import shipped
from lakeflow_job_meta.policies.inputs import Ledger, prepare
from lakeflow_job_meta.policies.results import Outcome
from lakeflow_job_meta.policies.run import evaluate
from lakeflow_job_meta.policies.statement import check
from tests.policies.files import (
    NOW,
    TODAY,
    collected,
    days_ago,
    file,
    ledger,
    metadata,
    sent,
    snapshot,
    upload_of,
)

#: Files with which every policy is content.
GOOD = [
    file("/a/report.txt"),
    file("/a/empty-1.txt", size=0, content_sha256="e" * 64),
    file("/a/empty-2.txt", size=0, content_sha256="e" * 64),
    file("/a/unhashed-1.txt", content_sha256=None),
    file("/a/unhashed-2.txt", content_sha256=None),
    file("/records/young.txt", label_names=["Records"], last_modified_at=days_ago(2000)),
    file("/hr/salaries.txt", label_names=["Personal data"], readers=["HR team"]),
    file("/pub/flyer.txt", label_names=["Public"], readers=["Everyone"]),
    file("/legal/held.txt", label_names=["Legal hold"], last_modified_at=days_ago(30)),
    file("/a/agreed.txt", label_names=["Confidential"], dlp=["confidential"]),
    file("/a/no-level.txt", label_names=["Financial"], dlp=[]),
    file("/a/no-dlp.txt", label_names=["Confidential"]),
]
#: What each policy finds, and the rows that it finds it in.
BAD: dict[str, tuple[list[dict[str, Any]], set[str]]] = {
    "duplicate_files": (
        [
            file("/a/one.txt", content_sha256="d" * 64),
            file("/b/one.txt", content_sha256="d" * 64, label_names=["legal HOLD"]),
            file("/c/two.txt", content_sha256="d" * 64),
        ],
        {"/a/one.txt", "/b/one.txt", "/c/two.txt"},
    ),
    "retention_gap": (
        [
            file("/records/old.txt", label_names=["x", "records"], last_modified_at=days_ago(2600)),
            file(
                "/records/older.txt", label_names=["Record"], last_modified_at=None, created_at=days_ago(9000)
            ),
            file("/records/other.txt", label_names=["Recordings"], last_modified_at=days_ago(9000)),
        ],
        {"/records/old.txt", "/records/older.txt"},
    ),
    "rot_files": (
        [
            file("/tmp/scratch.tmp", label_names=["ROT"]),
            file("/tmp/held.tmp", label_names=["ROT", "Legal hold"]),
            file("/tmp/rotary.txt", label_names=["ROTARY"]),
        ],
        {"/tmp/scratch.tmp"},
    ),
    "legal_hold": (
        [
            file("/legal/gone.txt", label_names=["Legal hold"], ingestion_date=TODAY - timedelta(days=3)),
            file("/other/gone.txt", label_names=["Financial"], ingestion_date=TODAY - timedelta(days=3)),
            file("/legal/rot.txt", label_names=["Legal hold", "Obsolete"]),
        ],
        {"/legal/gone.txt", "/legal/rot.txt", "/tmp/held.tmp"},
    ),
    "over_exposed": (
        [
            file("/hr/open.txt", label_names=["Personal data"], readers=["HR team", "everyone"]),
            file("/hr/twice.txt", label_names=["Health", "Financial"], readers=["Domain Users"]),
        ],
        {"/hr/open.txt", "/hr/twice.txt"},
    ),
    "stale_data": (
        [
            file("/a/stale.txt", last_modified_at=days_ago(1200)),
            file("/a/nobody-knows.txt", last_modified_at=None, created_at=None),
        ],
        {"/a/stale.txt"},
    ),
    "missing_classification": (
        [
            file("/a/discovered.txt", scan_depth="DISCOVERY", label_names=None),
            file("/a/unknown.txt", scan_depth=None, label_names=None),
        ],
        {"/a/discovered.txt", "/a/unknown.txt"},
    ),
    "dlp_mismatch": (
        [
            file("/a/weaker.txt", label_names=["Highly confidential"], dlp=["Internal"]),
            file("/a/unprotected.txt", label_names=["Confidential"], dlp=[]),
            file("/a/unlabelled.txt", label_names=None, dlp=["Confidential"]),
        ],
        {"/a/weaker.txt", "/a/unprotected.txt", "/a/unlabelled.txt"},
    ),
}


def _one(tables: Any, table: Any, name: str, **values: Any) -> Outcome:
    inputs = prepare(tables, table)
    [outcome] = evaluate([shipped()[name].given(values)], tables, inputs, clock=lambda: NOW)
    return outcome


def _paths(outcome: Outcome) -> set[str]:
    return {json.loads(row)["path"] for row in outcome.rows.values()}


@pytest.fixture(scope="module")
def places(sail: Any, spark: Any) -> Any:
    """A schema for the whole module, and the tables on it."""
    from lakeflow_job_meta.adapters.spark_tables import SparkTables

    sail.create_schema(spark, "main", "shipped_policies")
    return SparkTables(spark), ("main", "shipped_policies"), sail.warehouse


@pytest.fixture(scope="module")
def good(places: Any) -> Any:
    tables, schema, warehouse = places
    return tables, snapshot(tables, warehouse, schema, GOOD, "good")


@pytest.fixture(scope="module")
def bad(places: Any) -> Any:
    tables, schema, warehouse = places
    rows = [row for rows, _ in BAD.values() for row in rows]
    return tables, snapshot(tables, warehouse, schema, [*GOOD, *rows], "bad")


def test_every_policy_has_its_fixture() -> None:
    """No policy is shipped without a test."""
    assert set(BAD) == set(shipped())


@pytest.mark.parametrize("name", sorted(shipped()))
def test_sql_is_one_select_in_the_databricks_dialect(name: str) -> None:
    """It parses, it only reads, every parameter has a value and every value a parameter, and it says what it is."""
    import sqlglot

    policy = shipped()[name]
    statement = check(policy.sql, policy.parameters, policy.origin)
    assert set(statement.parameters) == set(policy.parameters)
    assert statement.relations & {"snapshot", "history"}
    assert len(sqlglot.parse(policy.sql, read="databricks")) == 1
    assert policy.description
    assert policy.key


@pytest.mark.parametrize("name", sorted(shipped()))
def test_content_with_good_files(good: Any, name: str) -> None:
    """A snapshot without violations passes."""
    tables, table = good
    outcome = _one(tables, table, name)
    assert (outcome.status, outcome.error, outcome.violations) == ("PASS", "", 0), _paths(outcome)


@pytest.mark.parametrize("name", sorted(BAD))
def test_finds_what_it_should(bad: Any, name: str) -> None:
    """Exactly the planted files are found, and the status is as the policy says."""
    tables, table = bad
    outcome = _one(tables, table, name)
    assert not outcome.error
    others = set() if name != "stale_data" else {"/records/other.txt"}
    assert _paths(outcome) == BAD[name][1] | others
    assert outcome.status == ("FAIL" if shipped()[name].on_violation == "fail" else "WARN")


def test_parameters_change_what_is_found(bad: Any) -> None:
    """Periods and labels are parameters."""
    tables, table = bad
    assert _paths(_one(tables, table, "retention_gap", retention_days=8000)) == {"/records/older.txt"}
    assert _paths(_one(tables, table, "rot_files", rot_labels="rotary")) == {"/tmp/rotary.txt"}
    assert _one(tables, table, "rot_files", rot_labels="").violations == 0
    assert _one(tables, table, "duplicate_files", min_size=10_000).violations == 0


def test_rows_say_what_remediation_needs(bad: Any) -> None:
    """Path, hash, size, time, labels and the hold are in each row."""
    tables, table = bad
    rows = [json.loads(row) for row in _one(tables, table, "duplicate_files").rows.values()]
    assert {row["path"]: row["legal_hold"] for row in rows} == {
        "/a/one.txt": False, "/b/one.txt": True, "/c/two.txt": False
    }  # fmt: skip
    assert all(row["content_sha256"] == "d" * 64 and row["copies"] == 3 for row in rows)
    assert all(row["size_bytes"] and row["last_modified_at"].endswith("Z") for row in rows)


VOLUME = "/Volumes/main/files/inbox"


@pytest.fixture(scope="module")
def results(places: Any) -> Any:
    """A metadata table of dxr_collect."""
    tables, schema, _ = places
    rows = [
        collected(f"{VOLUME}/one.txt", source_sha256="a" * 64),
        collected(f"{VOLUME}/two.txt", source_sha256="a" * 64),
        collected(f"{VOLUME}/gone.txt", source_sha256="a" * 64, source_deleted_at=NOW, labels=["Legal hold"]),
        collected(f"{VOLUME}/old.txt", labels=["Records"], modification_time=days_ago(4000)),
        collected(f"{VOLUME}/failed.txt", status="failed", labels=None),
    ]
    return tables, metadata(tables, schema, rows, "collected")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("duplicate_files", {"one.txt", "two.txt"}),
        ("retention_gap", {"old.txt"}),
        ("missing_classification", {"failed.txt"}),
        ("legal_hold", {"gone.txt"}),
        ("rot_files", set()),
        ("over_exposed", set()),
        ("dlp_mismatch", set()),
        ("stale_data", set()),
    ],
)
def test_policies_over_a_metadata_table(results: Any, name: str, found: set[str]) -> None:
    """Columns of the metadata table stand for the snapshot's; what was deleted counts for legal hold alone."""
    tables, table = results
    outcome = _one(tables, table, name)
    assert not outcome.error
    assert _paths(outcome) == {f"{VOLUME}/{one}" for one in found}


def test_files_that_were_sent_have_their_source(tables: Any, sail: Any, schema: tuple[str, str]) -> None:
    """With the ledger beside the snapshot: path and time of the source; old versions and gone sources left out."""
    inbox = "/Volumes/main/files/inbox"
    first, second, other = "a" * 32, "b" * 32, "c" * 32

    def uploaded(name: str, submission: str, **more: Any) -> dict[str, Any]:
        shown = upload_of(f"{inbox}/{name}", submission)
        return file(f"/{shown}", connector_type="ON_DEMAND_CLASSIFIER", **more)

    record: dict[str, Any] = {"content_sha256": "b" * 64, "label_names": ["Records"]}
    rows = [
        uploaded("record.txt", second, **record),
        uploaded("record.txt", first, **record),  # superseded
        uploaded("theirs.txt", other, **record, last_modified_at=days_ago(4000)),  # somebody else sent it
        file("/share/record.txt", content_sha256="b" * 64),
        uploaded("held.txt", first, label_names=["Legal hold"]),
        uploaded("held.txt", first, label_names=["Legal hold"], ingestion_date=TODAY - timedelta(days=1)),
    ]
    table = snapshot(tables, sail.warehouse, schema, rows)
    known = [
        sent(f"{inbox}/record.txt", second, modification_time=days_ago(3000)),
        sent(f"{inbox}/held.txt", first, state="deleted"),
    ]
    ledger(tables, schema, known, [first, second])
    inputs = prepare(tables, table, ledger=Ledger.beside(table))
    policies = [shipped()[name] for name in ("retention_gap", "duplicate_files", "legal_hold")]
    overdue, copies, gone = evaluate(policies, tables, inputs, clock=lambda: NOW)
    assert not overdue.error + copies.error + gone.error
    theirs = f"/{upload_of(f'{inbox}/theirs.txt', other)}"
    assert _paths(overdue) == {f"{inbox}/record.txt", theirs}
    assert _paths(copies) == {f"{inbox}/record.txt", "/share/record.txt", theirs}
    # Data X-Ray still has it, the volume has not
    assert _paths(gone) == {f"{inbox}/held.txt"}
    # without the ledger they are what Data X-Ray says
    [plain] = evaluate([shipped()["duplicate_files"]], tables, prepare(tables, table), clock=lambda: NOW)
    assert plain.violations == 4


def test_a_ledger_that_is_named_must_be_there(tables: Any, sail: Any, schema: tuple[str, str]) -> None:
    """A typo does not quietly leave the sources out."""
    table = snapshot(tables, sail.warehouse, schema, [file("/a")])
    assert prepare(tables, table, ledger=Ledger.beside(table)) == prepare(tables, table)
    with pytest.raises(TableNotFound, match=r"main\.nowhere\.dxr_checkpoints"):
        prepare(tables, table, ledger=Ledger.beside(table, TableName("main", "nowhere", "dxr_checkpoints")))
