"""Badges: every status has its own, and what comes from outside is escaped."""

from __future__ import annotations

import pytest

from lakeflow_job_meta.datasets.badges import badge
from lakeflow_job_meta.datasets.model import Status

LOOKS = {
    "not_synced": ("Local Only", "grey"),
    "pending": ("Pending Sync", "blue"),
    "syncing": ("Syncing...", "yellow"),
    "synced": ("Synced to Databricks", "green"),
    "failed": ("Sync Failed", "red"),
}


@pytest.mark.parametrize("status", [one.value for one in Status])
def test_g6_badges(status: str) -> None:
    """Label and color of each status, on a page and on a terminal."""
    found = badge(status)
    assert (found.label, found.color) == LOOKS[status]
    assert found.html() == f'<span class="badge badge-{found.color}">{found.label}</span>'
    assert found.style


def test_g6_an_unknown_status_is_not_pending() -> None:
    """It is shown as it is, escaped."""
    found = badge("<odd>")
    assert found.label == "<odd>"
    assert found.html() == '<span class="badge badge-grey">&lt;odd&gt;</span>'


def test_g6_error_is_shown_on_hover_escaped() -> None:
    found = badge("failed", 'a "quote" & <script>')
    assert 'title="a &quot;quote&quot; &amp; &lt;script&gt;"' in found.html()
    assert badge("synced", "old").hint == ""
