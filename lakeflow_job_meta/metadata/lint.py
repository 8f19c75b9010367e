"""Lint across modules: who runs whose job."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping

from lakeflow_job_meta.errors import Problem
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.metadata.edges import find_cycle
from lakeflow_job_meta.metadata.places import Places
from lakeflow_job_meta.metadata.problems import Part, Problems
from lakeflow_job_meta.metadata.suggestions import hint, quoted

#: Levels of run_job below a job (Jobs API).
MAX_LEVELS = 3
_REFERENCE = re.compile(r"\$\{module\.([^{}]+)\}")
_CONFIG = "transformation_config"


def cross_check(
    definitions: Mapping[str, ModuleDefinition],
    *,
    known: Collection[str] = (),
    table: str = "",
    places: Mapping[str, Places] | None = None,
) -> list[Problem]:
    """What is wrong between modules: unknown `${module.NAME}`, circles of run_job, more than three levels of it.

    Args:
        definitions: every sound module, by name.
        known: further modules that exist (refused ones, whose last good job stays).
        table: full name of the control table, for modules that came from no file.
        places: by module, where its rows were written.
    """
    runs: dict[str, list[tuple[str, str, Part]]] = {
        name: list(_run_jobs(definition)) for name, definition in definitions.items()
    }
    graph = {
        name: [target for target, _, _ in edges if target in definitions] for name, edges in runs.items()
    }
    by_module = {
        name: Problems(name, table, (places or {}).get(name)) for name, edges in runs.items() if edges
    }
    for name, edges in runs.items():
        for target, source_id, part in edges:
            if target not in definitions and target not in known:
                near = hint(target, {*definitions, *known} - {name})
                by_module[name].add(source_id, part, f"${{module.{target}}} names no module{near}")
    circular = _circles(graph, runs, by_module)
    _levels(graph, runs, by_module, circular)
    return [problem for found in by_module.values() for problem in found.listed()]


def _run_jobs(definition: ModuleDefinition) -> Iterator[tuple[str, str, Part]]:
    """Module names that the sources run: (name, source_id, where it is written)."""
    for source in definition.sources if definition.active else ():
        for job_id, part in _job_ids(source):
            match = _REFERENCE.fullmatch(job_id) if isinstance(job_id, str) else None
            if match:
                yield match[1], source.source_id, part


def _job_ids(source: SourceDefinition) -> Iterator[tuple[object, Part]]:
    if source.task_type == "run_job":
        yield source.settings.get("job_id"), (_CONFIG, "run_job_task", "job_id")
    elif source.task_type == "for_each":
        inner = source.settings.get("task", {}).get("run_job_task") or {}
        yield inner.get("job_id"), (_CONFIG, "for_each_task", "task", "run_job_task", "job_id")


def _circles(
    graph: Mapping[str, list[str]],
    runs: Mapping[str, list[tuple[str, str, Part]]],
    by_module: Mapping[str, Problems],
) -> set[str]:
    """Report every circle at each of its modules; the modules in circles."""
    left = {name: list(targets) for name, targets in graph.items()}
    circular: set[str] = set()
    while cycle := [
        str(name) for name in find_cycle({name: list(targets) for name, targets in left.items()})
    ]:
        chain = " -> ".join(
            quoted(name) for name in (cycle if len(cycle) <= 8 else [*cycle[:4], "...", *cycle[-3:]])
        )
        for name, target in itertools.pairwise(cycle):
            for found, source_id, part in runs[name]:
                if found == target:
                    by_module[name].add(source_id, part, f"modules run one another in a circle: {chain}")
            circular.add(name)
        left = {
            name: [t for t in targets if t not in cycle]
            for name, targets in left.items()
            if name not in cycle
        }
    return circular


def _levels(
    graph: Mapping[str, list[str]],
    runs: Mapping[str, list[tuple[str, str, Part]]],
    by_module: Mapping[str, Problems],
    circular: Collection[str],
) -> None:
    """Report modules below which jobs run one another more than three levels deep."""
    deep = [set(graph)]
    for _ in range(MAX_LEVELS + 1):
        deep.append({name for name in graph if any(target in deep[-1] for target in graph[name])})
    for name in sorted(deep[-1] - set(circular)):
        chain = [name]
        for level in range(MAX_LEVELS, -1, -1):
            chain.append(next(target for target in graph[chain[-1]] if target in deep[level]))
        if set(chain) & set(circular):
            continue
        for found, source_id, part in runs[name]:
            if found == chain[1]:
                text = (
                    f"jobs run one another {MAX_LEVELS + 1} levels deep, at most {MAX_LEVELS} are allowed: "
                )
                by_module[name].add(source_id, part, text + " -> ".join(quoted(one) for one in chain))
