"""Reading what people bring: CSV, Excel, JSON and Parquet files become one Parquet file of our own.

What kind a file is of is told by its first bytes, not by its name. Whatever is wrong with it is told with the
file and the line; nothing is dropped in silence.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lakeflow_job_meta.datasets.columns import write_rows
from lakeflow_job_meta.errors import DatasetError

#: Bytes of one line of text, at most: no engine should have to hold more.
LINE_LIMIT = 4 * 1024 * 1024
#: Bytes that an Excel file may have unpacked, at most: a bomb has more.
EXCEL_LIMIT = 512 * 1024 * 1024
#: Bytes of a JSON document that is held in memory; a larger list is read one object at a time.
JSON_LIMIT = 32 * 1024 * 1024
#: Rows that a sheet may have, as Excel says itself, and cells, those that are blank among them.
EXCEL_ROWS, EXCEL_CELLS = 1_048_576, 50_000_000
#: Lines that are told one by one; the count is of all.
TOLD = 20

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "compressed by gzip; unpack it first"),
    (
        b"\xd0\xcf\x11\xe0",
        "an Excel file of the old format (.xls) or another Office document; save it as .xlsx",
    ),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x7fELF", "a program"),
)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A row that was left out, or a cell that could not be taken.

    Args:
        line: 1-based, of the file (a sheet's row for Excel).
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a file.

    Args:
        kind: `csv`, `excel`, `json`, `records` or `parquet`.
        rows: that were written.
        malformed: how many rows were left out, or cells could not be taken.
        told: the first of them.
        renamed: columns that are landed under another name than the file's (see `columns.landed_names`).
        detail: how the file was read (encoding, delimiter, sheet, ...).
    """

    kind: str
    rows: int
    malformed: int = 0
    told: tuple[Malformed, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)


def convert(
    source: Path,
    target: Path,
    *,
    shown: str,
    encoding: str = "",
    delimiter: str = "",
    sheet: str = "",
) -> Converted:
    """Write the Parquet file `target` from the file `source`; memory does not grow with the rows of a CSV.

    Args:
        shown: the file's name in messages.
        encoding: of a CSV file; empty: it is found.
        delimiter: of a CSV file; empty: it is found.
        sheet: of an Excel file; empty: the first one that has rows.

    Raises:
        DatasetError: the file cannot be taken; `target` may be left behind in part.
    """
    kind = kind_of(source, shown)
    if kind == "excel":
        from lakeflow_job_meta.datasets.excel_files import read_excel

        return read_excel(source, target, shown=shown, sheet=sheet)
    if kind == "parquet":
        from lakeflow_job_meta.datasets.parquet_files import take_parquet

        taken, renamed = take_parquet(source, target, shown=shown)
        return Converted("parquet", taken, renamed=renamed)
    if kind == "json":
        from lakeflow_job_meta.datasets.json_files import read_json

        return read_json(source, target, shown=shown)
    from lakeflow_job_meta.datasets.csv_files import read_csv

    return read_csv(source, target, shown=shown, encoding=encoding, delimiter=delimiter)


def convert_records(records: Sequence[Any], target: Path, *, shown: str = "records") -> Converted:
    """Write the Parquet file `target` from a list of JSON objects.

    Raises:
        DatasetError: the list is empty, or holds something else than objects.
    """
    from lakeflow_job_meta.datasets.json_files import rows_of

    rows, renamed = rows_of(records, shown)
    return Converted("records", write_rows(rows, target, shown=shown), renamed=renamed)


def kind_of(source: Path, shown: str) -> str:
    """`csv`, `excel`, `json` or `parquet`, by the file's first bytes.

    Raises:
        DatasetError: it is of no kind that can be taken, or empty, or not to be read.
    """
    try:
        if not source.is_file():
            what = "a folder" if source.is_dir() else "not there"
            raise DatasetError(f"{shown} is {what}: give a CSV, Excel, JSON or Parquet file")
        with source.open("rb") as file:
            head = file.read(64 * 1024)
    except OSError as error:
        raise DatasetError(f"{shown} cannot be read: {error.strerror or error}") from error
    if not head.strip():
        raise DatasetError(f"{shown} is empty: it has neither a header nor rows")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return _archive(source, shown)
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise _not_ours(shown, what)
    name = shown.lower()
    if name.endswith((".parquet", ".xlsx", ".xlsm")):
        raise _not_ours(shown, f"not a {name.rpartition('.')[2]} file, whatever its name says")
    if _is_binary(head):
        raise _not_ours(shown, "not text")
    if name.endswith((".json", ".jsonl", ".ndjson")):
        return "json"
    start = b"".join(head[:64].removeprefix(b"\xef\xbb\xbf").split())
    if not name.endswith((".csv", ".tsv", ".psv", ".tab")) and start.startswith((b'{"', b"[{")):
        return "json"
    return "csv"


def _archive(source: Path, shown: str) -> str:
    try:
        with zipfile.ZipFile(source) as archive:
            names = set(archive.namelist())
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DatasetError(
            f"{shown} is damaged: it begins like an Excel file and cannot be opened ({error})"
        ) from error
    if "xl/workbook.xml" not in names and "xl/workbook.bin" not in names:
        raise _not_ours(shown, "an archive or another document; unpack it, or save it as .xlsx or .csv")
    if "xl/workbook.bin" in names:
        raise _not_ours(shown, "a binary Excel workbook (.xlsb); save it as .xlsx")
    if unpacked > EXCEL_LIMIT:
        raise DatasetError(
            f"{shown} has {unpacked // 2**20} MiB unpacked, and at most {EXCEL_LIMIT // 2**20} are taken: "
            "it may be a bomb; if it is not, save the sheet as CSV"
        )
    return "excel"


def _is_binary(head: bytes) -> bool:
    if b"\0" not in head:
        return False
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return False
    # UTF-16 and UTF-32 without a mark have their zeros in a column; bytes of a program have them anywhere.
    zeros = [head[place::4].count(0) for place in range(4)]
    quarter = len(head) // 4 or 1
    return not any(count > 0.6 * quarter for count in zeros)


def _not_ours(shown: str, what: str) -> DatasetError:
    return DatasetError(f"{shown} is {what}: give a CSV, Excel (.xlsx), JSON or Parquet file")
