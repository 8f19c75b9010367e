"""Policies as data: a name, a severity, one SELECT with its parameters, and what is too much. Pure but for the
shipped files, which come with the package.

A `.sql` file may begin with a header, YAML behind `--`, whose first line is `-- name: ...`; without one the file's
name is the policy's name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias, get_args

import yaml

from lakeflow_job_meta.errors import PolicyError, UsageError

Severity = Literal["low", "medium", "high", "critical"]
OnViolation = Literal["fail", "warn"]
Value: TypeAlias = "str | int | float | bool | None"
SEVERITIES: tuple[str, ...] = get_args(Severity)
ON_VIOLATION: tuple[str, ...] = get_args(OnViolation)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_HEADER = re.compile(r"--\s*name\s*:")
#: What a header and a definition in settings may say, beside the SQL.
FIELDS = ("name", "description", "severity", "key", "parameters", "max_violations", "on_violation")


@dataclass(frozen=True)
class Policy:
    """One policy.

    Args:
        name: starts with a letter; letters, digits, `_` and `-`.
        sql: one read-only SELECT that returns the violating rows; see `statement.check`.
        key: columns of the SELECT that name a violation over runs; empty: all of them.
        parameters: values of the `:name` markers.
        max_violations: up to this many rows pass.
        on_violation: what more rows are: `fail` (FAIL, and the task fails) or `warn` (WARN).
        origin: where the SQL was written, for errors.
    """

    name: str
    sql: str
    description: str = ""
    severity: str = "medium"
    key: tuple[str, ...] = ()
    parameters: Mapping[str, Value] = field(default_factory=dict)
    max_violations: int = 0
    on_violation: str = "fail"
    origin: str = ""

    def given(self, values: Mapping[str, Any]) -> Policy:
        """The policy with other values for the parameters that it has; the others are left aside.

        Raises:
            PolicyError: a value is not of the kind of the one that it takes the place of.
        """
        known = dict(self.parameters)
        for name, value in values.items():
            known[name] = (
                _as(known[name], value, f"{self.name}: parameter {name}") if name in known else scalar(value)
            )
        return replace(self, parameters=known)


@dataclass(frozen=True)
class Broken:
    """A policy that could not be read: it becomes an ERROR of its own."""

    name: str
    error: str
    severity: str = "medium"
    on_violation: str = "fail"
    max_violations: int = 0


@cache
def shipped() -> Mapping[str, Policy]:
    """The policies that come with the package, by name."""
    folder = resources.files(__package__).joinpath("shipped")
    found = [
        from_text(file.read_text(encoding="utf-8"), file.name)
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return {policy.name: policy for policy in sorted(found, key=lambda one: one.name)}


def shipped_policy(name: str) -> Policy:
    """A policy of the package. Raises UsageError naming the nearest."""
    policies = shipped()
    if name not in policies:
        close = difflib.get_close_matches(name, policies, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UsageError(
            f"there is no policy {name!r}{hint}; shipped are {', '.join(policies)}; "
            "a policy of your own is named by the path of its .sql file"
        )
    return policies[name]


def from_text(text: str, origin: str) -> Policy:
    """A policy from the text of its `.sql` file.

    Args:
        origin: the file's path; its name is the policy's when there is no header.

    Raises:
        PolicyError: the header is wrong.
    """
    name = re.sub(r"[^A-Za-z0-9_-]", "_", PurePosixPath(origin).name.removesuffix(".sql"))
    return from_mapping({"name": name, **_header(text, origin)}, sql=text.lstrip("\ufeff"), origin=origin)


def from_mapping(given: Mapping[str, Any], *, sql: str, origin: str) -> Policy:
    """A policy from a header, or from what a source's settings say of it.

    Raises:
        PolicyError: naming every value that is wrong.
    """
    wrong = [f"unknown key {key!r}{_hint(key)}" for key in given if key not in FIELDS]
    name = str(given.get("name") or "")
    if not _NAME.fullmatch(name):
        wrong.append(
            f"name {name!r} is not a policy's name: a letter, then at most 99 letters, digits, _ or -"
        )
    for key, allowed in (("severity", SEVERITIES), ("on_violation", ON_VIOLATION)):
        if key in given and given[key] not in allowed:
            wrong.append(f"{key} must be {' or '.join(allowed)}, not {given[key]!r}")
    most = given.get("max_violations", 0)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        wrong.append(f"max_violations must be a number from 0, not {most!r}")
    named = given.get("key") or ()
    columns = (named,) if isinstance(named, str) else tuple(named)
    if not all(isinstance(column, str) and column for column in columns):
        wrong.append(f"key must be names of columns, not {named!r}")
    parameters = given.get("parameters") or {}
    values: dict[str, Value] = {}
    if isinstance(parameters, Mapping):
        for parameter, value in parameters.items():
            try:
                values[str(parameter)] = scalar(value)
            except PolicyError as e:
                wrong.append(f"parameter {parameter}: {e}")
    else:
        wrong.append(f"parameters must be values by name, not {parameters!r}")
    if wrong:
        raise PolicyError(f"{origin}: {'; '.join(wrong)}")
    return Policy(
        name=name,
        sql=sql,
        description=" ".join(str(given.get("description") or "").split()),
        severity=given.get("severity", "medium"),
        key=columns,
        parameters=values,
        max_violations=most,
        on_violation=given.get("on_violation", "fail"),
        origin=origin,
    )


def changed(policy: Policy, given: Mapping[str, Any]) -> Policy:
    """The policy with what a source's settings say otherwise.

    Raises:
        PolicyError: naming every value that is wrong.
    """
    said = {key: value for key, value in given.items() if key != "parameters"}
    whole = {key: getattr(policy, key) for key in FIELDS if key != "parameters"} | said
    new = from_mapping(whole, sql=policy.sql, origin=policy.origin)
    return replace(new, parameters=policy.parameters).given(given.get("parameters") or {})


def scalar(value: Any) -> Value:
    """A parameter's value as SQL engines bind it; a list becomes a text with commas.

    Raises:
        PolicyError: it is an object, or a list of something else than texts and numbers.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int, float)) for one in value):
        return ",".join(str(one) for one in value)
    raise PolicyError(
        f"{value!r} is no value of a parameter: give a text, a number, true, false, or a list of texts"
    )


def from_flag(text: str) -> Value:
    """The value of `--param NAME=TEXT` for a parameter whose kind is not known: a number, true or false, else a text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def unique(policies: Iterable[Policy | Broken]) -> list[Policy | Broken]:
    """The policies, when no name is there twice. Raises PolicyError."""
    seen: dict[str, Policy | Broken] = {}
    for policy in policies:
        if policy.name in seen:
            raise PolicyError(f"two policies are called {policy.name!r}: give one of them another `name`")
        seen[policy.name] = policy
    return list(seen.values())


def _as(example: Value, value: Any, what: str) -> Value:
    """`value` as the kind that `example` is."""
    value = scalar(value)
    if not isinstance(value, str) or isinstance(example, str) or example is None:
        return (
            value if not isinstance(example, str) or isinstance(value, str) or value is None else str(value)
        )
    read = from_flag(value)
    if isinstance(example, bool) is isinstance(read, bool) and isinstance(read, (bool, int, float)):
        return read
    kind = "true or false" if isinstance(example, bool) else "a number"
    raise PolicyError(f"{what} must be {kind}, not {value!r}")


def _header(text: str, origin: str) -> dict[str, Any]:
    """What the comment at the top of the file says; empty when it is no header."""
    lines: list[str] = []
    for line in text.lstrip("\ufeff").splitlines():
        if not line.startswith("--"):
            break
        lines.append(line)
    if not lines or not _HEADER.match(lines[0]):
        return {}
    try:
        found = yaml.safe_load("\n".join(line[2:].removeprefix(" ") for line in lines))
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        place = f"{origin}:{mark.line + 1}:{mark.column + 4}" if mark else origin
        raise PolicyError(f"{place}: the header is no YAML: {getattr(e, 'problem', e)}") from e
    return dict(found)


def _hint(key: str) -> str:
    close = difflib.get_close_matches(str(key), FIELDS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
