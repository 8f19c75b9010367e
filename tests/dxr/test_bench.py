"""The benchmarks of ingest, collect and snapshot run, on a scale that takes seconds; their figures are not judged here."""

from __future__ import annotations

import pytest

from bench import dxr_collect, dxr_ingest, dxr_snapshot


@pytest.mark.slow
def test_ingest() -> None:
    """Everything arrives, and memory is measured."""
    found = dxr_ingest.measure(large=2_000_000, small=60, turns=1)
    assert not found.failed
    assert found.figures["small"]["ours"]["uploaded"] == found.figures["small"]["httpx"]["uploaded"] == 60
    assert found.figures["large"]["ours"]["uploaded"] == 1
    assert found.claims[-1].kept, found.claims[-1].measured
    assert found.claims[0].kept


@pytest.mark.slow
def test_collect() -> None:
    """Every hit is accounted for."""
    found = dxr_collect.measure(hits=400)
    assert found.figures["all"]["classified"] == 400
    assert all(claim.kept for claim in found.claims)


@pytest.mark.slow
def test_snapshot() -> None:
    """Every row arrives in one commit, and the other ways are measured beside it."""
    found = dxr_snapshot.measure(rows=2_000, turns=1)
    [_, commits, memory] = found.claims
    assert commits.kept, commits.measured
    assert memory.kept, memory.measured
    assert found.figures["parse"]["rows"] == found.figures["snapshot"]["rows"] == 2_000


def test_an_error_of_the_engine_in_one_line() -> None:
    """What the older way ends with is told by what the engine says."""
    error = '<_InactiveRpcError of RPC that terminated with:\n\tdetails = "too\nlarge"\n\tdebug = "x"'
    assert dxr_snapshot.why(f"older: {error}") == "fails: too large"
    assert dxr_snapshot.why("plain") == "fails: plain"
