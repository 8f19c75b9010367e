"""Places: where in a file each part of a row was written, found only when a problem asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.errors import Place

Tokens = tuple["str | int", ...]


class YamlMap(dict[str, Any]):
    """A mapping of a file: `place` is its own, `places[key]` is (key line, key column, value line, value column)."""

    __slots__ = ("place", "places")

    def __init__(self, place: tuple[int, int]) -> None:
        super().__init__()
        self.place = place
        self.places: dict[str, tuple[int, int, int, int]] = {}


class YamlList(list[Any]):
    """A list of a file: `place` is its own, `places[index]` is (line, column)."""

    __slots__ = ("place", "places")

    def __init__(self, place: tuple[int, int]) -> None:
        super().__init__()
        self.place = place
        self.places: list[tuple[int, int]] = []


def pointer(tokens: Iterable[str | int]) -> str:
    """JSON Pointer (RFC 6901) of these keys and indexes."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


@dataclass(frozen=True, slots=True)
class Origin:
    """A part of a file that a part of a row came from.

    Args:
        part: keys inside the row (`("transformation_config",)`).
        at: keys inside the file.
        node: the file's value there.
        place: its line and column.
    """

    part: Tokens
    at: Tokens
    node: Any
    place: tuple[int, int]


@dataclass(slots=True)
class Places:
    """Origins of the rows of one file, strongest first for each row."""

    path: str
    origins: dict[tuple[str, str], list[Origin]] = field(default_factory=dict)

    def add(self, key: tuple[str, str], origins: Iterable[Origin]) -> None:
        self.origins.setdefault(key, []).extend(origins)

    def find(
        self, key: tuple[str, str], tokens: Sequence[str | int], *, at_key: bool = False
    ) -> tuple[Place, str] | None:
        """Place and file pointer of the part `tokens` of a row, or of the nearest part around it.

        Args:
            at_key: point at the last key itself and not at its value.
        """
        best: tuple[int, Place, str] | None = None
        for origin in self.origins.get(key, ()):
            depth = len(origin.part)
            if tuple(tokens[:depth]) != origin.part:
                continue
            rest = tokens[depth:]
            steps, place = descend(origin.node, origin.place, rest, at_key=at_key)
            if best is None or depth + steps > best[0]:
                where = Place(self.path, *place)
                best = (depth + steps, where, pointer((*origin.at, *rest[:steps])))
        return None if best is None else (best[1], best[2])


def descend(
    node: Any, place: tuple[int, int], tokens: Sequence[str | int], *, at_key: bool = False
) -> tuple[int, tuple[int, int]]:
    """How many of `tokens` lead on from `node`, and the line and column where they end."""
    steps = 0
    for token in tokens:
        if isinstance(node, YamlMap) and token in node.places:
            spot = node.places[str(token)]
            last = at_key and steps == len(tokens) - 1
            place = (spot[0], spot[1]) if last else (spot[2], spot[3])
            node = node.get(str(token))
        elif isinstance(node, YamlList) and isinstance(token, int) and token < len(node.places):
            place = node.places[token]
            node = node[token]
        else:
            break
        steps += 1
    return steps, place
