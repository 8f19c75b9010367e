"""The index is late: hits, labels and extracted values appear only some time after FINISHED."""

from __future__ import annotations

from tests.local.dxr.conftest import running_dxr


def test_hits_appear_after_some_searches(dxr):
    """FINISHED, and for two searches nothing is there."""
    dxr.knobs(index_lag={"polls": 2})
    job = dxr.wait(dxr.submit({"a.txt": b"x"})["id"])
    counts = [len(dxr.hits(job["datasourceScanId"])) for _ in range(4)]
    assert counts == [0, 0, 1, 1]


def test_a_part_appears_early(dxr):
    """Half of the hits at once, the rest later: an incomplete answer looks like a complete one."""
    dxr.knobs(index_lag={"polls": 2}, index_early_share=0.5)
    job = dxr.wait(dxr.submit({f"{number}.txt": b"x" for number in range(4)})["id"])
    counts = [len(dxr.hits(job["datasourceScanId"])) for _ in range(3)]
    assert counts == [2, 2, 4]


def test_lags_by_the_clock(tmp_path):
    """Seconds count from the end of the job; labels and extracted values have lags of their own."""
    now = [1000.0]
    knobs = {"index_lag": 10, "label_lag": 20, "extraction_lag": 30}
    with running_dxr(tmp_path, knobs, clock=lambda: now[0]) as dxr:
        job = dxr.wait(dxr.submit({"a.txt": b"ana@example.org"})["id"])
        assert dxr.hits(job["datasourceScanId"]) == []
        assert dxr.http.get("/api/v1/files").text == ""
        now[0] += 11
        [hit] = dxr.hits(job["datasourceScanId"])
        assert hit["_source"]["dxr#tags"] == []
        assert "extracted_metadata#4" not in hit["_source"]
        assert "dxr#metadata_extraction_status" not in hit["_source"]
        now[0] += 10
        [hit] = dxr.hits(job["datasourceScanId"])
        assert hit["_source"]["dxr#tags"] == [7]
        now[0] += 10
        [hit] = dxr.hits(job["datasourceScanId"])
        assert hit["_source"]["extracted_metadata#4"] == "Other"
        assert hit["_source"]["dxr#metadata_extraction_status"] == "SUCCESS"


def test_an_old_document_stays_until_the_new_one_is_there(dxr):
    """While the newer scan lags, the older document is still found."""
    old = dxr.wait(dxr.submit({"a.txt": b"old"})["id"])
    assert len(dxr.hits(old["datasourceScanId"])) == 1
    dxr.knobs(index_lag={"polls": 1})
    new = dxr.wait(dxr.submit({"a.txt": b"new"})["id"])
    assert len(dxr.hits(old["datasourceScanId"])) == 1
    assert len(dxr.hits(new["datasourceScanId"])) == 1
    assert dxr.hits(old["datasourceScanId"]) == []
