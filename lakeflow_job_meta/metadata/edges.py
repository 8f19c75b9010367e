"""Edges between sources: unknown dependencies, outcomes, and cycles through explicit edges and stages."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import groupby

from lakeflow_job_meta.metadata.definition import SourceDefinition
from lakeflow_job_meta.metadata.problems import Part, Problems
from lakeflow_job_meta.metadata.suggestions import hint, quoted

_PART = ("transformation_config", "depends_on")


def check_edges(
    sources: Sequence[SourceDefinition],
    inactive: Collection[str],
    broken: Collection[str],
    problems: Problems,
) -> None:
    """Judge what the sources of a module, in order, wait for.

    Args:
        inactive: source_ids of the module's inactive rows, for a better message.
        broken: source_ids of sources that exist but have problems: who waits for them is right.
    """
    known = {source.source_id: source for source in sources}
    for source in sources:
        seen: set[tuple[str, str]] = set()
        for index, edge in enumerate(source.task.get("depends_on") or ()):
            name, outcome = edge.get("task_key"), edge.get("outcome")
            part: Part = (*_PART, index)
            me = quoted(source.source_id)
            if name is None:
                continue  # a problem already
            if name == source.source_id:
                problems.add(source.source_id, part, f"source {me} depends on itself")
            elif name in broken:
                pass
            elif name in inactive:
                problems.add(
                    source.source_id,
                    part,
                    f"source {me} depends on source {quoted(name)}, which is inactive: activate it, or take it out of depends_on",
                )
            elif name not in known:
                problems.add(
                    source.source_id,
                    part,
                    f"source {me} depends on unknown source {quoted(name)}{hint(name, {*known, *broken})}",
                )
            elif outcome is not None and known[name].task_type != "condition":
                problems.add(
                    source.source_id,
                    part,
                    f"outcome is only for dependencies on condition sources, and {quoted(name)} is a {known[name].task_type} source",
                )
            if (name, outcome or "") in seen:
                problems.add(source.source_id, part, f"source {me} names {quoted(name)} twice in depends_on")
            seen.add((name, outcome or ""))
    cycle = find_cycle(_graph(sources, known))
    if cycle:
        names = [node for node in cycle if isinstance(node, str)]
        start = names[0]
        where: Part = _PART if "depends_on" in known[start].task else ("execution_order",)
        problems.add(start, where, f"sources wait for one another in a circle: {_chain(cycle)}")


def _graph(
    sources: Sequence[SourceDefinition], known: Mapping[str, SourceDefinition]
) -> dict[Hashable, list[Hashable]]:
    """What each source waits for; a stage is one node (its number), so that wide stages stay cheap."""
    graph: dict[Hashable, list[Hashable]] = {}
    before: int | None = None
    for order, group in groupby(sources, key=lambda source: source.execution_order):
        members = list(group)
        for source in members:
            if "depends_on" in source.task:
                edges = [edge.get("task_key") for edge in source.task["depends_on"] or ()]
                graph[source.source_id] = [
                    name for name in edges if name in known and name != source.source_id
                ]
            else:
                graph[source.source_id] = [] if before is None else [before]
        graph[order] = [source.source_id for source in members]
        before = order
    return graph


def find_cycle(graph: Mapping[Hashable, Sequence[Hashable]]) -> list[Hashable]:
    """The nodes of one cycle in order, the first repeated at the end; empty when there is none. Never recurses."""
    done: set[Hashable] = set()
    for root in graph:
        if root in done:
            continue
        path: list[Hashable] = [root]
        on_path = {root}
        waiting = [iter(graph.get(root, ()))]
        while waiting:
            below = next(waiting[-1], None)
            if below is None:
                waiting.pop()
                left = path.pop()
                on_path.discard(left)
                done.add(left)
            elif below in on_path:
                return [*path[path.index(below) :], below]
            elif below not in done:
                path.append(below)
                on_path.add(below)
                waiting.append(iter(graph.get(below, ())))
    return []


def _chain(cycle: Sequence[Hashable]) -> str:
    """`"a" waits for stage 2 with "b", which waits for "a"`, starting at a source."""
    nodes = list(cycle[:-1])
    while not isinstance(nodes[0], str):
        nodes.append(nodes.pop(0))
    nodes.append(nodes[0])
    texts = [quoted(node) if isinstance(node, str) else f"stage {node}" for node in nodes]
    if len(texts) > 12:
        texts = [*texts[:6], "...", *texts[-5:]]
    return " -> ".join(texts)
