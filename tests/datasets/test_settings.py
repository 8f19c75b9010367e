"""Settings of datasets: each of them is read, from a flag and from every variable, and changes something."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from lakeflow_job_meta.datasets import control_rows, diagnosis
from lakeflow_job_meta.datasets.answers import DatasetStatus
from lakeflow_job_meta.datasets.model import Dataset, Status, SyncStatus
from lakeflow_job_meta.datasets.settings import SETTINGS, DatasetSettings, resolve
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.settings import Settings
from tests.embedded import ROOT

TABLE = TableName("main", "etl", "control")
DATASET = Dataset(
    dataset_id="b1d50b65-0000-4000-8000-000000000000",
    tenant_id="xyz",
    name="Revenue Q1 2025",
    version=1,
    path="/Volumes/main/etl/datasets/xyz/b1d50b65-0000-4000-8000-000000000000/1.parquet",
    row_count_local=2,
    created_at=datetime(2025, 11, 6, tzinfo=timezone.utc),
)


def job(settings: DatasetSettings) -> Any:
    """The job that a dataset with these settings gets."""
    rows = [
        control_rows.job_row("datasets_xyz", "xyz", settings),
        control_rows.make_row([], DATASET, settings),
    ]
    defined = define(rows, table=str(TABLE), settings=Settings())
    assert not defined.problems, defined.problems
    assert defined.definition is not None
    return render(defined.definition, control_table=TABLE, settings=Settings()).settings


def service_of(settings: DatasetSettings) -> Any:
    from lakeflow_job_meta.datasets.datasets import DatasetService

    nothing: Any = None

    class NoTables:
        create_schema = None

    return DatasetService(TABLE, NoTables(), nothing, settings)  # type: ignore[arg-type]


def pending_check(settings: DatasetSettings) -> Any:
    """What diagnosis says about a sync that has been pending for seven minutes."""
    since = datetime(2025, 11, 6, 14, 30, tzinfo=timezone.utc)
    service: Any = SimpleNamespace(settings=settings, clock=lambda: since + timedelta(minutes=7))
    sync = SyncStatus(DATASET.dataset_id, "xyz", 1, Status.PENDING, since)
    return diagnosis._sync(service, DatasetStatus(DATASET, enabled=True, sync=sync), [])


#: What shows that a setting has an effect: a value other than its default, and where it is seen.
PROBES: dict[str, tuple[Any, Callable[[DatasetSettings], Any]]] = {
    "sync_enabled": (False, lambda s: service_of(s)._enabled(None)),
    "auto_sync": (False, lambda s: control_rows.transformation(s)["sync"]["auto"]),
    "tenant": ("acme", lambda s: service_of(s)._tenant(None)),
    "landing": ("/Volumes/a/b/c", lambda s: service_of(s).landing.folder),
    "schema": ("a.b", lambda s: service_of(s).names.events),
    "retry_attempts": (1, job),
    "retry_interval": (7, job),
    "retry_on_timeout": (False, job),
    "bronze_timeout": (11, job),
    "silver_timeout": (12, job),
    "record_timeout": (13, job),
    "row_limit": (5, lambda s: control_rows.transformation(s)["sync"].get("row_limit")),
    "on_delete": ("drop", lambda s: control_rows.transformation(s)["sync"]["on_delete"]),
    "failure_emails": ("a@example.com, b@example.com", job),
    "stale_minutes": (9, pending_check),
}


def test_b8_every_setting_has_a_probe() -> None:
    """A new setting cannot be forgotten here."""
    assert set(PROBES) == {one.name for one in SETTINGS}


@pytest.mark.parametrize("name", [one.name for one in SETTINGS])
def test_b8_every_setting_has_an_effect(name: str) -> None:
    """Changing it changes the job, the row or the run; given by a flag and by each of its variables alike."""
    value, seen = PROBES[name]
    by_flag = seen(resolve({name: value}))
    assert by_flag != seen(resolve())
    one = next(one for one in SETTINGS if one.name == name)
    for variable in one.environment:
        assert seen(resolve({}, {variable: str(value)})) == by_flag
        assert seen(resolve({name: value}, {variable: "no such value"})) == by_flag


def test_b8_names_of_the_older_product() -> None:
    """The variables that its deployments set are understood."""
    known = {variable for one in SETTINGS for variable in one.environment}
    assert known >= {
        "DATABRICKS_SYNC_ENABLED",
        "DATABRICKS_AUTO_SYNC",
        "DATABRICKS_RETRY_ATTEMPTS",
        "DATABRICKS_RETRY_INTERVAL",
    }


def test_f4_no_setting_pretends_to_be_a_backoff() -> None:
    """A multiplier or a longest wait is no setting, and a row that has one is refused."""
    for name in ("retry_multiplier", "retry_max_interval"):
        with pytest.raises(UsageError, match="unknown dataset setting"):
            resolve({name: 2})
    for name in ("multiplier", "max_interval_seconds", "backoff"):
        row = control_rows.make_row([], DATASET, resolve(), overrides={"retry": {name: 2}})
        problems = define([row], table=str(TABLE), settings=Settings()).problems
        assert any(name in str(problem) for problem in problems)


def test_g11_failures_are_told() -> None:
    """The job notifies on failure."""
    found = job(resolve({"failure_emails": "ops@example.com"}))
    assert found["email_notifications"] == {"on_failure": ["ops@example.com"]}


def test_h4_no_credential_is_in_the_job() -> None:
    """Neither the row nor the job has a key or value that looks like a credential."""
    row = control_rows.make_row([], DATASET, resolve())
    text = f"{row}{job(resolve())}".lower().replace("null_tokens", "")
    assert not re.search(r"token|password|secret|api_key", text)


def test_settings_are_documented() -> None:
    """docs/datasets.md has a row for each, with its default and its variables."""
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    for one in SETTINGS:
        assert setting_row(one) in page


def setting_row(one: Any) -> str:
    default = one.setting.default
    shown = "" if default == "" else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    variables = ", ".join(f"`{name}`" for name in one.environment)
    return f"| `{one.name}` | {shown} | {variables} | {one.setting.doc} |"
