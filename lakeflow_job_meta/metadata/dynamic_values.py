"""Dynamic value references: `{{job.parameters.x}}` and the like, judged before the platform takes them for text.

Only the known namespaces are judged; braces of anything else (Jinja, dbt) belong to the user. Source: Databricks
documentation, "Dynamic value references".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

from lakeflow_job_meta.metadata.suggestions import did_you_mean, hint, quoted

_REFERENCE = re.compile(r"\{\{\s*([^{}]{1,400}?)\s*\}\}")
_STEP = re.compile(r"`([^`]*)`|([^.`]+)")
_MEMBERS = {
    "job": ("id", "name", "run_id", "repair_count", "start_time", "parameters", "trigger"),
    "task": ("name", "run_id", "execution_count", "notebook_path"),
    "workspace": ("id", "url"),
}
_TASK_MEMBERS = (
    "run_id",
    "result_state",
    "error_code",
    "execution_count",
    "notebook_path",
    "values",
    "output",
    "alert_state",
)
_NAMESPACES = (*_MEMBERS, "tasks")


def references(text: str) -> Iterator[str]:
    """The references in a text, as written between the braces."""
    if "{{" in text:
        for match in _REFERENCE.finditer(text):
            yield match[1]


def reference_problem(reference: str, task_keys: Collection[str], parameters: Collection[str]) -> str:
    """What is wrong with a reference; empty when nothing is, or when it is none of the platform's.

    Args:
        task_keys: keys of the job's tasks.
        parameters: names of the job's parameters.
    """
    steps = [match[1] if match[1] is not None else match[2].strip() for match in _STEP.finditer(reference)]
    if not steps:
        return ""
    root, rest = steps[0], steps[1:]
    if root not in _NAMESPACES:
        near = difflib.get_close_matches(root, _NAMESPACES, n=1, cutoff=0.8) if rest else []
        return (
            f"{{{{{reference}}}}} does not exist (did you mean {near[0]}.{'.'.join(rest)}?)" if near else ""
        )
    if not rest:
        return (
            ""
            if root != "tasks"
            else f"{{{{{reference}}}}} names no task: write {{{{tasks.TASK.values.NAME}}}}"
        )
    if root == "tasks":
        return _task_problem(reference, rest, task_keys)
    member = rest[0]
    if member not in _MEMBERS[root]:
        return f"{{{{{reference}}}}} does not exist: {root} has no {quoted(member)}{hint(member, _MEMBERS[root])}"
    if root == "job" and member == "parameters":
        name = ".".join(rest[1:])
        if name not in parameters:
            remedy = did_you_mean(name, parameters) or ": declare it under job.parameters"
            return f"{{{{{reference}}}}} names a job parameter that is not declared{remedy}"
    return ""


def _task_problem(reference: str, rest: list[str], task_keys: Collection[str]) -> str:
    key = rest[0]
    if key not in task_keys:
        return f"{{{{{reference}}}}} names unknown task {quoted(key)}{hint(key, task_keys)}"
    if len(rest) < 2 or rest[1] not in _TASK_MEMBERS:
        member = rest[1] if len(rest) > 1 else ""
        return (
            f"{{{{{reference}}}}} does not exist: a task has no {quoted(member)}{hint(member, _TASK_MEMBERS)}"
        )
    return ""
