"""Secrets: the real SDK against the embedded workspace."""

from __future__ import annotations

from typing import Any

import pytest

from lakeflow_job_meta.adapters.databricks_secrets import DatabricksSecrets
from lakeflow_job_meta.errors import WorkspaceError


def test_a_secret_is_read(workspace_client: Any) -> None:
    """As text, whatever characters it has."""
    workspace_client.secrets.create_scope("dxr")
    workspace_client.secrets.put_secret("dxr", "token", string_value="eyJ-ü")
    assert DatabricksSecrets(workspace_client).get("dxr", "token") == "eyJ-ü"


def test_what_is_missing_is_named(workspace_client: Any) -> None:
    """Scope and key, so that one knows what to make."""
    for scope, key in (("no_scope", "x"), ("dxr2", "none")):
        if scope == "dxr2":
            workspace_client.secrets.create_scope(scope)
        with pytest.raises(WorkspaceError, match=f"{key}.*{scope}"):
            DatabricksSecrets(workspace_client).get(scope, key)
