"""One tenant a test, on the Sail that all tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.datasets.world import World


@pytest.fixture
def world(sail: Any, spark: Any, tables: Any, schema: tuple[str, str], tmp_path: Path) -> World:
    return World(sail, spark, tables, schema, tmp_path / "landing")
