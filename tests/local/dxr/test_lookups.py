"""Names behind ids, over real HTTP."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("path", "number", "name"),
    [
        ("tags", 7, "Personal data"),
        ("metadata-extractors", 4, "Document type"),
        ("data-classes", 25, "E-mail address"),
    ],
)
def test_one_by_id(dxr, path, number, name):
    """id, uuid and name; 404 for one that is not there, whatever it looks like."""
    found = dxr.http.get(f"/api/{path}/{number}").json()
    assert (found["id"], found["name"]) == (number, name)
    assert len(found["uuid"]) == 36
    for wrong in ("99999", "x", "-1", "٣"):
        missing = dxr.http.get(f"/api/{path}/{wrong}")
        assert missing.status_code == 404
        assert missing.json()["error"].endswith("not found")


@pytest.mark.parametrize("path", ["tags", "metadata-extractors", "datasources"])
def test_lists(dxr, path):
    """A bare list, or a page of it under `content`."""
    everything = dxr.http.get(f"/api/{path}").json()
    assert len(everything) >= 4
    page = dxr.http.get(f"/api/{path}", params={"page": 1, "size": 2}).json()
    assert page["content"] == everything[2:4]
    assert page["totalElements"] == len(everything)
    assert dxr.http.get(f"/api/{path}", params={"size": 0}).status_code == 400


def test_data_classes_are_six_lists(dxr):
    found = dxr.http.get("/api/data-classes").json()
    assert set(found) == {
        "dictionaries", "readOnlyDictionaries", "regexes", "readOnlyRegexes", "namedEntities", "readOnlyNamedEntities",
    }  # fmt: skip
    assert {one["name"] for one in found["dictionaries"]} >= {"Health terms"}
    assert {one["type"] for one in found["readOnlyRegexes"]} == {"REGEX"}


def test_classes_with_findings(dxr):
    """Only annotators that found something."""
    assert dxr.http.get("/api/datasources/ingester/index/classes").json() == []
    dxr.classified({"a.txt": b"ana@example.org"})
    assert dxr.http.get("/api/datasources/ingester/index/classes").json() == [
        {"id": 25, "name": "E-mail address"}
    ]


def test_datasources(dxr):
    """200 to 203 exist, as On-Demand Classifiers."""
    assert [one["datasourceId"] for one in dxr.http.get("/api/datasources/browse").json()] == [
        200,
        201,
        202,
        203,
    ]
    one = dxr.http.get("/api/datasources/200").json()
    assert (one["datasourceConnectorTypeId"], one["status"]) == (21, "ENABLED")
    assert dxr.http.get("/api/datasources/7").status_code == 404


def test_the_two_apis_name_the_same_things(dxr):
    """A label's uuid in the internal API is its id in the public one, also on rows."""
    classifications = dxr.http.get("/api/v1/classifications").json()["data"]
    assert classifications == dxr.http.get("/api/vbeta/classifications").json()["data"]
    assert {one["type"] for one in classifications} == {"ANNOTATOR", "ANNOTATOR_DOMAIN", "LABEL", "EXTRACTOR"}
    by_id = {one["id"]: one["name"] for one in classifications}
    assert len(by_id) == len(classifications)
    tag = dxr.http.get("/api/tags/7").json()
    assert by_id[tag["uuid"]] == tag["name"]


def test_redactors_and_fields(dxr):
    assert [one["id"] for one in dxr.http.get("/api/v1/redactors").json()["data"]] == [1, 2, 3]
    assert all(
        {"source", "metaField", "type"} == set(one)
        for one in dxr.http.get("/api/v1/metadata-fields").json()["data"]
    )
