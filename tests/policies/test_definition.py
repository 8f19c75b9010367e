"""Policies as data: headers, settings, parameters, names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.errors import PolicyError, UsageError
from lakeflow_job_meta.policies.definition import (
    Broken,
    Policy,
    from_flag,
    from_text,
    shipped_policy,
)
from lakeflow_job_meta.policies.settings import load, read

TEXT = """-- name: big_files
-- description: >
--   Files above
--   a size.
-- severity: low
-- on_violation: warn
-- max_violations: 3
-- key: [path]
-- parameters: {limit: 10, labels: [a, b], exact: false}

-- not of the header
SELECT path FROM snapshot WHERE size > :limit
"""


def test_header() -> None:
    """The header's YAML says what the policy is."""
    policy = from_text(TEXT, "/Volumes/x/big.sql")
    assert (policy.name, policy.description, policy.severity, policy.on_violation) == (
        "big_files", "Files above a size.", "low", "warn"
    )  # fmt: skip
    assert (policy.max_violations, policy.key) == (3, ("path",))
    assert policy.parameters == {"limit": 10, "labels": "a,b", "exact": False}
    assert policy.origin == "/Volumes/x/big.sql"


@pytest.mark.parametrize("text", ["SELECT 1", "-- note: a comment\nSELECT 1", "\n-- name: later\nSELECT 1"])
def test_without_a_header_the_file_gives_the_name(text: str) -> None:
    """A plain comment is no header."""
    policy = from_text(text, "/a/my policy.sql")
    assert (policy.name, policy.severity, policy.on_violation) == ("my_policy", "medium", "fail")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("-- name: a b", "'a b' is not a policy's name"),
        ("-- name: a\n-- severety: low", "unknown key 'severety' (did you mean 'severity'?)"),
        ("-- name: a\n-- severity: awful", "severity must be low or medium or high or critical, not 'awful'"),
        ("-- name: a\n-- on_violation: explode", "on_violation must be fail or warn"),
        ("-- name: a\n-- max_violations: -1", "max_violations must be a number from 0"),
        ("-- name: a\n-- max_violations: many", "max_violations must be a number from 0"),
        ("-- name: a\n-- parameters: {x: {y: 1}}", "parameter x: {'y': 1} is no value"),
        ("-- name: a\n-- parameters: [x]", "parameters must be values by name"),
        ("-- name: a\n-- key: [1]", "key must be names of columns"),
        ("-- name: a\n-- key: [", "f.sql:2:"),
    ],
)
def test_wrong_header(header: str, told: str) -> None:
    """What is wrong is told, with the file."""
    with pytest.raises(PolicyError) as refused:
        from_text(f"{header}\nSELECT 1", "f.sql")
    assert told in str(refused.value)
    assert str(refused.value).startswith("f.sql")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2.5", -2.5),
        ("true", True),
        ("FALSE", False),
        ("007x", "007x"),
        ("", ""),
        ("a, b", "a, b"),
    ],
)
def test_flags_are_read_by_what_they_look_like(text: str, value: object) -> None:
    """Numbers, truth values, else texts."""
    assert from_flag(text) == value
    assert type(from_flag(text)) is type(value)


def test_values_take_the_kind_of_the_default() -> None:
    """A text for a number is read as one; a number for a text stays a text; nonsense is refused."""
    policy = Policy("p", "SELECT :n, :t, :b", parameters={"n": 1, "t": "x", "b": True})
    assert policy.given({"n": "30", "t": 7, "b": "false"}).parameters == {"n": 30, "t": "7", "b": False}
    with pytest.raises(PolicyError, match="p: parameter n must be a number, not 'many'"):
        policy.given({"n": "many"})
    with pytest.raises(PolicyError, match="parameter b must be true or false"):
        policy.given({"b": "3"})


def test_settings_name_policies_in_four_ways(tmp_path: Path) -> None:
    """Shipped by name, shipped and changed, from a file, from text; values for all reach each that has them."""
    path = tmp_path / "big.sql"
    path.write_text(TEXT)
    settings = read(
        {
            "table": "main.a.b",
            "policies": [
                "rot_files",
                {
                    "policy": "stale_data",
                    "name": "very_stale",
                    "parameters": {"stale_days": 3650},
                    "severity": "high",
                },
                {"sql_file_path": str(path), "on_violation": "fail"},
                {"name": "mine", "sql": "SELECT :limit", "key": "a"},
            ],
            "parameters": {"limit": 99, "hold_labels": ["Hold", "Litigation"]},
        }
    )
    rot, stale, big, mine = load(settings, FuseVolumes(None))
    assert isinstance(rot, Policy)
    assert rot.parameters["hold_labels"] == "Hold,Litigation"
    assert isinstance(stale, Policy)
    assert (stale.name, stale.severity, stale.parameters["stale_days"]) == ("very_stale", "high", 3650)
    assert isinstance(big, Policy)
    assert (big.on_violation, big.parameters["limit"], big.max_violations) == ("fail", 99, 3)
    assert isinstance(mine, Policy)
    assert (mine.key, mine.parameters["limit"]) == (("a",), 99)


def test_a_value_that_no_policy_takes_is_refused() -> None:
    """A typo would leave the default in force; a parameter of the run that is for another task is left aside."""
    given = {"table": "main.a.b", "policies": "retention_gap", "parameters": {"retention_day": 1}}
    with pytest.raises(UsageError, match=r"parameter 'retention_day' .did you mean 'retention_days'"):
        load(read(given), FuseVolumes(None))
    settings = replace(read({**given, "parameters": {}}), further={"retention_days": "30", "region": "north"})
    [policy] = load(settings, FuseVolumes(None))
    assert isinstance(policy, Policy)
    assert policy.parameters["retention_days"] == 30


def test_a_definition_without_sql_is_an_error_of_its_own() -> None:
    """It names what may stand there."""
    [broken] = load(read({"table": "main.a.b", "policies": {"name": "empty"}}), FuseVolumes(None))
    assert isinstance(broken, Broken)
    assert "policy 'empty' has no SQL" in broken.error


def test_unknown_shipped_policy() -> None:
    """The nearest is told, and how one's own is named."""
    with pytest.raises(UsageError, match=r"did you mean 'rot_files'.*path of its \.sql file"):
        shipped_policy("rot_file")


def test_export_path_must_be_a_volume() -> None:
    """Results go into a volume."""
    with pytest.raises(UsageError, match="export_path must be a folder below /Volumes"):
        read({"table": "main.a.b", "export_path": "/tmp/x"})
