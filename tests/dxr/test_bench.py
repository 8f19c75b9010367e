"""The benchmarks of ingest and collect run, on a scale that takes seconds; their figures are not judged here."""

from __future__ import annotations

import pytest

from bench import dxr_collect, dxr_ingest


@pytest.mark.slow
def test_ingest() -> None:
    """Everything arrives, and memory is measured."""
    found = dxr_ingest.measure(large=2_000_000, small=60, turns=1)
    assert not found.failed
    assert found.figures["small"]["ours"]["uploaded"] == found.figures["small"]["httpx"]["uploaded"] == 60
    assert found.figures["large"]["ours"]["uploaded"] == 1
    assert found.claims[0].kept


@pytest.mark.slow
def test_collect() -> None:
    """Every hit is accounted for."""
    found = dxr_collect.measure(hits=400)
    assert found.figures["all"]["classified"] == 400
    assert all(claim.kept for claim in found.claims)
