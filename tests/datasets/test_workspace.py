"""Smoke test on a real workspace: skipped, loudly, unless one is named."""

from __future__ import annotations

import os
import uuid

import pytest

PROFILE = "LAKEFLOW_JOB_META_TEST_PROFILE"
TABLE = "LAKEFLOW_JOB_META_TEST_CONTROL_TABLE"
WAREHOUSE = "LAKEFLOW_JOB_META_TEST_WAREHOUSE_ID"


@pytest.mark.skipif(
    not all(os.environ.get(name) for name in (PROFILE, TABLE, WAREHOUSE)),
    reason=f"no workspace: set {PROFILE}, {TABLE} and {WAREHOUSE} to run it on a real one",
)
def test_i1_whole_way_on_a_workspace() -> None:
    """An upload is synced and both tables are there by their names."""
    from lakeflow_job_meta import DatasetManager
    from lakeflow_job_meta.runtime import connect

    runtime = connect(os.environ[TABLE], warehouse_id=os.environ[WAREHOUSE], profile=os.environ[PROFILE])
    manager = DatasetManager(runtime.control_table, runtime=runtime, settings={"tenant": "smoke"})
    found = manager.ingest([{"id": "1", "amount": "1.5"}], name=f"smoke {uuid.uuid4().hex[:8]}")
    status = manager.follow(manager.sync(found.dataset.dataset_id), timeout_seconds=900)
    try:
        assert status.as_json()["sync_status"] == "synced", status.as_json()
    finally:
        manager.delete(found.dataset.dataset_id, on_delete="drop", files=True, confirmed=True)
