"""Errors of databricks-sdk and of its HTTP transport, as ours.

By type and status; a message decides only where the platform gives no other sign (400 "does not exist").
Messages are one sentence of ours with the platform's first line; configuration dumps that the SDK appends are cut off.
"""

from __future__ import annotations

import re
import ssl
from typing import Any

import requests
import urllib3
from databricks.sdk import errors as sdk
from databricks.sdk.errors.base import DatabricksError

from lakeflow_job_meta.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Throttled,
    Unavailable,
    UnclearOutcome,
    WorkspaceError,
)

#: What a call through the SDK may raise on purpose. TimeoutError: its own retries ran out.
CALL_ERRORS: tuple[type[Exception], ...] = (
    DatabricksError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    TimeoutError,
    ConnectionError,
)

_MESSAGE_LIMIT = 600
# What the SDK appends to messages of 401 and 403: names of settings and variables, values masked.
_DEBUG_INFO = re.compile(r"\.? (?:Config|Env): .*", re.DOTALL)

# Status by type: the SDK's errors carry none. Subclasses come before their bases.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (sdk.NotFound, 404),
    (sdk.PermissionDenied, 403),
    (sdk.Unauthenticated, 401),
    (sdk.TooManyRequests, 429),
    (sdk.ResourceConflict, 409),
    (sdk.BadRequest, 400),
    (sdk.NotImplemented, 501),
    (sdk.TemporarilyUnavailable, 503),
    (sdk.DeadlineExceeded, 504),
    (sdk.InternalError, 500),
    (sdk.Cancelled, 499),
)


def root(error: BaseException) -> BaseException:
    """The error behind the SDK's `TimeoutError`, which it raises when its retries ran out."""
    if isinstance(error, TimeoutError) and error.__cause__ is not None:
        return error.__cause__
    return error


def status(error: BaseException) -> int:
    """HTTP status of an error, 0 when the SDK does not say."""
    for kind, code in _STATUS:
        if isinstance(error, kind):
            return code
    return 0


def never_sent(error: BaseException) -> bool:
    """Whether no connection came about, so that the platform cannot have seen the request."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason: Any = error.args[0] if error.args else None
    reason = getattr(reason, "reason", reason)
    if isinstance(reason, urllib3.exceptions.SSLError):
        return any(isinstance(arg, ssl.SSLCertVerificationError) for arg in reason.args)
    return isinstance(
        reason,
        (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            urllib3.exceptions.ProxyError,
        ),
    )


def is_missing(error: BaseException, subject: str = "") -> bool:
    """Whether the platform says that the object is not there.

    Args:
        subject: the object as the platform names it (`Job 12`). Jobs answer 400 with "Job 12 does not exist",
            which the SDK translates for get only; another object's absence (a cluster that
            the settings name) is not this object's.
    """
    if isinstance(error, sdk.NotFound):
        return True
    if not isinstance(error, sdk.BadRequest) or not subject:
        return False
    pattern = rf"\b{re.escape(subject)}\b[^.;,]*\b(?:does not exist|doesn't exist|not found)"
    return re.search(pattern, str(error), re.IGNORECASE) is not None


def translate(error: Exception, what: str, *, write: bool, subject: str = "") -> WorkspaceError:
    """Our error for one of `CALL_ERRORS`; the caller raises it from `error`.

    Args:
        what: what was tried, as a phrase (`create the job "sales"`).
        write: whether the call changes the workspace, so that a lost answer leaves it unclear.
        subject: see `is_missing`.
    """
    cause = root(error)
    said = _first_line(cause)
    code = str(getattr(cause, "error_code", "") or "")
    number = status(cause)
    if isinstance(cause, DatabricksError):
        if is_missing(cause, subject):
            return NotFound(f"cannot {what}: {said}", status=number, error_code=code)
        if number == 401:
            return PermissionDenied(
                f"cannot {what}: the workspace does not accept the credentials ({said}); "
                "check DATABRICKS_TOKEN or the profile",
                status=number,
                error_code=code,
            )
        if number == 403:
            return PermissionDenied(
                f"cannot {what}: {said}; ask for the permission, or check that the object was not deleted by hand",
                status=number,
                error_code=code,
            )
        if number == 429:
            return Throttled(
                f"cannot {what}: the workspace's rate limit was met and waiting did not help ({said}); try again later",
                status=number,
                error_code=code,
            )
        if number in (400, 409, 499, 501):
            return InvalidRequest(
                f"cannot {what}: the workspace refused it: {said}", status=number, error_code=code
            )
        if write:
            return UnclearOutcome(
                f"tried to {what}, but the workspace failed ({said}); it may have been done: the next pass will see",
                status=number,
                error_code=code,
            )
        return Unavailable(
            f"cannot {what}: the workspace failed ({said}); try again later", status=number, error_code=code
        )
    if never_sent(cause):
        return Unavailable(
            f"cannot {what}: no connection to the workspace ({said}); check DATABRICKS_HOST and the network"
        )
    if write:
        return UnclearOutcome(
            f"tried to {what}, but no answer came ({said}); it may have been done: the next pass will see"
        )
    return Unavailable(f"cannot {what}: no answer from the workspace ({said}); try again later")


def _first_line(error: BaseException) -> str:
    if isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
        return _transport_words(error)
    text = _DEBUG_INFO.sub("", str(error)).strip()
    line = " ".join(text.splitlines()[0].split()) if text else type(error).__name__
    return (line[: _MESSAGE_LIMIT - 3] + "...") if len(line) > _MESSAGE_LIMIT else line.rstrip(".")


def _transport_words(error: BaseException) -> str:
    """Plain words for a transport error, whose own text is a nest of reprs."""
    reason: Any = error.args[0] if error.args else None
    reason = getattr(reason, "reason", reason)
    text = f"{type(error).__name__} {reason}"
    if isinstance(error, requests.Timeout):
        return "timed out"
    for sign, words in (
        ("NameResolution", "unknown host name"),
        ("getaddrinfo", "unknown host name"),
        ("Name or service not known", "unknown host name"),
        ("Connection refused", "connection refused"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
        ("RemoteDisconnected", "connection closed without an answer"),
        ("Connection reset", "connection reset"),
        ("Broken pipe", "connection reset"),
        ("IncompleteRead", "the answer broke off"),
        ("JSONDecode", "the answer is not JSON"),
    ):
        if sign in text or sign in type(reason).__name__:
            return words
    return type(error).__name__


def repeatable(error: BaseException) -> bool:
    """Whether a failed call that is safe to repeat is worth another attempt: 500, 502, 504 and a broken answer.

    What the SDK repeats by itself (429, 503, no connection) is not: its patience ran out.
    """
    if isinstance(error, TimeoutError):
        return False
    if isinstance(error, DatabricksError):
        return status(error) in (500, 504, 0) and not isinstance(error, sdk.NotImplemented)
    return isinstance(error, requests.RequestException) and not isinstance(
        error, (requests.ConnectionError, requests.Timeout)
    )


def passing(error: BaseException) -> bool:
    """Whether the same call may well succeed a moment later."""
    if isinstance(error, DatabricksError):
        return status(error) in (429, 500, 503, 504)
    return isinstance(error, requests.RequestException)
