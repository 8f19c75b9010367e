"""When a part of a tick that failed is tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """When something that failed is tried again: after 1, up to 2, up to 4, ... ticks, with jitter.

    Counted in ticks, so that a direct `check_and_update` after a failure tries again.

    Args:
        longest: most ticks to wait.
        jitter: a number from 0 to 1, drawn anew each time.
    """

    longest: int
    jitter: Callable[[], float]
    failures: int = 0
    skip: int = 0

    def failed(self) -> None:
        """It failed (again): decides how many ticks pass before the next try."""
        self.failures += 1
        most = min(2 ** min(self.failures - 1, 16), self.longest)
        self.skip = min(int(most * (0.5 + self.jitter() / 2)), most - 1)

    def due(self) -> bool:
        """Whether to try in this tick; call it once a tick."""
        if self.skip > 0:
            self.skip -= 1
            return False
        return True


@dataclass(slots=True)
class Part:
    """A part of a tick that fails and is tried again on its own."""

    name: str
    backoff: Backoff
    error: str = ""

    def failed(self, error: str) -> None:
        self.error = error
        self.backoff.failed()

    def succeeded(self) -> None:
        self.backoff.failures = self.backoff.skip = 0
        self.error = ""
