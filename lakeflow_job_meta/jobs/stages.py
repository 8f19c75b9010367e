"""Stages: which task waits for which, and the barriers that keep wide stages narrow.

A stage waits for the whole non-empty stage before it. Explicit `depends_on` of a source replaces its
stage's edges. Two wide stages would make n x m edges; a condition task that is always true, put between
them, makes n + m of them and needs no compute.

Why a barrier keeps the meaning (run_if of Databricks Jobs): it waits for the same tasks as the tasks behind
it would and carries their run_if, so it runs exactly when they would have run, and ends as they would have
ended when not (UPSTREAM_FAILED, UPSTREAM_CANCELED or EXCLUDED). A barrier that ran is always a success. What
waits for one barrier alone therefore runs when it succeeded, is UPSTREAM_FAILED with it, and is excluded
with it, since a task all of whose dependencies are excluded is excluded too. Hence one barrier for each run_if of the
stage behind. A task's own run_if stays on it, unless it asks for failures (a barrier never fails by itself).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from lakeflow_job_meta.jobs.desired import JsonObject
from lakeflow_job_meta.metadata.definition import SourceDefinition

#: More edges than this between two stages get barriers.
EDGE_LIMIT = 200
DEFAULT_RUN_IF = "ALL_SUCCESS"
#: These want failed dependencies; behind a barrier that carries them, its success is what they wait for.
_WANTS_FAILURE = frozenset({"ALL_FAILED", "AT_LEAST_ONE_FAILED"})


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a module's tasks wait for.

    Args:
        depends_on: per source_id the wire's dependencies of its first task; without an entry it waits for nothing.
        run_if: per source_id a run_if that replaces the source's own (only behind a barrier).
        barriers: per execution_order of the stage behind, the barrier tasks in front of it, in the wire's shape.
    """

    depends_on: dict[str, list[JsonObject]] = field(default_factory=dict)
    run_if: dict[str, str] = field(default_factory=dict)
    barriers: dict[int, list[JsonObject]] = field(default_factory=dict)


def stages(sources: Iterable[SourceDefinition]) -> list[list[SourceDefinition]]:
    """The non-empty stages in order, each in order of source_id."""
    ordered = sorted(sources, key=lambda source: (source.execution_order, source.source_id))
    return [list(group) for _, group in groupby(ordered, key=lambda source: source.execution_order)]


def wire(
    module_stages: Sequence[Sequence[SourceDefinition]], keys: dict[str, str], others: Iterable[str] = ()
) -> Wiring:
    """Edges and barriers of a module.

    Args:
        module_stages: see `stages`.
        keys: by source_id, of all sources, the key of the task that those who wait for the source wait for.
        others: further task keys that are taken.
    """
    wiring = Wiring()
    taken = {*keys.values(), *others}
    before: Sequence[SourceDefinition] = ()
    for stage in module_stages:
        waiting = []
        for source in stage:
            if "depends_on" in source.task:
                wiring.depends_on[source.source_id] = explicit_edges(source, keys)
            else:
                waiting.append(source)
        if before and waiting:
            _connect([keys[source.source_id] for source in before], waiting, wiring, taken)
        before = stage
    return wiring


def explicit_edges(source: SourceDefinition, keys: dict[str, str]) -> list[JsonObject]:
    """The source's own `depends_on` with source_ids replaced by task keys; outcomes are kept."""
    edges: list[JsonObject] = []
    for dependency in source.task["depends_on"] or ():
        edge = {"task_key": dependency} if isinstance(dependency, str) else dict(dependency)
        if "source_id" in edge:
            edge["task_key"] = edge.pop("source_id")
        edge["task_key"] = keys.get(edge["task_key"], edge["task_key"])
        edges.append(edge)
    return edges


def _connect(
    before: Sequence[str], waiting: Sequence[SourceDefinition], wiring: Wiring, taken: set[str]
) -> None:
    """Let `waiting`, of one stage, wait for all tasks `before`, directly or through barriers."""
    groups: dict[str, list[SourceDefinition]] = {}
    for source in waiting:
        groups.setdefault(source.task.get("run_if") or DEFAULT_RUN_IF, []).append(source)
    wide = len(before) * len(waiting) > EDGE_LIMIT
    for run_if, group in sorted(groups.items()):
        if not wide or len(before) * len(group) <= len(before) + len(group) + 1:
            for source in group:
                wiring.depends_on[source.source_id] = [{"task_key": key} for key in before]
            continue
        order = group[0].execution_order
        barrier = _barrier(order, run_if, before, taken)
        wiring.barriers.setdefault(order, []).append(barrier)
        for source in group:
            wiring.depends_on[source.source_id] = [{"task_key": barrier["task_key"], "outcome": "true"}]
            if run_if in _WANTS_FAILURE:
                wiring.run_if[source.source_id] = DEFAULT_RUN_IF


def _barrier(order: int, run_if: str, before: Sequence[str], taken: set[str]) -> JsonObject:
    key = f"stage_{order}_barrier" + ("" if run_if == DEFAULT_RUN_IF else f"_{run_if.lower()}")
    while key in taken:
        key += "_"
    taken.add(key)
    return {
        "task_key": key,
        "description": f"Waits for all {len(before)} tasks of the stage before; keeps the graph small.",
        "depends_on": [{"task_key": one} for one in before],
        "run_if": run_if,
        "condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"},
    }
