"""CSV files: encoding by charset-normalizer, header by the csv module, rows by DuckDB, all of them text.

Every value stays the text that it is (`00123`), an empty field is no value; types are the silver table's
business. A row that does not fit is left out and told with its line.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.datasets import reading
from lakeflow_job_meta.datasets.columns import batch_rows, header_names, landed_names
from lakeflow_job_meta.datasets.excel_files import HEAD, header_at
from lakeflow_job_meta.errors import DatasetError

if TYPE_CHECKING:
    import duckdb

DELIMITERS = (",", ";", "\t", "|")
#: Encodings that are looked for; short texts fit dozens of old ones, these are what spreadsheets write.
ENCODINGS = (
    "utf_8",
    "utf_16",
    "utf_16_le",
    "utf_16_be",
    "utf_32",
    "utf_32_le",
    "utf_32_be",
    "cp1252",
    "latin_1",
)
_SAMPLE = 256 * 1024
_BLOCK = 1024 * 1024
_QUOTE = '"'


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows of a CSV file begin and what they are separated by.

    Args:
        lines: physical lines up to the header's end.
        skip: the same, as DuckDB counts them: lines within quotes are none.
    """

    names: tuple[str, ...]
    delimiter: str
    lines: int
    skip: int


def read_csv(
    source: Path, target: Path, *, shown: str, encoding: str = "", delimiter: str = ""
) -> reading.Converted:
    """A CSV file as Parquet, all columns text.

    Args:
        encoding, delimiter: empty: they are found.

    Raises:
        DatasetError: it is no text, has no rows, two columns of one name or a line that is too long; with the line.
    """
    plain = target.with_name(f"{target.name}.csv")
    try:
        used = _as_utf8(source, plain, shown, encoding)
        layout = _layout(plain, shown, delimiter)
        names, renamed = landed_names(layout.names, shown, layout.lines)
        layout = replace(layout, names=tuple(names))
        try:
            rows, wrong, told = _copy(plain, target, layout, shown)
        except DatasetError:
            if not _one_line_end(plain):
                raise
            rows, wrong, told = _copy(plain, target, layout, shown)
    finally:
        plain.unlink(missing_ok=True)
    if not rows and wrong:
        raise DatasetError(
            f"{shown}:{told[0].line}: no row fits the header of {len(layout.names)} columns ({told[0].reason}): "
            f"is {layout.delimiter!r} the delimiter?"
        )
    if not rows:
        raise DatasetError(f"{shown}:{layout.lines}: there is a header and no rows: nothing to take")
    detail = {"encoding": used, "delimiter": layout.delimiter, "header_line": layout.lines}
    return reading.Converted("csv", rows, wrong, tuple(told), detail, renamed)


# ---------------------------------------------------------------- encoding


def _as_utf8(source: Path, target: Path, shown: str, encoding: str) -> str:
    """Make `target` the text of `source` in UTF-8; returns the encoding that it had."""
    with source.open("rb") as file:
        found = encoding or _encoding(file.read(_SAMPLE), shown)
    try:
        codecs.lookup(found)
    except LookupError as error:
        raise DatasetError(
            f"{shown}: there is no encoding {found!r}; utf-8 and cp1252 are usual ones"
        ) from error
    try:
        _transcode(source, target, found, shown)
    except _FirstOther as other:
        # Plain ASCII up to here: what it is shows only now.
        found = _encoding(other.sample, shown)
        _transcode(source, target, found, shown, first=False)
    return found


def _encoding(sample: bytes, shown: str) -> str:
    from charset_normalizer import from_bytes

    if b"\0" not in sample and _is_utf8(sample):
        # Text in another encoding is hardly ever valid UTF-8, however rare its characters are.
        return "utf_8_sig" if sample.startswith(codecs.BOM_UTF8) else "utf_8"
    # A cut character would make good text look bad.
    if b"\0" in sample:
        sample = sample[: len(sample) // 4 * 4] if len(sample) >= _SAMPLE else sample
    elif len(sample) >= _SAMPLE and b"\n" in sample:
        sample = sample[: sample.rindex(b"\n") + 1]
    best = from_bytes(sample, cp_isolation=list(ENCODINGS)).best()
    if best is None:
        raise DatasetError(f"{shown} is not text in any encoding that is known: give --encoding")
    return str(best.encoding)


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf_8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


class _FirstOther(Exception):
    """The first bytes that are not ASCII are not UTF-8 either."""

    def __init__(self, sample: bytes) -> None:
        self.sample = sample


def _transcode(source: Path, target: Path, encoding: str, shown: str, *, first: bool = True) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    line, open_line, ascii_only = 1, 0, True
    with source.open("rb") as read, target.open("wb") as write:
        while True:
            block = read.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                plain = ascii_only and error.object[: error.start].isascii()
                if first and plain and encoding.startswith("utf_8"):
                    raise _FirstOther(error.object[max(0, error.start - 200) : error.start + 2000]) from error
                line += error.object[: error.start].count(b"\n")
                raise DatasetError(
                    f"{shown}:{line}: this is not {encoding}: {error.reason}; give --encoding, or mend the line"
                ) from error
            if text:
                data = text.encode("utf-8", "replace")
                ascii_only = ascii_only and text.isascii()
                if b"\0" in data:
                    line += data[: data.index(b"\0")].count(b"\n")
                    raise DatasetError(
                        f"{shown}:{line}: a NUL character: this is not text, or cut in the middle"
                    )
                line, open_line = _measure(data, line, open_line, shown)
                write.write(data)
            if not block:
                return


def _measure(data: bytes, line: int, open_line: int, shown: str) -> tuple[int, int]:
    """(line, bytes of it so far) after `data`. Raises DatasetError at a line that is too long."""
    mark = b"\n" if b"\n" in data or b"\r" not in data else b"\r"
    parts = data.split(mark) if open_line + len(data) > reading.LINE_LIMIT else None
    if parts is None:
        last = data.rfind(mark)
        return line + data.count(mark), (open_line + len(data) if last < 0 else len(data) - last - 1)
    for number, part in enumerate(parts):
        length = len(part) + (open_line if number == 0 else 0)
        if length > reading.LINE_LIMIT:
            raise DatasetError(
                f"{shown}:{line + number}: the line has more than {reading.LINE_LIMIT // 2**20} MiB: "
                "this is no CSV file, or a quote is not closed"
            )
    return line + len(parts) - 1, len(parts[-1]) + (open_line if len(parts) == 1 else 0)


# ---------------------------------------------------------------- header


def _layout(path: Path, shown: str, delimiter: str) -> Layout:
    with path.open(encoding="utf-8", newline="") as file:
        head = file.read(_BLOCK)
        whole = not file.read(1)
    choices = [delimiter] if delimiter else DELIMITERS
    best: tuple[float, int, Layout] | None = None
    for choice in choices:
        records = list(_records(head, choice, whole=whole))
        if not records:
            continue
        rows = [row for _, row in records]
        # Of equal counts the first wins: a header comes before its rows.
        usual, times = max(Counter(map(len, rows)).items(), key=lambda one: (one[0] > 1, one[1]))
        place = header_at([row for row in rows if len(row) > 1] or rows) if usual > 1 else header_at(rows)
        if usual > 1:
            wide = [number for number, row in enumerate(rows) if len(row) > 1]
            place = wide[place]
        lines = records[place][0]
        quoted = sum(cell.count("\n") for row in rows[: place + 1] for cell in row)
        layout = Layout(tuple(header_names(rows[place])), choice, lines, lines - quoted)
        score = (times / len(rows) if usual > 1 else 0.0, usual)
        if best is None or score > best[:2]:
            best = (*score, layout)
    if best is None:
        raise DatasetError(f"{shown} has no rows: it is blank")
    return best[2]


def _records(head: str, delimiter: str, *, whole: bool) -> Iterator[tuple[int, list[str]]]:
    """(last line, cells) of the first records that have any text."""
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter, quotechar=_QUOTE)
    found = 0
    waiting: tuple[int, list[str]] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if waiting is not None:
                yield waiting
                found += 1
                if found >= HEAD:
                    return
            waiting = (reader.line_num, row)
    except (
        csv.Error
    ):  # a field that is too long, or a quote that is not closed: judged by DuckDB, with its line
        return
    if waiting is not None and (whole or not found):
        yield waiting


# ---------------------------------------------------------------- rows


def _copy(plain: Path, target: Path, layout: Layout, shown: str) -> tuple[int, int, list[reading.Malformed]]:
    """(rows, rows left out, the first of those) of the file, written to `target`."""
    try:
        import duckdb
    except ImportError as error:
        raise DatasetError(
            f"{shown}: reading CSV needs duckdb: pip install 'lakeflow-job-meta[datasets]'"
        ) from error
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in layout.names])
    places = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(layout.names)))
    rows = 0
    try:
        with duckdb.connect(config={"memory_limit": "1GB", "threads": 2}) as connection:
            found = connection.execute(
                "SELECT * FROM read_csv(?, auto_detect = false, header = false, delim = ?, quote = ?, escape = ?, "
                "skip = ?, store_rejects = true, rejects_limit = 0, allow_quoted_nulls = false, max_line_size = ?, "
                f"buffer_size = ?, columns = {{{places}}})",
                [
                    str(plain),
                    layout.delimiter,
                    _QUOTE,
                    _QUOTE,
                    layout.skip,
                    reading.LINE_LIMIT,
                    reading.LINE_LIMIT * 2,
                ],
            )
            with parquet.ParquetWriter(target, schema, compression="snappy") as writer:
                for batch in _batches(found, batch_rows(len(layout.names))):
                    if batch.num_rows:
                        rows += batch.num_rows
                        columns = [column.cast(pa.string()) for column in batch.columns]
                        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            wrong, told = _rejected(connection, plain)
            _check_quotes(connection, plain, target, layout, rows + wrong, shown)
    except duckdb.Error as error:
        raise DatasetError(f"{shown} cannot be read as CSV: {_first(error)}") from error
    return rows, wrong, told


def _one_line_end(path: Path) -> bool:
    """Make all line ends of a file that mixes them line feeds; False when it has one kind only.

    DuckDB takes either kind, and gives up on some files with both.
    """
    other = path.with_name(f"{path.name}.lf")
    pairs = ends = 0
    held = b""
    with path.open("rb") as read, other.open("wb") as write:
        while block := read.read(_BLOCK):
            data = held + block
            held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(held)]
            pairs += data.count(b"\r\n")
            ends += data.count(b"\n")
            write.write(data.replace(b"\r\n", b"\n"))
        write.write(held)
    if not 0 < pairs < ends:
        other.unlink()
        return False
    other.replace(path)
    return True


def _batches(found: Any, rows: int) -> Iterator[Any]:
    reader = (
        found.to_arrow_reader(rows) if hasattr(found, "to_arrow_reader") else found.fetch_record_batch(rows)
    )
    yield from reader


def _rejected(connection: duckdb.DuckDBPyConnection, plain: Path) -> tuple[int, list[reading.Malformed]]:
    counted = connection.execute("SELECT count(DISTINCT line_byte_position) FROM reject_errors").fetchone()
    rows = connection.execute(
        "SELECT line_byte_position, any_value(error_message), max(column_idx) FROM reject_errors "
        "GROUP BY line_byte_position ORDER BY line_byte_position LIMIT ?",
        [reading.TOLD],
    ).fetchall()
    lines = _lines_at(plain, [int(row[0]) for row in rows])
    told = [
        reading.Malformed(line, str(reason).splitlines()[0])
        for line, (_, reason, _) in zip(lines, rows, strict=True)
    ]
    return int(counted[0]) if counted else 0, told


def _check_quotes(
    connection: duckdb.DuckDBPyConnection, plain: Path, target: Path, layout: Layout, records: int, shown: str
) -> None:
    """See to it that no rows are inside of a quote that is not closed.

    Args:
        target: what was read of `plain`.
        records: rows that were read or told.

    Raises:
        DatasetError: there are; it names the line.
    """
    found = connection.execute(
        "SELECT DISTINCT line_byte_position FROM reject_errors "
        "WHERE error_message ILIKE '%unterminated quote%' ORDER BY 1 LIMIT 10000"
    ).fetchall()
    offsets = [int(row[0]) for row in found]
    if not offsets:
        return
    place = next((offset for offset in offsets if _is_open(plain, offset, layout.delimiter)), None)
    if place is None:
        # DuckDB may name the row before it: what counts is whether every line is accounted for.
        with plain.open("rb") as file:
            lines = sum(1 for line in file if line.strip())
        if lines - layout.lines - records - _newlines(target) <= 0:
            return
        place = offsets[0]
    [line] = _lines_at(plain, [place])
    raise DatasetError(
        f"{shown}:{line}: the quote that opens there is not closed where its field ends, and the rows after it "
        'would be lost: close it, or write it twice ("") inside a quoted field'
    )


def _is_open(plain: Path, offset: int, delimiter: str) -> bool:
    """Whether the record there goes on in the next line."""
    with plain.open("rb") as file:
        file.seek(offset)
        reader = csv.reader(
            (line.decode("utf-8", "replace") for line in file if line.strip()),
            delimiter=delimiter,
            quotechar=_QUOTE,
        )
        try:
            next(reader, None)
        except csv.Error:  # a field without an end
            return True
        return reader.line_num > 1


def _newlines(path: Path) -> int:
    """Line feeds within the values of a Parquet file of texts."""
    from pyarrow import compute, parquet

    with parquet.ParquetFile(path) as file:
        return sum(
            int(compute.sum(compute.count_substring(column, "\n")).as_py() or 0)
            for batch in file.iter_batches()
            for column in batch.columns
        )


def _lines_at(path: Path, offsets: Sequence[int]) -> list[int]:
    """The 1-based physical lines at these byte offsets, in order."""
    found: list[int] = []
    line, place = 1, 0
    with path.open("rb") as file:
        for offset in offsets:
            while place < offset:
                block = file.read(min(_BLOCK, offset - place))
                if not block:
                    break
                line += block.count(b"\n")
                place += len(block)
            found.append(line)
    return found


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
