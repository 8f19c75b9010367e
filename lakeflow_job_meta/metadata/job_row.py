"""The job row: a module's job settings, permissions and options, flat in one transformation_config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.metadata.problems import Problems
from lakeflow_job_meta.metadata.rows import JOB_ROW, JOB_SOURCE_TYPE, Row
from lakeflow_job_meta.metadata.shapes import Finding, judge, shape, tokens
from lakeflow_job_meta.metadata.sources import CONFIG, read_config
from lakeflow_job_meta.metadata.suggestions import quoted
from lakeflow_job_meta.settings import MODULE_SETTINGS

JsonObject = dict[str, Any]

_PRINCIPALS = ("user_name", "group_name", "service_principal_name")


@dataclass(frozen=True, slots=True)
class JobPart:
    """What a job row says; without one, the defaults."""

    job: JsonObject = field(default_factory=dict)
    permissions: tuple[JsonObject, ...] | None = None
    options: JsonObject = field(default_factory=dict)


def read_job_row(row: Row, variables: Mapping[str, str], problems: Problems) -> JobPart:
    """The job row's content; what is wrong with it is added to `problems`."""
    if (row.source_type or JOB_SOURCE_TYPE) != JOB_SOURCE_TYPE:
        problems.add(
            JOB_ROW,
            ("source_type",),
            f'the row {JOB_ROW} must have source_type "job", not {quoted(row.source_type or "")}',
        )
    config = read_config(row, CONFIG, variables, problems)
    if config.value is None:
        return JobPart()
    found: list[Finding] = []
    judged: JsonObject = judge(shape("job_row"), config.value, found)
    for finding in found:
        path = tokens(finding.path)
        if path in config.open:
            continue  # a variable without value stands there
        message = finding.message
        if path == ("tasks",):
            message = "tasks are made from the module's sources: leave them out of the job settings"
        problems.add(JOB_ROW, (CONFIG, *path), message, at_key=finding.kind == "unknown")
    if found or config.open:
        # Only the options are sure to be usable; what refuses the module is in `problems`.
        return JobPart()
    options = {name: judged[name] for name in MODULE_SETTINGS if name in judged}
    permissions = judged.get("permissions")
    for index, entry in enumerate(permissions or ()):
        _permission(index, entry, problems)
    job = {key: inner for key, inner in judged.items() if key not in MODULE_SETTINGS and key != "permissions"}
    return JobPart(job, None if permissions is None else tuple(permissions), options)


def _permission(index: int, entry: JsonObject, problems: Problems) -> None:
    named = [key for key in _PRINCIPALS if key in entry]
    if len(named) != 1:
        found = f"it names {' and '.join(named)}" if named else "it names none"
        problems.add(
            JOB_ROW,
            (CONFIG, "permissions", index),
            f"a permission names one of {', '.join(_PRINCIPALS)}; {found}",
        )
