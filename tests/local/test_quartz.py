"""Quartz cron expressions: what the scheduler takes and refuses."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.local.quartz import cron_problem


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 2 * * ?",
        "0 */15 * ? * MON-FRI",
        "0 0/5 14,18 * * ? 2026-2030",
        "0 0 12 L * ?",
        "0 0 12 L-3 * ?",
        "0 0 12 LW * ?",
        "0 0 12 15W * ?",
        "0 0 12 ? * 6L",
        "0 0 12 ? * fri#2",
        "0 0 12 ? * 2#1",
        "0 0 12 1/5 jan-mar ?",
        "59 59 23 31 12 ?",
    ],
)
def test_good(expression):
    assert cron_problem(expression) == ""


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "fields"),
        ("0 2 * * *", "fields"),
        ("0 0 2 * * ? 2026 x", "fields"),
        ("0 0 2 * * *", "day of week"),
        ("0 0 2 ? * ?", "day of week"),
        ("60 0 2 * * ?", "seconds"),
        ("0 0 24 * * ?", "hours"),
        ("0 0 2 32 * ?", "day of month"),
        ("0 0 2 0 * ?", "day of month"),
        ("0 0 2 * 13 ?", "month"),
        ("0 0 2 * FOO ?", "month"),
        ("0 0 2 ? * 8", "day of week"),
        ("0 0 2 ? * 0", "day of week"),
        ("0 0/0 2 * * ?", "increment"),
        ("0 0/x 2 * * ?", "increment"),
        ("0 ? 2 * * ?", "minutes"),
        ("0 1-2-3 2 * * ?", "minutes"),
        ("0 0 2 ? * FOO#1", "day of week"),
        ("0 0 2 ? * 2#6", "day of week"),
        ("0 0 2 * * ? 1900", "year"),
    ],
)
def test_wrong(expression, problem):
    assert problem in cron_problem(expression)
