"""Retiring and reviving a job, and the pause status that both have to remember. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakeflow_job_meta.names import MODULE_TAG, module_tag, read_module_tag, retired_tag
from lakeflow_job_meta.ports import RemoteJob
from lakeflow_job_meta.reconcile.rules import TRIGGERS

JsonObject = dict[str, Any]


def is_retired(job: RemoteJob) -> bool:
    """Whether the job's tag says that it was retired."""
    tag = read_module_tag(job.tags.get(MODULE_TAG, ""))
    return tag is not None and tag.retired


def retired(module: str, settings: JsonObject, remembered: str) -> tuple[JsonObject, str]:
    """The settings of a job once retired: its trigger paused, its tag changed.

    Args:
        settings: the job as the workspace has it.
        remembered: the former pause status as `_jobs` has it, for a job that is retired already.

    Returns:
        The settings and the pause status to restore one day, empty for a job without a trigger.
    """
    tag = read_module_tag((settings.get("tags") or {}).get(MODULE_TAG, ""))
    block = next((name for name in TRIGGERS if settings.get(name)), None)
    if tag is not None and tag.retired:
        former = tag.former_pause_status or remembered
    else:
        former = str(settings[block].get("pause_status") or "UNPAUSED") if block else ""
    tags = {**(settings.get("tags") or {}), MODULE_TAG: retired_tag(module, former or None)}
    target = {**settings, "tags": tags}
    if block:
        target[block] = {**settings[block], "pause_status": "PAUSED"}
    return target, former


def revived(module: str, settings: JsonObject) -> JsonObject:
    """`settings` with the tag of a live module."""
    return {**settings, "tags": {**(settings.get("tags") or {}), MODULE_TAG: module_tag(module)}}


def former_pause(job: RemoteJob, remembered: str) -> str:
    """What reviving restores: the tag's word, else what `_jobs` remembers; empty when nobody knows."""
    tag = read_module_tag(job.tags.get(MODULE_TAG, ""))
    return (tag.former_pause_status if tag else None) or remembered


def held_pause(settings: Mapping[str, Any]) -> str:
    """The pause status of a job's trigger, empty when it has none."""
    blocks = (settings.get(name) or {} for name in TRIGGERS)
    return next((str(block["pause_status"]) for block in blocks if block.get("pause_status")), "")


def with_pause(target: JsonObject, wanted: JsonObject, status: str) -> JsonObject:
    """`target` with this pause status on its trigger, unless the metadata (`wanted`) says one itself."""
    if not status:
        return target
    return {
        name: {**value, "pause_status": status}
        if name in TRIGGERS and value is not None and not (wanted.get(name) or {}).get("pause_status")
        else value
        for name, value in target.items()
    }
