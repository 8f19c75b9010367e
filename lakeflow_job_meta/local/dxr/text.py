"""Text out of bytes: txt, csv, json, html, docx, xlsx and pdf, each by a kept library; and the MIME type."""

from __future__ import annotations

import logging
import mimetypes
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger("lakeflow_job_meta.local.dxr")

OFFICE = "application/vnd.openxmlformats-officedocument"
DOCX = f"{OFFICE}.wordprocessingml.document"
XLSX = f"{OFFICE}.spreadsheetml.sheet"
UNKNOWN = "application/octet-stream"

SUCCESS, UNSUPPORTED, FAILED, EMPTY = "SUCCESS", "UNSUPPORTED", "FAILED", "EMPTY"

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""A larger docx, xlsx or pdf is not opened: it would have to be read whole."""

_ENDINGS = {
    ".csv": "text/csv", ".docx": DOCX, ".eml": "message/rfc822", ".htm": "text/html", ".html": "text/html",
    ".json": "application/json", ".jsonl": "application/x-ndjson", ".log": "text/plain", ".md": "text/markdown",
    ".ndjson": "application/x-ndjson", ".pdf": "application/pdf", ".pem": "application/x-pem-file",
    ".sql": "application/sql", ".tsv": "text/tab-separated-values", ".txt": "text/plain", ".xlsx": XLSX,
    ".xml": "application/xml", ".yaml": "application/yaml", ".yml": "application/yaml",
}  # fmt: skip
_TEXTUAL = ("application/json", "application/x-ndjson", "application/xml", "application/yaml", "application/sql",
            "application/x-pem-file", "message/rfc822")  # fmt: skip


def mime_type_of(name: str, path: Path) -> str:
    """By the first bytes where they are sure, else by the name, else whether it looks like text."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        head = b""
    if head.startswith(b"%PDF-"):
        return "application/pdf"
    if head.startswith(b"PK\x03\x04"):
        return _zip_type(path)
    ending = Path(name.lower()).suffix
    kind = _ENDINGS.get(ending) or mimetypes.guess_type(name)[0]
    if kind is not None and kind not in ("application/pdf", DOCX, XLSX):
        return kind
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "text/html"
    return "text/plain" if _looks_like_text(head) else UNKNOWN


def _zip_type(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return "application/zip"
    if "word/document.xml" in names:
        return DOCX
    return XLSX if "xl/workbook.xml" in names else "application/zip"


def _looks_like_text(head: bytes) -> bool:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if b"\0" in head:
        return False
    try:
        # The last character may be cut.
        head[: max(0, len(head) - 3)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def extract(mime_type: str, path: Path, limit: int) -> tuple[str, str]:
    """The text of a file and the status of its extraction.

    Args:
        mime_type: as `mime_type_of` gives it.
        path: the bytes.
        limit: so many bytes of a text file are read; the text of any file has at most so many characters.
    """
    reader = _READERS.get(mime_type)
    if reader is None:
        if not mime_type.startswith("text/") and mime_type not in _TEXTUAL:
            return "", UNSUPPORTED
        reader = _plain
    elif mime_type in _WHOLE and path.stat().st_size > MAX_DOCUMENT_BYTES:
        return "", UNSUPPORTED
    # Other people's parsers over other people's bytes raise whatever they like; the file is at fault, not the job.
    try:
        text = reader(path, limit)
    except Exception:
        log.info("no text out of %s, a %s", path.name, mime_type, exc_info=True)
        return "", FAILED
    return text[:limit], SUCCESS if text.strip() else EMPTY


def _plain(path: Path, limit: int) -> str:
    with path.open("rb") as file:
        data = file.read(limit)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:
            return data[: error.start].decode("utf-8-sig")
        return data.decode("cp1252", "replace")


def _json(path: Path, limit: int) -> str:
    """Keys and values a line each, unescaped; a text that is cut or no JSON is taken as it stands."""
    import orjson

    raw = _plain(path, limit)
    try:
        return "\n".join(_leaves(orjson.loads(raw), ""))
    except orjson.JSONDecodeError:
        return raw


def _leaves(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, name)
    elif value is not None:
        yield f"{name}: {value}" if name else str(value)


def _html(path: Path, limit: int) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(_plain(path, limit))
    for node in tree.css("script, style, noscript, template"):
        node.decompose()
    root = tree.root
    text = root.text(separator="\n", strip=True) if root is not None else ""
    links = [node.attributes.get("href") or "" for node in tree.css("a[href^='mailto:']")]
    return "\n".join([text, *(link[len("mailto:") :] for link in links)])


def _docx(path: Path, limit: int) -> str:
    from docx import Document

    document = Document(str(path))
    parts = [document]
    lines = [_table_or_paragraph(each) for part in parts for each in part.iter_inner_content()]
    for section in document.sections:
        for part in (section.header, section.footer):
            lines += [paragraph.text for paragraph in part.paragraphs if paragraph.text]
    return "\n".join(lines)


def _table_or_paragraph(block: Any) -> str:
    if hasattr(block, "rows"):
        return "\n".join("\t".join(cell.text for cell in row.cells) for row in block.rows)
    return str(block.text)


def _xlsx(path: Path, limit: int) -> str:
    import openpyxl

    # A stream: by a path openpyxl refuses names that do not end in .xlsx.
    file = path.open("rb")
    workbook = None
    try:
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
        lines: list[str] = []
        size = 0
        for sheet in workbook.worksheets:
            lines.append(sheet.title)
            for row in sheet.iter_rows(values_only=True):
                line = "\t".join("" if cell is None else str(cell) for cell in row).rstrip()
                size += len(line)
                if size > limit:
                    return "\n".join(lines)
                if line:
                    lines.append(line)
        return "\n".join(lines)
    finally:
        if workbook is not None:
            workbook.close()
        file.close()


def _pdf(path: Path, limit: int) -> str:
    from pypdf import PdfReader

    pages: list[str] = []
    size = 0
    with path.open("rb") as file:
        for page in PdfReader(file).pages:
            pages.append(page.extract_text())
            size += len(pages[-1])
            if size > limit:
                break
    return "\n".join(pages)


_WHOLE: dict[str, Callable[[Path, int], str]] = {DOCX: _docx, XLSX: _xlsx, "application/pdf": _pdf}
_READERS: dict[str, Callable[[Path, int], str]] = {"text/html": _html, "application/json": _json, **_WHOLE}
