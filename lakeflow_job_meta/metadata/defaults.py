"""Defaults: deep-merged under a source; maps merge, lists and scalars of the source win, null removes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lakeflow_job_meta.metadata.task_types import TASK_TYPES, common_keys, own_keys

JsonObject = dict[str, Any]
_CONFIG = "transformation_config"


def merge(under: Any, over: Any) -> Any:
    """`over` on top of `under`. A null in `over` removes what `under` has at its key."""
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return over
    result = dict(under)
    for key, value in over.items():
        if key not in result:
            result[key] = value
        elif value is None:
            del result[key]
        else:
            result[key] = merge(result[key], value)
    return result


def with_defaults(source: JsonObject, layers: Sequence[JsonObject]) -> JsonObject:
    """The source with its defaults.

    Args:
        layers: the defaults, weakest first.

    A key of transformation_config that belongs to other task types only (`sql_task` for a notebook) is left out
    where it comes from defaults, so that one set of defaults serves a mixture.
    """
    if not layers:
        return source
    under: Any = {}
    for layer in layers:
        under = merge(under, {key: value for key, value in layer.items() if key != "job"})
    config = under.get(_CONFIG)
    own = source.get(_CONFIG)
    if isinstance(config, dict) and (own is None or isinstance(own, dict)):
        under = {**under, _CONFIG: _fitting(config, own or {})}
    result: JsonObject = merge(under, source)
    return result


def _fitting(config: JsonObject, own: JsonObject) -> JsonObject:
    """The defaults of transformation_config that fit the source's task type."""
    name = own.get("task_type", config.get("task_type"))
    if not isinstance(name, str) or name not in TASK_TYPES:
        return config
    keys = TASK_TYPES[name].keys
    common = common_keys()
    foreign = {key for key in own_keys() if key not in keys and key not in common}
    return {key: value for key, value in config.items() if key not in foreign}
