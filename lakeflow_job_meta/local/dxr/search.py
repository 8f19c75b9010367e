"""`POST /indexed-files/search`: DXR_JSON_QUERY to SQL, and the Elasticsearch-like answer."""

from __future__ import annotations

import fnmatch
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from lakeflow_job_meta.local.dxr.answers import Json, Refusal
from lakeflow_job_meta.local.dxr.documents import Indexed
from lakeflow_job_meta.local.dxr.knobs import Knobs
from lakeflow_job_meta.local.dxr.rules import Rules
from lakeflow_job_meta.local.dxr.store import Store

MODE = "DXR_JSON_QUERY"
RAW_TEXT = "dxr#raw_text"
MAX_PAGE_SIZE = 10_000
_SORTABLE = {"datasource_id": "f.datasource_id", "ds#file_name.raw": "f.name"}
_ORDERS = {"ASCENDING": "ASC", "DESCENDING": "DESC"}

Clause = tuple[str, list[Any]]


def search(store: Store, rules: Rules, knobs: Knobs, body: Any, hidden: Sequence[int]) -> Json:
    """The answer to a search.

    Args:
        store: to look in; what the index lag holds back is not there.
        rules: what ids mean.
        knobs: how hits are shown.
        body: the request.
        hidden: datasources that the caller cannot see.

    Raises:
        Refusal: 400 the request is not as the contract has it.
    """
    if not isinstance(body, dict) or body.get("mode") != MODE:
        raise Refusal(400, f"mode must be {MODE}")
    page, size = _whole(body, "pageNumber", 0), _whole(body, "pageSize", 20)
    if not 1 <= size <= MAX_PAGE_SIZE:
        raise Refusal(400, f"pageSize must be from 1 to {MAX_PAGE_SIZE}")
    if (page + 1) * size > knobs.max_result_window:
        raise Refusal(
            400,
            "Result window is too large, from + size must be less than or equal to:"
            f" [{knobs.max_result_window}] but was [{(page + 1) * size}]",
        )
    where, args = _where(body)
    order = _order(body.get("sort"), knobs, unstable=not body.get("usePIT"))
    store.reveal(knobs)
    total, rows = store.page(where, args, hidden, order, size, page * size)
    excluded = _strings(body, "excludedFields")
    with_text = not _is_excluded(RAW_TEXT, excluded)
    now = store.clock()
    hits = []
    for row in rows:
        text = store.text(row["seq"]) if with_text else None
        source = Indexed(row, rules, knobs, now).source(text)
        if excluded:
            source = {name: value for name, value in source.items() if not _is_excluded(name, excluded)}
        hits.append(
            {"_index": f"ds-{row['datasource_id']}", "_id": row["file_id"], "_score": 1.0, "_source": source}
        )
    store.searched(knobs)
    found: Json = {"hits": hits, "max_score": 1.0 if hits else None}
    if knobs.total_shape != "absent":
        found["total"] = {"value": total, "relation": "eq"} if knobs.total_shape == "object" else total
    answer: Json = {
        "took": 3,
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
        "hits": found,
        "max_result_window": knobs.max_result_window,
    }
    if body.get("usePIT"):
        answer["pit_id"] = body.get("pitId") or secrets.token_urlsafe(24)
    return answer


def _where(body: Json) -> Clause:
    """Groups are joined by AND, the items of a group by their own operators."""
    filter_ = body.get("filter") or {}
    items = filter_.get("query_items", []) if isinstance(filter_, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Refusal(400, "filter.query_items must be a list of objects")
    groups: dict[Any, list[Json]] = {}
    for item in items:
        groups.setdefault(item.get("group_id", 0), []).append(item)
    clauses: list[str] = ["TRUE"]
    args: list[Any] = []
    for group in groups.values():
        joined = ""
        for item in sorted(group, key=lambda one: _whole(one, "group_order", 0)):
            operator = str(item.get("operator", "AND")).upper()
            if operator not in ("AND", "OR"):
                raise Refusal(400, f"unknown operator {operator!r}")
            clause, more = _item(item)
            joined = f"({joined} {operator} {clause})" if joined else clause
            args += more
        clauses.append(joined)
    datasources = body.get("datasourceIds") or []
    if not isinstance(datasources, list):
        raise Refusal(400, "datasourceIds must be a list")
    if datasources:
        clauses.append(f"f.datasource_id IN ({', '.join('?' * len(datasources))})")
        args += [_number(each, "datasourceIds") for each in datasources]
    return " AND ".join(clauses), args


def _item(item: Json) -> Clause:
    parameter = str(item.get("parameter", ""))
    kind, strategy = str(item.get("type", "")), str(item.get("match_strategy", ""))
    value = item.get("value")
    if parameter == "match_all" and kind == "match":
        return "TRUE", []
    name, separator, number = parameter.partition("#" if "#" in parameter else ".")
    maker = _ITEMS.get((parameter, kind, strategy)) or _ITEMS.get((name + separator + "<id>", kind, strategy))
    if maker is None:
        raise Refusal(
            400, f"unsupported query item: parameter {parameter!r}, type {kind!r}, strategy {strategy!r}"
        )
    return maker(number, value)


def _scan_id(_: str, value: Any) -> Clause:
    return "f.scan_id = ?", [_number(value, "dxr#datasource_scan_id")]


def _label(_: str, value: Any) -> Clause:
    return _found("label"), [_number(value, "dxr#tags")]


def _annotator(_: str, value: Any) -> Clause:
    return _found("annotator"), [_number(str(value).removeprefix("annotation."), "annotators")]


def _extractor(number: str, _: Any) -> Clause:
    return _found("extractor"), [_number(number, "extracted_metadata")]


def _phrase(number: str, value: Any) -> Clause:
    sought = str(value).replace("!", "!!").replace("%", "!%").replace("_", "!_")
    clause = _found("annotator").removesuffix(")") + " AND x.phrases LIKE ? ESCAPE '!')"
    return clause, [_number(number, "annotation"), f"%{sought}%"]


def _found(kind: str) -> str:
    return f"EXISTS (SELECT 1 FROM dxr_findings x WHERE x.kind = '{kind}' AND x.id = ? AND x.seq = f.seq)"


_ITEMS: dict[tuple[str, str, str], Callable[[str, Any], Clause]] = {
    ("dxr#datasource_scan_id", "number", "exact"): _scan_id,
    ("dxr#tags", "number", "exact"): _label,
    ("annotators", "text", "exists"): _annotator,
    ("extracted_metadata#<id>", "text", "isSet"): _extractor,
    ("annotation.<id>", "text", "contains"): _phrase,
}


def _order(sort: Any, knobs: Knobs, *, unstable: bool) -> str:
    """Without a sort, and by `_score`, all hits tie: their order is the index's own business."""
    ties = "random()" if knobs.unstable_score_sort and unstable else "f.seq"
    parts = []
    for each in sort or []:
        if not isinstance(each, dict) or each.get("order", "ASCENDING") not in _ORDERS:
            raise Refusal(400, "sort takes objects with property and order ASCENDING or DESCENDING")
        if each.get("property") == "_score":
            continue
        if each.get("property") not in _SORTABLE:
            raise Refusal(400, f"No mapping found for [{each.get('property')}] in order to sort on")
        parts.append(f"{_SORTABLE[each['property']]} {_ORDERS[each.get('order', 'ASCENDING')]}")
    return ", ".join([*parts, "f.seq"] if len(parts) > 1 else [*parts, ties])


def _strings(body: Json, name: str) -> list[str]:
    value = body.get(name) or []
    if not isinstance(value, list):
        raise Refusal(400, f"{name} must be a list")
    return [str(each) for each in value]


def _is_excluded(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _whole(body: Json, name: str, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Refusal(400, f"{name} must be a number from 0")
    return value


def _number(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as e:
        raise Refusal(400, f"{name}: {value!r} is no number") from e
