"""References that only a workspace can answer: `${query.SOURCE}` and `${module.NAME}`.

They stand as whole values at two places only, `query_id` and `job_id`; the same text anywhere else is the
user's own and stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\{(query|module)\.(.+)\}", re.DOTALL)
#: Key of the wire's object whose value may be a reference of this kind.
_PLACES: Mapping[str, str] = {"query_id": "query", "job_id": "module"}


def _target(key: object, value: object) -> tuple[str, str] | None:
    """(kind, name) when `value` under `key` is a reference."""
    kind = _PLACES.get(key) if isinstance(key, str) else None
    if kind is None or not isinstance(value, str):
        return None
    match = _REFERENCE.fullmatch(value)
    return (kind, match[2]) if match is not None and match[1] == kind else None


def _references(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            target = _target(key, inner)
            if target is not None:
                yield target
            else:
                yield from _references(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _references(inner)


def required_modules(value: Any) -> set[str]:
    """Names of the modules whose job ids `value` refers to."""
    return {name for kind, name in _references(value) if kind == "module"}


def unresolved(value: Any) -> set[str]:
    """The references left in `value`, as they are written (`${module.sales}`)."""
    return {f"${{{kind}.{name}}}" for kind, name in _references(value)}


def resolve(value: Any, *, queries: Mapping[str, str], jobs: Mapping[str, int]) -> Any:
    """A copy of `value` (JobSettings or a part of it) with references replaced by ids.

    Args:
        queries: query_id by source_id of the module.
        jobs: job_id by module_name.

    Returns:
        The copy; references to what is not in `queries` or `jobs` stay, see `unresolved`.
    """
    if isinstance(value, Mapping):
        result: dict[Any, Any] = {}
        for key, inner in value.items():
            target = _target(key, inner)
            if target is None:
                result[key] = resolve(inner, queries=queries, jobs=jobs)
            else:
                known: Mapping[str, str | int] = queries if target[0] == "query" else jobs
                result[key] = known.get(target[1], inner)
        return result
    if isinstance(value, (list, tuple)):
        return [resolve(inner, queries=queries, jobs=jobs) for inner in value]
    return value
