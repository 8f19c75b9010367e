"""The workspace's HTTP server: routes, the token, error shapes, and who used it last."""

from __future__ import annotations

import hmac
import logging
import os
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lakeflow_job_meta.local.api.call import Call, Json, answer, route
from lakeflow_job_meta.local.api.catalog import CatalogApi
from lakeflow_job_meta.local.api.entity_tags import EntityTagsApi
from lakeflow_job_meta.local.api.errors import ApiError, shape
from lakeflow_job_meta.local.api.files import FilesApi
from lakeflow_job_meta.local.api.grants import GrantsApi
from lakeflow_job_meta.local.api.identity import IdentityApi, workspace_id
from lakeflow_job_meta.local.api.jobs import JobsApi
from lakeflow_job_meta.local.api.permissions import PermissionsApi, PermissionStore
from lakeflow_job_meta.local.api.queries import QueriesApi, QueryStore
from lakeflow_job_meta.local.api.secrets import SecretsApi
from lakeflow_job_meta.local.api.securables import Securables
from lakeflow_job_meta.local.api.statements import Sql, StatementsApi
from lakeflow_job_meta.local.api.transfers import PRESIGNED, TransfersApi
from lakeflow_job_meta.local.api.volumes import VolumesApi
from lakeflow_job_meta.local.api.warehouses import WAREHOUSE_ID, WarehousesApi
from lakeflow_job_meta.local.api.workspace import WorkspaceApi
from lakeflow_job_meta.local.faults import Faults, FaultsMiddleware
from lakeflow_job_meta.local.folder import Folder
from lakeflow_job_meta.local.state import Database, Jobs, Secrets

if TYPE_CHECKING:
    from lakeflow_job_meta.local.spark.registry import Registry

log = logging.getLogger("lakeflow_job_meta.local.server")

OPEN_PATHS = ("/.well-known/databricks-config",)
"""Answered without a token: the SDK probes it before it has one."""

SPOKEN = (
    "/api/2.2/jobs, /api/2.0/permissions, /api/2.0/sql/queries, /api/2.0/sql/statements, /api/2.0/sql/warehouses, "
    "/api/2.0/fs, /api/2.0/workspace, /api/2.0/secrets, /api/2.1/unity-catalog, /api/2.0/preview/scim/v2/Me"
)


class Runs(Protocol):
    """What the server needs of the run engine."""

    def routes(self) -> list[Route]: ...


class Activity:
    """When the workspace was used last, by the clock that is given (seconds that only grow)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._active = 0
        self.last = clock()

    def began(self) -> None:
        self._active += 1
        self.last = self._clock()

    def ended(self) -> None:
        self._active -= 1
        self.last = self._clock()

    def touch(self) -> None:
        """The workspace was used otherwise than by a call; from any thread."""
        self.last = self._clock()

    def idle_for(self) -> float:
        """Seconds since the last call ended; 0 while one is under way."""
        return 0.0 if self._active else self._clock() - self.last


def build(
    folder: Folder,
    database: Database,
    token: str,
    *,
    jobs: Jobs | None = None,
    secrets: Secrets | None = None,
    registry: Registry | None = None,
    sql: Sql | None = None,
    runs: Runs | None = None,
    faults: Faults | None = None,
    activity: Activity | None = None,
    catalogs: Sequence[str] = (),
    health: Callable[[], Json] | None = None,
    shutdown: Callable[[], None] | None = None,
    forget_job: Callable[[int], None] | None = None,
) -> ASGIApp:
    """The ASGI application of a workspace.

    Args:
        folder: where files, volumes and notebooks are.
        database: its state.
        token: the bearer token that every call must carry.
        jobs: the saved jobs, made from the database when missing.
        secrets: as jobs.
        registry: schemas and tables; without it Unity Catalog knows volumes only.
        sql: runs statements; without it they answer 501.
        runs: the run engine; without it the routes of runs are not there.
        faults: rules and counts, none when missing.
        activity: told of every call.
        catalogs: names of the catalogs that exist.
        health: further facts for `/local/health`.
        shutdown: called by `/local/shutdown`.
        forget_job: called with the id of a job that was deleted.
    """
    jobs = jobs or Jobs(database)
    permissions = PermissionStore(database)
    queries = QueryStore(database)
    workspace = WorkspaceApi(folder)
    files = FilesApi(folder)
    faults = faults or Faults()
    warehouses = WarehousesApi()
    identity = workspace_id(database)
    securables = Securables(folder, registry, catalogs)

    def show_health(call: Call) -> Json:
        return {"ready": True, "pid": os.getpid(), "workspace_id": identity, **(health() if health else {})}

    def shut_down(call: Call) -> Json:
        if shutdown is not None:
            shutdown()
        return {}

    def job_exists(object_id: str) -> bool:
        return object_id.isdigit() and jobs.get(int(object_id)) is not None

    exists: dict[str, Callable[[str], bool]] = {
        "jobs": job_exists,
        "queries": lambda object_id: queries.get(object_id) is not None,
        "warehouses": lambda object_id: object_id == WAREHOUSE_ID,
    }
    routes: list[Route] = [
        *JobsApi(jobs, permissions, forget_job).routes(),
        *(runs.routes() if runs is not None else []),
        *files.routes(),
        *TransfersApi(folder, files).routes(),
        *StatementsApi(sql, warehouses).routes(),
        *QueriesApi(queries, workspace.folder_exists).routes(),
        *PermissionsApi(permissions, exists).routes(),
        *workspace.routes(),
        *SecretsApi(secrets or Secrets(database)).routes(),
        *CatalogApi(securables).routes(),
        *VolumesApi(database, securables).routes(),
        *GrantsApi(database, securables).routes(),
        *EntityTagsApi(database, securables).routes(),
        *warehouses.routes(),
        *IdentityApi(identity).routes(),
        *faults.routes(),
        route("GET", "/local/health", show_health),
        route("POST", "/local/shutdown", shut_down),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    return Gate(FaultsMiddleware(app, faults), token, identity, activity or Activity())


class Gate:
    """The outermost layer: the token, the workspace's id on every answer, and the use of it.

    Args:
        app: what answers.
        token: the bearer token.
        workspace: id for X-Databricks-Org-Id.
        activity: told of every call.
    """

    def __init__(self, app: ASGIApp, token: str, workspace: int, activity: Activity) -> None:
        self._app = app
        self._expected = b"Bearer " + token.encode()
        self._org_id = (b"x-databricks-org-id", str(workspace).encode())
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def stamped(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), self._org_id]
            await send(message)

        path: str = scope["path"]
        if path not in OPEN_PATHS and not path.startswith(PRESIGNED) and not self._knows(scope):
            error = ApiError(
                401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type for this API."
            )
            await answer(shape(error), 401)(scope, receive, stamped)
            return
        self._activity.began()
        try:
            await self._app(scope, receive, stamped)
        finally:
            self._activity.ended()
            if status >= 400 or scope["method"] not in ("GET", "HEAD"):
                log.info("%s %s %s", scope["method"], path, status or "-")

    def _knows(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._expected)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    if request.method == "HEAD":
        return Response(status_code=error.status)
    return answer(shape(error), error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.method == "HEAD":
        return Response(status_code=404)
    if error.status_code not in (404, 405):
        return answer(shape(ApiError(error.status_code, "BAD_REQUEST", str(error.detail))), error.status_code)
    message = (
        f"No API found for '{request.method} {request.url.path}': the embedded workspace does not speak it."
        f" It speaks {SPOKEN}."
    )
    return answer(shape(ApiError(404, "ENDPOINT_NOT_FOUND", message)), 404)


async def _unexpected(request: Request, error: Exception) -> Response:
    # The outermost boundary: Starlette raises the error again after this answer, which logs it.
    body = ApiError(
        500, "INTERNAL_ERROR", f"{type(error).__name__}: {error}; see server.log of the workspace"
    )
    return answer(shape(body), 500)
