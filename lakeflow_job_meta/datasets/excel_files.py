"""Excel workbooks: one sheet as Parquet, its cells with the types that they have.

Values are what Excel stored, so a formula that was never calculated has none: that is an error, not an
empty cell. An error value (`#DIV/0!`) is no value; it is told with its row.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.datasets import reading
from lakeflow_job_meta.datasets.columns import Rows, header_names, landed_names, write_rows
from lakeflow_job_meta.errors import DatasetError

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

#: Rows in which the header is looked for.
HEAD = 50
_BLOCK = 1024 * 1024


def read_excel(source: Path, target: Path, *, shown: str, sheet: str = "") -> reading.Converted:
    """A sheet of an Excel workbook as Parquet.

    Args:
        sheet: its name; empty: the first one that has rows.

    Raises:
        DatasetError: the workbook is damaged, has no such sheet or no rows, or a formula has no stored value.
    """
    _check_members(source, shown)
    with _edge(shown), closing(_open(source, shown)) as book:
        name = _sheet(book, sheet, shown)
        header, found_names = _header(_cells(book, name, shown), shown)
        names, renamed = landed_names(found_names, shown, header)
        width = len(names)
        told: list[reading.Malformed] = []
        wrong = 0

        def values() -> Iterator[list[Any]]:
            nonlocal wrong
            wrong = 0
            told.clear()
            for number, row in _cells(book, name, shown):
                if number <= header or all(value is None for value, _ in row):
                    continue
                found: list[Any] = []
                for place in range(width):
                    value, kind = row[place] if place < len(row) else (None, "n")
                    if kind == "e":
                        wrong += 1
                        if len(told) < reading.TOLD:
                            told.append(
                                reading.Malformed(number, f"{names[place]}: {value} is an error, not a value")
                            )
                        value = None
                    found.append(value)
                beyond = next((place for place in range(width, len(row)) if row[place][0] is not None), None)
                if beyond is not None:
                    wrong += 1
                    if len(told) < reading.TOLD:
                        cell = f"{_letter(beyond)}{number}"
                        told.append(reading.Malformed(number, f"{cell} lies beyond the header's last column"))
                yield found

        _check_formulas(source, book, name, header, shown)
        rows = write_rows(
            Rows(tuple(names), values, midnights=True), target, shown=f"{shown}, sheet {name!r}"
        )
    return reading.Converted("excel", rows, wrong, tuple(told), {"sheet": name}, renamed)


def _letter(place: int) -> str:
    from openpyxl.utils import get_column_letter

    return str(get_column_letter(place + 1))


def _open(source: Path, shown: str, *, formulas: bool = False) -> Workbook:
    with _edge(shown):
        import openpyxl

        return openpyxl.load_workbook(source, read_only=True, data_only=not formulas, keep_links=False)


@contextmanager
def _edge(shown: str) -> Iterator[None]:
    """What openpyxl lets through on damaged files, which is of no tree of its own, as ours."""
    try:
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise DatasetError(
            f"{shown}: reading Excel needs openpyxl: pip install 'lakeflow-job-meta[datasets]'"
        ) from error
    try:
        yield
    except (
        InvalidFileException,
        zipfile.BadZipFile,
        zlib.error,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        SyntaxError,  # xml.etree.ElementTree.ParseError is one
        OSError,
        EOFError,
    ) as error:
        line = (str(error).splitlines() or [""])[0]
        raise DatasetError(
            f"{shown} is damaged, or no Excel workbook: {line or type(error).__name__}; save it anew, or as CSV"
        ) from error


def _sheet(book: Workbook, wanted: str, shown: str) -> str:
    names = [str(sheet.title) for sheet in book.worksheets]
    if wanted:
        if wanted not in names:
            raise DatasetError(f"{shown} has no sheet {wanted!r}; it has {', '.join(map(repr, names))}")
        return wanted
    for name in names:
        if any(value is not None for _, row in _cells(book, name, shown) for value, _ in row):
            return name
    raise DatasetError(f"{shown} is empty: no sheet has a filled cell")


def _cells(book: Workbook, name: str, shown: str) -> Iterator[tuple[int, list[tuple[Any, str]]]]:
    """(row, [(value, openpyxl's type)]) of a sheet; blanks are None, and rows are as wide as their last cell.

    Raises:
        DatasetError: it has more rows than a sheet can have, or too many cells: a few bytes can say either.
    """
    sheet = book[name]
    sheet.reset_dimensions()  # what the file says of its size may be anything
    cells = 0
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells += len(row)
        if number > reading.EXCEL_ROWS or cells > reading.EXCEL_CELLS:
            raise DatasetError(
                f"{shown}:{number}: sheet {name!r} has more than {reading.EXCEL_ROWS} rows, or "
                f"{reading.EXCEL_CELLS} cells: it may be a bomb; if it is not, save the sheet as CSV"
            )
        yield number, [(_blank(cell.value), cell.data_type) for cell in row]


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _header(cells: Iterator[tuple[int, list[tuple[Any, str]]]], shown: str) -> tuple[int, list[str]]:
    """(row of the header, names): the first row that is as wide as most are and is no title."""
    head: list[tuple[int, list[Any]]] = []
    for number, row in cells:
        values = [value for value, _ in row]
        while values and values[-1] is None:
            values.pop()
        if values:
            head.append((number, values))
        if len(head) >= HEAD:
            break
    number, values = head[header_at([row for _, row in head])]
    return number, header_names(values)


def header_at(rows: Sequence[Sequence[Any]]) -> int:
    """Which of the first rows is the header: the first as wide as most of them are.

    A row with its first cell only is a title where most rows are wider.
    """
    widths = Counter(len(row) for row in rows)
    usual = max(widths, key=lambda width: widths[width])
    for place, row in enumerate(rows):
        filled = [cell for cell in row if cell not in (None, "")]
        if len(row) >= usual and not (usual > 1 and len(filled) == 1 and row[0] not in (None, "")):
            return place
    return 0


def _check_formulas(source: Path, book: Workbook, name: str, header: int, shown: str) -> None:
    """Raises DatasetError when a formula has no stored value: nothing calculated it since it was written."""
    if not _has_formulas(source):
        return
    with closing(_open(source, shown, formulas=True)) as written:
        values, texts = _cells(book, name, shown), _cells(written, name, shown)
        for (number, row), (_, formulas) in zip(values, texts, strict=False):
            for place, (_, kind) in enumerate(formulas):
                value = row[place][0] if place < len(row) else None
                if kind == "f" and value is None and number >= header:
                    raise DatasetError(
                        f"{shown}:{number}: cell {_letter(place)}{number} of sheet {name!r} is a formula "
                        "that was never calculated: open and save the workbook in Excel, or save the sheet as CSV"
                    )


def _check_members(source: Path, shown: str) -> None:
    """Raises DatasetError when one text of the workbook is too long to be a cell's; nothing is held in memory."""
    with _edge(shown), zipfile.ZipFile(source) as archive:
        for entry in archive.namelist():
            if not entry.endswith(".xml"):
                continue
            length = 0
            with archive.open(entry) as member:
                while block := member.read(_BLOCK):
                    end = block.rfind(b"<")
                    length = length + len(block) if end < 0 else len(block) - end
                    if length > reading.LINE_LIMIT:
                        raise DatasetError(
                            f"{shown}: a cell has more than {reading.LINE_LIMIT // 2**20} MiB of text: it may be a "
                            "bomb; if it is not, save the sheet as CSV"
                        )


def _has_formulas(source: Path) -> bool:
    with zipfile.ZipFile(source) as archive:
        for entry in archive.namelist():
            if not entry.startswith("xl/worksheets/") or not entry.endswith(".xml"):
                continue
            with archive.open(entry) as sheet:
                end = b""
                while block := sheet.read(_BLOCK):
                    text = end + block
                    if b"<f>" in text or b"<f " in text:
                        return True
                    end = block[-3:]
    return False
