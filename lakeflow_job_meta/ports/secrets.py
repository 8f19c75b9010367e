"""The port to the workspace's secrets."""

from __future__ import annotations

from typing import Protocol


class Secrets(Protocol):
    """Secrets of the workspace. A value never goes into a log, a table or an error."""

    def get(self, scope: str, key: str) -> str:
        """The secret's value. Raises WorkspaceError naming scope and key when it cannot be read."""
        ...
