"""Build: all rows of a module become its definition, or every problem at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

from lakeflow_job_meta.errors import Problem
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.metadata.edges import check_edges
from lakeflow_job_meta.metadata.job_row import JobPart, read_job_row
from lakeflow_job_meta.metadata.limits import check_limits
from lakeflow_job_meta.metadata.places import Places
from lakeflow_job_meta.metadata.problems import Problems
from lakeflow_job_meta.metadata.rows import JOB_ROW, SETTINGS_MODULE, Row
from lakeflow_job_meta.metadata.sources import Judged, define_source
from lakeflow_job_meta.metadata.suggestions import quoted, shown
from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from lakeflow_job_meta.settings import Settings


@dataclass(frozen=True, slots=True)
class Defined:
    """The outcome of `define`.

    Args:
        definition: None when there are problems.
        problems: everything that is wrong, in order of place.
    """

    definition: ModuleDefinition | None
    problems: tuple[Problem, ...] = ()


def define(
    rows: Sequence[Row],
    *,
    table: str,
    settings: Settings,
    places: Places | None = None,
    open_settings: bool = False,
    broken: Collection[str] = (),
) -> Defined:
    """Judge all rows of one module, inactive ones too, and build its definition.

    Args:
        rows: every row with one module_name; at least one.
        table: full name of the control table, for places of rows that came from no file.
        settings: give the values of `${var.NAME}` and the default warehouse.
        places: where the rows were written, when they came from a file.
        open_settings: the settings are not known yet: do not demand what they may bring (a warehouse).
        broken: source_ids that exist but could not become rows (their problems are known already).

    Returns:
        The definition, or all problems.
    """
    module = rows[0].module_name or ""
    problems = Problems(module, table, places)
    _check_name(module, problems)
    _check_duplicates(rows, problems)
    variables = settings.variables
    part = JobPart()
    retired = False
    judged: list[Judged] = []
    inactive = {row.source_id or "" for row in rows if not row.active}
    unusable = set(broken)
    for row in rows:
        if row.source_id == JOB_ROW:
            part = read_job_row(row, variables, problems)
            retired = not row.active
    if not retired:
        for row in rows:
            if row.active and row.source_id != JOB_ROW:
                source = define_source(row, variables, problems)
                if source is None:
                    unusable.add(row.source_id or "")
                elif TASK_TYPES[source.definition.task_type].is_enabled(source.definition.settings):
                    judged.append(source)
                else:
                    inactive.add(source.definition.source_id)
    judged.sort(key=lambda one: (one.definition.execution_order, one.definition.source_id))
    sources = [one.definition for one in judged]
    if not retired:
        _check_keys(sources, problems)
        check_edges(sources, inactive, unusable, problems)
        warehouse = True if open_settings else settings.for_module("default_warehouse_id", part.options)
        check_limits(module, part, judged, warehouse, problems)
    if problems:
        return Defined(None, problems.listed())
    active = bool(sources) and not retired
    return Defined(
        ModuleDefinition(
            module_name=module,
            job=part.job,
            sources=tuple(sources),
            permissions=part.permissions,
            options=part.options,
            active=active,
        )
    )


def _check_name(module: str, problems: Problems) -> None:
    if not module or module.isspace():
        problems.add("", ("module_name",), "module_name is empty: give the module a name")
    elif module == SETTINGS_MODULE or module.startswith("__"):
        problems.add(
            "",
            ("module_name",),
            f"module_name {quoted(module)} is reserved: choose one that does not start with __",
        )
    elif "}" in module or "{" in module:
        problems.add(
            "",
            ("module_name",),
            f"module_name {quoted(module)} must not have braces: ${{module.NAME}} could not name it",
        )
    elif len(module.encode("utf-8", "surrogatepass")) > 4096:
        problems.add("", ("module_name",), "module_name is longer than 4096 bytes")


def _check_duplicates(rows: Sequence[Row], problems: Problems) -> None:
    """Two rows with one key: both are shown, since nobody can say which one is meant."""
    first: dict[str, Row] = {}
    for row in rows:
        source_id = row.source_id or ""
        former = first.setdefault(source_id, row)
        if former is row or not source_id:
            continue
        different = [
            f"{field.name} {shown(getattr(former, field.name))} and {shown(getattr(row, field.name))}"
            for field in fields(Row)
            if getattr(former, field.name) != getattr(row, field.name)
        ]
        difference = f"they differ in {'; '.join(different)}" if different else "they are equal"
        problems.add(source_id, (), f"two rows have the key {quoted(source_id)}; {difference}: delete one")


def _check_keys(sources: Sequence[SourceDefinition], problems: Problems) -> None:
    owners: dict[str, str] = {}
    for source in sources:
        for key in TASK_TYPES[source.task_type].task_keys(source.source_id):
            owner = owners.setdefault(key, source.source_id)
            if owner != source.source_id:
                problems.add(
                    source.source_id,
                    ("source_id",),
                    f"sources {quoted(owner)} and {quoted(source.source_id)} both get the task_key {quoted(key)}: rename one",
                )
