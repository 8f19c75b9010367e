"""Documents of every kind, made by the libraries that people make them with."""

from __future__ import annotations

import csv
import io
import json
import warnings

TEXT = "Card 4111 1111 1111 1111 of ana.ruiz@example.org, IBAN DE89 3704 0044 0532 0130 00."
"""One phrase each of Payment card, E-mail address and IBAN."""


def pdf(*lines: str) -> bytes:
    from fpdf import FPDF

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = FPDF()
        document.add_page()
        document.set_font("Helvetica", size=11)
        for line in lines:
            document.multi_cell(0, 8, line, new_x="LMARGIN", new_y="NEXT")
        return bytes(document.output())


def docx(*paragraphs: str, cells: tuple[str, ...] = (), footer: str = "") -> bytes:
    from docx import Document

    document = Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    if cells:
        row = document.add_table(1, len(cells)).rows[0]
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.sections[0].footer.paragraphs[0].text = footer
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def xlsx(*rows: tuple[object, ...], title: str = "Sheet") -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = title
    for row in rows:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def html(body: str) -> bytes:
    return f"<!DOCTYPE html><html><head><title>t</title><script>var a='no@script.org'</script></head><body>{body}</body></html>".encode()


def comma_separated(*rows: tuple[object, ...]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def every_kind() -> dict[str, bytes]:
    """The same text as a file of each kind."""
    return {
        "a.txt": TEXT.encode(),
        "a.csv": comma_separated(("name", "note"), ("Ana", TEXT)),
        "a.json": json.dumps({"customer": {"notes": [TEXT]}}).encode(),
        "a.html": html(f"<p>{TEXT}</p>"),
        "a.docx": docx("Nothing here", cells=("Ana", TEXT)),
        "a.xlsx": xlsx(("Ana", 12), ("note", TEXT)),
        "a.pdf": pdf("Nothing here", TEXT),
    }
