"""Files that few people bring and somebody will: names that collide, sheets that are bombs, lists that are huge."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.datasets import reading
from lakeflow_job_meta.datasets.reading import Converted, convert
from lakeflow_job_meta.errors import DatasetError

pytest.importorskip("duckdb")
#: The first row of a sheet, as XML.
HEADER = "".join(
    ['<row r="1">', *(f'<c r="{n.upper()}1" t="inlineStr"><is><t>{n}</t></is></c>' for n in "ab"), "</row>"]
)


@pytest.fixture
def take(tmp_path: Path) -> Any:
    """Convert a file of these bytes (or text) and return (what came of it, its rows)."""

    def call(name: str, content: bytes | str) -> tuple[Converted, list[dict[str, Any]]]:
        from pyarrow import parquet

        source, target = tmp_path / name, tmp_path / "out.parquet"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = convert(source, target, shown=name)
        return found, parquet.read_table(target).to_pylist()

    return call


def workbook(folder: Path, rows: list[list[Any]]) -> bytes:
    """A workbook with these rows."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    path = folder / "made.xlsx"
    book.save(path)
    return path.read_bytes()


def sheet(folder: Path, rows: str, before: str = "") -> bytes:
    """A workbook whose only sheet has this XML as its rows, and before them."""
    workbook(folder, [])
    other = folder / "other.xlsx"
    text = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f"{before}<sheetData>{rows}</sheetData></worksheet>"
    )
    with (
        zipfile.ZipFile(folder / "made.xlsx") as source,
        zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for entry in source.namelist():
            own = entry == "xl/worksheets/sheet1.xml"
            made.writestr(entry, text if own else source.read(entry))
    return other.read_bytes()


@pytest.mark.parametrize("kind", ["csv", "xlsx", "json", "parquet"])
def test_a4_names_that_a_table_cannot_tell_apart(take: Any, tmp_path: Path, kind: str) -> None:
    """In a file of any kind: no column is lost, the second one's new name is told, and its values stay its own."""
    if kind == "csv":
        content = b"Id,id\n1,x\n"
    elif kind == "json":
        content = b'[{"Id": "1", "id": "x"}]'
    elif kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"Id": ["1"], "id": ["x"]}), tmp_path / "made")
        content = (tmp_path / "made").read_bytes()
    else:
        content = workbook(tmp_path, [["Id", "id"], ["1", "x"]])
    found, rows = take(f"a.{kind}", content)
    assert found.renamed == {"id": "id_2"}
    assert rows == [{"Id": "1", "id_2": "x"}]


def test_a4_a_column_name_that_no_table_takes(take: Any) -> None:
    """Longer than Unity Catalog's 255 characters: refused with the file and the line."""
    assert take("a.csv", f"{'x' * 255},b\n1,2\n")[0].rows == 1
    with pytest.raises(DatasetError, match=r"a\.csv:1: the column 'x+'\.\.\. has a name of 256 characters"):
        take("a.csv", f"{'x' * 256},b\n1,2\n")


@pytest.mark.parametrize("after", [1, 3, 100_000])
def test_a1_rows_behind_a_quote_that_is_not_closed_are_not_lost(take: Any, after: int) -> None:
    """They would be inside of the quote, one row for all: refused with the line, be they few or many.

    A stray quote that ends in its own line costs that row only, which is told.
    """
    rows = "".join(f"{number},x\n" for number in range(after))
    with pytest.raises(DatasetError, match=r"q\.csv:3: the quote that opens there is not closed"):
        take("q.csv", f'a,b\n1,2\n3,"4\n{rows}')
    found, taken = take("q.csv", f'a,b\n1,2\n3,"x"y\n{rows}')
    assert (len(taken), found.malformed, found.told[0].line) == (after + 1, 1, 3)


def test_a1_rows_between_two_stray_quotes_are_not_lost(take: Any) -> None:
    """In a file so large that it is read in parts, by several threads, two quotes do not make one row of the rest."""
    part = "".join(f"{number},x{number}\n" for number in range(400_000))
    with pytest.raises(DatasetError, match=r"q\.csv:\d+: the quote that opens there is not closed"):
        take("q.csv", f'a,b\n1,2\n7,"open\n{part}8,"open\n{part}')


def test_a2_a_sheet_is_as_large_as_its_cells_not_as_it_says(take: Any, tmp_path: Path) -> None:
    """A declared size of all that Excel knows costs nothing; a row number beyond that is refused at once."""
    huge = '<dimension ref="A1:XFD1048576"/>'
    row = '<row r="2"><c r="A2"><v>1</v></c></row>'
    assert take("a.xlsx", sheet(tmp_path, HEADER + row, huge))[1] == [{"a": 1, "b": None}]
    far = '<row r="99999999999"><c r="A99999999999"><v>1</v></c></row>'
    with pytest.raises(DatasetError, match=r"a\.xlsx:1048577: sheet 'Sheet' has more than 1048576 rows"):
        take("a.xlsx", sheet(tmp_path, HEADER + far))


def test_a2_a_few_bytes_that_are_many_cells(
    take: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows with one cell far to the right are that wide: their blank cells count, too."""
    monkeypatch.setattr(reading, "EXCEL_CELLS", 100_000)
    wide = "".join(f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(1, 20))
    with pytest.raises(DatasetError, match=r"a\.xlsx:7: .* or 100000 cells: it may be a bomb"):
        take("a.xlsx", sheet(tmp_path, wide))


def test_a2_one_cell_of_many_megabytes(take: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before anything holds it in memory."""
    monkeypatch.setattr(reading, "LINE_LIMIT", 3_000_000)
    cell = f'<c r="A2" t="inlineStr"><is><t>{"x" * 5_000_000}</t></is></c>'
    with pytest.raises(DatasetError, match=r"a\.xlsx: a cell has more than"):
        take("a.xlsx", sheet(tmp_path, f'{HEADER}<row r="2">{cell}</row>'))


def test_a2_a_value_beyond_the_header_is_told(take: Any, tmp_path: Path) -> None:
    """It belongs to no column: the row is taken without it, and its cell is named."""
    found, rows = take("a.xlsx", workbook(tmp_path, [["a", "b"], [1, 2], [3, 4, "a note"], [5, 6]]))
    assert rows == [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 6}]
    assert [(one.line, one.reason) for one in found.told] == [(3, "C3 lies beyond the header's last column")]
    assert found.malformed == 1


def test_a3_a_list_that_is_too_large_to_be_held_is_read_by_object(
    take: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit nothing changes but the memory: values stay exact, what is wrong is told with its record."""
    records = [{"a": 2**53 + 1, "b": {"c": [1]}, "t": "x"}, {"A": 1.5, "t": "ü"}, {"t": None}]
    text = json.dumps(records, ensure_ascii=False, indent=1)
    small = take("a.json", text)[1]
    monkeypatch.setattr(reading, "JSON_LIMIT", 20)
    found, rows = take("a.json", text)
    assert (rows, found.renamed) == (small, {"A": "A_2"})
    assert rows[0] == {"a": 2**53 + 1, "b": '{"c":[1]}', "t": "x", "A_2": None}
    with pytest.raises(DatasetError, match=r"a\.json: record 3 is a number, not an object"):
        take("a.json", '[{"a": 1}, {"a": 2}, 5, {"a": 3}]')
    with pytest.raises(DatasetError, match=r"a\.json: after record \d+ this is no list of objects"):
        take("a.json", '[{"a": 1}, {"a": 2}, {"a": ')
    with pytest.raises(DatasetError, match="a JSON document that is no list may have"):
        take("a.json", '{"records": [{"a": 1}, {"a": 2}]}')
