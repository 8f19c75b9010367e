"""Differences of two settings, path by path, and the three-way merge. Pure; knows only the rules.

Absent, None, `{}` and `[]` are one and the same here: the API does not tell them apart, but for the few blocks
that say something by being there (`rules.PRESENCE`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from lakeflow_job_meta.names import canonical_json
from lakeflow_job_meta.reconcile.actions import Change
from lakeflow_job_meta.reconcile.rules import (
    ANY,
    DEFAULT_BY_PATH,
    DEFAULT_BY_PATH_WITH_GIT,
    KEY_BY_PATH,
    PRESENCE,
    child,
    is_set,
)


def diff(old: Any, new: Any, *, path: str = "", pattern: str = "") -> list[Change]:
    """What leads from `old` (the workspace) to `new` (wanted), sorted by path.

    A server default where `new` is silent is no change; lists are compared by key or as sets where
    the rules say so.

    Args:
        path: prefix of the changes' paths.
        pattern: the rules' pattern that both values stand at.
    """
    defaults = DEFAULT_BY_PATH if pattern else _defaults(new)
    return sorted(_walk(old, new, path, pattern, defaults), key=lambda change: change.path)


def _defaults(settings: Any) -> Mapping[str, Any]:
    """What the server fills in beside these settings of a whole job."""
    with_git = isinstance(settings, dict) and bool(settings.get("git_source"))
    return DEFAULT_BY_PATH_WITH_GIT if with_git else DEFAULT_BY_PATH


def _walk(old: Any, new: Any, path: str, pattern: str, defaults: Mapping[str, Any]) -> Iterator[Change]:
    if not isinstance(old, (dict, list)) and _same(old, new):
        return
    if pattern in PRESENCE and (old is None) is not (new is None):
        yield Change(path, old, new)
        return
    if _empty(new) and (_empty(old) or _server_default(defaults, pattern, old)):
        return
    if _empty(old) and _matches_default(defaults, pattern, new):
        return
    if _mapping(old) and _mapping(new):
        old, new = old or {}, new or {}
        for field in sorted({*old, *new}):
            below = f"{path}.{field}" if path else field
            yield from _walk(old.get(field), new.get(field), below, child(pattern, field), defaults)
        return
    if _sequence(old) and _sequence(new):
        key_fields = KEY_BY_PATH.get(pattern)
        if key_fields is not None and _keyed(old or [], key_fields) and _keyed(new or [], key_fields):
            yield from _walk_keyed(old or [], new or [], path, pattern, key_fields, defaults)
            return
        if is_set(pattern):
            if _as_set(old or []) == _as_set(new or []):
                return
        elif old and new and len(old) == len(new):
            for position, (one, other) in enumerate(zip(old, new, strict=True)):
                yield from _walk(one, other, f"{path}[{position}]", f"{pattern}[]", defaults)
            return
    yield Change(path, old, new)


def _walk_keyed(
    old: list[Any],
    new: list[Any],
    path: str,
    pattern: str,
    fields: tuple[str, ...],
    defaults: Mapping[str, Any],
) -> Iterator[Change]:
    before = {_key(item, fields): item for item in old}
    after = {_key(item, fields): item for item in new}
    for key in sorted({*before, *after}, key=str):
        below = f"{path}[{_show(key)}]"
        if key not in after or key not in before:
            yield Change(below, before.get(key), after.get(key))
        else:
            yield from _walk(before[key], after[key], below, f"{pattern}[]", defaults)


def merge(base: Any, wanted: Any, actual: Any, *, pattern: str = "") -> Any:
    """`actual` plus what changed from `base` to `wanted`, path by path (DESIGN 5, report and ignore).

    Where `wanted` equals `base`, the workspace's value stays; elsewhere `wanted` is taken. What the server
    filled in beside a git_source that comes or goes is not the workspace's: it is left to be filled in anew.
    """
    if pattern:
        return _merge(base, wanted, actual, pattern, DEFAULT_BY_PATH)
    before, after = _defaults(base), _defaults(wanted)
    if before is not after:
        actual = _unfilled(base, actual, before, after)
    return _merge(base, wanted, actual, "", after)


def _unfilled(
    base: Any, actual: Any, before: Mapping[str, Any], after: Mapping[str, Any], pattern: str = ""
) -> Any:
    """`actual` without what the server filled in where `base` is silent, as far as it would be another value now."""
    if isinstance(base, dict) and isinstance(actual, dict):
        kept = {}
        for field, value in actual.items():
            below = child(pattern, field)
            silent = _empty(base.get(field)) and before.get(below) is not after.get(below)
            if not (silent and _same(before.get(below), value)):
                kept[field] = _unfilled(base.get(field), value, before, after, below)
        return kept
    fields = KEY_BY_PATH.get(pattern)
    if fields is not None and isinstance(base, list) and isinstance(actual, list):
        former = {_key(item, fields): item for item in base}
        return [
            _unfilled(former.get(_key(item, fields)), item, before, after, f"{pattern}[]") for item in actual
        ]
    return actual


def _merge(base: Any, wanted: Any, actual: Any, pattern: str, defaults: Mapping[str, Any]) -> Any:
    if not any(True for _ in _walk(base, wanted, "", pattern, defaults)):
        return actual
    if isinstance(wanted, dict) and isinstance(actual, dict):
        former = base if isinstance(base, dict) else {}
        merged = {}
        for field in [*actual, *(name for name in wanted if name not in actual)]:
            value = _merge(
                former.get(field), wanted.get(field), actual.get(field), child(pattern, field), defaults
            )
            if value is not None:
                merged[field] = value
        return merged
    fields = KEY_BY_PATH.get(pattern)
    if fields is not None and isinstance(wanted, list) and isinstance(actual, list):
        former_items = {_key(item, fields): item for item in base} if isinstance(base, list) else {}
        wanted_items = {_key(item, fields): item for item in wanted}
        merged_items = []
        for item in actual:
            key = _key(item, fields)
            value = _merge(former_items.get(key), wanted_items.get(key), item, f"{pattern}[]", defaults)
            if value is not None:
                merged_items.append(value)
        present = {_key(item, fields) for item in actual}
        # A task that was removed in the workspace and did not change in the metadata stays removed.
        merged_items += [
            item
            for key, item in wanted_items.items()
            if key not in present
            and any(True for _ in _walk(former_items.get(key), item, "", f"{pattern}[]", defaults))
        ]
        return merged_items
    return wanted


def _empty(value: Any) -> bool:
    return value is None or value == {} or value == []


def _mapping(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _sequence(value: Any) -> bool:
    return value is None or isinstance(value, list)


def _matches_default(defaults: Mapping[str, Any], pattern: str, value: Any) -> bool:
    """Whether asking for `value` is the same as not asking."""
    if _empty(value):
        return True
    default = defaults.get(pattern)
    return default is not None and default is not ANY and _same(default, value)


def _server_default(defaults: Mapping[str, Any], pattern: str, value: Any) -> bool:
    default = defaults.get(pattern)
    return default is ANY or (default is not None and _same(default, value))


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: 0 is not false, though Python says so."""
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _key(item: Any, fields: tuple[str, ...]) -> Hashable:
    values = tuple((field, item.get(field)) for field in fields if item.get(field) is not None)
    return values if len(fields) > 1 else values[0][1] if values else None


def _keyed(items: list[Any], fields: tuple[str, ...]) -> bool:
    """Whether every element has a key and no key occurs twice."""
    if not all(isinstance(item, dict) for item in items):
        return False
    keys = [_key(item, fields) for item in items]
    return all(key not in (None, ()) for key in keys) and len(set(keys)) == len(keys)


def _show(key: Hashable) -> str:
    return ",".join(f"{name}={value}" for name, value in key) if isinstance(key, tuple) else str(key)


def _as_set(items: list[Any]) -> list[str]:
    return sorted(canonical_json(_without_empty(item)) for item in items)


def _without_empty(value: Any) -> Any:
    """The value without what counts as absent, at any depth."""
    if isinstance(value, dict):
        pruned = {field: _without_empty(inner) for field, inner in value.items()}
        return {field: inner for field, inner in pruned.items() if not _empty(inner)}
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value
