"""The Secrets API: scopes, secrets and their access control lists."""

from __future__ import annotations

import base64
import binascii
import re

from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, route
from lakeflow_job_meta.local.api.errors import ApiError, invalid, missing
from lakeflow_job_meta.local.state import Secrets

_NAME = re.compile(r"[A-Za-z0-9_.@/ -]{1,128}")
_MAX_BYTES = 128 * 1024


class SecretsApi:
    """Handlers of `/api/2.0/secrets/...`.

    Args:
        secrets: where they are kept.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def routes(self) -> list[Route]:
        prefix = "/api/2.0/secrets"
        return [
            route("POST", f"{prefix}/scopes/create", self.create_scope),
            route("GET", f"{prefix}/scopes/list", self.list_scopes),
            route("POST", f"{prefix}/scopes/delete", self.delete_scope),
            route("POST", f"{prefix}/put", self.put),
            route("GET", f"{prefix}/get", self.get),
            route("GET", f"{prefix}/list", self.list_secrets),
            route("POST", f"{prefix}/delete", self.delete),
            route("GET", f"{prefix}/acls/list", self.list_acls),
        ]

    def create_scope(self, call: Call) -> Json:
        scope = _name(call, "scope")
        if not self._secrets.create_scope(scope):
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Scope {scope} already exists!")
        return {}

    def list_scopes(self, call: Call) -> Json:
        scopes = [{"name": scope, "backend_type": "DATABRICKS"} for scope in self._secrets.scopes()]
        return {"scopes": scopes} if scopes else {}

    def delete_scope(self, call: Call) -> Json:
        scope = _name(call, "scope")
        if not self._secrets.delete_scope(scope):
            raise _no_scope(scope)
        return {}

    def put(self, call: Call) -> Json:
        scope, key = self._scope(call), _name(call, "key")
        text, encoded = call.body.get("string_value"), call.body.get("bytes_value")
        if (text is None) == (encoded is None):
            raise invalid("exactly one of string_value and bytes_value must be set")
        if encoded is not None:
            try:
                value = base64.b64decode(str(encoded), validate=True)
            except binascii.Error as e:
                raise invalid("bytes_value must be base64") from e
        else:
            value = str(text).encode()
        if len(value) > _MAX_BYTES:
            raise invalid("a secret is limited to 128 KB")
        self._secrets.put(scope, key, value)
        return {}

    def get(self, call: Call) -> Json:
        scope, key = self._scope(call), _name(call, "key")
        value = self._secrets.get(scope, key)
        if value is None:
            raise _no_secret(scope, key)
        return {"key": key, "value": base64.b64encode(value).decode()}

    def list_secrets(self, call: Call) -> Json:
        secrets = [
            {"key": key, "last_updated_timestamp": updated}
            for key, updated in self._secrets.keys(self._scope(call))
        ]
        return {"secrets": secrets} if secrets else {}

    def delete(self, call: Call) -> Json:
        scope, key = self._scope(call), _name(call, "key")
        if not self._secrets.delete(scope, key):
            raise _no_secret(scope, key)
        return {}

    def list_acls(self, call: Call) -> Json:
        self._scope(call)
        return {"items": [{"principal": USER, "permission": "MANAGE"}]}

    def _scope(self, call: Call) -> str:
        scope = _name(call, "scope")
        if scope not in self._secrets.scopes():
            raise _no_scope(scope)
        return scope


def _name(call: Call, field: str) -> str:
    name = call.required(field)
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{field}: at most 128 characters of letters, digits, '-', '_', '@', '.', '/' are allowed"
        )
    return name


def _no_scope(scope: str) -> ApiError:
    return missing(f"Scope {scope} does not exist!")


def _no_secret(scope: str, key: str) -> ApiError:
    return missing(f"Secret does not exist with scope: {scope} and key: {key}")
