"""HTTP to Data X-Ray: paths and prefix, the token, repeats of what is safe to repeat, errors as ours.

The edge: httpx's exceptions end here.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
import orjson
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from lakeflow_job_meta import __version__
from lakeflow_job_meta.dxr.responses import error_text
from lakeflow_job_meta.errors import (
    DxrError,
    DxrNotFound,
    DxrRefused,
    DxrUnauthorized,
    DxrUnavailable,
    UsageError,
)

USER_AGENT = f"lakeflow-job-meta/{__version__}"
#: Tries of one call that is safe to repeat; with these waits some 30 s when nothing else is asked for.
ATTEMPTS = 6
_WAIT = wait_random_exponential(multiplier=0.5, max=20)
#: The longest wait that a Retry-After is followed for, in seconds.
LONGEST_WAIT = 300.0
_AGAIN = {408, 425, 429}
T = TypeVar("T")


class _Passing(DxrUnavailable):
    """A failure that may pass; `retry_after` in seconds, None when the server did not say."""

    retry_after: float | None = None


@dataclass(frozen=True)
class Answer:
    """A whole answer with a status of 2xx."""

    status: int
    content: bytes
    content_type: str

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return orjson.loads(self.content)


class Transport:
    """Calls to one Data X-Ray.

    Args:
        base_url: `https://host`, with or without the prefix.
        token: the personal access token, or what gives it (asked anew for each call).
        api_prefix: path before every endpoint; empty for a deployment at the root.
        verify: check certificates; a path is a CA bundle.
        timeout: seconds for connecting, and between bytes.
        attempts: tries of a call that is safe to repeat.
        sleep: waits for seconds.

    Raises:
        UsageError: the URL or the CA bundle is wrong.
    """

    def __init__(
        self,
        base_url: str,
        token: Callable[[], str] | str,
        *,
        api_prefix: str = "/api",
        verify: bool | str = True,
        timeout: float = 120,
        user_agent: str = USER_AGENT,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = normalise(base_url, api_prefix)
        self._token = token
        self._sleep = sleep
        self._attempts = attempts
        self._http = httpx.Client(
            verify=_verification(verify),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 30.0)),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"Transport({self.base_url!r})"

    def close(self) -> None:
        self._http.close()

    def call(self, what: str, method: str, path: str, *, body: Any = None, params: Any = None) -> Any:
        """The JSON answer of a call that is safe to repeat (GET, search).

        Connection errors, 408, 429, 5xx and answers that are no JSON are tried again, with jitter or after
        the server's Retry-After; other 4xx never.

        Raises:
            DxrUnauthorized, DxrRefused, DxrNotFound: as the server says.
            DxrUnavailable: it did not pass.
        """
        content = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"} if content is not None else {}

        def once() -> Any:
            answer = self.send(what, method, path, content=content, headers=headers, params=params)
            try:
                return answer.json()
            except ValueError as error:
                said = error_text(answer.content[:2000].decode("utf-8", "replace"))
                raise _Passing(
                    f"{what}: the answer is no JSON ({said}); is the base URL right?", status=answer.status
                ) from error

        return self.repeat(once)

    def repeat(self, once: Callable[[], T]) -> T:
        """`once`, tried again while it fails in a way that may pass."""
        for attempt in Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(self._attempts),
            wait=_wait,
            sleep=self._sleep,
            reraise=True,
        ):
            with attempt:
                return once()
        raise AssertionError("unreachable")

    def send(
        self,
        what: str,
        method: str,
        path: str,
        *,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        params: Any = None,
        timeout: float | None = None,
    ) -> Answer:
        """One request, once. Raises as `call`; a failure that may pass is a DxrUnavailable."""
        patience = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=30.0)
        with self._edge(what):
            response = self._http.request(
                method,
                self.base_url + path,
                content=content,
                headers={**(headers or {}), **self._authorization()},
                params=params,
                timeout=patience,
            )
        self._check(what, response)
        return Answer(response.status_code, response.content, response.headers.get("content-type", ""))

    @contextmanager
    def stream(
        self, what: str, path: str, *, params: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """A GET whose body is read by the caller; repeated until its head has arrived."""

        def once() -> httpx.Response:
            with self._edge(what):
                request = self._http.build_request(
                    "GET",
                    self.base_url + path,
                    params=params,
                    headers={**(headers or {}), **self._authorization()},
                )
                response = self._http.send(request, stream=True)
            if not response.is_success:
                with self._edge(what):
                    try:
                        response.read()
                    finally:
                        response.close()
                self._check(what, response)
            return response

        response = self.repeat(once)
        try:
            yield response
        finally:
            response.close()

    def _authorization(self) -> dict[str, str]:
        token = self._token if isinstance(self._token, str) else self._token()
        if not token.strip():
            raise UsageError("the Data X-Ray token is empty: set the secret, or DXR_API_KEY")
        if not token.strip().isascii() or any(not one.isprintable() for one in token.strip()):
            raise UsageError("the Data X-Ray token has characters that no token has: store it anew")
        return {"Authorization": f"Bearer {token.strip()}"}

    def _check(self, what: str, response: httpx.Response) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        said = error_text(self._without_token(response.text[:4000]))
        if status == 401:
            raise DxrUnauthorized(
                f"{what}: Data X-Ray does not accept the token (401): it is missing, expired, or was replaced by "
                f"a newer one of the same user; store the newest in the secret ({said})",
                status=status,
            )
        if status == 404:
            raise DxrNotFound(f"{what}: Data X-Ray knows no such thing (404: {said})", status=status)
        if status in _AGAIN or status >= 500:
            passing = _Passing(f"{what}: Data X-Ray answered {status} ({said})", status=status)
            passing.retry_after = _retry_after(response.headers.get("retry-after"))
            raise passing
        if status == 403:
            raise DxrRefused(
                f"{what}: the token may not do this (403: {said}); ask for the permission", status=status
            )
        if 300 <= status < 400:
            said = "a redirect; is the base URL right?"
        raise DxrRefused(f"{what}: Data X-Ray refused it ({status}: {said})", status=status)

    def _without_token(self, said: str) -> str:
        token = self._token if isinstance(self._token, str) else self._token()
        return said.replace(token.strip(), "***") if token.strip() else said

    @contextmanager
    def _edge(self, what: str) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise _Passing(f"{what}: Data X-Ray gave no answer in time ({type(error).__name__})") from error
        except httpx.TransportError as error:
            raise _Passing(
                f"{what}: no connection to {self.base_url} ({str(error) or type(error).__name__})"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DxrError(f"{what}: {str(error) or type(error).__name__}") from error


def normalise(base_url: str, api_prefix: str = "/api") -> str:
    """The URL that every path is appended to, the prefix exactly once.

    Raises:
        UsageError: it is no http(s) URL, or has a password in it.
    """
    parts = urlsplit(base_url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = base_url if "@" not in base_url else "what was given"
        raise UsageError(f"the Data X-Ray base URL must be like https://host, not {shown!r}")
    if parts.username or parts.password:
        raise UsageError("the Data X-Ray base URL has a user or a password in it: use a token")
    prefix = "/" + api_prefix.strip().strip("/") if api_prefix.strip().strip("/") else ""
    path = parts.path.rstrip("/")
    while prefix and path.endswith(prefix):
        path = path[: -len(prefix)]
    return urlunsplit((parts.scheme, parts.netloc, path + prefix, "", ""))


def _verification(verify: bool | str) -> bool | ssl.SSLContext:
    if not isinstance(verify, str):
        return verify
    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"{verify}: this CA bundle cannot be used ({error})") from error


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, _Passing) else None
    if asked is not None:
        # never all clients at once
        return min(asked, LONGEST_WAIT) + _WAIT(state) / 10
    return _WAIT(state)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After, given as seconds or as a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
