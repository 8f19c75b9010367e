"""Entries: one module of a file on its way to rows, with everything wrong that is found on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.errors import Place, Problem
from lakeflow_job_meta.metadata.documents import Flaw
from lakeflow_job_meta.metadata.header import Header
from lakeflow_job_meta.metadata.places import Origin, Places, Tokens, descend, pointer
from lakeflow_job_meta.metadata.rows import JOB_ROW, JOB_SOURCE_TYPE, Row
from lakeflow_job_meta.metadata.suggestions import quoted
from lakeflow_job_meta.metadata.variables import MARK, resolve, resolve_text
from lakeflow_job_meta.names import canonical_json

JsonObject = dict[str, Any]


@dataclass(slots=True)
class FileContext:
    """What all entries of one file share.

    Args:
        top: the file's value; everything is located from there.
        header: its variables and defaults.
        variables: whether any variable stands in the file at all.
    """

    path: str
    top: Any
    header: Header
    variables: bool
    places: Places

    def place(self, tokens: Tokens, *, at_key: bool = False) -> Place:
        """Where the part `tokens` of the file stands, or the nearest part around it."""
        _, place = descend(self.top, self.top.place, tokens, at_key=at_key)
        return Place(self.path, *place)


@dataclass(slots=True)
class Entry:
    """One module of a file.

    Args:
        at: keys inside the file.
        node: the file's value there.
        name: the module's name; the best guess where it cannot be told (`named` False).
        rows: what it gives.
        problems: what is wrong with its form; `metadata.build` finds the rest.
        broken: source_ids that exist but give no row.
    """

    file: FileContext
    at: Tokens
    node: Any
    name: str = ""
    named: bool = True
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    _explained: set[Place] = field(default_factory=set)
    _told: set[Problem] = field(default_factory=set)

    def report(self, tokens: Tokens, message: str, *, at_key: bool = False, source_id: str = "") -> None:
        """Add a problem at keys inside the file."""
        self._add(message, (self.file.place(tokens, at_key=at_key), pointer(tokens)), source_id)

    def flaw(self, flaw: Flaw) -> None:
        """Add what the parser found in this part of the file; it explains whatever else is wrong at its place."""
        self._add(flaw.message, (Place(self.file.path, *flaw.place), pointer(flaw.tokens)), "", explains=True)

    def _add(
        self, message: str, spot: tuple[Place, str] | None, source_id: str, *, explains: bool = False
    ) -> None:
        place, at = spot or (self.file.place(self.at), pointer(self.at))
        problem = Problem(message, place, at, self.name, source_id)
        if problem in self._told or (place in self._explained and not explains):
            return
        self._told.add(problem)
        self.problems.append(problem)
        if explains:
            self._explained.add(place)

    def read_name(self, raw: Any, tokens: Tokens, *, at_key: bool = False) -> None:
        """Take the module's name from the file, variables replaced."""
        self.name = raw if isinstance(raw, str) else pointer(self.at)
        if not isinstance(raw, str):
            self.named = False
            self.report(
                tokens,
                "module_name is missing" if raw is None else "module_name must be text: write it in quotes",
            )
            return
        header = self.file.header
        text, wrong = resolve_text(raw, header.values, header.declared)
        for message in wrong:
            self.named = False
            self.report(tokens, message, at_key=at_key)
        if not wrong:
            self.name = text

    def text(self, raw: str, origins: list[Origin], part: Tokens, source_id: str) -> str:
        """A text of a column, variables replaced."""
        if not self.file.variables or MARK not in raw:
            return raw
        header = self.file.header
        text, wrong = resolve_text(raw, header.values, header.declared)
        for message in wrong:
            self._add(message, locate(self.file.path, origins, part), source_id, explains=True)
        return text

    def config(self, value: Any, origins: list[Origin], part: Tokens, source_id: str) -> str:
        """A config as the JSON text of its row, variables replaced and what they bring escaped."""

        def report(path: Tokens, message: str) -> None:
            self._add(message, locate(self.file.path, origins, (*part, *path)), source_id, explains=True)

        if self.file.variables and value:
            header = self.file.header
            value = resolve(value, header.values, report, header.declared, escaped=True)
        return canonical_json(value) if value else "{}"

    def report_part(
        self, origins: list[Origin], part: Tokens, message: str, source_id: str, *, at_key: bool = False
    ) -> None:
        """As `report`, for a part of a row that defaults may have brought."""
        self._add(message, locate(self.file.path, origins, part, at_key=at_key), source_id)

    def add_job_row(self, job: Mapping[str, Any], origins: list[Origin], *, active: bool) -> None:
        """Add the job row, when there is something to say."""
        self.file.places.add((self.name, JOB_ROW), origins)
        if job or not active:
            text = self.config(job, origins, ("transformation_config",), "")
            self.rows.append(Row(JOB_ROW, self.name, JOB_SOURCE_TYPE, 0, "{}", "{}", text, active))

    def claims_source(self, source_id: str, seen: dict[str, Tokens], at: Tokens) -> bool:
        """Whether no other source of the module has this id; tells of both places when one has."""
        former = seen.setdefault(source_id, at)
        if former is at:
            return True
        other = self.file.place(former)
        self.report(
            at,
            f"source_id {quoted(source_id)} is taken: another source has it at {other}",
            source_id=source_id,
        )
        return False


def locate(
    path: str, origins: list[Origin], part: Tokens, *, at_key: bool = False
) -> tuple[Place, str] | None:
    """Place and file pointer of a part of a row with these origins."""
    return Places(path, {("", ""): origins}).find(("", ""), part, at_key=at_key)
