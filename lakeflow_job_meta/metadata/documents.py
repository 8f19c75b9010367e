"""Documents: a YAML file's bytes become plain values that know their lines and columns, or problems.

PyYAML's parser is read event by event (libyaml's where it is there), so that nesting, aliases and tags are judged
before anything is built, and so that nothing recurses.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from lakeflow_job_meta.errors import Place, Problem
from lakeflow_job_meta.metadata.places import YamlList, YamlMap, pointer
from lakeflow_job_meta.metadata.scalars import plain, plain_key
from lakeflow_job_meta.metadata.suggestions import quoted

#: A larger file is refused.
MAX_BYTES = 64 * 1024 * 1024
#: Deeper nesting is refused; the Jobs API needs about fifteen levels.
MAX_DEPTH = 100
#: What aliases may add to a file when they are written out, in characters.
MAX_EXPANSION = 16 * 1024 * 1024

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BAD_CHARACTER = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong inside a document that could be parsed: it concerns the part at `tokens` alone."""

    tokens: tuple[str | int, ...]
    place: tuple[int, int]
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file.

    Args:
        value: what the file says: YamlMap, YamlList or a scalar; None when it is empty or `problem` is set.
        flaws: duplicate keys, surprises of YAML 1.1, tags: each belongs to a part of the file.
        problem: the file does not parse; nothing of it can be taken.
    """

    value: Any = None
    flaws: tuple[Flaw, ...] = ()
    problem: Problem | None = None


class _Refused(Exception):
    """The document cannot be read; args: message, line, column (1-based)."""


def read_document(data: bytes, path: str) -> Document:
    """Parse a YAML file. Never raises: what is wrong is in the document."""
    try:
        text = _decode(data)
        return _Builder(text).build()
    except _Refused as refusal:
        message, line, column = refusal.args
        return Document(problem=Problem(message, Place(path, line, column)))
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Document(problem=Problem(_syntax(e), Place(path, *where)))
    except yaml.YAMLError as e:
        return Document(problem=Problem(f"this is no YAML: {e}", Place(path, 1, 1)))


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise _Refused(f"the file has {len(data)} bytes, at most {MAX_BYTES} are read: split it", 1, 1)
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as e:
        before = data[: e.start].decode(encoding, "replace")
        message = f"byte 0x{data[e.start]:02x} is no {encoding.removesuffix('-sig').upper()}: save the file as UTF-8"
        raise _Refused(message, *_position(before, len(before))) from e
    bad = _BAD_CHARACTER.search(text)
    if bad:
        message = f'the character U+{ord(bad[0]):04X} is not allowed in YAML: remove it, or write "\\u{ord(bad[0]):04x}"'
        raise _Refused(message, *_position(text, bad.start()))
    return text


def _position(text: str, index: int) -> tuple[int, int]:
    line, start = 1, 0
    for match in _BREAK.finditer(text, 0, index):
        line, start = line + 1, match.end()
    return line, index - start + 1


def _syntax(e: yaml.MarkedYAMLError) -> str:
    problem = str(e.problem or e.context or "cannot be parsed")
    remedy = ""
    if "'\\t'" in problem or "cannot start any token" in problem:
        remedy = ": indent with spaces, and put a text that starts with a special character in quotes"
    elif "mapping values are not allowed" in problem:
        remedy = ': check the indentation, and put a text with ": " in it in quotes'
    elif "undefined alias" in problem:
        remedy = ": put a text that starts with * in quotes"
    context = f" ({e.context})" if e.context and e.context != problem else ""
    return f"YAML syntax: {problem}{context}{remedy}"


@dataclass(slots=True)
class _Frame:
    """An open mapping or list."""

    container: Any
    anchor: str | None
    size: int = 0
    key: str | None = None
    key_place: tuple[int, int] = (0, 0)
    merging: bool = False
    merges: list[Any] = field(default_factory=list)


class _Builder:
    def __init__(self, text: str) -> None:
        self._loader = _Loader(text)
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._flaws: list[Flaw] = []
        self._expansion = 0
        self._value: Any = None

    def build(self) -> Document:
        get_event = self._loader.get_event
        documents = 0
        try:
            while True:
                event = get_event()
                kind = type(event)
                if kind is yaml.ScalarEvent:
                    self._scalar(event)
                elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                    self._start(event)
                elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                    self._end()
                elif kind is yaml.AliasEvent:
                    self._alias(event)
                elif kind is yaml.DocumentStartEvent:
                    documents += 1
                    if documents > 1:
                        message = "a second document starts here (---): write one document a file"
                        raise _Refused(message, *_place(event))
                elif kind is yaml.StreamEndEvent:
                    break
        finally:
            self._loader.dispose()
        return Document(self._value, tuple(self._flaws))

    # ------------------------------------------------------------ events

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        place = _place(event)
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.key is None and not frame.merging and type(frame.container) is YamlMap:
            self._key(frame, event, text, place)
            return
        value: Any = text
        tag = event.tag
        if tag is None:
            if event.implicit[0]:
                value, wrong = plain(text)
                if wrong:
                    self._flaw(wrong, place)
        elif tag in _PLAIN_TAGS:
            value, wrong = plain(text)
            if wrong or type(value).__name__ != {"null": "NoneType"}.get(tag[18:], tag[18:]):
                self._flaw(wrong or f"{quoted(text)} is no {tag[18:]}: leave the tag out", place)
        elif tag not in _TEXT_TAGS:
            self._flaw(f"the tag {quoted(tag)} is not allowed: only plain YAML values are read", place)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, len(text) + 1)
        self._add(value, place, len(text) + 1)

    def _key(self, frame: _Frame, event: Any, text: str, place: tuple[int, int]) -> None:
        is_plain = event.tag is None and event.implicit[0]
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            self._flaw(f"the tag {quoted(event.tag)} is not allowed on a key", place)
        if event.anchor is not None:
            self._anchors[event.anchor] = (text, len(text) + 1)
        if is_plain and text == "<<":
            frame.merging = True
            return
        wrong = plain_key(text) if is_plain else ""
        self._name(frame, text, place)
        if wrong:
            self._flaw(wrong, place)

    def _name(self, frame: _Frame, text: str, place: tuple[int, int]) -> None:
        frame.key, frame.key_place = text, place
        frame.size += len(text) + 1
        former = frame.container.places.get(text)
        if former is not None:
            message = f"duplicate key {quoted(text)}: it is at line {former[0]}, column {former[1]} already"
            self._flaw(message, place)

    def _start(self, event: Any) -> None:
        place = _place(event)
        if len(self._frames) >= MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels", *place)
        frame = self._frames[-1] if self._frames else None
        is_map = type(event) is yaml.MappingStartEvent
        if frame is not None and frame.key is None and not frame.merging and type(frame.container) is YamlMap:
            what = "a mapping" if is_map else "a list"
            raise _Refused(f"{what} cannot be a key: put a text with braces or brackets in quotes", *place)
        wanted = "tag:yaml.org,2002:map" if is_map else "tag:yaml.org,2002:seq"
        if event.tag is not None and event.tag not in (wanted, "!"):
            self._flaw(f"the tag {quoted(event.tag)} is not allowed: only plain YAML values are read", place)
        container: Any = YamlMap(place) if is_map else YamlList(place)
        if event.anchor is not None:
            self._anchors[event.anchor] = (None, -1)  # open: an alias to it would hold itself
        self._frames.append(_Frame(container, event.anchor))

    def _end(self) -> None:
        frame = self._frames.pop()
        container = frame.container
        for source in frame.merges:
            for key, value in source.items():
                if key not in container.places:
                    container[key] = value
                    container.places[key] = source.places[key]
        size = frame.size + 2
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (container, size)
        self._add(container, container.place, size)

    def _alias(self, event: Any) -> None:
        place = _place(event)
        if event.anchor not in self._anchors:
            raise _Refused(
                f"undefined alias *{event.anchor}: put a text that starts with * in quotes", *place
            )
        value, size = self._anchors[event.anchor]
        if size < 0:
            raise _Refused(f"the alias *{event.anchor} stands inside what it names", *place)
        self._expansion += size
        if self._expansion > MAX_EXPANSION:
            message = (
                f"aliases write this file out to more than {MAX_EXPANSION} characters: write fewer of them"
            )
            raise _Refused(message, *place)
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.key is None and not frame.merging and type(frame.container) is YamlMap:
            if not isinstance(value, str):
                raise _Refused("only a text can be a key", *place)
            self._name(frame, value, place)
            return
        self._add(value, place, size)

    # ------------------------------------------------------------ building

    def _add(self, value: Any, place: tuple[int, int], size: int) -> None:
        if not self._frames:
            self._value = value
            return
        frame = self._frames[-1]
        frame.size += size
        container = frame.container
        if type(container) is YamlList:
            container.append(value)
            container.places.append(place)
        elif frame.merging:
            frame.merging = False
            sources = value if isinstance(value, YamlList) else [value]
            if all(isinstance(source, YamlMap) for source in sources):
                frame.merges.extend(sources)
            else:
                self._flaw("<< takes a mapping or a list of mappings", place)
        else:
            key = frame.key
            assert key is not None
            if key not in container.places:  # the first of two equal keys counts; the second is a flaw
                container[key] = value
                container.places[key] = (*frame.key_place, *place)
            frame.key = None

    def _flaw(self, message: str, place: tuple[int, int]) -> None:
        steps: list[str | int] = []
        for frame in self._frames:
            if type(frame.container) is YamlList:
                steps.append(len(frame.container))
            elif frame.key is not None:
                steps.append(frame.key)
        self._flaws.append(Flaw(tuple(steps), place, message))


def flaw_pointer(flaw: Flaw) -> str:
    """JSON Pointer of a flaw in its file."""
    return pointer(flaw.tokens)


def _place(event: Any) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1
