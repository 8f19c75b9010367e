"""DXR_JSON_QUERY over real HTTP: filters, paging, sorting, and how hits are shown."""

from __future__ import annotations

import pytest

from tests.local.dxr.conftest import item, scan

SORT = [
    {"property": "datasource_id", "order": "ASCENDING"},
    {"property": "ds#file_name.raw", "order": "ASCENDING"},
]
FILES = {
    "plain.txt": b"nothing",
    "mail.txt": b"ana@example.org",
    "card.txt": b"4111 1111 1111 1111",
    "both.txt": b"ana@example.org and 4111 1111 1111 1111",
}


def names(response):
    assert response.status_code == 200, response.text
    return sorted(hit["_source"]["ds#file_name"] for hit in response.json()["hits"]["hits"])


@pytest.fixture
def filled(dxr):
    dxr.classified(FILES)
    return dxr


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], list(FILES)),
        ([item("match_all", {}, "match", "exact")], list(FILES)),
        ([item("dxr#tags", "7", "number", "exact")], ["both.txt", "mail.txt"]),
        ([item("annotators", "annotation.18", "text", "exists")], ["both.txt", "card.txt"]),
        ([item("annotation.25", "ANA@", "text", "contains")], ["both.txt", "mail.txt"]),
        ([item("annotation.25", "a%", "text", "contains")], []),
        ([item("extracted_metadata#4", "", "text", "isSet")], list(FILES)),
        ([item("extracted_metadata#5", "", "text", "isSet")], []),
        (
            [item("dxr#tags", "7", "number", "exact"), item("dxr#tags", "12", "number", "exact", group_id=1)],
            ["both.txt"],
        ),
        (
            [
                item("dxr#tags", "7", "number", "exact"),
                item("dxr#tags", "12", "number", "exact", operator="OR", group_order=1),
            ],
            ["both.txt", "card.txt", "mail.txt"],
        ),
        ([scan(99999)], []),
    ],
)  # fmt: skip
def test_filters(filled, items, expected):
    """Each purpose of section 3.1; groups by AND, items by their operator; an unknown scan is no error."""
    assert names(filled.search(*items)) == sorted(expected)


@pytest.mark.parametrize(
    ("items", "fields"),
    [
        ([item("extracted_metadata#4", "", "text", "exists")], {}),
        ([item("dxr#tags", "seven", "number", "exact")], {}),
        ([item("nonsense", "", "text", "exact")], {}),
        ([item("dxr#tags", "7", "number", "exact", operator="XOR")], {}),
        ([], {"mode": "OTHER"}),
        ([], {"pageSize": 0}),
        ([], {"pageNumber": -1}),
        ([], {"pageNumber": 100, "pageSize": 100}),
        ([], {"sort": [{"property": "size", "order": "ASCENDING"}]}),
        ([], {"datasourceIds": ["x"]}),
        ([], {"filter": {"query_items": [3]}}),
    ],
)  # fmt: skip
def test_what_is_refused(filled, items, fields):
    """Wrong combinations and pages beyond the window are 400 with a sentence."""
    response = filled.search(*items, **fields)
    assert response.status_code == 400
    assert response.json()["error"]


def test_a_body_that_is_no_json(dxr):
    assert dxr.http.post("/api/indexed-files/search", content=b"{").status_code == 400


def test_datasources_as_numbers_or_digits(filled):
    """`datasourceIds` narrows; empty means all."""
    filled.classified({"elsewhere.txt": b"x"}, 201)
    assert names(filled.search(datasourceIds=["201"])) == ["elsewhere.txt"]
    assert names(filled.search(datasourceIds=[200])) == sorted(FILES)
    assert len(names(filled.search())) == 5


def test_stable_pages(dxr):
    """With the stable sort, pages put together are every hit once, in order."""
    dxr.classified({f"{number:03d}.txt": b"x" for number in range(25)})
    pages = [
        dxr.search(sort=SORT, pageNumber=number, pageSize=10).json()["hits"]["hits"] for number in range(3)
    ]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [hit["_source"]["ds#file_name"] for page in pages for hit in page] == [
        f"{number:03d}.txt" for number in range(25)
    ]


def test_unstable_score_sort(dxr):
    """Sorted by score, hits change places between requests, unless a point in time is used."""
    dxr.knobs(unstable_score_sort=True)
    dxr.classified({f"{number:03d}.txt": b"x" for number in range(25)})

    def order(**fields):
        answer = dxr.search(sort=[{"property": "_score", "order": "DESCENDING"}], **fields).json()
        return [hit["_id"] for hit in answer["hits"]["hits"]]

    assert len({tuple(order()) for _ in range(5)}) > 1
    assert len({tuple(order(usePIT=True)) for _ in range(5)}) == 1
    assert dxr.search(usePIT=True).json()["pit_id"]


@pytest.mark.parametrize(
    ("shape", "total"), [("object", {"value": 4, "relation": "eq"}), ("int", 4), ("absent", None)]
)
def test_totals(filled, shape, total):
    filled.knobs(total_shape=shape)
    assert filled.search(pageSize=1).json()["hits"].get("total") == total


def test_tags_and_counts_in_every_form(filled):
    """Labels as numbers, digits, names or twice; counts as digits or numbers; the category as text, list or not."""

    def source(**knobs):
        filled.knobs(**knobs)
        [hit] = [
            hit["_source"]
            for hit in filled.search().json()["hits"]["hits"]
            if hit["_source"]["ds#file_name"] == "both.txt"
        ]
        return hit

    plain = source()
    assert plain["dxr#tags"] == [7, 8, 12]
    assert plain["annotation_stats#count.25"] == "1"
    assert plain["annotation_stats#count.19"] == "0"
    assert plain["annotation_stats#unique_phrase_count.25"] == 1
    assert plain["ai#category"] == "Sensitive"
    assert plain["extracted_metadata#4"] == "Other"
    assert source(tag_type="str")["dxr#tags"] == ["7", "8", "12"]
    assert source(tag_type="name")["dxr#tags"] == ["Personal data", "Financial", "Payment card data"]
    assert source(tag_type="repeated")["dxr#tags"] == [7, 8, 12, 7, 8, 12]
    assert source(count_type="int")["annotation_stats#count.25"] == 1
    assert source(category_field="list")["ai#category"] == ["Sensitive"]
    assert "ai#category" not in source(category_field="absent")


def test_excluded_fields(filled):
    """Raw text and whatever else a wildcard names are left out."""
    [first, *_] = filled.search(excludedFields=["dxr#raw_text", "annotation*"]).json()["hits"]["hits"]
    assert "dxr#raw_text" not in first["_source"]
    assert not [name for name in first["_source"] if name.startswith("annotation")]
    assert first["_source"]["ds#file_name"]
    assert "dxr#raw_text" in filled.search().json()["hits"]["hits"][0]["_source"]


def test_many_hits(dxr):
    """A seeded job holds as many hits as a benchmark wants; a late page is as quick as an early one."""
    seeded = dxr.http.post(
        "/_simulator/jobs", json={"count": 20_000, "name": "x/{number}.txt"}, timeout=60
    ).json()
    assert dxr.job(seeded["id"])["state"] == "FINISHED"
    dxr.knobs(max_result_window=20_000)
    page = dxr.search(scan(seeded["datasourceScanId"]), sort=SORT, pageSize=1000, pageNumber=19).json()[
        "hits"
    ]
    assert page["total"]["value"] == 20_000
    assert len({hit["_source"]["ds#file_name"] for hit in page["hits"]}) == 1000
    assert dxr.http.post("/_simulator/jobs", json={"count": 0}).status_code == 400
