"""What run_on_change runs: the whole job, or the tasks of the sources that changed. Pure."""

from __future__ import annotations

from typing import Any

from lakeflow_job_meta.jobs.desired import DesiredJob
from lakeflow_job_meta.metadata.task_types import TASK_TYPES, TaskType
from lakeflow_job_meta.names import canonical_json
from lakeflow_job_meta.reconcile.state import ModuleState

JsonObject = dict[str, Any]
#: What of a source decides whether its work has to be done again.
_PARTS = ("task_type", "settings", "source_config", "target_config")


def to_run(state: ModuleState, desired: DesiredJob) -> tuple[bool, tuple[str, ...]]:
    """Whether a change of this module is to be run, and which of its tasks; none named means all.

    Only where all sources are of task types whose sources do not concern one another (`TaskType.separate`), the
    changed ones run alone, and of those only the ones that may run by themselves; elsewhere the job is one pipeline.
    """
    sources: list[JsonObject] = desired.definition.get("sources") or []
    kinds: dict[str, TaskType] = {}
    for one in sources:
        kind = TASK_TYPES.get(one.get("task_type", ""))
        if kind is None or not kind.separate:
            return True, ()
        kinds[one["source_id"]] = kind
    if not kinds:
        return True, ()
    record = state.record
    known = record is not None and record.status not in ("retired", "deleted")
    former = record.definition if record is not None and known else None
    before = {one["source_id"]: _work(one) for one in (former or {}).get("sources") or []}
    keys = [
        key
        for one in sources
        if _work(one) != before.get(one["source_id"])
        and kinds[one["source_id"]].is_automatic(one["settings"])
        for key in kinds[one["source_id"]].task_keys(one["source_id"])
    ]
    return bool(keys), tuple(sorted(keys))


def _work(source: JsonObject) -> str:
    return canonical_json({name: source.get(name) for name in _PARTS})
