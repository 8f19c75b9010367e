"""Uploads over real HTTP: names, limits, bodies that are no uploads, and memory."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from tests.local.dxr.conftest import running_dxr, wait_for

NAMES = [
    "plain.txt",
    "a/b/c.txt",
    'quote " and back\\slash.txt',
    "line\nbreak.txt",
    "emoji \U0001f600 é.txt",
    "back`tick';--.txt",
    "../up.txt",
    "noending",
    " spaces ",
]
URL = "/api/on-demand-classifiers/200/jobs"


def test_names_come_back_as_they_were_sent(dxr):
    """Directories, quotes, line breaks, emoji and `..` in upload names are kept in `ds#file_name`."""
    found = dxr.classified({name: name.encode() for name in NAMES})
    assert sorted(found) == sorted(NAMES)
    for name, source in found.items():
        assert source["dxr#sha_256_hash"] == hashlib.sha256(name.encode()).hexdigest()
        assert source["ds#file_size"] == len(name.encode())


@pytest.mark.parametrize(
    ("echo", "shown"), [("full", "a/b.txt"), ("leading_slash", "/a/b.txt"), ("basename", "b.txt")]
)
def test_echo_of_names(dxr, echo, shown):
    """Data X-Ray may drop directories or lead with a slash; two folders then look alike, and stay two files."""
    dxr.knobs(file_name_echo=echo)
    job = dxr.wait(dxr.submit({"a/b.txt": b"one", "c/b.txt": b"two"})["id"])
    names = [hit["_source"]["ds#file_name"] for hit in dxr.hits(job["datasourceScanId"])]
    assert shown in names
    assert len(names) == 2


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"content": b"hello"}, 400),
        ({"json": {}}, 400),
        ({"files": [("file", ("a.txt", b"x"))]}, 400),
        ({"data": {"files": "no file name"}, "files": [("other", ("a", b"x"))]}, 400),
        ({"content": b"--b\r\nbroken", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400),
        ({"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400),
    ],
)
def test_what_is_no_upload(dxr, request_, status):
    """No multipart body, no part `files`, or a body that ends early: 400, and no job."""
    assert dxr.http.post(URL, **request_).status_code == status
    assert dxr.http.get("/_simulator/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("knobs", "status"), [({"max_files": 1}, 400), ({"max_bytes": 1000}, 413), ({"max_file_bytes": 600}, 413)]
)
def test_limits(dxr, knobs, status):
    """Beyond a limit the answer comes after the whole body, and nothing is kept."""
    dxr.knobs(**knobs)
    big = [("files", ("a.txt", b"x" * 700)), ("files", ("b.txt", b"y" * 700))]
    assert dxr.http.post(URL, files=big).status_code == status
    assert dxr.http.post(URL, files=[("files", ("a.txt", b"x" * 10))]).status_code == 202
    assert list(dxr.simulator.store.incoming.iterdir()) == []


def test_bytes_arrive_whole_whatever_they_look_like(dxr):
    """Line ends, boundaries in disguise and all byte values survive, over the size of one piece."""
    content = bytes(range(256)) * 20_000 + b"\r\n--" + b"\r\n\r\n--boundary--\r\n" * 10
    source = dxr.classified({"blob.bin": content})["blob.bin"]
    assert source["dxr#sha_256_hash"] == hashlib.sha256(content).hexdigest()
    got = dxr.http.get(f"/api/v1/files/{source['dxr#file_id']}/content")
    assert got.content == content


def test_a_client_that_goes_away_leaves_nothing(dxr):
    """Half an upload is no job, and its bytes are removed."""

    def half():
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
        yield b"x" * 200_000
        raise RuntimeError

    with pytest.raises(RuntimeError), dxr.client() as client:
        client.post(URL, content=half(), headers={"Content-Type": "multipart/form-data; boundary=b"})
    wait_for(lambda: not list(dxr.simulator.store.incoming.iterdir()))
    assert dxr.http.get("/_simulator/jobs").json()["jobs"] == []


def test_half_an_upload_of_a_killed_process_is_removed(tmp_path):
    """The next start throws away what no job took over."""
    left = tmp_path / "incoming" / "x"
    left.mkdir(parents=True)
    (left / "0").write_bytes(b"half")
    with running_dxr(tmp_path) as dxr:
        assert list(dxr.simulator.store.incoming.iterdir()) == []


def test_content_may_be_thrown_away(dxr):
    """For benchmarks: once classified, the bytes are gone; what was found is not."""
    dxr.knobs(keep_content=False)
    source = dxr.classified({"a.txt": b"ana@example.org"})["a.txt"]
    assert source["dxr#tags"] == [7]
    assert dxr.http.get(f"/api/v1/files/{source['dxr#file_id']}/content").status_code == 404


def test_counters(dxr):
    """Submits, files and bytes are counted; only what was accepted."""
    dxr.submit({"a.txt": b"12345", "b.txt": b"123"})
    dxr.http.post(URL, content=b"x")
    counted = dxr.counters()
    assert (counted["submits"], counted["files"], counted["bytes"]) == (1, 2, 8)
    assert counted["calls"]["submit"] == {"202": 1, "400": 1}
    dxr.http.delete("/_simulator/counters")
    assert dxr.counters()["files"] == 0


def test_many_at_once(dxr):
    """Submits side by side are all accepted, each file once."""
    import concurrent.futures

    with (
        dxr.client(limits=httpx.Limits(max_connections=8)) as client,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        answers = list(
            pool.map(
                lambda number: client.post(URL, files=[("files", (f"{number}.txt", b"ana@example.org"))]),
                range(24),
            )
        )
    assert {answer.status_code for answer in answers} == {202}
    for answer in answers:
        assert dxr.wait(answer.json()["id"])["state"] == "FINISHED"
    assert len(dxr.http.get("/api/v1/files").text.splitlines()) == 24
