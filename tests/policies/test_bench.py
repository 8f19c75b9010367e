"""The benchmark of policies runs, on a scale that takes seconds; its seconds are not judged here."""

from __future__ import annotations

import pytest

from bench import policies


@pytest.mark.slow
def test_duplicates() -> None:
    """Every planted copy is found, is new once and resolved once."""
    found = policies.measure(rows=2_000)
    assert [claim.kept for claim in found.claims] == [True, True, True]
