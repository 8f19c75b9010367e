"""`demo --datasets`, as a newcomer starts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lakeflow_job_meta.cli.demo_datasets import STEPS
from lakeflow_job_meta.local import process
from tests.embedded import run


@pytest.mark.slow
def test_k1_the_demo_of_datasets_holds(tmp_path: Path) -> None:
    """Every step holds; two files become four tables; no process stays."""
    folder = tmp_path / "demo"
    done = run(
        "lakeflow-job-meta", "demo", "--datasets", "--dir", str(folder), "--format", "json", seconds=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    assert [step["name"] for step in result["steps"]] == [step.name for step in STEPS]
    assert {one["dataset_name"]: one["silver_table"] for one in result["datasets"]} == {
        "Orders 2025": "catalog_tenant_acme.silver.orders_2025_clean",
        "Products": "catalog_tenant_acme.silver.products_clean",
    }
    for word in ("Pending", "syncing/bronze", "syncing/silver", "synced"):
        assert word.lower() in done.stderr.lower()
    assert process.find(folder / "workspace") is None
