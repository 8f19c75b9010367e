from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.metadata.quartz import cron_problem


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 2 * * ?", "0 0/30 * * * ?", "0 0 12 ? * MON-FRI", "0 0 12 ? * mon-fri", "0 15 10 L * ?", "0 15 10 L-3 * ?",
        "0 15 10 LW * ?", "0 15 10 15W * ?", "0 15 10 ? * 6L", "0 15 10 ? * FRIL", "0 15 10 ? * 6#3", "0 15 10 ? * FRI#5",
        "0 15 10 ? * 6L 2024-2030", "*/10 * * * * ?", "0/10 * * * * ?", "0,10,50 5 * * * ?", "0 0 22-2 * * ?",
        "0 0 12 1,15 JAN,JUL ?", "55 0 * * * ?", "0 0 12 ? * FRI-MON", "5 0,30 * * * ?",
    ],
)  # fmt: skip
def test_right_ones(expression):
    assert cron_problem(expression) == ""


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "has 6 or 7 fields, this one has 0"),
        ("0 2 * * *", "Quartz starts with seconds"),
        ("0 0 2 * * * * *", "has 6 or 7 fields, this one has 8"),
        ("0 0 2 * * *", "exactly one of day of month and day of week must be ?"),
        ("0 0 2 ? * ?", "exactly one of day of month and day of week must be ?"),
        ("? 0 2 * * ?", "? is not allowed for seconds"),
        ("60 0 2 * * ?", "'60' is no value for seconds: use 0 to 59"),
        ("0 0 24 * * ?", "no value for hours"),
        ("0 0 2 32 * ?", "no value for day of month"),
        ("0 0 2 ? * 8", "no value for day of week"),
        ("0 0 2 ? FOO MON", "no value for month"),
        ("0 0/0 2 * * ?", "no increment for minutes"),
        ("0 0/61 2 * * ?", "no increment for minutes"),
        ("0 0-x 2 * * ?", "no value for minutes"),
        ("0 0 2 ? * FRI#6", "no value for day of week"),
        ("* * * * * ?", "fires every 1 seconds"),
        ("*/5 * * * * ?", "fires every 5 seconds"),
        ("0,55 * * * * ?", "fires every 5 seconds"),
        ("0,55 0,59 * * * ?", "fires every 5 seconds"),
    ],
)
def test_wrong_ones(expression, problem):
    assert problem in cron_problem(expression)


@given(st.text(alphabet="0123456789*/?,-LW# MONFRI", max_size=30))
def test_nothing_raises(expression):
    cron_problem(expression)
