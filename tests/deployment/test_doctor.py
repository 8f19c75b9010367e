"""The diagnosis where the embedded workspace cannot be broken: privileges, wheels of another version."""

from __future__ import annotations

from typing import Any

import pytest

from lakeflow_job_meta.deployment.doctor import Doctor
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Caller, Securable

TABLE = TableName("main", "etl", "etl_control")


class Platform:
    """A workspace with these owners and privileges, by full name."""

    def __init__(self, owners: dict[str, str], privileges: dict[str, set[str]]) -> None:
        self.owners = owners
        self.held = privileges

    def find(self, kind: str, full_name: str) -> Securable | None:
        return Securable(full_name, self.owners.get(full_name, "somebody"))

    def privileges(self, kind: str, full_name: str, principal: str) -> frozenset[str]:
        return frozenset(self.held.get(full_name, ()))


class World:
    """A runtime of which permissions need only the platform."""

    control_table = TABLE

    def __init__(self, platform: Platform) -> None:
        self.platform = platform


def permissions(platform: Platform, groups: frozenset[str] = frozenset()) -> Any:
    doctor = Doctor(World(platform), volume_path="/Volumes/main/etl/metadata")  # type: ignore[arg-type]
    doctor._caller = Caller("monitor@example.com", groups)
    doctor._failed = {"sql"}  # no deployed job is looked for: the caller is the monitor
    return doctor._check("permissions", (), doctor._permissions, "")


def test_every_missing_grant_is_a_statement() -> None:
    """What is missing can be pasted into SQL; what is held is not asked for."""
    check = permissions(
        Platform({}, {"main": {"USE_CATALOG"}, "main.etl": {"USE_SCHEMA"}, str(TABLE): {"SELECT"}})
    )
    assert check.ok is False
    companions = ("jobs", "queries", "files", "events")
    assert check.fix.split("; ") == [
        "GRANT CREATE TABLE ON SCHEMA main.etl TO `monitor@example.com`",
        "GRANT MODIFY ON TABLE main.etl.etl_control TO `monitor@example.com`",
        *(f"GRANT SELECT, MODIFY ON TABLE {TABLE}_{one} TO `monitor@example.com`" for one in companions),
        "GRANT READ VOLUME ON VOLUME main.etl.etl_control_packages TO `monitor@example.com`",
        "GRANT READ VOLUME ON VOLUME main.etl.metadata TO `monitor@example.com`",
    ]


@pytest.mark.parametrize("owner", ["monitor@example.com", "engineers"])
def test_the_owner_of_a_schema_needs_no_grant_below_it(owner: str) -> None:
    """Owning it oneself, or by a group."""
    platform = Platform({"main.etl": owner}, {"main": {"USE_CATALOG"}})
    assert permissions(platform, frozenset({"engineers"})).ok is True


def test_all_privileges_are_enough() -> None:
    """ALL_PRIVILEGES stands for each of them."""
    suffixes = ("", "_jobs", "_queries", "_files", "_events", "_packages")
    names = ("main", "main.etl", "main.etl.metadata", *(f"{TABLE}{suffix}" for suffix in suffixes))
    assert permissions(Platform({}, {name: {"ALL_PRIVILEGES"} for name in names})).ok is True
