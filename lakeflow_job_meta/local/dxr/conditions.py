"""Conditions of rules: what must hold of a file for a label, a category or an extractor's value."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Facts:
    """What is known of a file while rules are applied.

    Args:
        name: upload name.
        mime_type: of the file.
        size: bytes.
        language: two letters, empty when unknown.
        text: extracted.
        phrases: annotator id to its different phrases.
        domains: domain to the different phrases of its annotators.
        labels: given so far.
        extracted: extractor id to value, so far.
    """

    name: str
    mime_type: str
    size: int
    language: str
    text: str
    phrases: dict[int, set[str]] = field(default_factory=dict)
    domains: dict[str, set[str]] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    extracted: dict[str, Any] = field(default_factory=dict)


Condition = Callable[[Facts], bool]
Known = Mapping[str, Mapping[str, int]]
"""Names of annotators, domains, labels and extractors, each with its id."""

_WITH = {"annotator": "at_least", "domain": "at_least", "extractor": "equals"}


def always(facts: Facts) -> bool:
    """Holds for every file."""
    return True


def condition(spec: Any, known: Known) -> Condition:
    """The condition that a mapping of `rules.yaml` describes.

    Raises:
        ValueError: it describes none; the message says why.
    """
    if not isinstance(spec, dict) or not spec:
        raise ValueError("`when` needs a condition, such as {annotator: IBAN}")
    kind = next((name for name in spec if name in _MAKERS), None)
    if kind is None:
        raise ValueError(f"unknown condition {next(iter(spec))!r}; known are {', '.join(_MAKERS)}")
    rest = {name for name in spec if name not in (kind, _WITH.get(kind))}
    if rest:
        raise ValueError(f"{kind} does not go with {', '.join(sorted(map(str, rest)))}: use all: [...]")
    if kind in known and spec[kind] not in known[kind]:
        raise ValueError(f"unknown {kind} {spec[kind]!r}")
    return _MAKERS[kind](spec, known)


def _annotator(spec: Mapping[str, Any], known: Known) -> Condition:
    number, least = known["annotator"][spec["annotator"]], _least(spec)
    return lambda facts: len(facts.phrases.get(number, ())) >= least


def _domain(spec: Mapping[str, Any], known: Known) -> Condition:
    name, least = spec["domain"], _least(spec)
    return lambda facts: len(facts.domains.get(name, ())) >= least


def _least(spec: Mapping[str, Any]) -> int:
    least = spec.get("at_least", 1)
    if not isinstance(least, int) or least < 1:
        raise ValueError("at_least is a number from 1")
    return least


def _label(spec: Mapping[str, Any], known: Known) -> Condition:
    number = known["label"][spec["label"]]
    return lambda facts: number in facts.labels


def _extractor(spec: Mapping[str, Any], known: Known) -> Condition:
    number = str(known["extractor"][spec["extractor"]])
    if "equals" not in spec:
        return lambda facts: number in facts.extracted
    return lambda facts: number in facts.extracted and bool(facts.extracted[number] == spec["equals"])


def _text(spec: Mapping[str, Any], known: Known) -> Condition:
    try:
        pattern = re.compile(str(spec["text"]))
    except re.error as e:
        raise ValueError(f"text {spec['text']!r}: {e}") from e
    return lambda facts: pattern.search(facts.text) is not None


def _file_name(spec: Mapping[str, Any], known: Known) -> Condition:
    glob = str(spec["file_name"]).lower()
    return lambda facts: (
        fnmatch.fnmatchcase(facts.name.lower(), glob)
        or fnmatch.fnmatchcase(posixpath.basename(facts.name.lower()), glob)
    )


def _mime_type(spec: Mapping[str, Any], known: Known) -> Condition:
    glob = str(spec["mime_type"])
    return lambda facts: fnmatch.fnmatchcase(facts.mime_type, glob)


def _language(spec: Mapping[str, Any], known: Known) -> Condition:
    return lambda facts: facts.language == spec["language"]


def _size(spec: Mapping[str, Any], known: Known) -> Condition:
    least = spec["size_at_least"]
    if type(least) is not int or least < 0:
        raise ValueError("size_at_least is a number of bytes")
    return lambda facts: facts.size >= least


def _all(spec: Mapping[str, Any], known: Known) -> Condition:
    parts = _parts(spec["all"], known)
    return lambda facts: all(part(facts) for part in parts)


def _any(spec: Mapping[str, Any], known: Known) -> Condition:
    parts = _parts(spec["any"], known)
    return lambda facts: any(part(facts) for part in parts)


def _not(spec: Mapping[str, Any], known: Known) -> Condition:
    part = condition(spec["not"], known)
    return lambda facts: not part(facts)


def _parts(specs: Any, known: Known) -> list[Condition]:
    return [condition(spec, known) for spec in _list(specs)]


def _list(specs: Any) -> list[Any]:
    if isinstance(specs, list):
        return specs
    raise ValueError("all and any take a list of conditions")


_MAKERS: dict[str, Callable[[Mapping[str, Any], Known], Condition]] = {
    "annotator": _annotator,
    "domain": _domain,
    "label": _label,
    "extractor": _extractor,
    "text": _text,
    "file_name": _file_name,
    "mime_type": _mime_type,
    "language": _language,
    "size_at_least": _size,
    "all": _all,
    "any": _any,
    "not": _not,
}
