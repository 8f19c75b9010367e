"""Files of every kind, good and bad, as Parquet: nothing is lost, changed or dropped in silence."""

from __future__ import annotations

import csv
import json
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.datasets import reading
from lakeflow_job_meta.datasets.parquet_files import check_parquet, describe
from lakeflow_job_meta.datasets.reading import Converted, convert, convert_records
from lakeflow_job_meta.errors import DatasetError

pytest.importorskip("duckdb")


@pytest.fixture
def take(tmp_path: Path) -> Any:
    """Convert a file of these bytes (or text) and return (what came of it, its rows)."""

    def call(name: str, content: bytes | str, **options: Any) -> tuple[Converted, list[dict[str, Any]]]:
        from pyarrow import parquet

        source, target = tmp_path / name, tmp_path / "out.parquet"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = convert(source, target, shown=name, **options)
        return found, parquet.read_table(target).to_pylist()

    return call


def test_a1_csv_of_a_spreadsheet(take: Any) -> None:
    """`;`, Latin-1, a title line: columns, rows and accents are right, and a row that does not fit is told."""
    text = "Ventes 2025;;\nNuméro;Prénom;Montant\n001;Zoé;1,5\n002;trop peu\n003;Hélène;2\n004;a;b;c\n"
    found, rows = take("ventes.csv", text.encode("latin-1"))
    assert rows == [
        {"Numéro": "001", "Prénom": "Zoé", "Montant": "1,5"},
        {"Numéro": "003", "Prénom": "Hélène", "Montant": "2"},
    ]
    assert found.malformed == 2
    assert [one.line for one in found.told] == [4, 6]
    assert all(one.reason for one in found.told)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a1_delimiters_and_encodings(take: Any, delimiter: str, encoding: str) -> None:
    text = "Größe,Name\n1,Ünal\n2,Åse\n".replace(",", delimiter)
    found, rows = take("a.csv", text.encode(encoding))
    assert rows == [{"Größe": "1", "Name": "Ünal"}, {"Größe": "2", "Name": "Åse"}]
    assert found.malformed == 0


def test_a1_quotes_and_lines_within_a_field(take: Any) -> None:
    """A quoted delimiter, a doubled quote, a new line in a field; the lines that are told are those of the file."""
    text = 'id,text\n1,"a, ""b""\nc"\n2\n3,"x"y\n4,\n5,""\n'
    found, rows = take("a.csv", text)
    assert [row["text"] for row in rows] == ['a, "b"\nc', None, ""]
    assert [one.line for one in found.told] == [4, 5]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a1_line_ends(take: Any, end: str) -> None:
    """Both kinds, with a title, a header of two lines and a line within a field; the lines told are the file's."""
    text = f'Title;;{end}"a\nb";c;d{end}1;2;3{end}4;5{end}"x\ny";6;7{end}8{end}'
    found, rows = take("a.csv", text)
    assert rows == [{"a b": "1", "c": "2", "d": "3"}, {"a b": "x\ny", "c": "6", "d": "7"}]
    assert [one.line for one in found.told] == [5, 8]


def test_a1_mixed_line_ends(take: Any) -> None:
    assert take("a.csv", "a,b\n1,2\r\n3,4\n")[1] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a1_values_are_untouched(take: Any) -> None:
    """Leading zeros, spaces, signs and formulas stay the text that they are."""
    _, rows = take("a.csv", "a,b\n00123, x \n=1+1,+5\n")
    assert rows == [{"a": "00123", "b": " x "}, {"a": "=1+1", "b": "+5"}]


def test_a1_other_bytes_late_in_the_file(take: Any) -> None:
    """A file that is plain ASCII for long and then is not is read as what it is; one that is broken is told."""
    head = "a,b\n" + "1,x\n" * 100_000
    _, rows = take("late.csv", head.encode() + "2,é\n".encode("cp1252"))
    assert rows[-1] == {"a": "2", "b": "é"}
    with pytest.raises(DatasetError, match=r"broken\.csv:100003: this is not utf_8"):
        take("broken.csv", "a,é\n".encode() + head.encode()[4:] + "2,ü\n".encode() + b"3,\xe9\n")


def test_a2_excel_with_dates(take: Any, tmp_path: Path) -> None:
    """Numbers, dates, times and text keep their types; the preview is JSON; errors in cells are told."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (
        ["Report"],
        ["When", "At", "Amount", "Code", "Ratio"],
        [datetime(2025, 1, 15), datetime(2025, 1, 15, 10, 30), 1.5, "007", 1],
        [datetime(2025, 1, 16), None, 2, 8, "#DIV/0!"],
    ):
        sheet.append(row)
    sheet["E4"].data_type = "e"
    book.save(tmp_path / "in.xlsx")
    found, rows = take("book.xlsx", (tmp_path / "in.xlsx").read_bytes())
    assert [row["When"].isoformat() for row in rows] == ["2025-01-15", "2025-01-16"]
    assert rows[0]["At"] == datetime(2025, 1, 15, 10, 30, tzinfo=timezone.utc)
    assert [(row["Amount"], row["Code"], row["Ratio"]) for row in rows] == [(1.5, "007", 1), (2.0, "8", None)]
    assert [one.line for one in found.told] == [4]
    described = describe(tmp_path / "out.parquet", "book")
    json.dumps(described.sample_rows, allow_nan=False)
    assert [one["dtype"] for one in described.schema] == ["date", "timestamp", "double", "string", "bigint"]


def test_a2_formula_without_a_value_is_an_error(take: Any, tmp_path: Path) -> None:
    """What nothing has calculated is no empty cell."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    book.active.append([1, "=A2*2"])
    book.save(tmp_path / "in.xlsx")
    with pytest.raises(DatasetError, match=r"f\.xlsx:2: cell B2 .* never calculated"):
        take("f.xlsx", (tmp_path / "in.xlsx").read_bytes())


def test_a2_damaged_excel_and_bombs(take: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that is none, one of other things, one that unpacks to too much, one whose XML is broken."""
    with pytest.raises(DatasetError, match="damaged"):
        take("a.xlsx", b"PK\x03\x04 and nothing more")
    with pytest.raises(DatasetError, match="not a xlsx file"):
        take("a.xlsx", b"a,b\n1,2\n")
    for members, message in (
        ({"readme.txt": "x"}, "another document"),
        ({"xl/workbook.xml": "0" * 3_000_000}, "bomb"),
        ({"xl/workbook.xml": "<broken", "[Content_Types].xml": "<broken"}, "damaged"),
    ):
        path = tmp_path / "made.xlsx"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in members.items():
                archive.writestr(name, text)
        monkeypatch.setattr(reading, "EXCEL_LIMIT", 2_000_000)
        with pytest.raises(DatasetError, match=message):
            take("b.xlsx", path.read_bytes())


def test_a3_records_of_the_seed(tmp_path: Path) -> None:
    """Two records, text stays text, numbers are double; what is nested is JSON text; an empty list is refused."""
    from pyarrow import parquet

    records = [
        {"order_id": "1001", "amount": 450.00, "date": "2025-01-15", "more": {"a": [1]}},
        {"order_id": "1002", "amount": 820.5, "date": "2025-01-16"},
    ]
    target = tmp_path / "out.parquet"
    assert convert_records(records, target).rows == 2
    assert describe(target, "records").schema == (
        {"name": "order_id", "dtype": "string"},
        {"name": "amount", "dtype": "double"},
        {"name": "date", "dtype": "string"},
        {"name": "more", "dtype": "string"},
    )
    assert [row["more"] for row in parquet.read_table(target).to_pylist()] == ['{"a":[1]}', None]
    for wrong in ([], {"a": 1}, "text", [1], [{}]):
        with pytest.raises(DatasetError):
            convert_records(wrong, target)  # type: ignore[arg-type]


def test_a3_mixed_and_large_numbers_stay_exact(tmp_path: Path) -> None:
    """What one type cannot hold is text, digit by digit."""
    from pyarrow import parquet

    target = tmp_path / "out.parquet"
    convert_records(
        [{"a": 1, "b": 2**53 + 1, "c": 2**70, "d": True}, {"a": "x", "b": 0.5, "c": 1, "d": 1}], target
    )
    assert parquet.read_table(target).to_pylist() == [
        {"a": "1", "b": "9007199254740993", "c": str(2**70), "d": "true"},
        {"a": "x", "b": "0.5", "c": "1", "d": "1"},
    ]


def test_a3_json_files(take: Any) -> None:
    """A list, an object with `records`, one object a line; what is wrong is told with its line."""
    for name, text in (
        ("a.json", '[{"a": 1}, {"a": 2}]'),
        ("a.json", '{"records": [{"a": 1}, {"a": 2}]}'),
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n'),
        ("a.json", '{"a": 1}\n{"a": 2}\n'),
    ):
        assert take(name, text)[1] == [{"a": 1}, {"a": 2}]
    with pytest.raises(DatasetError, match=r"a\.jsonl:2:\d+: this is no JSON"):
        take("a.jsonl", '{"a": 1}\n{"a": }\n')
    with pytest.raises(DatasetError, match=r"a\.json:2:\d+: this is no JSON"):
        take("a.json", '[{"a": 1},\n{"a": NaN}]')
    with pytest.raises(DatasetError, match="record 2 is a number"):
        take("a.json", '[{"a": 1}, 5]')


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", b"%PDF-1.7\n", "a PDF document"),
        ("renamed.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
        ("header.csv", b"a,b,c\n", "a header and no rows"),
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b" \n \n", "is empty"),
        ("old.xls", b"\xd0\xcf\x11\xe0rest", "save it as .xlsx"),
        ("program.csv", b"\x7fELF\x02\x01", "a program"),
        ("binary.csv", bytes(range(256)) * 20, "not text"),
        ("nul.csv", b"a,b\n1,\x002\n" * 3, "NUL|not text"),
        ("all.csv", b"a,b\n1\n2\n3,4,5\n", r"all\.csv:2: no row fits"),
        ("quote.csv", b'a,b\n1,"open\n2,3\n', r"quote\.csv:2"),
        ("text.parquet", b"a,b\n1,2\n", "not a parquet file"),
        ("cut.parquet", b"PAR1 and no footer", "damaged Parquet"),
    ],
)
def test_a4_what_cannot_be_taken_is_refused_by_name(
    take: Any, name: str, content: bytes, message: str
) -> None:
    """The error names the file, and the line where there is one."""
    with pytest.raises(DatasetError, match=message) as failure:
        take(name, content)
    assert name in str(failure.value)


def test_a4_three_hundred_columns_of_one_name(take: Any) -> None:
    with pytest.raises(DatasetError, match=r"same\.csv:1: the header names 'a' 300 times"):
        take("same.csv", ",".join(["a"] * 300) + "\n" + ",".join(["1"] * 300) + "\n")


def test_a4_a_line_without_an_end(take: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is too long ends the reading at once, with its number; memory does not grow with it."""
    monkeypatch.setattr(reading, "LINE_LIMIT", 100_000)
    with pytest.raises(DatasetError, match=r"long\.csv:3: the line has more than"):
        take("long.csv", b"a,b\n1,2\n" + b"x" * 5_000_000)
    with pytest.raises(DatasetError, match=r"long\.jsonl:2: the line has more than"):
        take("long.jsonl", b'{"a": 1}\n{"a": "' + b"x" * 5_000_000)


def test_h3_type_is_judged_by_bytes_and_footer(take: Any, tmp_path: Path) -> None:
    """A Parquet file is one by its first bytes and a footer that can be read; a good one is taken."""
    import pyarrow as pa
    from pyarrow import parquet

    good = tmp_path / "good.parquet"
    parquet.write_table(pa.table({"a": [1, None], "b": ["x", "y"]}), good)
    assert take("good.parquet", good.read_bytes())[1] == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    assert check_parquet(good, "good") == 2
    good.write_bytes(good.read_bytes()[:-8])
    with pytest.raises(DatasetError, match="damaged Parquet"):
        check_parquet(good, "good")


TEXTS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), whitelist_characters="\n\r\t\"',;|"), max_size=12
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_a1_what_the_csv_module_writes_is_read(rows: list[list[str]], delimiter: str, tmp_path: Path) -> None:
    """Any values, written with every field quoted, come back as they were, empty text as empty text."""
    from pyarrow import parquet

    source, target = tmp_path / "a.csv", tmp_path / "a.parquet"
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([["first", "second", "third"], *rows])
    found = convert(source, target, shown="a.csv", delimiter=delimiter)
    assert found.malformed == 0
    assert [list(row.values()) for row in parquet.read_table(target).to_pylist()] == rows


def test_a_column_of_nulls_without_a_type_is_text(take: Any, tmp_path: Path) -> None:
    """Parquet can say "nothing but null"; Delta cannot: it becomes text, as an empty column of a CSV is."""
    import pyarrow as pa
    from pyarrow import parquet

    brought = tmp_path / "brought.parquet"
    parquet.write_table(pa.table({"id": [1, 2], "note": pa.nulls(2)}), brought)
    _, rows = take("nulls.parquet", brought.read_bytes())
    assert rows == [{"id": 1, "note": None}, {"id": 2, "note": None}]
    assert parquet.read_schema(tmp_path / "out.parquet").field("note").type == pa.string()
