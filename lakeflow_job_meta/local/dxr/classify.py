"""Applies the rules to one file."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from lakeflow_job_meta.local.dxr import text as texts
from lakeflow_job_meta.local.dxr.conditions import Facts
from lakeflow_job_meta.local.dxr.rules import Annotator, Extractor, Redactor, Rules
from lakeflow_job_meta.local.dxr.store import Document

BEFORE, AFTER = 80, 40
"""Characters around a phrase in which a word of `near` counts."""
LANGUAGE_CHARACTERS = 5000
MAX_ANNOTATIONS = 10_000
"""Of one annotator in one file."""
REDACTED = "[REDACTED]"
_WORD = re.compile(r"[^\W\d_]+")


def classify(
    rules: Rules, name: str, content_type: str, size: int, path: Path, *, max_text: int = 4 * 1024 * 1024
) -> Document:
    """What the rules find in a file.

    Args:
        rules: to apply.
        name: upload name.
        content_type: as it was sent; the bytes and the name know better.
        size: bytes.
        path: where the bytes are.
        max_text: so much of a text file is read.
    """
    mime_type = texts.mime_type_of(name, path)
    text, status = texts.extract(mime_type, path, max_text)
    facts = Facts(name, mime_type, size, language_of(rules, text), text)
    annotations: list[list[Any]] = []
    for annotator in rules.annotators:
        for found in annotate(annotator, text):
            annotations.append(found)
            facts.phrases.setdefault(annotator.id, set()).add(found[0])
            facts.domains.setdefault(annotator.domain, set()).add(found[0])
    metadata_status = "TEXT_UNAVAILABLE"
    if status == texts.UNSUPPORTED:
        metadata_status = "UNSUPPORTED_MIME_TYPE"
    elif status == texts.SUCCESS:
        metadata_status = "SUCCESS"
        for extractor in rules.extractors:
            value = extracted(extractor, facts)
            if value is not None:
                facts.extracted[str(extractor.id)] = value
    for label in rules.labels:
        if label.when(facts):
            # Later labels may ask for this one.
            facts.labels.append(label.id)
    category = next((each.name for each in rules.categories if each.when(facts)), "")
    return Document(
        mime_type=mime_type,
        language=facts.language,
        text_status=status,
        annotations=sorted(annotations, key=lambda found: (found[1], found[2])),
        labels=facts.labels,
        extracted=facts.extracted,
        metadata_status=metadata_status,
        category=category,
        text=text,
    )


def annotate(annotator: Annotator, text: str) -> list[list[Any]]:
    """The phrases of one annotator: [value, start, end, annotator id]."""
    found: list[list[Any]] = []
    for pattern in annotator.patterns:
        group: int | str = "value" if "value" in pattern.groupindex else 0
        for match in pattern.finditer(text):
            value = match.group(group)
            if annotator.check is not None and not annotator.check(value):
                continue
            start, end = match.span(group)
            if annotator.near is not None and not annotator.near.search(
                text, max(0, start - BEFORE), end + AFTER
            ):
                continue
            found.append([value, start, end, annotator.id])
            if len(found) == MAX_ANNOTATIONS:
                return found
    if len(annotator.patterns) > 1:
        found = _without_overlaps(found)
    return found


def _without_overlaps(found: list[list[Any]]) -> list[list[Any]]:
    kept: list[list[Any]] = []
    for each in sorted(found, key=lambda one: (one[1], -one[2])):
        if not kept or each[1] >= kept[-1][2]:
            kept.append(each)
    return kept


def extracted(extractor: Extractor, facts: Facts) -> Any:
    """The value that an extractor gives for a file, None for none."""
    for value, when in extractor.values:
        if when(facts):
            return value
    for pattern in extractor.patterns:
        match = pattern.search(facts.text)
        if match:
            return _typed(match.group(1), extractor.type)
    return None


def language_of(rules: Rules, text: str) -> str:
    """The language whose words are most frequent, empty when none has two."""
    words = Counter(word.lower() for word in _WORD.findall(text[:LANGUAGE_CHARACTERS]))
    scores = {name: sum(words[word] for word in known) for name, known in rules.languages.items()}
    best = max(scores, key=lambda name: scores[name], default="")
    return best if best and scores[best] >= 2 else ""


def redact(redactor: Redactor, text: str, annotations: list[list[Any]]) -> str:
    """The text with the redactor's phrases blacked out."""
    parts: list[str] = []
    at = 0
    for _, start, end, annotator in annotations:
        if redactor.annotators is not None and annotator not in redactor.annotators:
            continue
        if start >= at:
            parts += [text[at:start], REDACTED]
        at = max(at, end)
    return "".join([*parts, text[at:]])


def _typed(value: str, kind: str) -> Any:
    if kind == "NUMBER":
        try:
            number = float(value.replace(",", ""))
        except ValueError:
            return None
        return int(number) if number.is_integer() else number
    if kind == "BOOLEAN":
        return value.strip().lower() in ("true", "yes", "1")
    return value
