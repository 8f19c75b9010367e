"""Suggestions: the word that was probably meant, and how values are shown in messages."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

_SHOWN = 80
#: Among more words than this, only the likely ones are compared: comparing is slow.
_MANY = 500


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` when one of the known words is close, else nothing."""
    if not isinstance(word, str) or not word or len(word) > 200:
        return ""
    folded = word.lower()
    by_fold: dict[str, str] = {}
    for name in known:
        by_fold.setdefault(name.lower(), name)
    candidates = list(by_fold)
    if len(candidates) > _MANY:
        candidates = [
            name for name in candidates if name[:1] == folded[:1] and abs(len(name) - len(folded)) <= 2
        ]
    close = difflib.get_close_matches(folded, candidates[:_MANY], n=1, cutoff=0.6)
    return f' (did you mean "{by_fold[close[0]]}"?)' if close else ""


def hint(word: object, known: Iterable[str], *, listed: int = 12) -> str:
    """The suggestion, or all known words where there are few."""
    names = sorted(known)
    near = did_you_mean(word, names)
    if near or not names or len(names) > listed:
        return near
    return f" (known here: {', '.join(names)})"


def shown(value: Any) -> str:
    """`value` for a message: as JSON on one line, cut when it is long."""
    text = repr(value) if isinstance(value, float) else _json(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def quoted(word: str) -> str:
    """A name for a message: between double quotes on one line, cut when it is long."""
    text = json.dumps(word, ensure_ascii=False)
    return text if len(text) <= 2 * _SHOWN else f'{text[: 2 * _SHOWN]}..." ({len(word)} characters)'


def _json(value: Any) -> str:
    if isinstance(value, dict):
        return f"a mapping with {len(value)} keys" if value else "{}"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "[]"
    if isinstance(value, str) and len(value) > _SHOWN:
        return json.dumps(value[:_SHOWN], ensure_ascii=False)[:-1] + f'..." ({len(value)} characters)'
    return json.dumps(value, ensure_ascii=False, default=str)
