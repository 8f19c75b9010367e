"""Hypothesis without deadlines: machines that are shared are slow at times, which says nothing of the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
