"""The platform's error shape: `{"error_code": ..., "message": ...}` with an HTTP status."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """What a handler raises to answer with an error.

    Args:
        status: HTTP status.
        error_code: the platform's code; the SDK maps it to an exception class.
        message: one sentence.
        details: entries of the platform's `details` list, rarely needed.
    """

    def __init__(
        self, status: int, error_code: str, message: str, *, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.message = message
        self.details = details


def shape(error: ApiError) -> dict[str, Any]:
    """The JSON body of an error."""
    body: dict[str, Any] = {"error_code": error.error_code, "message": error.message}
    if error.details:
        body["details"] = error.details
    return body


def invalid(message: str) -> ApiError:
    """400 INVALID_PARAMETER_VALUE."""
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


def missing(message: str) -> ApiError:
    """404 RESOURCE_DOES_NOT_EXIST."""
    return ApiError(404, "RESOURCE_DOES_NOT_EXIST", message)


def exists(message: str) -> ApiError:
    """409 RESOURCE_ALREADY_EXISTS."""
    return ApiError(409, "RESOURCE_ALREADY_EXISTS", message)


def job_missing(job_id: int) -> ApiError:
    """400, as the Jobs API answers for a job that was deleted or never was (the SDK maps the text)."""
    return ApiError(400, "INVALID_PARAMETER_VALUE", f"Job {job_id} does not exist.")
