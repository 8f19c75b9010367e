"""Jobs over real HTTP: states, shapes, scan ids, failures, one crawl at a time, restarts."""

from __future__ import annotations

import pytest

from tests.local.dxr.conftest import TOKEN, running_dxr, wait_for

CRAWLING = "AWAITING_RECRAWL_TO_COMPLETE"


def test_a_file_goes_through_to_a_hit(dxr):
    """Submit answers 202 with an id and no scan yet; the job ends FINISHED with a scan id whose hit is the file."""
    submitted = dxr.submit({"q1/report.txt": b"mail ana@example.org"})
    assert submitted["state"] == "UPLOADING_FILES"
    assert submitted["datasourceScanId"] is None
    job = dxr.wait(submitted["id"])
    assert job["state"] == "FINISHED"
    [hit] = dxr.hits(job["datasourceScanId"])
    assert hit["_source"]["ds#file_name"] == "q1/report.txt"
    assert hit["_source"]["dxr#tags"] == [7]
    assert hit["_source"]["annotation.25"] == ["ana@example.org"]
    assert hit["_source"]["annotations"] == "[ana@example.org, 5, 20, 25]"


def test_states_follow_the_script(dxr):
    """Each state is shown for as many polls as it says, then the next; names go forward only."""
    dxr.knobs(
        state_script=[
            ["QUEUED", {"polls": 2}],
            [CRAWLING, {"polls": 2}],
            {"state": "ODD_STATE", "wait": {"polls": 1}},
        ]
    )
    job_id = dxr.submit({"a.txt": b"x"})["id"]
    seen = []
    wait_for(lambda: seen.append(dxr.job(job_id)["state"]) or seen[-1] == "FINISHED")
    assert list(dict.fromkeys(seen)) == ["QUEUED", CRAWLING, "ODD_STATE", "FINISHED"]


def test_a_state_lasts_by_the_clock(tmp_path):
    """Seconds of a script are those of the clock that is passed in."""
    now = [1000.0]
    with running_dxr(tmp_path, {"state_script": [[CRAWLING, 60]]}, clock=lambda: now[0]) as dxr:
        job_id = dxr.submit({"a.txt": b"x"})["id"]
        wait_for(lambda: dxr.job(job_id)["state"] == CRAWLING)
        now[0] += 59
        assert dxr.job(job_id)["state"] == CRAWLING
        now[0] += 2
        assert dxr.wait(job_id)["state"] == "FINISHED"


def test_a_job_for_ever_ends_when_the_knob_is_turned_back(dxr):
    """A script without end keeps a job in its state, for tests of deadlines, until the script changes."""
    dxr.knobs(state_script=[[CRAWLING, None]])
    job_id = dxr.submit({"a.txt": b"x"})["id"]
    wait_for(lambda: dxr.job(job_id)["state"] == CRAWLING)
    assert dxr.job(job_id)["state"] == CRAWLING
    dxr.knobs(state_script=[[CRAWLING, 0]])
    assert dxr.wait(job_id)["state"] == "FINISHED"


@pytest.mark.parametrize(
    ("shape", "state", "scan"),
    [
        ("flat", lambda job: job["state"], lambda job: job["datasourceScanId"]),
        ("nested_value", lambda job: job["state"]["value"], lambda job: job["state"]["datasourceScanId"]),
        ("nested_state", lambda job: job["state"]["state"], lambda job: job["state"]["datasourceScanId"]),
        ("dotted", lambda job: job["state"], lambda job: job["state.datasourceScanId"]),
        ("status", lambda job: job["status"], lambda job: job["datasourceScanId"]),
        ("job_state", lambda job: job["jobState"], lambda job: job["datasourceScanId"]),
    ],
)
def test_shapes(dxr, shape, state, scan):
    """Every variant of section 2.2, with the scan id where it belongs."""
    dxr.knobs(job_shape=shape)
    job_id = dxr.submit({"a.txt": b"x"})["id"]
    wait_for(lambda: state(dxr.job(job_id)) == "FINISHED")
    assert len(dxr.hits(scan(dxr.job(job_id)))) == 1


def test_error_texts_of_shapes(dxr):
    """A FAILED job says why, where its shape has it."""
    dxr.knobs(fail_rate=1, error_message="boom")
    job_id = dxr.submit({"a.txt": b"x"})["id"]
    assert dxr.wait(job_id)["errorMessage"] == "boom"
    dxr.knobs(job_shape="nested_value")
    assert dxr.job(job_id)["state"]["errorMessage"] == "boom"
    dxr.knobs(job_shape="nested_state")
    assert dxr.job(job_id)["state"]["message"] == "boom"


@pytest.mark.parametrize(
    ("when", "early", "running", "end"),
    [("submit", True, True, True), ("running", False, True, True), ("terminal", False, False, True), ("never", False, False, False)],
)  # fmt: skip
def test_when_the_scan_id_shows(dxr, when, early, running, end):
    """Early, while crawling, at the end, or never."""
    dxr.knobs(scan_id_when=when, state_script=[["UPLOADING_FILES", {"polls": 1}], [CRAWLING, {"polls": 2}]])
    submitted = dxr.submit({"a.txt": b"x"})
    assert (submitted["datasourceScanId"] is not None) is early
    crawling = wait_for(lambda: found if (found := dxr.job(submitted["id"]))["state"] == CRAWLING else None)
    assert (crawling["datasourceScanId"] is not None) is running
    assert (dxr.wait(submitted["id"])["datasourceScanId"] is not None) is end


def test_kinds_of_ids(dxr):
    """Job ids as numbers, scan and datasource ids as digits in a string, a submit without the field, and 200."""
    dxr.knobs(job_id_type="int", scan_id_type="str", submit_scan_id="absent", submit_status=200)
    submitted = dxr.submit({"a.txt": b"x"})
    assert isinstance(submitted["id"], int)
    assert "datasourceScanId" not in submitted
    job = dxr.wait(submitted["id"])
    assert job["datasourceScanId"].isdigit()
    [hit] = dxr.hits(job["datasourceScanId"])
    assert hit["_source"]["datasource_id"] == "200"
    assert hit["_source"]["dxr#datasource_scan_id"] == job["datasourceScanId"]


def test_a_failed_job_has_partial_results(dxr):
    """Half of the files of a FAILED job are in the index; the next job is well again."""
    dxr.knobs(fail_first=1, partial_on_fail=0.5)
    files = {f"{number}.txt": b"x" for number in range(4)}
    failed = dxr.wait(dxr.submit(files)["id"])
    assert failed["state"] == "FAILED"
    assert len(dxr.hits(failed["datasourceScanId"])) == 2
    well = dxr.wait(dxr.submit({"other.txt": b"x"})["id"])
    assert well["state"] == "FINISHED"


def test_lost_files(dxr):
    """A file may get no hit although its job FINISHED."""
    dxr.knobs(lost_files=["*.lost"])
    job = dxr.wait(dxr.submit({"a.txt": b"x", "b/c.lost": b"x"})["id"])
    assert job["state"] == "FINISHED"
    assert [hit["_source"]["ds#file_name"] for hit in dxr.hits(job["datasourceScanId"])] == ["a.txt"]


def test_one_crawl_at_a_time_in_each_datasource(dxr):
    """Two jobs of one datasource follow one another; another datasource works beside them."""
    dxr.knobs(state_script=[["UPLOADING_FILES", 0], [CRAWLING, None]])
    first = dxr.submit({"a.txt": b"x"})["id"]
    second = dxr.submit({"b.txt": b"x"})["id"]
    beside = dxr.submit({"c.txt": b"x"}, 201)["id"]
    wait_for(lambda: dxr.job(first)["state"] == CRAWLING and dxr.job(beside, 201)["state"] == CRAWLING)
    assert dxr.job(second)["state"] == "UPLOADING_FILES"
    status = dxr.http.get("/api/datasources/ingester/200/index/status").json()
    assert status["items"][0]["crawl_active"] is True
    dxr.knobs(state_script=[[CRAWLING, 0]])
    assert {dxr.wait(first)["state"], dxr.wait(second)["state"]} == {"FINISHED"}
    assert (
        dxr.http.get("/api/datasources/ingester/200/index/status").json()["items"][0]["crawl_active"] is False
    )
    assert dxr.http.get("/api/datasources/ingester/203/index/status").json() == {"items": []}


def test_a_later_upload_overwrites(dxr):
    """The same name into the same datasource moves the document to the newer scan; into another it does not."""
    old = dxr.wait(dxr.submit({"a/x.txt": b"old"})["id"])
    beside = dxr.wait(dxr.submit({"a/x.txt": b"beside"}, 201)["id"], 201)
    new = dxr.wait(dxr.submit({"a/x.txt": b"new", "b/x.txt": b"other folder"})["id"])
    assert dxr.hits(old["datasourceScanId"]) == []
    assert len(dxr.hits(beside["datasourceScanId"])) == 1
    assert len(dxr.hits(new["datasourceScanId"])) == 2
    assert len(dxr.http.get("/api/v1/files").text.splitlines()) == 3


def test_the_same_name_twice_in_one_job(dxr):
    """One name, one hit, the later bytes; unless both are kept."""
    job = dxr.wait(dxr.submit([("x.txt", b"first"), ("x.txt", b"second")])["id"])
    [hit] = dxr.hits(job["datasourceScanId"])
    assert hit["_source"]["dxr#raw_text"] == "second"
    dxr.knobs(same_name="keep_both")
    job = dxr.wait(dxr.submit([("x.txt", b"first"), ("x.txt", b"second")])["id"])
    assert len(dxr.hits(job["datasourceScanId"])) == 2


def test_unknown_things(dxr):
    """404 for a datasource or a job that is not there; no list of jobs, no deletion."""
    assert (
        dxr.http.post("/api/on-demand-classifiers/7/jobs", files=[("files", ("a", b"x"))]).status_code == 404
    )
    assert dxr.http.get("/api/on-demand-classifiers/200/jobs/nope").status_code == 404
    job_id = dxr.submit({"a.txt": b"x"})["id"]
    assert dxr.http.get(f"/api/on-demand-classifiers/201/jobs/{job_id}").status_code == 404
    assert dxr.http.get("/api/on-demand-classifiers/200/jobs").status_code == 405
    assert dxr.http.delete(f"/api/on-demand-classifiers/200/jobs/{job_id}").status_code == 405


def test_a_restart_goes_on(tmp_path):
    """Jobs, hits and bytes are there after a restart, and a job that was under way ends."""
    with running_dxr(tmp_path, {"state_script": [["UPLOADING_FILES", 0], [CRAWLING, None]]}) as dxr:
        waiting = [dxr.submit({f"{number}.txt": b"ana@example.org"})["id"] for number in range(2)]
        wait_for(lambda: dxr.job(waiting[0])["state"] == CRAWLING)
    with running_dxr(tmp_path) as dxr:
        jobs = [dxr.wait(job_id) for job_id in waiting]
        assert [job["state"] for job in jobs] == ["FINISHED", "FINISHED"]
        hits = [hit for job in jobs for hit in dxr.hits(job["datasourceScanId"])]
        assert [hit["_source"]["ds#file_name"] for hit in hits] == ["0.txt", "1.txt"]
        content = dxr.http.get(f"/api/v1/files/{hits[0]['_id']}/content")
        assert content.content == b"ana@example.org"
    assert TOKEN not in "".join(path.name for path in tmp_path.rglob("*"))
