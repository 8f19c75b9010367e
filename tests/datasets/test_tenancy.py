"""Tenants: their own catalog, and grants on nothing else."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from lakeflow_job_meta.datasets.model import Targets
from lakeflow_job_meta.datasets.tenancy import check_targets, grant_statements
from lakeflow_job_meta.errors import DatasetError
from lakeflow_job_meta.names import TableName


def test_e5_tables_of_another_catalog_are_refused() -> None:
    """A row of tenant A that names tenant B's catalog, in either layer."""
    own = Targets(
        TableName("catalog_tenant_a", "bronze", "t"), TableName("catalog_tenant_a", "silver", "t_clean")
    )
    assert check_targets("a", own) == own
    for wrong in (
        Targets(TableName("catalog_tenant_b", "bronze", "t"), own.silver),
        Targets(own.bronze, TableName("catalog_tenant_b", "silver", "t_clean")),
        Targets(own.bronze, own.bronze),
    ):
        with pytest.raises(DatasetError):
            check_targets("a", wrong)


def test_e6_grants_are_on_the_own_catalog_only() -> None:
    """USE and SELECT for one group on one catalog; nothing to everybody."""
    statements = grant_statements("xyz", "team `x`")
    assert statements[0] == "GRANT USE CATALOG ON CATALOG `catalog_tenant_xyz` TO `team ``x```"
    assert {statement.split(" ON ")[0] for statement in statements} == {
        "GRANT USE CATALOG",
        "GRANT USE SCHEMA",
        "GRANT SELECT",
    }
    assert all("`catalog_tenant_xyz`" in statement for statement in statements)
    for everybody in ("account users", "Users", ""):
        with pytest.raises(DatasetError):
            grant_statements("xyz", everybody)


@pytest.mark.parametrize("group", ["a`; DROP TABLE t; --", "a\nb", "it's", 'x"y'])
def test_e6_a_group_is_one_identifier(group: str) -> None:
    """Whatever the group is called, each statement is one statement."""
    for statement in grant_statements("xyz", group):
        parsed = sqlglot.parse(statement, read="databricks")
        assert len(parsed) == 1
        assert isinstance(parsed[0], (exp.Grant, exp.Command))
