"""GET /v1/files over real HTTP: rows, q, and everything that goes wrong with streams."""

from __future__ import annotations

import json
import socket
import time

import httpx
import pytest

from tests.local.dxr.conftest import running_dxr

FILES = {f"folder/{number}.txt": b"ana@example.org" for number in range(10)}
REQUIRED = {"datasource", "fileName", "fileId", "size", "labels", "entitlements"}


@pytest.fixture
def filled(dxr):
    dxr.classified(FILES)
    return dxr


def rows(dxr, **params):
    response = dxr.http.get("/api/v1/files", params=params)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.content.split(b"\n") if line.strip()]


def test_rows(filled):
    """A bare object a line, chunked, as JSON lines, with the required fields and what was found."""
    response = filled.http.get("/api/v1/files")
    assert response.headers["content-type"] == "application/jsonlines"
    assert response.headers["transfer-encoding"] == "chunked"
    found = rows(filled)
    assert len(found) == 10
    assert all(set(row) >= REQUIRED for row in found)
    assert [row["path"] for row in found] == sorted(f"/{name}" for name in FILES)
    row = found[0]
    assert row["labels"][0]["name"] == "Personal data"
    assert row["annotators"][0]["annotations"] == [
        {"phrase": "ana@example.org", "locations": [{"start": 0, "end": 15}]}
    ]
    assert row["datasource"]["connector"] == {"type": "ON_DEMAND_CLASSIFIER"}
    assert {one["name"]: one["value"] for one in row["extractedMetadata"]} == {
        "Document type": "Other",
        "Contains personal data": True,
    }


@pytest.mark.parametrize("path", ["/api/v1/files", "/api/vbeta/files", "/api/vbeta/indexed-files"])
def test_aliases(filled, path):
    assert len(filled.http.get(path).content.splitlines()) == 10


def test_queries(filled):
    """q narrows, `fileName:"*"` and none are everything, a wrong one is 400 in plain text."""
    assert len(rows(filled, q='fileName:"*"')) == 10
    assert [row["path"] for row in rows(filled, q='path:"*/7.txt" AND labels.name:"personal data"')] == [
        "/folder/7.txt"
    ]
    assert rows(filled, q="size > 1000") == []
    refused = filled.http.get("/api/v1/files", params={"q": "fileName:x"})
    assert refused.status_code == 400
    assert refused.headers["content-type"].startswith("text/plain")
    assert "no viable alternative at input 'x'" in refused.text
    filled.knobs(require_q=True)
    assert filled.http.get("/api/v1/files").status_code == 400
    assert len(rows(filled, q='fileName:"*"')) == 10


def test_one_file(filled):
    """By id: bare, and like its row; a knob turns it off."""
    [first, *_] = rows(filled)
    url = f"/api/v1/files/{first['fileId']}"
    assert filled.http.get(url).json() == first
    missing = filled.http.get("/api/v1/files/nope")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "NOT_FOUND"
    filled.knobs(files_get_by_id=False)
    assert filled.http.get(url).status_code == 404
    assert rows(filled, q=f'fileId:"{first["fileId"]}"') == [first]


def test_content_text_and_redacted_text(filled):
    """The bytes with their type and name; the text; the text without phrases, for which a redactor is required."""
    [first, *_] = rows(filled)
    url = f"/api/v1/files/{first['fileId']}"
    content = filled.http.get(f"{url}/content")
    assert content.content == b"ana@example.org"
    assert content.headers["content-type"].startswith("text/plain")
    assert 'filename="0.txt"' in content.headers["content-disposition"]
    assert filled.http.get(f"{url}/text").json()["data"]["text"] == "ana@example.org"
    assert filled.http.get(f"{url}/redacted-text").status_code == 400
    assert filled.http.get(f"{url}/redacted-text", params={"redactor_id": 99}).status_code == 404
    redacted = filled.http.get(f"{url}/redacted-text", params={"redactor_id": 3}).json()
    assert redacted == {"status": "ok", "data": {"redactedText": "[REDACTED]"}}
    kept = filled.http.get(f"{url}/redacted-text", params={"redactor_id": 2}).json()
    assert kept["data"]["redactedText"] == "ana@example.org"


def lines(dxr):
    return dxr.http.get("/api/v1/files").content.split(b"\n")


def test_cut_in_a_record(filled):
    """A clean end in the middle of a record: 200, and the tail does not parse."""
    filled.knobs(stream_faults=[{"kind": "cut_mid_record", "after_rows": 4}])
    found = lines(filled)
    assert len(found) == 5
    for line in found[:4]:
        json.loads(line)
    with pytest.raises(json.JSONDecodeError):
        json.loads(found[4])


def test_cut_at_a_line_end(filled):
    """A clean end after a whole line: nothing shows it; `count` says how many streams it strikes."""
    filled.knobs(stream_faults=[{"kind": "cut_at_line_end", "after_rows": 4, "count": 1}])
    assert len(rows(filled)) == 4
    assert len(rows(filled)) == 10


@pytest.mark.parametrize("after_rows", [0, 4, 99])
def test_premature_end(filled, after_rows):
    """The connection closes without the last chunk; the client is told by HTTP."""
    filled.knobs(stream_faults=[{"kind": "premature_eof", "after_rows": after_rows}])
    with pytest.raises(httpx.RemoteProtocolError):
        filled.http.get("/api/v1/files")


def test_reset_in_the_stream(filled):
    """The connection is reset after some rows."""
    filled.knobs(stream_faults=[{"kind": "reset", "after_rows": 4}])
    got = b""
    with pytest.raises(httpx.ReadError), filled.http.stream("GET", "/api/v1/files") as response:
        for piece in response.iter_raw():
            got += piece
    assert got.count(b"\n") == 4


def test_stall(filled):
    """Bytes stop coming; a client with a timeout sees it, a patient one gets the rest."""
    filled.knobs(stream_faults=[{"kind": "stall", "after_rows": 4}])
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout), filled.client(timeout=0.3) as client:
        client.get("/api/v1/files")
    assert time.monotonic() - began < 5
    filled.knobs(stream_faults=[{"kind": "stall", "after_rows": 4, "seconds": 0.2}])
    assert len(rows(filled)) == 10


def test_blank_lines_and_no_last_newline(filled):
    """Both are no error: the same rows, with blanks between them, or without an end."""
    filled.knobs(stream_faults=[{"kind": "blank_lines"}])
    assert b"" in lines(filled)[:-1]
    assert len(rows(filled)) == 10
    filled.knobs(stream_faults=[{"kind": "no_final_newline"}])
    assert not filled.http.get("/api/v1/files").content.endswith(b"\n")
    assert len(rows(filled)) == 10


def test_bad_rows(filled):
    """A line that does not parse, one without fileId, and one that comes twice."""
    filled.knobs(stream_faults=[{"kind": "bad_line", "after_rows": 3}])
    with pytest.raises(json.JSONDecodeError):
        rows(filled)
    filled.knobs(stream_faults=[{"kind": "missing_file_id", "after_rows": 3}])
    assert sum("fileId" not in row for row in rows(filled)) == 1
    filled.knobs(stream_faults=[{"kind": "duplicate_row", "after_rows": 3}])
    assert len(rows(filled)) == 11
    assert len({row["fileId"] for row in rows(filled)}) == 10


def test_separators_and_huge_rows(filled):
    """U+2028 and its kin stand inside strings, and a row may have megabytes: each is one line of valid JSON."""
    filled.knobs(
        stream_faults=[
            {"kind": "line_separators", "after_rows": 2},
            {"kind": "huge_row", "after_rows": 3, "bytes": 3_000_000},
        ]
    )
    found = rows(filled)
    assert len(found) == 12
    assert any("\u2028" in row["fileName"] and "\u0085" in row["fileName"] for row in found)
    assert "\u2028".encode() in filled.http.get("/api/v1/files").content
    assert max(len(line) for line in lines(filled)) > 3_000_000


def test_the_fleet(dxr):
    """Synthetic rows, as many as asked for, each its own, all of the shape of real ones, the same every time."""
    dxr.knobs(fleet=5000)
    found = rows(dxr)
    assert len({row["fileId"] for row in found}) == len({row["path"] for row in found}) == 5000
    assert all(set(row) >= REQUIRED for row in found)
    assert {row["scanDepth"] for row in found} == {"DISCOVERY", "DISCOVERY_AND_CLASSIFICATION"}
    assert 700 < len(dxr.http.get("/api/v1/files").content) / 5000 < 1800
    assert rows(dxr) == found
    assert len(rows(dxr, q='fileName:"report-00000123?.pdf"')) == 10


def test_visibility(tmp_path):
    """What a token cannot see is silently absent, in the stream, the search and the look-ups."""
    knobs = {"tokens": {"eyJ-other": {"hidden_datasources": [200]}}}
    with running_dxr(tmp_path, knobs) as dxr:
        dxr.classified({"a.txt": b"x"}, 200)
        dxr.classified({"b.txt": b"x"}, 201)
        other = {"Authorization": "Bearer eyJ-other"}
        [row] = dxr.http.get("/api/v1/files", headers=other).text.splitlines()
        assert json.loads(row)["fileName"] == "b.txt"
        assert [one["id"] for one in dxr.http.get("/api/datasources", headers=other).json()] == [
            201,
            202,
            203,
        ]
        assert dxr.http.get("/api/on-demand-classifiers/200/jobs/x", headers=other).status_code == 404
        dxr.knobs(hidden_datasources=[201])
        assert [row["fileName"] for row in rows(dxr)] == ["a.txt"]


def test_a_client_that_stops_reading_stops_the_server(dxr):
    """A capped reader closes the connection; the rest of a large stream is not made for nobody."""
    dxr.knobs(fleet=2_000_000)
    with dxr.client() as client, client.stream("GET", "/api/v1/files") as response:
        next(response.iter_raw())
    assert len(dxr.http.get("/api/tags").json()) > 5
    with socket.create_connection((httpx.URL(dxr.url).host, httpx.URL(dxr.url).port or 0), 5):
        pass
