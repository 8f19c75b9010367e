"""What one run of a Data X-Ray task works with: its settings, ports, client, clock and log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.dxr.settings import DxrSettings, token_of
from lakeflow_job_meta.dxr.summary import Summary
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.ports import Catalog, Secrets, Tables, Volumes

if TYPE_CHECKING:
    from lakeflow_job_meta.dxr.client import DxrClient


def _quiet(event: str, **facts: Any) -> None:
    """No log."""


@dataclass
class DxrSession:
    """One run.

    Args:
        run_id: names the run in logs and tables.
        clock: now, as an aware datetime.
        secrets: gives the workspace's secrets; None where there is no workspace.
        environment: environment variables and those of `.env`, where a token may stand.
        sleep: waits for seconds.
        log: writes one line (`log("accepted", job_id=...)`).
        given_client: used instead of one made of the settings.
        catalog: gives Unity Catalog's volumes, tags and grants; None where there is no workspace.
    """

    settings: DxrSettings
    tables: Tables
    volumes: Volumes
    run_id: str
    clock: Callable[[], datetime]
    secrets: Callable[[], Secrets] | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    sleep: Callable[[float], None] = time.sleep
    log: Callable[..., None] = _quiet
    given_client: DxrClient | None = None
    catalog: Callable[[], Catalog] | None = None
    #: The counts so far, also of a run that an error ends.
    summary: Summary | None = None

    @cached_property
    def client(self) -> DxrClient:
        """The client, its token read now: a missing one is told before anything is done.

        Raises:
            UsageError: base URL, token or CA bundle is missing or wrong.
            WorkspaceError: the secret cannot be read.
        """
        if self.given_client is not None:
            return self.given_client
        from lakeflow_job_meta.dxr.client import DxrClient
        from lakeflow_job_meta.dxr.transport import USER_AGENT

        settings = self.settings
        return DxrClient(
            settings.need("base_url"),
            self._token(),
            api_prefix=settings["api_prefix"],
            verify=(settings["ca_bundle"] or True) if settings["verify_ssl"] else False,
            timeout=settings["timeout"],
            user_agent=settings["user_agent"] or USER_AGENT,
            sleep=self.sleep,
        )

    def _token(self) -> str:
        scope, key = self.settings["secret_scope"], self.settings["secret_key"]
        if bool(scope) != bool(key):
            raise UsageError("secret_scope and secret_key go together: give both or neither")
        if scope and self.secrets is not None:
            return self.secrets().get(scope, key)
        token = token_of(self.environment)
        if token is None:
            raise UsageError(
                "there is no Data X-Ray token: name its secret with secret_scope and secret_key, or set DXR_API_KEY"
            )
        return token

    def need_catalog(self) -> Catalog:
        """Unity Catalog. Raises UsageError when there is no workspace."""
        if self.catalog is None:
            raise UsageError(
                "there is no Databricks workspace to make volumes in: set DATABRICKS_HOST and a login, or use --local DIR"
            )
        return self.catalog()

    def seconds_since(self, started: datetime) -> float:
        return (self.clock() - started).total_seconds()
