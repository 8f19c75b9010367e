"""Secrets through the SDK; they lie in a file that only its owner can read."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from databricks.sdk.errors import BadRequest, NotFound, ResourceAlreadyExists


def test_scopes_and_secrets(client, unique):
    client.secrets.create_scope(unique)
    with pytest.raises(ResourceAlreadyExists, match="already exists"):
        client.secrets.create_scope(unique)
    assert unique in [scope.name for scope in client.secrets.list_scopes()]
    client.secrets.put_secret(unique, "text", string_value="pä$$ 😀")
    client.secrets.put_secret(unique, "bytes", bytes_value=base64.b64encode(b"\x00\xff").decode())
    assert base64.b64decode(client.secrets.get_secret(unique, "text").value).decode() == "pä$$ 😀"
    assert base64.b64decode(client.secrets.get_secret(unique, "bytes").value) == b"\x00\xff"
    assert [secret.key for secret in client.secrets.list_secrets(unique)] == ["bytes", "text"]
    client.secrets.delete_secret(unique, "bytes")
    for missing in (
        lambda: client.secrets.get_secret(unique, "bytes"),
        lambda: client.secrets.delete_secret(unique, "bytes"),
        lambda: client.secrets.get_secret(f"{unique}x", "text"),
        lambda: client.secrets.put_secret(f"{unique}x", "text", string_value="x"),
        lambda: client.secrets.delete_scope(f"{unique}x"),
    ):
        with pytest.raises(NotFound):
            missing()
    client.secrets.delete_scope(unique)
    assert unique not in [scope.name for scope in client.secrets.list_scopes()]


def test_wrong_names_and_values_are_refused(client, unique):
    with pytest.raises(BadRequest):
        client.secrets.create_scope("a b\n")
    client.secrets.create_scope(unique)
    with pytest.raises(BadRequest, match="exactly one"):
        client.secrets.put_secret(unique, "k")
    with pytest.raises(BadRequest, match="128 KB"):
        client.secrets.put_secret(unique, "k", string_value="x" * 200_000)


def test_private_files_are_private(plain):
    """State, token and lock hold secrets: nobody else may read them."""
    private = Path(plain.directory, ".workspace")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    for name in ("state.sqlite", "token", "server.lock", "server.log"):
        assert stat.S_IMODE((private / name).stat().st_mode) == 0o600, name
    assert plain.token not in (private / "server.log").read_text()
