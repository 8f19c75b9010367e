"""The world that remediation is tested in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.policies.remediation_world import RemediationWorld


@pytest.fixture
def remediation(tables: Any, schema: tuple[str, str], tmp_path: Path) -> RemediationWorld:
    return RemediationWorld(tables, schema, tmp_path / "Volumes")
