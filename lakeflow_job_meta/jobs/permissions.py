"""Permissions of a module's job and saved queries, in bundle syntax. Pure.

An entry is one of user_name, group_name, service_principal_name, and `level`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lakeflow_job_meta.jobs.desired import JsonObject

OWNER = "IS_OWNER"
MANAGE = "CAN_MANAGE"
PRINCIPALS = ("user_name", "group_name", "service_principal_name")


def principal(entry: JsonObject) -> tuple[str, str]:
    """(kind, name) of the entry's principal."""
    return next((name, str(entry[name])) for name in PRINCIPALS if entry.get(name))


def for_query(entries: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """A job's entries as they hold for its saved queries, in levels of jobs.

    The owner of the job may manage its queries: a query has no owner among its permissions.
    """
    return tuple(
        {**entry, "level": MANAGE if entry["level"] == OWNER else entry["level"]} for entry in entries
    )


def expected(desired: Sequence[JsonObject], actual: Sequence[JsonObject]) -> list[JsonObject]:
    """The direct entries that setting `desired` comes to, given those that are there.

    The owner stays when `desired` names none, whatever lower level it names for that principal; an object has
    one owner, and a principal one entry. Equal to `actual`, whatever the order, means that nothing is to be done.
    """
    result = [dict(entry) for entry in desired]
    if any(entry["level"] == OWNER for entry in desired):
        return result
    for owner in actual:
        if owner["level"] != OWNER:
            continue
        result = [entry for entry in result if principal(entry) != principal(owner)]
        result.append(dict(owner))
    return result
