"""One Databricks workspace as `ports.Workspace`, over databricks-sdk."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from lakeflow_job_meta.adapters.databricks_calls import Calls
from lakeflow_job_meta.adapters.databricks_catalog import DatabricksCatalog
from lakeflow_job_meta.adapters.databricks_jobs import DatabricksJobs
from lakeflow_job_meta.adapters.databricks_permissions import DatabricksPermissions
from lakeflow_job_meta.adapters.databricks_platform import DatabricksPlatform
from lakeflow_job_meta.adapters.databricks_queries import DatabricksQueries
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.ports import CallCount, Workspace

#: Seconds that the SDK spends on repeating one call, and on waiting for one answer.
RETRY_SECONDS = 120
HTTP_SECONDS = 60
#: The same for the SDK's look at the host when a client is made: a host that is down must not block for minutes.
PROBE_RETRY_SECONDS = 3
PROBE_HTTP_SECONDS = 10


class _Identity:
    """Who calls, asked once and only when somebody wants to know."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @cached_property
    def answer(self) -> tuple[str, str]:
        return self._calls.who()

    def caller(self) -> str:
        return self.answer[1]


def workspace_client(**given: Any) -> WorkspaceClient:
    """A client by the SDK's own unified authentication.

    Args:
        given: what `databricks.sdk.core.Config` takes (host, token, profile, clock, ...); None is not given.

    Raises:
        UsageError: there are no credentials, or they contradict each other.
    """
    options = {name: value for name, value in given.items() if value is not None}
    retry = options.pop("retry_timeout_seconds", RETRY_SECONDS)
    http = options.pop("http_timeout_seconds", HTTP_SECONDS)
    try:
        config = Config(
            retry_timeout_seconds=PROBE_RETRY_SECONDS,
            http_timeout_seconds=min(http, PROBE_HTTP_SECONDS),
            product="lakeflow-job-meta",
            **options,
        )
    except ValueError as error:
        raise UsageError(
            "no way to log in to a Databricks workspace: set DATABRICKS_HOST and DATABRICKS_TOKEN, name a profile of "
            "~/.databrickscfg in DATABRICKS_CONFIG_PROFILE, or use --local DIR for the embedded workspace"
            f" ({_reason(error)})"
        ) from error
    config.retry_timeout_seconds = retry
    config.http_timeout_seconds = http
    return WorkspaceClient(config=config)


def _reason(error: ValueError) -> str:
    return str(error).split(". Config:")[0].split(". Env:")[0].splitlines()[0]


def connect(client: WorkspaceClient) -> Workspace:
    """The ports of the workspace that `client` talks to. Asks once for the workspace's id.

    Raises:
        PermissionDenied: the credentials are not accepted.
        Unavailable: there is no answer.
    """
    count = CallCount()
    calls = Calls(client, count)
    identity = _Identity(calls)
    return Workspace(
        workspace_id=str(client.config.workspace_id or "") or identity.answer[0],
        host=calls.host,
        jobs=DatabricksJobs(calls),
        queries=DatabricksQueries(calls),
        permissions=DatabricksPermissions(calls, identity.caller),
        count=count,
    )


def catalog(client: WorkspaceClient) -> DatabricksCatalog:
    """Unity Catalog as `client` reaches it. Asks nothing."""
    return DatabricksCatalog(Calls(client, CallCount()))


def platform(client: WorkspaceClient) -> DatabricksPlatform:
    """What deployments make and diagnoses ask for, as `client` reaches it. Asks nothing."""
    count = CallCount()
    return DatabricksPlatform(Calls(client, count), count)
