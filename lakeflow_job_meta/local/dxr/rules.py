"""The rules of classification as typed values, read from `rules.yaml` and from users' files of its shape."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.dxr import checks
from lakeflow_job_meta.local.dxr.conditions import Condition, always, condition

_NAMESPACE = uuid.UUID("6f1d2c0e-2f5b-5a4e-9a43-0d8f2f3b7c11")
FIRST_FREE_ID = 1000
SECTIONS = ("annotators", "extractors", "labels", "categories", "redactors")
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "annotators": {
        "id": int, "name": str, "domain": str, "description": str, "patterns": list, "check": str, "near": list,
        "words": list, "remove": bool,
    },
    "extractors": {
        "id": int, "name": str, "type": str, "description": str, "values": list, "patterns": list, "remove": bool,
    },
    "labels": {
        "id": int, "name": str, "type": str, "description": str, "color": str, "when": dict, "remove": bool,
    },
    "categories": {"name": str, "when": dict, "remove": bool},
    "redactors": {"id": int, "name": str, "annotators": list, "domains": list, "remove": bool},
}  # fmt: skip


def stable_uuid(kind: str, name: str) -> str:
    """The UUID under which the public API knows a thing; the same in every process."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{name}"))


@dataclass(frozen=True)
class Annotator:
    """Finds phrases: by patterns, or, when there are words, as a dictionary."""

    id: int
    name: str
    domain: str
    description: str
    patterns: tuple[re.Pattern[str], ...]
    check: checks.Check | None
    near: re.Pattern[str] | None
    is_dictionary: bool

    @cached_property
    def uuid(self) -> str:
        return stable_uuid("annotator", self.name)


@dataclass(frozen=True)
class Extractor:
    """Gives a value of its type: the first of `values` whose condition holds, or what a pattern finds."""

    id: int
    name: str
    type: str
    description: str
    values: tuple[tuple[Any, Condition], ...]
    patterns: tuple[re.Pattern[str], ...]

    @cached_property
    def uuid(self) -> str:
        return stable_uuid("extractor", self.name)


@dataclass(frozen=True)
class Label:
    """Is given to a file when its condition holds."""

    id: int
    name: str
    type: str
    description: str
    color: str
    when: Condition

    @cached_property
    def uuid(self) -> str:
        return stable_uuid("label", self.name)


@dataclass(frozen=True)
class Category:
    name: str
    when: Condition


@dataclass(frozen=True)
class Redactor:
    """Blacks out the phrases of some annotators, of all when `annotators` is None."""

    id: int
    name: str
    annotators: frozenset[int] | None


@dataclass(frozen=True)
class Rules:
    """All rules, each section in the order of the file, which is the order of application."""

    annotators: tuple[Annotator, ...]
    extractors: tuple[Extractor, ...]
    labels: tuple[Label, ...]
    categories: tuple[Category, ...]
    redactors: tuple[Redactor, ...]
    languages: Mapping[str, frozenset[str]]

    @cached_property
    def annotator_by_id(self) -> Mapping[int, Annotator]:
        return {each.id: each for each in self.annotators}

    @cached_property
    def extractor_by_id(self) -> Mapping[int, Extractor]:
        return {each.id: each for each in self.extractors}

    @cached_property
    def label_by_id(self) -> Mapping[int, Label]:
        return {each.id: each for each in self.labels}

    @cached_property
    def redactor_by_id(self) -> Mapping[int, Redactor]:
        return {each.id: each for each in self.redactors}


def read_rules(*extensions: Path) -> Rules:
    """The rules of the package, with those of users' files added or put in their place.

    Raises:
        LocalError: a file cannot be read or says what cannot be; the message lists every problem.
    """
    merged: dict[str, dict[str, dict[str, Any]]] = {section: {} for section in SECTIONS}
    languages: dict[str, frozenset[str]] = {}
    own = files("lakeflow_job_meta.local.dxr").joinpath("rules.yaml")
    sources = [("rules.yaml", own.read_text(encoding="utf-8"))]
    for path in extensions:
        try:
            sources.append((str(path), path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as e:
            raise LocalError(f"the rules {path} cannot be read: {e}") from e
    problems: list[str] = []
    for shown, text in sources:
        try:
            data = yaml.safe_load(text) or {}
        except yaml.YAMLError as e:
            raise LocalError(f"the rules {shown} are no YAML: {e}") from e
        problems += [f"{shown}: {problem}" for problem in _merge(data, merged, languages)]
    if problems:
        raise LocalError("\n".join(problems))
    return _Builder(merged, languages).build()


def _merge(
    data: Any, merged: dict[str, dict[str, dict[str, Any]]], languages: dict[str, frozenset[str]]
) -> Iterable[str]:
    if not isinstance(data, dict):
        yield "must be a mapping with " + ", ".join(SECTIONS)
        return
    for section, entries in data.items():
        if section == "languages" and isinstance(entries, dict):
            languages.update({name: frozenset(map(str, words)) for name, words in entries.items()})
            continue
        if section not in SECTIONS or not isinstance(entries, list):
            yield f"{section}: must be one of {', '.join(SECTIONS)}, and a list"
            continue
        for number, entry in enumerate(entries, 1):
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name:
                yield f"{section}[{number}]: must be a mapping with a name"
                continue
            wrong = [
                key
                for key, value in entry.items()
                if key not in _FIELDS[section] or not isinstance(value, _FIELDS[section][key])
            ]
            if wrong:
                yield f"{section} {name!r}: unknown or of the wrong type: {', '.join(map(str, wrong))}"
                continue
            if entry.get("remove"):
                merged[section].pop(name, None)
                continue
            old = merged[section].get(name)
            merged[section][name] = entry if old is None or "id" not in old else {"id": old["id"], **entry}


class _Builder:
    """Turns merged entries into rules; collects what is wrong with them."""

    def __init__(
        self, merged: dict[str, dict[str, dict[str, Any]]], languages: dict[str, frozenset[str]]
    ) -> None:
        self._merged = merged
        self._languages = languages
        self._problems: list[str] = []
        self._where = ""

    def build(self) -> Rules:
        for section in SECTIONS:
            if section != "categories":
                self._number(section)
        self._domains = {entry.get("domain", "Other") for entry in self._merged["annotators"].values()}
        rules = Rules(
            annotators=tuple(self._each("annotators", self._annotator)),
            extractors=tuple(self._each("extractors", self._extractor)),
            labels=tuple(self._each("labels", self._label)),
            categories=tuple(self._each("categories", self._category)),
            redactors=tuple(self._each("redactors", self._redactor)),
            languages=self._languages,
        )
        if self._problems:
            raise LocalError("\n".join(f"rules: {problem}" for problem in self._problems))
        return rules

    def _each(self, section: str, make: Any) -> Iterable[Any]:
        for name, entry in self._merged[section].items():
            self._where = f"{section} {name!r}"
            yield make(entry)

    def _number(self, section: str) -> None:
        taken: dict[int, str] = {}
        for name, entry in self._merged[section].items():
            if "id" in entry and taken.setdefault(entry["id"], name) != name:
                self._problems.append(
                    f"{section} {name!r} and {taken[entry['id']]!r} have one id, {entry['id']}"
                )
        free = max([FIRST_FREE_ID - 1, *taken])
        for entry in self._merged[section].values():
            if "id" not in entry:
                free += 1
                entry["id"] = free

    def _annotator(self, entry: dict[str, Any]) -> Annotator:
        words = entry.get("words")
        patterns = self._patterns(entry.get("patterns", []))
        if bool(words) == bool(patterns):
            self._problem("needs either patterns or words")
        if words:
            patterns = (_dictionary(words),)
        check = None
        if "check" in entry:
            check = checks.check(entry["check"])
            if check is None:
                self._problem(f"unknown check {entry['check']!r}; known are {', '.join(checks.names())}")
        return Annotator(
            entry["id"],
            entry["name"],
            entry.get("domain", "Other"),
            entry.get("description", ""),
            patterns,
            check,
            _dictionary(entry["near"]) if entry.get("near") else None,
            bool(words),
        )

    def _extractor(self, entry: dict[str, Any]) -> Extractor:
        kind = entry.get("type", "TEXT")
        if kind not in ("TEXT", "NUMBER", "BOOLEAN"):
            self._problem("type is TEXT, NUMBER or BOOLEAN")
        values = []
        for value in entry.get("values", []):
            if not isinstance(value, dict) or not {"value"} <= set(value) <= {"value", "when"}:
                self._problem("each of values has a value and a condition `when`")
                continue
            values.append((value["value"], self._condition(value.get("when", {"all": []}))))
        patterns = self._patterns(entry.get("patterns", []))
        if any(not pattern.groups for pattern in patterns):
            self._problem("each pattern needs a group: it is the value")
        return Extractor(
            entry["id"], entry["name"], kind, entry.get("description", ""), tuple(values), patterns
        )

    def _label(self, entry: dict[str, Any]) -> Label:
        return Label(
            entry["id"],
            entry["name"],
            entry.get("type", "STANDARD"),
            entry.get("description", ""),
            entry.get("color", "7F8C8D"),
            self._condition(entry.get("when")),
        )

    def _category(self, entry: dict[str, Any]) -> Category:
        return Category(entry["name"], self._condition(entry.get("when")))

    def _redactor(self, entry: dict[str, Any]) -> Redactor:
        named, domains = entry.get("annotators"), entry.get("domains")
        if named is None and domains is None:
            return Redactor(entry["id"], entry["name"], None)
        annotators = self._merged["annotators"]
        for name in named or ():
            if name not in annotators:
                self._problem(f"unknown annotator {name!r}")
        chosen = {
            one["id"]
            for name, one in annotators.items()
            if name in (named or ()) or one.get("domain") in (domains or ())
        }
        return Redactor(entry["id"], entry["name"], frozenset(chosen))

    def _condition(self, spec: Any) -> Condition:
        known = {
            "annotator": {name: entry["id"] for name, entry in self._merged["annotators"].items()},
            "label": {name: entry["id"] for name, entry in self._merged["labels"].items()},
            "extractor": {name: entry["id"] for name, entry in self._merged["extractors"].items()},
            "domain": dict.fromkeys(self._domains, 0),
        }
        try:
            return condition(spec, known)
        except ValueError as e:
            self._problem(str(e))
            return always

    def _patterns(self, texts: Sequence[Any]) -> tuple[re.Pattern[str], ...]:
        compiled = []
        for text in texts:
            try:
                compiled.append(re.compile(str(text)))
            except re.error as e:
                self._problem(f"pattern {text!r}: {e}")
        return tuple(compiled)

    def _problem(self, text: str) -> None:
        self._problems.append(f"{self._where}: {text}")


def _dictionary(words: Sequence[Any]) -> re.Pattern[str]:
    # The longest first, so that "strictly confidential" is one phrase.
    alternatives = "|".join(
        re.escape(str(word)).replace(r"\ ", r"\s+")
        for word in sorted(words, key=lambda word: -len(str(word)))
    )
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)
