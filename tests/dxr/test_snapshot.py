"""The daily snapshot: streamed, staged, checked, published in one commit; a test a defect (C) of the jobs it replaces."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.cli.dxr import split_pairs
from lakeflow_job_meta.dxr import staging as staging_module
from lakeflow_job_meta.dxr.client import DxrClient
from lakeflow_job_meta.dxr.settings import resolve
from lakeflow_job_meta.dxr.snapshot import ingestion_date, take, target
from lakeflow_job_meta.dxr.snapshot_rows import COLUMNS, Projection, read_time
from lakeflow_job_meta.dxr.tasks import perform
from lakeflow_job_meta.errors import (
    DxrRefused,
    DxrRunFailed,
    DxrUnauthorized,
    StreamCut,
    TableMismatch,
    TaskError,
    UsageError,
)
from lakeflow_job_meta.names import TableName
from tests.conftest import Sail
from tests.dxr.world import World, fault
from tests.local.dxr.conftest import Dxr

NOON = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
TODAY = date(2026, 3, 4)


class Stream:
    """Lines in the place of a client's; the same ones for every question, or one list after the other."""

    def __init__(self, *answers: Iterator[bytes] | list[bytes]) -> None:
        self._answers = list(answers)
        self.questions: list[str | None] = []

    @contextmanager
    def files(self, query: str | None = None, *, seconds: float | None = None) -> Iterator[Iterator[bytes]]:
        self.questions.append(query)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        yield iter(answer)


def line(number: int, **more: Any) -> bytes:
    return orjson.dumps({"fileId": f"f{number}", "fileName": f"{number}.txt", "size": number, **more})


def lines(count: int, **more: Any) -> list[bytes]:
    return [line(number, **more) for number in range(count)]


def project(*lines: bytes, phrases: bool = False) -> list[dict[str, Any]]:
    """The rows that the lines become."""
    projection = Projection(phrases=phrases)
    projection.add(lines, 1)
    rows: list[dict[str, Any]] = projection.table([projection.batch()]).to_pylist()
    return rows


class Snapshots:
    """Takes snapshots into a table of this test alone."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder

    def session(self, stream: Stream | DxrClient | None = None, **more: Any) -> Any:
        more.setdefault("clock", lambda: NOON)
        given = {"staging_path": str(self.folder / "staging"), **more}
        return self.world.session(client=stream, **given)

    def take(self, stream: Stream | list[bytes] | None = None, **more: Any) -> dict[str, Any]:
        return take(self.session(Stream(stream) if isinstance(stream, list) else stream, **more))

    def rows(self, columns: str = "*") -> list[dict[str, Any]]:
        return self.world.rows("dxr_snapshot", columns)

    def counts(self) -> dict[date, int]:
        return dict(self.world.tables.partition_counts(target(self.session(None).settings)))

    def staged(self) -> list[Path]:
        return [path for path in (self.folder / "staging").rglob("*") if path.is_file()]


@pytest.fixture
def snapshots(world: World, tmp_path: Path) -> Snapshots:
    return Snapshots(world, tmp_path)


def fleet(dxr: Dxr, count: int = 40, **more: Any) -> None:
    """The simulator knows so many files."""
    dxr.knobs(fleet=count, **more)


# ---------------------------------------------------------------- what comes of it


def test_rows_of_the_real_stream(world: World, snapshots: Snapshots) -> None:
    """Typed columns, the nested parts as JSON, and the line itself; nothing is left in the staging folder."""
    world.put("a/card.txt", "card 4111 1111 1111 1111, mail ana@example.org")
    world.put("plain.txt", "nothing")
    world.run_once()
    done = snapshots.take()
    assert (done["rows"], done["duplicates"], done["capped"]) == (2, 0, False)
    card, plain = sorted(snapshots.rows(), key=lambda row: row["file_name"])
    assert card["ingestion_date"] == TODAY
    assert card["ingested_at"] == NOON
    assert "Payment card data" in card["label_names"]
    assert plain["label_names"] == []
    assert "Payment card" in card["annotator_names"]
    assert {label["name"] for label in json.loads(card["labels_json"])} == set(card["label_names"])
    assert json.loads(card["raw_json"])["fileId"] == card["file_id"]
    assert isinstance(card["created_at"], datetime) or card["created_at"] is None
    assert card["connector_type"] == "ON_DEMAND_CLASSIFIER"
    assert card["file_key"].startswith(f"{card['datasource_id']}:")
    assert snapshots.staged() == []


def test_values_of_other_types_are_kept_in_raw_json() -> None:
    """A value that is not of its column's type is NULL there, and no day fails for it."""
    odd = {
        "fileId": "x",
        "fileName": 7,
        "path": ["no"],
        "size": "12",
        "createdAt": "yesterday",
        "labels": ["plain", {"id": "only-id"}, None],
        "annotators": {},
        "datasource": "text",
        "somethingNew": True,
    }
    [row] = project(orjson.dumps(odd))
    assert row["file_name"] == "7"
    assert (row["path"], row["created_at"], row["annotator_names"], row["datasource_id"]) == (None,) * 4
    assert row["size"] == 12
    assert row["label_names"] == ["plain", "only-id"]
    assert json.loads(row["raw_json"]) == odd


def answers() -> st.SearchStrategy[dict[str, Any]]:
    """Files as the contract has them, some of them with what it does not say."""
    text = st.text(max_size=8)
    extra = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | text,
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(text | st.just("phrase"), inner, max_size=2)
        ),
        max_leaves=4,
    )
    named = st.lists(st.fixed_dictionaries({"id": text, "name": text}), max_size=2)
    phrase = st.fixed_dictionaries({}, optional={"phrase": text, "start": st.integers(0, 9), "end": text})
    annotators = st.fixed_dictionaries({"name": text}, optional={"annotations": st.lists(phrase, max_size=3)})
    datasource = {"id": text, "name": text, "connector": st.fixed_dictionaries({"type": text})}
    return st.fixed_dictionaries(
        {"fileId": st.text(min_size=1, max_size=8)},
        optional={
            "fileName": text | st.none(),
            "path": text,
            "size": st.integers(0, 2**63 - 1) | st.none(),
            "createdAt": st.sampled_from(["2026-03-04T10:16:02.123Z", "2026-03-04T10:16:02Z"]) | st.none(),
            "labels": named | st.none(),
            "annotators": st.lists(annotators, max_size=2),
            "datasource": st.fixed_dictionaries(datasource),
            "owner": extra,
            "unknown": extra,
        },
    )


@given(answer=answers(), phrases=st.booleans(), spaced=st.booleans(), escaped=st.booleans())
def test_the_quick_way_gives_what_the_careful_one_gives(
    answer: dict[str, Any], phrases: bool, spaced: bool, escaped: bool
) -> None:
    """Alone, and beside a line that has its block read value by value; however the JSON is written."""
    separators = (", ", ": ") if spaced else (",", ":")
    own = json.dumps(answer, ensure_ascii=escaped, separators=separators).encode()
    quick, *_ = project(own, phrases=phrases)
    careful, *_ = project(own, line(2, size="odd"), phrases=phrases)
    for name in quick:
        if name.endswith("_json") and quick[name] is not None and careful[name] is not None:
            assert orjson.loads(quick[name]) == orjson.loads(careful[name]), name
        else:
            assert quick[name] == careful[name], name
    kept = orjson.loads(quick["raw_json"])
    assert kept == (orjson.loads(own) if phrases else without(orjson.loads(own), "phrase"))


def without(value: Any, member: str) -> Any:
    """The JSON value without any member of that name."""
    if isinstance(value, dict):
        return {name: without(one, member) for name, one in value.items() if name != member}
    return [without(one, member) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"fileId":"a","annotators":[{"annotations":[{"phrase":"cut',
        b'{"fileId":"a","owner":{"name":"\xff"}}',
        b'{"fileId":"a","owner":{"name":NaN}}',
        b'{"fileId":"a","owner":{"name":"\x01"}}',
        b'{"fileId":"a","owner":{"name":1,}}',
        b'{"fileId":""}',
        b'["fileId"]',
    ],
)
def test_what_is_no_record_is_told_with_its_line(wrong: bytes) -> None:
    """Also where only parts that are skipped over are wrong, and where a phrase is cut before its end."""
    with pytest.raises(StreamCut, match=r"^line 2 of the answer"):
        project(line(1), wrong, line(3, annotators=[{"annotations": [{"phrase": "x"}]}]))


@pytest.mark.parametrize("annotators", [{}, {"a": 1}, "", "text", 0, None])
def test_only_a_list_says_that_nothing_was_found(annotators: Any) -> None:
    """`annotators` is a list by contract; an empty one is "looked and found nothing", all else is NULL."""
    for beside in ([], [{"id": "a", "name": "IBAN"}]):
        odd, plain = project(line(1, annotators=annotators), line(2, annotators=beside))
        assert odd["annotator_names"] is None
        assert plain["annotator_names"] == [one["name"] for one in beside]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-04T10:16:02.123456789Z", datetime(2026, 3, 4, 10, 16, 2, 123456, timezone.utc)),
        ("2026-03-04T10:16:02.1+02:00", datetime(2026, 3, 4, 8, 16, 2, 100000, timezone.utc)),
        ("2026-03-04T10:16:02z", datetime(2026, 3, 4, 10, 16, 2, 0, timezone.utc)),
        ("2026-03-04", datetime(2026, 3, 4, tzinfo=timezone.utc)),
        ("", None),
        ("0001-01-01T00:00:00+23:00", None),
    ],
)
def test_times(text: str, moment: datetime | None) -> None:
    """Nanoseconds are cut, offsets go to UTC, what is no time is NULL."""
    assert read_time(text) == moment


def test_half_a_surrogate_pair_is_no_cut(snapshots: Snapshots) -> None:
    """JSON allows them and file systems make them; the row is kept, the half replaced."""
    done = snapshots.take([b'{"fileId":"a","fileName":"x\\ud800y.txt"}', line(1)])
    assert done["rows"] == 2
    assert {row["file_name"] for row in snapshots.rows()} == {"x?y.txt", "1.txt"}


def test_a_date_again_is_idempotent_and_others_stay(snapshots: Snapshots) -> None:
    """Each date has exactly its own last rows."""
    snapshots.take(lines(5), ingestion_date="2026-03-01")
    snapshots.take(lines(6), ingestion_date="2026-03-02")
    snapshots.take(lines(7), ingestion_date="2026-03-01")
    snapshots.take(lines(7), ingestion_date="2026-03-01")
    assert snapshots.counts() == {date(2026, 3, 2): 6, date(2026, 3, 1): 7}


def test_one_commit_replaces_the_partition(snapshots: Snapshots, sail: Sail) -> None:
    """A snapshot is one version of the table, whatever its size."""
    snapshots.take(lines(3))
    name = TableName(*snapshots.world.schema, "dxr_snapshot")
    before = sail.version(name)
    snapshots.take(lines(50_000))
    assert sail.version(name) == before + 1


def test_dates_side_by_side(snapshots: Snapshots, sail: Sail) -> None:
    """Runs of several dates at once all arrive; the loser of a commit repeats it."""
    snapshots.take(lines(1), ingestion_date="2026-02-01")
    errors: list[Exception] = []

    def one(day: int) -> None:
        try:
            for _ in range(3):
                snapshots.take(lines(day), ingestion_date=f"2026-03-{day:02}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(day,)) for day in (11, 12, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert snapshots.counts() == {
        date(2026, 3, 13): 13,
        date(2026, 3, 12): 12,
        date(2026, 3, 11): 11,
        date(2026, 2, 1): 1,
    }


def test_parts_and_groups(snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many staged files are one snapshot; a cap ends inside any of them."""
    monkeypatch.setattr(staging_module, "PART_ROWS", 1000)
    monkeypatch.setattr(staging_module, "GROUP_ROWS", 300)
    assert snapshots.take(lines(2500))["rows"] == 2500
    assert snapshots.take(lines(2000), min_rows_ratio=0)["rows"] == 2000
    assert snapshots.take(lines(2500), record_cap=1500, min_rows_ratio=0)["rows"] == 1500
    assert sorted(row["size"] for row in snapshots.rows("size")) == list(range(1500))


def test_query_is_sent(snapshots: Snapshots, dxr: Dxr) -> None:
    """The KQL query goes along; without one none is sent, unless the deployment wants one."""
    stream = Stream(lines(1))
    for more in ({"query": 'size > 1 AND fileName:"*"'}, {}, {"always_query": True}):
        snapshots.take(stream, **more)
    assert stream.questions == ['size > 1 AND fileName:"*"', None, 'fileName:"*"']
    fleet(dxr, require_q=True)
    with pytest.raises(DxrRefused, match="400"):
        snapshots.take(min_rows_ratio=0)
    assert snapshots.take(always_query=True)["rows"] == 40


def test_dry_run_touches_nothing(snapshots: Snapshots) -> None:
    """No call, no table, no file."""
    stream = Stream(lines(3))
    done = perform("dxr_snapshot", snapshots.session(stream, dry_run=True))
    assert (done["dry_run"], done["rows"], done["outcome"]) == (True, 0, "succeeded")
    assert stream.questions == []
    for table in ("dxr_snapshot", "dxr_runs"):
        assert snapshots.world.tables.columns(TableName(*snapshots.world.schema, table)) is None


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "kind", ["cut_mid_record", "cut_at_line_end", "premature_eof", "reset", "bad_line", "missing_file_id"]
)
def test_a_cut_stream_never_replaces_a_good_partition(snapshots: Snapshots, dxr: Dxr, kind: str) -> None:
    """Whatever the way in which it is cut: the run fails, says why, and the day is as it was."""
    fleet(dxr)
    snapshots.take()
    dxr.knobs(stream_faults=[{"kind": kind, "after_rows": 20}])
    with pytest.raises(StreamCut, match=r"read 3 times.*not replaced"):
        snapshots.take()
    assert snapshots.counts() == {TODAY: 40}
    assert snapshots.staged() == []


@pytest.mark.parametrize("kind", ["cut_mid_record", "cut_at_line_end", "premature_eof", "reset"])
def test_a_stream_that_is_cut_once_is_read_again(snapshots: Snapshots, dxr: Dxr, kind: str) -> None:
    """One bad answer is no lost day."""
    fleet(dxr)
    snapshots.take()
    dxr.knobs(stream_faults=[{"kind": kind, "after_rows": 10, "count": 1}])
    assert snapshots.take()["rows"] == 40
    assert len(snapshots.world.events("read again")) == 1


def test_a_stalled_stream_ends(snapshots: Snapshots, dxr: Dxr) -> None:
    """No byte for the timeout: cut."""
    fleet(dxr)
    dxr.knobs(stream_faults=[{"kind": "stall", "after_rows": 5, "seconds": 30}])
    with pytest.raises(StreamCut, match="no byte"):
        take(snapshots.session(snapshots.world.client(timeout=0.3)))
    assert snapshots.counts() == {}


@pytest.mark.parametrize("kind", ["blank_lines", "no_final_newline", "line_separators", "huge_row"])
def test_odd_but_whole_streams_are_whole(snapshots: Snapshots, dxr: Dxr, kind: str) -> None:
    """Blank lines, no final newline, U+2028 inside a text, and a row of megabytes lose nothing."""
    fleet(dxr)
    dxr.knobs(stream_faults=[{"kind": kind, "after_rows": 7}])
    done = snapshots.take()
    assert done["rows"] >= 40
    assert snapshots.counts()[TODAY] == done["rows"]


def test_a_revoked_token_stops_at_once(snapshots: Snapshots, dxr: Dxr) -> None:
    """401 is not asked again, and the table is as it was."""
    fleet(dxr)
    snapshots.take()
    dxr.knobs(token_revoked_after=0)
    with pytest.raises(DxrUnauthorized):
        snapshots.take()
    assert snapshots.counts() == {TODAY: 40}


def test_server_errors_are_asked_again(snapshots: Snapshots, dxr: Dxr) -> None:
    """500, 429 with Retry-After and a reset before the answer are no lost day."""
    fleet(dxr)
    faults = [
        {"route": "files", "status": 500, "count": 1},
        {"route": "files", "status": 429, "retry_after": 0, "count": 1},
        {"route": "files", "reset": "before", "count": 1},
    ]
    with fault(snapshots.world, *faults):
        assert snapshots.take()["rows"] == 40


def test_an_html_page_is_no_snapshot(snapshots: Snapshots, dxr: Dxr) -> None:
    """A proxy's page with status 200 is told as such."""
    fleet(dxr)
    with (
        fault(snapshots.world, {"route": "files", "status": 200, "body": "html"}),
        pytest.raises(DxrRefused, match="html"),
    ):
        snapshots.take()


def test_a_run_is_recorded(snapshots: Snapshots, dxr: Dxr) -> None:
    """Good or bad, a run is one row of dxr_runs with its summary, and a failed one ends with it."""
    fleet(dxr)
    perform("dxr_snapshot", snapshots.session(None))
    dxr.knobs(stream_faults=[{"kind": "cut_mid_record", "after_rows": 3}])
    with pytest.raises(DxrRunFailed, match="no JSON") as failed:
        perform("dxr_snapshot", snapshots.session(None))
    assert failed.value.summary["outcome"] == "failed"
    good, bad = sorted(snapshots.world.rows("dxr_runs"), key=lambda row: row["outcome"], reverse=True)
    assert (good["outcome"], good["seen"], good["task"]) == ("succeeded", 40, "dxr_snapshot")
    assert bad["outcome"] == "failed"
    assert "no JSON" in bad["message"]
    assert json.loads(good["summary_json"])["rows"] == 40


# ---------------------------------------------------------------- defects


def test_c1_memory_does_not_grow_with_the_rows(snapshots: Snapshots) -> None:
    """Ten times the rows, the same memory."""

    def peak(count: int) -> int:
        made = (line(number, note="x" * 500) for number in range(count))
        tracemalloc.start()
        snapshots.take(Stream(made))
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    snapshots.take(lines(10), ingestion_date="2026-01-01")
    small, large = peak(2_000), peak(20_000)
    assert large < small * 2 + 8 * 2**20


def test_c2_a_line_that_does_not_parse_fails_the_run(snapshots: Snapshots) -> None:
    """Never skipped: it is the sign of a cut answer; its number is told."""
    with pytest.raises(StreamCut, match="line 3 of the answer is no JSON"):
        snapshots.take([line(1), line(2), b'{"fileId": "x', line(4)])


def test_c3_a_partial_answer_keeps_the_good_partition(snapshots: Snapshots) -> None:
    """The partition is replaced by whole answers only."""
    snapshots.take(lines(10))
    with pytest.raises(StreamCut):
        snapshots.take([*lines(9), line(9)[:-5]])
    assert snapshots.counts() == {TODAY: 10}


def test_c4_far_fewer_rows_are_refused(snapshots: Snapshots) -> None:
    """Compared with the last snapshot; the remedy is told, and a run may override it."""
    snapshots.take(lines(100), ingestion_date="2026-03-03")
    with pytest.raises(StreamCut, match=r"79 rows are far fewer than the 100.*min_rows_ratio 0"):
        snapshots.take(lines(79))
    assert snapshots.take(lines(80))["previous_rows"] == 100
    assert snapshots.take(lines(3), min_rows_ratio=0)["rows"] == 3
    assert snapshots.counts() == {TODAY: 3, date(2026, 3, 3): 100}


def test_c4_each_row_names_the_run_that_was_complete(snapshots: Snapshots) -> None:
    """The mark of completeness: rows carry a run, and that run is in dxr_runs with its outcome and its rows."""
    done = perform("dxr_snapshot", snapshots.session(Stream(lines(7))))
    assert {row["run_id"] for row in snapshots.rows("run_id")} == {done["run_id"]}
    [run] = snapshots.world.rows("dxr_runs")
    assert (run["run_id"], run["outcome"], run["seen"]) == (done["run_id"], "succeeded", 7)


def test_c5_lines_end_at_newline_bytes_only(snapshots: Snapshots, dxr: Dxr) -> None:
    """U+2028, U+0085 and the like stay inside their row."""
    fleet(dxr)
    dxr.knobs(stream_faults=[{"kind": "line_separators", "after_rows": 0}])
    assert snapshots.take()["rows"] >= 40
    name = "a\u2028b\u0085c\x0bd\x0ce.txt"
    snapshots.take([orjson.dumps({"fileId": "z", "fileName": name})], min_rows_ratio=0)
    assert [row["file_name"] for row in snapshots.rows()] == [name]


def test_c6_one_bad_answer_is_asked_again(snapshots: Snapshots) -> None:
    """Read again, and whole the second time."""
    assert snapshots.take(Stream([line(1), b"{"], lines(2)))["rows"] == 2


def test_c7_the_whole_stream_has_a_limit(snapshots: Snapshots, dxr: Dxr) -> None:
    """A trickle that always sends something ends, too."""
    fleet(dxr, 100_000)
    ticks = iter(range(0, 10_000_000, 50))
    client = snapshots.world.client(clock=lambda: next(ticks))
    with pytest.raises(StreamCut, match="longer than it may"):
        take(snapshots.session(client, stream_limit=60))


def test_c8_no_row_is_no_success(snapshots: Snapshots) -> None:
    """A token that sees nothing is answered with nothing: refused, said, and overridable."""
    with pytest.raises(StreamCut, match=r"without any row.*token"):
        snapshots.take([])
    snapshots.take(lines(4))
    with pytest.raises(StreamCut):
        snapshots.take([])
    assert snapshots.take([], min_rows_ratio=0)["rows"] == 0
    assert snapshots.counts() == {}


def test_c9_the_schema_is_fixed(snapshots: Snapshots) -> None:
    """A column without any value, and mixed types, change nothing from day to day."""
    snapshots.take(lines(3), ingestion_date="2026-03-01")
    snapshots.take(lines(3, size="many", labels=None, owner=3), ingestion_date="2026-03-02")
    found = snapshots.world.tables.columns(TableName(*snapshots.world.schema, "dxr_snapshot"))
    assert [(column.name, column.type) for column in found] == [(c.name, c.type) for c in COLUMNS]


def test_c10_one_row_a_file(snapshots: Snapshots, dxr: Dxr) -> None:
    """A file that is told twice is one row, the later one; a record without an id is a damaged answer."""
    done = snapshots.take([line(1), line(2), line(1, note="later")])
    assert (done["rows"], done["duplicates"]) == (2, 1)
    assert {json.loads(row["raw_json"]).get("note") for row in snapshots.rows()} == {None, "later"}
    with pytest.raises(StreamCut, match="no fileId"):
        snapshots.take([line(1), b'{"fileName": "x"}'])
    fleet(dxr)
    dxr.knobs(stream_faults=[{"kind": "duplicate_row", "after_rows": 5}])
    assert snapshots.take()["duplicates"] == 1


def test_c11_columns_for_policies_are_there(snapshots: Snapshots) -> None:
    """Times are times, labels an array, and externalMetadata, coordinates and the extraction status have columns."""
    snapshots.take(
        [
            line(
                1,
                lastModifiedAt="2019-01-01T00:00:00Z",
                labels=[{"id": "1", "name": "ROT"}],
                externalMetadata=[{"name": "n", "value": 1, "type": "NUMBER"}],
                coordinates={"lat": 41.4},
                metadataExtractionStatus="SUCCESS",
            )
        ]
    )
    name = TableName(*snapshots.world.schema, "dxr_snapshot").quoted
    sql = f"SELECT * FROM {name} WHERE array_contains(label_names, 'ROT') AND last_modified_at < '2020-01-01'"
    [row] = snapshots.world.tables.query(sql)
    assert json.loads(row["externalMetadata_json"])[0]["name"] == "n"
    assert json.loads(row["coordinates_json"]) == {"lat": 41.4}
    assert row["metadata_extraction_status"] == "SUCCESS"


@pytest.mark.parametrize(
    "text", ["2026-13-01", "2026-02-30", "20260301", "2026-03-01'; DROP TABLE x; --", "today", "2026-W01-1"]
)
def test_c12_the_date_is_checked(text: str) -> None:
    """A day, or an error; nothing of it is spliced into SQL. Without one it is today in UTC."""
    with pytest.raises(UsageError, match="ingestion_date"):
        ingestion_date(resolve({"ingestion_date": text}), NOON)
    east = datetime.fromisoformat("2026-03-05T01:00:00+09:00")
    assert ingestion_date(resolve({}), east) == date(2026, 3, 4)


def test_c12_a_path_with_quotes_is_a_path(snapshots: Snapshots, tmp_path: Path) -> None:
    """The staging folder and the run's name may hold what they like."""
    session = snapshots.session(Stream(lines(2)), staging_path=str(tmp_path / "it's; --"))
    session.run_id = "../../run '`\n"
    assert take(session)["rows"] == 2
    assert not (tmp_path / "run").exists()


def test_c13_values_that_look_like_names_are_values() -> None:
    """Only whole known names are keys, and what follows one is its value."""
    pairs, rest = split_pairs(
        ["DXR_DELTA_TABLE", "dxr_prod.x.y", "--DXR_QUERY=DXR_RECORD_CAP", "--DXR_TOKEN_KEY", "dxr_token"]
    )
    assert pairs == {
        "DXR_DELTA_TABLE": "dxr_prod.x.y",
        "DXR_QUERY": "DXR_RECORD_CAP",
        "DXR_TOKEN_KEY": "dxr_token",
    }
    assert rest == []
    assert split_pairs(["--snapshot-table", "DXR_DELTA_TABLE", "--dry-run"])[1] == [
        "--snapshot-table",
        "DXR_DELTA_TABLE",
        "--dry-run",
    ]


def test_c14_wrong_values_are_errors() -> None:
    """0, bad numbers and half booleans are told, not replaced by a default."""
    for variables in ({"DXR_RECORD_CAP": "0"}, {"DXR_RECORD_CAP": "ten"}, {"DXR_HTTP_TIMEOUT": "soon"}):
        with pytest.raises(UsageError, match=next(iter(variables))):
            resolve({}, variables)
    assert resolve({}, {"DXR_VERIFY_SSL": "off"})["verify_ssl"] is False
    with pytest.raises(UsageError, match="verify_ssl"):
        resolve({}, {"DXR_VERIFY_SSL": "perhaps"})


def test_c15_half_a_secret_is_told_first(snapshots: Snapshots) -> None:
    """Scope without key is an error, whatever token is there besides."""
    with pytest.raises(UsageError, match="go together"):
        snapshots.take(secret_scope="dxr")


def test_c16_the_session_stays_and_the_answer_is_closed(snapshots: Snapshots, dxr: Dxr, spark: Any) -> None:
    """A cap closes the connection, and the caller's Spark session lives on."""
    fleet(dxr, 50_000)
    assert snapshots.take(record_cap=10)["rows"] == 10
    assert spark.sql("SELECT 1").collect()
    with pytest.raises(TaskError, match="record_cap"):
        snapshots.take(record_cap=3)
    assert snapshots.counts() == {TODAY: 10}


def test_c17_a_run_replaces_its_day_only(snapshots: Snapshots) -> None:
    """Neither append-only nor an overwrite of the table."""
    snapshots.take(lines(4), ingestion_date="2026-03-01")
    snapshots.take(lines(4), ingestion_date="2026-03-02")
    snapshots.take(lines(4), ingestion_date="2026-03-02")
    assert len(snapshots.rows()) == 8


def test_c18_phrases_are_left_out_and_old_days_go(snapshots: Snapshots) -> None:
    """Matched phrases are stored when asked for only; keep_days bounds the table."""
    told = {"annotators": [{"id": "a", "name": "E-mail", "annotations": [{"phrase": "ana@example.org"}]}]}
    snapshots.take([line(1, **told)], ingestion_date="2026-01-01")
    [row] = snapshots.rows()
    assert "ana@example.org" not in json.dumps(row, default=str)
    assert row["annotator_names"] == ["E-mail"]
    snapshots.take([line(1, **told)], ingestion_date="2026-03-01", keep_phrases=True)
    assert sum("ana@example.org" in row["raw_json"] for row in snapshots.rows()) == 1
    done = snapshots.take([line(1)], keep_days=30)
    assert done["partitions_deleted"] == ["2026-01-01"]
    assert set(snapshots.counts()) == {TODAY, date(2026, 3, 1)}


def test_c20_names_with_backticks_and_dots(world: World) -> None:
    """A quoted part may hold what Unity Catalog allows; a dot it does not."""
    assert target(resolve({"snapshot_table": "main.`dxr-data`.files"})).name == TableName(
        "main", "dxr-data", "files"
    )
    for wrong in ("main.files", "main.`a.b`.files", "a.b.c.d", "main..files"):
        with pytest.raises(UsageError):
            target(resolve({"snapshot_table": wrong}))


def test_c21_a_key_that_an_index_rebuild_does_not_change() -> None:
    """file_key is of the datasource and the path; file_id is not."""
    one, two = (
        orjson.dumps({"fileId": file_id, "path": "/a/b.txt", "fileName": "b.txt", "datasource": {"id": "d"}})
        for file_id in ("old", "new")
    )
    first, second = project(one, two)
    assert first["file_key"] == second["file_key"] == "d:/a/b.txt"


# ---------------------------------------------------------------- where it is written


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("dbfs:/Volumes/c/s/v/x", "inside a volume"),
        ("/Volumes/c/s/v/x", "inside a volume"),
        ("dbfs:/mnt/x", "dbfs: path"),
    ],
)
def test_no_table_where_unity_catalog_allows_none(path: str, says: str) -> None:
    """Refused before anything is done, with the reason and what to do; without a table the path is fine."""
    with pytest.raises(UsageError, match=f"{says}.*UC_FILE_SCHEME.*external location"):
        target(resolve({"delta_path": path, "snapshot_table": "c.s.t"}))
    assert target(resolve({"delta_path": path})).registered is False


def test_c12_an_external_table_is_registered(snapshots: Snapshots, tmp_path: Path) -> None:
    """Files outside of volumes get their name in the catalog; a quote in their path is part of it."""
    name = ".".join((*snapshots.world.schema, "outside"))
    path = tmp_path / "it's" / "files"
    snapshots.take(lines(3), delta_path=str(path), snapshot_table=name)
    assert (path / "_delta_log").is_dir()
    assert len(snapshots.world.rows("outside")) == 3


def test_files_without_a_table(snapshots: Snapshots, tmp_path: Path, spark: Any) -> None:
    """A path alone holds a Delta table that no catalog knows, day by day as well."""
    path = str(tmp_path / "delta")
    for day, count in (("2026-03-01", 3), ("2026-03-02", 4), ("2026-03-01", 5)):
        snapshots.take(lines(count), delta_path=path, ingestion_date=day)
    found = spark.read.format("delta").load(path).groupBy("ingestion_date").count().collect()
    assert {row[0].isoformat(): row[1] for row in found} == {"2026-03-01": 5, "2026-03-02": 4}


def test_a_table_with_another_schema(snapshots: Snapshots) -> None:
    """Refused, naming the columns; nothing is written."""
    name = TableName(*snapshots.world.schema, "dxr_snapshot").quoted
    snapshots.world.tables.query(f"CREATE TABLE {name} (file_id STRING, size STRING) USING DELTA")
    with pytest.raises(TableMismatch, match="file_key is missing"):
        snapshots.take(lines(1))


def test_leftovers_of_dead_runs_are_removed(snapshots: Snapshots) -> None:
    """What a killed run staged for the date goes with a later run, once it is old; a young one may still live."""
    import os

    day = snapshots.folder / "staging" / TODAY.isoformat()
    for name, age in (("dead", 7200), ("alive", 60)):
        (day / name).mkdir(parents=True)
        part = day / name / "part-00000.parquet"
        part.write_bytes(b"x")
        moment = NOON.timestamp() - age
        os.utime(part, (moment, moment))
    snapshots.take(lines(2))
    assert [path.parent.name for path in snapshots.staged()] == ["alive"]
