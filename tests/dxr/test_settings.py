"""Settings: where they come from, and what is wrong with them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from lakeflow_job_meta.dxr.settings import SETTINGS, resolve
from lakeflow_job_meta.errors import UsageError

NOW = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)


def test_variables_of_the_older_systems() -> None:
    """Volume and tables in parts, both sets of names, hyphens too."""
    first = resolve(
        {}, {"DATABRICKS_CATALOG": "c", "DATABRICKS_SCHEMA": "s", "DATABRICKS_SOURCE_VOLUME": "v"}
    )
    assert first.volume == "/Volumes/c/s/v"
    second = resolve(
        {},
        {
            "VOLUME_CATALOG": "c",
            "VOLUME_SCHEMA": "s",
            "VOLUME_NAME": "v-1",
            "METADATA_SCHEMA": "gold-1",
            "DXR_MAX_FILES_PER_JOB": "7",
            "DXR_VERIFY_SSL": "off",
            "VOLUME_PREFIX": "a/b",
        },
    )
    assert second.volume == "/Volumes/c/s/v-1"
    assert str(second.metadata_table) == "c.gold-1.v-1_metadata"
    assert (second["max_files_per_job"], second["verify_ssl"], second["prefix"]) == (7, False, "a/b")
    assert second["max_bytes_per_job"] == 31_457_280


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_files_per_job": 0}, "at least 1"),
        ({"max_files_per_job": "many"}, "a whole number, not 'many'"),
        ({"max_files_per_job": 1.5}, "a whole number"),
        ({"verify_ssl": "maybe"}, "true or false"),
        ({"datasource_id": "200,x"}, "a list of whole numbers"),
        ({"sample_percent": 101}, "at most 100"),
        ({"typo": 1}, "unknown setting 'typo'"),
        ({"base_url": ""}, "a text"),
    ],
)
def test_wrong_values(given: dict[str, object], said: str) -> None:
    """Are told with their origin; nothing becomes a default without a word."""
    with pytest.raises(UsageError, match=said):
        resolve(given)
    with pytest.raises(UsageError, match="environment variable DXR_MAX_FILES_PER_JOB"):
        resolve({}, {"DXR_MAX_FILES_PER_JOB": "x"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=timezone.utc)),
        ("2026-03-01T10:00:00+02:00", datetime(2026, 3, 1, 8, tzinfo=timezone.utc)),
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=timezone.utc)),
    ],
)
def test_since(text: str, expected: datetime) -> None:
    assert resolve({"since": text}).since(NOW) == expected


@pytest.mark.parametrize(
    "path", ["/Volumes/c/s", "/Volumes/c/s/v/x", "/Volumes/c/../v", "dbfs:/Volumes/c/s/v", "/x"]
)
def test_a_volume_is_a_volume(path: str) -> None:
    with pytest.raises(UsageError, match="/Volumes/catalog/schema/volume"):
        _ = resolve({"source_volume": path}).volume


def test_what_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="give --datasource-id, or DXR_DATASOURCE_ID"):
        resolve({}).need("datasource_id")


def test_no_setting_is_a_token() -> None:
    """A token never stands in a control row: only a secret's name does."""
    assert not [one.name for one in SETTINGS if "token" in one.name or "api_key" in one.name]
