"""Calls to the Databricks REST API through databricks-sdk's own client, as wire dicts.

The SDK does authentication, connections, retries and errors; its typed classes are passed by, since they
drop unknown fields silently. What is added: every call is counted, errors are ours, a call that is not
safe to repeat is sent once, and 500, 502 and 504, which the SDK does not repeat, are for calls that are safe.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from databricks.sdk import errors as sdk
from databricks.sdk.clock import Clock
from databricks.sdk.core import ApiClient, Config

from lakeflow_job_meta.adapters import databricks_errors as errors
from lakeflow_job_meta.errors import UnclearOutcome
from lakeflow_job_meta.ports import CallCount, JsonObject

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

#: Further attempts after a 500, 502 or 504 where repeating is safe, with 1, 2, ... seconds between.
SERVER_ERROR_REPEATS = 2
#: Further attempts of the call that asks who is calling.
FIRST_CALL_REPEATS = 2
ME = "/api/2.0/preview/scim/v2/Me"


class _NoRepeat(Clock):
    """A clock on which the SDK's retry budget is spent as soon as it wants to wait. One time per thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def rewind(self) -> None:
        self._local.now = 0.0

    def time(self) -> float:
        return cast("float", getattr(self._local, "now", 0.0))

    def sleep(self, seconds: float) -> None:
        self._local.now = math.inf


def _jitter() -> float:
    """Up to a second more, so that writers that failed together do not come back together."""
    return random.random()  # noqa: S311 - not for secrets


class Calls:
    """The one way from our adapters to a workspace. Thread-safe.

    Args:
        client: its authentication, retry settings and clock are used; it is not changed.
        count: counted up with every request that we send, and for every one that changed (or may have changed) the
            workspace.
    """

    def __init__(self, client: WorkspaceClient, count: CallCount) -> None:
        self._api = client.api_client
        self._config = client.config
        self._clock = client.config.clock
        self._count = count
        self._lock = threading.Lock()
        # A create must not be repeated by the SDK, which repeats POST after a reset and a time-out.
        # Its budget cannot be zero, so the copy gets a clock on which waiting ends it. The copy shares
        # credentials and settings with the client.
        self._no_repeat = _NoRepeat()
        once: Config = client.config.copy()  # type: ignore[no-untyped-call]
        once._clock = self._no_repeat  # noqa: SLF001 - the only way to give a copy a clock
        self._api_once = ApiClient(once)

    @property
    def host(self) -> str:
        return self._config.host or ""

    def get(self, path: str, what: str, *, query: JsonObject | None = None, subject: str = "") -> JsonObject:
        """GET; safe to repeat. Raises WorkspaceError, see `databricks_errors.translate`."""
        return self._safe("GET", path, what, query=query, subject=subject)

    def write(
        self, method: Method, path: str, what: str, *, body: JsonObject | None = None, subject: str = ""
    ) -> JsonObject:
        """A call that changes the workspace and is safe to repeat. Raises WorkspaceError."""
        return self._safe(method, path, what, body=body, subject=subject, write=True)

    def create(self, path: str, what: str, body: JsonObject) -> JsonObject:
        """A POST that is not safe to repeat. It is sent again only after an answer that says that it was not
        carried out (429), or when no connection came about; within the client's retry budget.

        Raises:
            UnclearOutcome: it may have been carried out.
            WorkspaceError: it was not.
        """
        budget = float(self._config.retry_timeout_seconds or 300)
        deadline = self._clock.time() + budget
        attempt = 0
        while True:
            attempt += 1
            self._no_repeat.rewind()
            try:
                answer = self._send(self._api_once, "POST", path, body=body)
            except errors.CALL_ERRORS as error:
                cause = errors.root(error)
                wait = self._wait(cause, attempt)
                if wait is not None and self._clock.time() + wait < deadline:
                    self._clock.sleep(wait)
                    continue
                translated = errors.translate(error, what, write=True)
                if isinstance(translated, UnclearOutcome):
                    self._wrote()
                raise translated from error
            self._wrote()
            return answer

    def who(self) -> tuple[str, str]:
        """(workspace id, user name of the caller) from one call, which is short of patience: it is the first that
        shows a wrong host or token.

        A workspace that does not tell its id is known by its host.
        """
        what = "ask the workspace who is calling"
        for attempt in range(FIRST_CALL_REPEATS + 1):
            self._no_repeat.rewind()
            try:
                me = self._send(self._api_once, "GET", ME, response_headers=["X-Databricks-Org-Id"])
            except errors.CALL_ERRORS as error:
                cause = errors.root(error)
                if attempt < FIRST_CALL_REPEATS and errors.passing(cause):
                    self._clock.sleep(self._wait(cause, attempt + 1) or attempt + 1.0)
                    continue
                raise errors.translate(error, what, write=False) from error
            given = self._config.workspace_id or me.get("X-Databricks-Org-Id")
            return str(given or self.host), str(me.get("userName") or "")
        raise AssertionError("unreachable")  # pragma: no cover

    @staticmethod
    def _wait(error: BaseException, attempt: int) -> float | None:
        """Seconds to wait before an unsafe call may be sent again; None when it may not be."""
        if isinstance(error, sdk.TooManyRequests):
            return float(error.retry_after_secs or 1) + _jitter()
        if errors.never_sent(error):
            return min(10.0, attempt) + _jitter()
        return None

    def _safe(
        self,
        method: Method,
        path: str,
        what: str,
        *,
        query: JsonObject | None = None,
        body: JsonObject | None = None,
        subject: str = "",
        write: bool = False,
    ) -> JsonObject:
        for attempt in range(SERVER_ERROR_REPEATS + 1):
            try:
                answer = self._send(self._api, method, path, query=query, body=body)
            except errors.CALL_ERRORS as error:
                if attempt < SERVER_ERROR_REPEATS and errors.repeatable(error):
                    self._clock.sleep(attempt + 1 + _jitter())
                    continue
                translated = errors.translate(error, what, write=write, subject=subject)
                if isinstance(translated, UnclearOutcome):
                    self._wrote()
                raise translated from error
            if write:
                self._wrote()
            return answer
        raise AssertionError("unreachable")  # pragma: no cover

    def _send(
        self,
        api: ApiClient,
        method: Method,
        path: str,
        *,
        query: JsonObject | None = None,
        body: JsonObject | None = None,
        response_headers: list[str] | None = None,
    ) -> JsonObject:
        headers = {"Accept": "application/json"}
        if self._config.workspace_id:
            headers["X-Databricks-Workspace-Id"] = str(self._config.workspace_id)
        with self._lock:
            self._count.calls += 1
        do = cast("Callable[..., Any]", api.do)
        answer = do(method, path, query=query, body=body, headers=headers, response_headers=response_headers)
        return answer if isinstance(answer, dict) else {}

    def _wrote(self) -> None:
        with self._lock:
            self._count.writes += 1
