"""Tokens that look like Data X-Ray's."""

from __future__ import annotations

import secrets


def new_token() -> str:
    """A personal access token."""
    return "eyJ" + secrets.token_urlsafe(36)
