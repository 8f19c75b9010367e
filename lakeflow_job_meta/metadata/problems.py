"""Problems being collected: each gets its place, from the file where there is one, else from the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lakeflow_job_meta.errors import Place, Problem
from lakeflow_job_meta.metadata.places import Places, pointer
from lakeflow_job_meta.metadata.rows import JOB_ROW
from lakeflow_job_meta.metadata.shapes import Finding, tokens

#: More problems than this in one module are counted, not listed.
MAX_LISTED = 200
#: Characters of a name in a place; a longer one is cut.
MAX_SHOWN = 200

Part = tuple["str | int", ...]


class Problems:
    """All problems of one module.

    Args:
        table: full name of the control table, for rows that came from no file.
        places: origins of the rows in their file, if they came from one.
    """

    def __init__(self, module: str, table: str, places: Places | None) -> None:
        self._module = module
        self._table = table
        self._places = places
        self._found: dict[Problem, None] = {}
        self._left_out = 0

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, source_id: str, part: Part, message: str, *, at_key: bool = False) -> None:
        """Add one problem of a row (`source_id` empty: of the module) at the keys `part` inside it."""
        row = source_id or JOB_ROW
        where: Place | None = None
        at = pointer(part)
        if self._places is not None:
            found = self._places.find((self._module, row), part, at_key=at_key)
            if found is not None:
                where, at = found
        if where is None:
            where = row_place(self._table, self._module, source_id)
        problem = Problem(message, where, at, self._module, "" if source_id == JOB_ROW else source_id)
        if problem not in self._found and len(self._found) >= MAX_LISTED:
            self._left_out += 1
        else:
            self._found[problem] = None

    def findings(self, source_id: str, part: Part, found: Iterable[Finding]) -> None:
        """Add what judging a part of a row by its shape has found."""
        for finding in found:
            self.add(
                source_id, (*part, *tokens(finding.path)), finding.message, at_key=finding.kind == "unknown"
            )

    def listed(self) -> tuple[Problem, ...]:
        """Every problem, in order of place."""
        ordered = sorted(self._found, key=_order)
        if self._left_out:
            last = ordered[-1]
            text = f"and {self._left_out} more problems in module {self._module!r}"
            ordered.append(Problem(text, last.place, "", self._module))
        return tuple(ordered)


def row_place(table: str, module: str, source_id: str = "") -> Place:
    """The place of a row, or of a whole module; names that no line could hold are cut."""
    names = [module, source_id] if source_id else [module]
    return Place(
        table, key="/".join(name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..." for name in names)
    )


def _order(problem: Problem) -> tuple[object, ...]:
    place = problem.place or Place("")
    return (place.path, place.line, place.column, place.key, problem.pointer, problem.message)


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Problems of a whole file in order of place."""
    return tuple(sorted(problems, key=_order))
