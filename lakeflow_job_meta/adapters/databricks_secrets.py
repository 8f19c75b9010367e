"""Secrets over databricks-sdk."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from lakeflow_job_meta.adapters.databricks_errors import CALL_ERRORS, translate
from lakeflow_job_meta.errors import WorkspaceError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient


class DatabricksSecrets:
    """`ports.Secrets` over the Secrets API.

    Args:
        client: databricks-sdk's client.
    """

    def __init__(self, client: WorkspaceClient) -> None:
        self._client = client

    def get(self, scope: str, key: str) -> str:
        try:
            value = self._client.secrets.get_secret(scope, key).value
        except CALL_ERRORS as error:
            raise translate(error, f"read the secret {key!r} of scope {scope!r}", write=False) from error
        try:
            return base64.b64decode(value or "", validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            # never chained: the cause would carry the value
            raise WorkspaceError(
                f"the secret {key!r} of scope {scope!r} is not text; store it as text"
            ) from None
