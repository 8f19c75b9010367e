"""What the simulator answers: JSON, the envelopes of the public API, and refusals in every family's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from lakeflow_job_meta.errors import LocalError

Json = dict[str, Any]


class Refusal(LocalError):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        message: one sentence.
        code: the public API's error code.
        plain: send the sentence as plain text, whatever the family.
    """

    def __init__(self, status: int, message: str, code: str = "", *, plain: bool = False) -> None:
        self.status = status
        self.code = code or {401: "UNAUTHORIZED", 404: "NOT_FOUND"}.get(status, "INTERNAL_SERVER_ERROR")
        self.plain = plain
        super().__init__(message)


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(content), status, dict(headers or {}), "application/json")


def envelope(data: Any) -> Response:
    """A success of the public v1 API."""
    return answer({"status": "ok", "data": data})


def is_public(path: str) -> bool:
    """Whether a path (without the prefix) belongs to the public API, whose errors have an envelope."""
    return path.startswith(("/v1/", "/vbeta/"))


def refused(refusal: Refusal, path: str) -> Response:
    """The answer to a refused request, in the shape of its family: 401 and 403 of the internal API are empty."""
    if refusal.plain:
        return Response(str(refusal), refusal.status, media_type="text/plain")
    if is_public(path):
        error = {"code": refusal.code, "message": str(refusal)}
        return answer({"status": "error", "error": error}, refusal.status)
    if refusal.status in (401, 403):
        return Response(status_code=refusal.status)
    return answer({"error": str(refusal)}, refusal.status)
