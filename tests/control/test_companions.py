"""Query records, file records and events, on Sail and Delta."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.file_records import FileRecords
from lakeflow_job_meta.control.query_records import QueryRecords
from lakeflow_job_meta.control.records import Event, FileRecord, QueryRecord
from lakeflow_job_meta.names import TableName

AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=timezone.utc)


@pytest.fixture
def queries(tables: Any, control_name: TableName) -> QueryRecords:
    return QueryRecords(tables, control_name, "ws1")


@pytest.fixture
def files(tables: Any, control_name: TableName) -> FileRecords:
    return FileRecords(tables, control_name, "ws1")


@pytest.fixture
def events(tables: Any, control_name: TableName) -> Events:
    return Events(tables, control_name, "ws1")


def query(module: str, source: str) -> QueryRecord:
    return QueryRecord(
        module, source, f"id-{module}-{source}", "hash", {"query_text": "SELECT 'x'"}, "active", AT
    )


def test_nothing_is_made_by_reading(
    tables: Any, control_name: TableName, queries: QueryRecords, files: FileRecords, events: Events
) -> None:
    """And what is not there reads as empty."""
    assert queries.all() == []
    assert files.all() == {}
    assert events.recent(5) == []
    assert [tables.columns(control_name.companion(name)) for name in ("queries", "files", "events")] == [
        None
    ] * 3


def test_queries_round_trip(queries: QueryRecords) -> None:
    """By (module, source); those of some modules alone; a second save replaces."""
    queries.save([query("m", "b"), query("m", "a"), query("n", "a")])
    queries.save([replace(query("m", "a"), spec_hash="new")])
    assert queries.all() == [replace(query("m", "a"), spec_hash="new"), query("m", "b"), query("n", "a")]
    assert queries.all(["n", "x"]) == [query("n", "a")]


def test_forgotten_queries_are_not_seen(queries: QueryRecords) -> None:
    """Until they are made anew."""
    queries.save([query("m", "a"), query("m", "b")])
    queries.forget([("m", "a"), ("never", "there")])
    assert queries.all() == [query("m", "b")]
    queries.save([query("m", "a")])
    assert queries.all() == [query("m", "a"), query("m", "b")]


def test_files_round_trip(files: FileRecords) -> None:
    """With the hashes of the rows that each owns, and its errors."""
    record = FileRecord(
        "/Volumes/main/etl/metadata/it's a 'file'.yaml",
        sha256="abc",
        size=2**40,
        modified_at=1_760_000_000_123,
        status="partial",
        context_hash="ctx",
        errors=("a.yaml:1:2: wrong", 'b "quoted"'),
        keys={"m": {"s": "h1", "t": "h2"}, "n": {}},
        hand=True,
        loaded_at=AT,
    )
    other = FileRecord("/b.yaml", "", 0, 0, "vanished", loaded_at=AT)
    files.save([record, other])
    assert files.all() == {record.path: record, "/b.yaml": other}
    files.save([replace(other, status="loaded")])
    assert files.all()["/b.yaml"].status == "loaded"


def test_events_come_back_newest_first(tables: Any, events: Events) -> None:
    """One statement for as many as there are."""
    written = [
        Event("created", AT, "m", 1, "made", {"changes": [{"path": "x"}]}),
        Event("refused", AT + timedelta(seconds=1), "n", None, 'it\'s "wrong"'),
        Event("updated", AT + timedelta(seconds=2), "m", 1),
    ]
    events.append(written[:1])
    before = tables.statements
    events.append(written[1:])
    events.append([])
    assert tables.statements == before + 1
    assert events.recent(10) == written[::-1]
    assert events.recent(1) == [written[2]]
    assert events.recent(10, "m") == [written[2], written[0]]


def test_workspaces_do_not_see_each_other(tables: Any, control_name: TableName, files: FileRecords) -> None:
    """Every read is confined to one workspace."""
    record = FileRecord("/a.yaml", "x", 1, 1, "loaded", loaded_at=AT)
    files.save([record])
    FileRecords(tables, control_name, "ws2").save([replace(record, sha256="other")])
    QueryRecords(tables, control_name, "ws2").save([query("m", "a")])
    Events(tables, control_name, "ws2").append([Event("created", AT)])
    assert files.all() == {"/a.yaml": record}
    assert QueryRecords(tables, control_name, "ws1").all() == []
    assert Events(tables, control_name, "ws1").recent(5) == []
