"""Names behind ids: the internal API's look-ups, and what the public API lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lakeflow_job_meta.local.dxr.answers import Json, Refusal, answer, envelope
from lakeflow_job_meta.local.dxr.datasources import DATASOURCES, datasource_json, datasource_name
from lakeflow_job_meta.local.dxr.rules import Annotator, Extractor, Label, Rules, stable_uuid
from lakeflow_job_meta.local.dxr.store import Store

WRITTEN = "2026-01-05T09:00:00.000Z"
"""When the classifications were made, as far as anybody asks."""
_FIELDS = (
    ("metadata", "OWNER", "ACCOUNT"),
    ("metadata", "CREATION_DATE", "DATE"),
    ("metadata", "MODIFIED_DATE", "DATE"),
    ("dxr", "mime_type", "TEXT"),
    ("dxr", "doc_lang", "TEXT"),
    ("ai", "category", "TEXT"),
)


def routes(rules: Rules, store: Store) -> list[Route]:
    """The endpoints of sections 5, 6.6, 6.7 and 6.8 of the contract."""
    look_ups: list[tuple[str, str, Mapping[int, Json]]] = [
        ("tags", "Tag", {each.id: _tag(each) for each in rules.labels}),
        (
            "metadata-extractors",
            "Metadata extractor",
            {each.id: _extractor(each) for each in rules.extractors},
        ),
        ("data-classes", "Data class", {each.id: _data_class(each) for each in rules.annotators}),
    ]
    made = []
    for path, shown, known in look_ups:
        made.append(Route(f"/{path}/{{id}}", _one(shown, known), methods=["GET"]))
        if path != "data-classes":
            made.append(Route(f"/{path}", _list(list(known.values())), methods=["GET"]))
    classifications = _classifications(rules)
    redactors = [
        {"id": each.id, "name": each.name, "createdAt": WRITTEN, "updatedAt": WRITTEN}
        for each in rules.redactors
    ]
    fields = [{"source": source, "metaField": name, "type": kind} for source, name, kind in _FIELDS]
    fixed: list[tuple[str, Callable[[], Response]]] = [
        ("/data-classes", lambda: answer(_data_classes(rules))),
        ("/datasources/ingester/index/classes", lambda: answer(_classes_found(rules, store))),
        ("/v1/classifications", lambda: envelope(classifications)),
        ("/vbeta/classifications", lambda: envelope(classifications)),
        ("/v1/redactors", lambda: envelope(redactors)),
        ("/v1/metadata-fields", lambda: envelope(fields)),
    ]
    made += [Route(path, _fixed(make), methods=["GET"]) for path, make in fixed]
    return [
        *made,
        Route("/datasources", _datasources, methods=["GET"]),
        Route("/datasources/browse", _browse, methods=["GET"]),
        Route("/datasources/{id}", _datasource, methods=["GET"]),
    ]


def index_status(store: Store, datasource_id: int, active: bool) -> Json:
    """Section 2.5: whether a crawl is under way; no items when there never was one."""
    rows = store.database.read(
        "SELECT COUNT(*) AS files FROM dxr_files WHERE datasource_id = ? AND state = 2", datasource_id
    )
    ever = store.database.read("SELECT 1 FROM dxr_jobs WHERE datasource_id = ? LIMIT 1", datasource_id)
    if not ever:
        return {"items": []}
    count = rows[0]["files"]
    item = {
        "index_name": f"ds-{datasource_id}",
        "datasource_id": datasource_id,
        "crawl_active": active,
        "total_file_count": count,
        "composite_file_count": 0,
        "indexed_data_object_count": count,
        "unreadable_file_count": 0,
        "initial_index_is_complete": True,
        "datasource_classes": [],
        "datasource_index_configuration": {},
    }
    return {"items": [item]}


def _one(shown: str, known: Mapping[int, Json]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        given = str(request.path_params["id"])
        found = known.get(int(given)) if given.isascii() and given.isdigit() else None
        if found is None:
            raise Refusal(404, f"{shown} not found")
        return answer(found)

    return endpoint


def _list(items: list[Json]) -> Callable[[Request], Response]:
    """A list, or a page of it as `{"content": [...]}` when page or size is given."""

    def endpoint(request: Request) -> Response:
        page, size = request.query_params.get("page"), request.query_params.get("size")
        if page is None and size is None:
            return answer(items)
        if not (page or "0").isdigit() or not (size or "20").isdigit() or size == "0":
            raise Refusal(400, "page is a number from 0, size one from 1")
        start, count = int(page or 0) * int(size or 20), int(size or 20)
        return answer({"content": items[start : start + count], "totalElements": len(items)})

    return endpoint


def _fixed(make: Callable[[], Response]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        return make()

    return endpoint


def _seen(request: Request) -> list[int]:
    return [number for number in DATASOURCES if number not in request.scope["dxr.hidden"]]


def _datasources(request: Request) -> Response:
    return _list([datasource_json(number) for number in _seen(request)])(request)


def _browse(request: Request) -> Response:
    return answer(
        [{"datasourceId": number, "datasourceName": datasource_name(number)} for number in _seen(request)]
    )


def _datasource(request: Request) -> Response:
    known = {number: datasource_json(number) for number in _seen(request)}
    return _one("Datasource", known)(request)


def _tag(label: Label) -> Json:
    return {
        "id": label.id,
        "uuid": label.uuid,
        "name": label.name,
        "description": label.description,
        "hexColor": label.color,
        "type": label.type,
        "savedQueryDtoList": [],
    }


def _extractor(extractor: Extractor) -> Json:
    return {
        "id": extractor.id,
        "uuid": extractor.uuid,
        "name": extractor.name,
        "description": extractor.description,
        "type": "llm",
        "promptTemplate": extractor.description or extractor.name,
        "dataType": extractor.type,
        "temperature": 0,
        "useDocumentContent": True,
        "modelId": 1,
    }


def _data_class(annotator: Annotator) -> Json:
    return {
        "id": annotator.id,
        "uuid": annotator.uuid,
        "name": annotator.name,
        "type": "DICTIONARY" if annotator.is_dictionary else "REGEX",
        "description": annotator.description,
    }


def _data_classes(rules: Rules) -> Json:
    lists: dict[str, list[Any]] = {
        name: []
        for name in (
            "dictionaries",
            "readOnlyDictionaries",
            "regexes",
            "readOnlyRegexes",
            "namedEntities",
            "readOnlyNamedEntities",
        )
    }
    for annotator in rules.annotators:
        lists["dictionaries" if annotator.is_dictionary else "readOnlyRegexes"].append(_data_class(annotator))
    return lists


def _classes_found(rules: Rules, store: Store) -> list[Json]:
    rows = store.database.read("SELECT DISTINCT id FROM dxr_findings WHERE kind = 'annotator' ORDER BY id")
    known = rules.annotator_by_id
    return [{"id": row["id"], "name": known[row["id"]].name} for row in rows if row["id"] in known]


def _classifications(rules: Rules) -> list[Json]:
    items = [
        *(
            (
                each.uuid,
                each.name,
                each.description,
                "ANNOTATOR",
                "DICTIONARY" if each.is_dictionary else "REGEX",
            )
            for each in rules.annotators
        ),
        *(
            (stable_uuid("domain", name), name, "", "ANNOTATOR_DOMAIN", "NONE")
            for name in dict.fromkeys(each.domain for each in rules.annotators)
        ),
        *((each.uuid, each.name, each.description, "LABEL", each.type) for each in rules.labels),
        *((each.uuid, each.name, each.description, "EXTRACTOR", "NONE") for each in rules.extractors),
    ]
    return [
        {
            "id": number,
            "name": name,
            "description": description,
            "type": kind,
            "subtype": subtype,
            "createdAt": WRITTEN,
            "updatedAt": WRITTEN,
            "link": f"/resource/{number}?type={kind}",
            "searchLink": f"/resource-search/{number}?type={kind}",
        }
        for number, name, description, kind, subtype in items
    ]
