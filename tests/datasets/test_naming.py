"""Names: what the seed's examples become, and laws that hold for any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.datasets import naming

TEXTS = st.text(max_size=400)


def test_e1_names_of_the_seed() -> None:
    """The seed's dataset and tenant give the seed's two names."""
    assert str(naming.bronze_table("xyz", "Revenue Q1 2025")) == "catalog_tenant_xyz.bronze.revenue_q1_2025"
    assert (
        str(naming.silver_table("xyz", "Revenue Q1 2025"))
        == "catalog_tenant_xyz.silver.revenue_q1_2025_clean"
    )


def test_e1_a_uuid_tenant_has_a_legal_catalog() -> None:
    """Hyphens, which made every real tenant fail, become `_`."""
    catalog = naming.catalog_of("ca729699-1b2c-4d3e-8f90-a1b2c3d4e5f6")
    assert catalog == "catalog_tenant_ca729699_1b2c_4d3e_8f90_a1b2c3d4e5f6"


@given(TEXTS)
def test_e2_normaliser_is_total_idempotent_and_legal(text: str) -> None:
    """Any text gives a name of `[a-z0-9_]`, short enough with its suffix, that stays what it is."""
    name = naming.normalise(text)
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", name)
    assert len(name) <= 255
    assert naming.normalise(name) == name
    assert len(naming.table_of(text, "0" * 32, {naming.table_of(text)}) + naming.SILVER_SUFFIX) <= 255
    assert len(naming.catalog_of(text)) <= 255


@given(TEXTS)
def test_e2_long_names_stay_apart(text: str) -> None:
    """Names that are cut end in a hash of the whole, so that two of them do not become one."""
    long = "a" * 300
    one, other = naming.normalise(long + text), naming.normalise(long + text + "b")
    assert one != other


@pytest.mark.parametrize(
    ("text", "name"),
    [("", "dataset"), ("売上", "dataset"), ("2025 sales", "d_2025_sales"), ("  Größe & Maß  ", "groe_ma")],
)
def test_normaliser_by_example(text: str, name: str) -> None:
    assert naming.normalise(text) == name


def test_d5_column_names() -> None:
    """The documented names of awkward columns, all distinct."""
    given = ["Order ID", "orderID", "Amount ($)", "Ünïcode", "2nd", "", "order_id"]
    assert naming.column_names(given) == [
        "order_id",
        "order_id_2",
        "amount",
        "unicode",
        "c_2nd",
        "column",
        "order_id_3",
    ]


@given(st.lists(TEXTS, max_size=20))
def test_d5_columns_are_distinct_and_stay(names: list[str]) -> None:
    found = naming.column_names(names)
    assert len(set(found)) == len(names)
    assert naming.column_names(found) == found


def test_e3_the_second_of_a_name_gets_a_mark() -> None:
    """Who comes first keeps the plain name; the other's ends in six digits of its id."""
    first = naming.table_of("Sales 2025", "11111111-2222-4333-8444-555555555555")
    second = naming.table_of("sales-2025", "abcdef12-2222-4333-8444-555555555555", {first})
    assert (first, second) == ("sales_2025", "sales_2025_abcdef")


def test_source_id_is_made_of_the_id_and_the_table() -> None:
    assert naming.source_id_of("3f9c0a1b-0000-4000-8000-000000000000", "revenue") == "ds_3f9c0a1b_revenue"
