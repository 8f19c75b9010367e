"""Badges: how a status looks on a terminal and on a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Badge:
    """A status for people.

    Args:
        color: a name that terminals and pages both know.
        hint: shown on hover: the error of a sync that failed.
    """

    label: str
    color: str
    hint: str = ""

    def html(self) -> str:
        """The badge as one HTML element, everything that came from outside escaped."""
        title = f' title="{escape(self.hint, quote=True)}"' if self.hint else ""
        return f'<span class="badge badge-{self.color}"{title}>{escape(self.label)}</span>'

    @property
    def style(self) -> str:
        """The style of the terminal, as rich names it."""
        return {"grey": "bright_black", "green": "green", "red": "bold red"}.get(self.color, self.color)


_BADGES: Mapping[str, tuple[str, str]] = {
    "not_synced": ("Local Only", "grey"),
    "pending": ("Pending Sync", "blue"),
    "syncing": ("Syncing...", "yellow"),
    "synced": ("Synced to Databricks", "green"),
    "failed": ("Sync Failed", "red"),
}


def badge(status: str, error: str | None = None) -> Badge:
    """The badge of a status; one that is not known is shown as it is, never as another."""
    label, color = _BADGES.get(status, (status or "unknown", "grey"))
    return Badge(label, color, (error or "") if status == "failed" else "")
