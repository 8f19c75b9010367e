"""One REST call as a handler sees it, and the routes that lead to handlers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import anyio.to_thread
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.api.errors import ApiError, invalid

USER = "local@localhost"
"""The only user of an embedded workspace: creator, owner and run-as of everything."""

USER_ID = "1000000000000001"

Json = dict[str, Any]
Answer = Json | list[Any] | Response | None
Handler = Callable[["Call"], Answer | Awaitable[Answer]]
T = TypeVar("T")


class Call:
    """A request with its JSON body and query parameters read as one set of arguments.

    Args:
        request: the HTTP request; its body was read when `body` is given.
        body: the JSON object that was sent, empty when there was none.
    """

    def __init__(self, request: Request, body: Json) -> None:
        self.request = request
        self.body = body
        self.path: Mapping[str, str] = request.path_params
        self.query = request.query_params

    @property
    def user(self) -> str:
        return USER

    def value(self, name: str) -> Any:
        """The argument from path, body or query, None when it is missing."""
        if name in self.path:
            return self.path[name]
        found = self.body.get(name)
        return found if found is not None else self.query.get(name)

    def text(self, name: str, default: str = "") -> str:
        """A string argument; numbers are taken as text, as the platform does."""
        value = self.value(name)
        if value is None:
            return default
        if isinstance(value, (dict, list, bool)):
            raise invalid(f"{name} must be a string")
        return str(value)

    def required(self, name: str) -> str:
        """A string argument that must be there and not empty."""
        value = self.text(name)
        if not value:
            raise invalid(f"Missing required field: {name}")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """An int64 argument, as number or text; without a default it is required."""
        value = self.value(name)
        if value is None or value == "":
            if default is None:
                raise invalid(f"Missing required field: {name}")
            return default
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise invalid(f"{name} must be an integer")
        try:
            number = int(value)
        except ValueError as e:
            raise invalid(f"Invalid value for {name}: {value!r} is no integer") from e
        if not -(2**63) <= number < 2**63:
            raise invalid(f"Invalid value for {name}: {value} is no 64-bit integer")
        return number

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.value(name)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise invalid(f"{name} must be true or false")

    def object(self, name: str) -> Json:
        """A JSON object of the body, empty when it is missing."""
        value = self.body.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise invalid(f"{name} must be an object")
        return value

    def array(self, name: str) -> list[Any]:
        """A JSON array of the body, empty when it is missing."""
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise invalid(f"{name} must be an array")
        return value


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(
        orjson.dumps(content), status_code=status, media_type="application/json", headers=dict(headers or {})
    )


def route(method: str, path: str, handler: Handler, *, raw: bool = False) -> Route:
    """A route to a handler.

    Args:
        method: one HTTP method (GET serves HEAD only where a HEAD route says so).
        path: Starlette's path pattern; `{name:path}` for the rest of the path.
        handler: a plain function runs in a worker thread and may block; an async one must not.
            It returns the JSON to answer (None for `{}`) or a Response.
        raw: the handler reads the body itself (uploads).
    """
    is_async = inspect.iscoroutinefunction(handler)

    async def endpoint(request: Request) -> Response:
        call = Call(request, {} if raw else await read_body(request))
        try:
            if is_async:
                result = await cast(Awaitable[Answer], handler(call))
            else:
                result = cast(Answer, await anyio.to_thread.run_sync(handler, call))
        except LocalError as e:
            raise invalid(str(e)) from e
        if isinstance(result, Response):
            return result
        return answer({} if result is None else result)

    made = Route(path, endpoint, methods=[method])
    made.methods = {method}  # Starlette adds HEAD to GET by itself
    return made


async def read_body(request: Request) -> Json:
    """The JSON object of a request's body, empty when there is none; ApiError 400 for anything else."""
    try:
        data = await request.body()
    except ClientDisconnect as e:
        raise ApiError(400, "MALFORMED_REQUEST", "the body ended early") from e
    if not data.strip():
        return {}
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as e:
        raise ApiError(400, "MALFORMED_REQUEST", f"Could not parse request object: {e}") from e
    if not isinstance(body, dict):
        raise ApiError(400, "MALFORMED_REQUEST", "Could not parse request object: expected an object")
    return body


def page(items: list[T], token: str, size: int) -> tuple[list[T], str]:
    """One page of a list, and the token of the next page (empty on the last one).

    Raises:
        ApiError: 400 for a token that this server never gave out.
    """
    if token and not token.isdigit():
        raise invalid(f"Invalid page_token: {token}")
    start = int(token or 0)
    end = start + size
    return items[start:end], str(end) if end < len(items) else ""
