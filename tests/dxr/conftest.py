"""The world that ingest and collect are tested in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dxr.world import World
from tests.local.dxr.conftest import Dxr, running_dxr


@pytest.fixture
def dxr(tmp_path: Path) -> Iterator[Dxr]:
    """A simulator of this test alone."""
    with running_dxr(tmp_path / "dxr") as running:
        yield running


@pytest.fixture
def world(dxr: Dxr, tables: Any, schema: tuple[str, str], tmp_path: Path) -> World:
    return World(dxr, tables, schema, tmp_path / "Volumes")
