from __future__ import annotations

import pytest

from lakeflow_job_meta.local.dxr.classify import classify, redact
from lakeflow_job_meta.local.dxr.rules import read_rules
from tests.local.dxr import documents

RULES = read_rules()
NAMES = {each.id: each.name for each in RULES.annotators}


def classified(tmp_path, content, name="a.txt", **options):
    path = tmp_path / "content"  # as the simulator keeps it: without an ending
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return classify(RULES, name, "application/octet-stream", path.stat().st_size, path, **options)


def phrases(document):
    return {(NAMES[number], value) for value, _, _, number in document.annotations}


def labels(document):
    return {RULES.label_by_id[number].name for number in document.labels}


@pytest.mark.parametrize("name", list(documents.every_kind()))
def test_the_same_findings_in_every_kind_of_file(tmp_path, name):
    """A card, an address and an IBAN are found whatever the file is: txt, csv, json, html, docx, xlsx or pdf."""
    document = classified(tmp_path, documents.every_kind()[name], name)
    assert document.text_status == "SUCCESS"
    found = {(annotator, value.replace("\n", " ")) for annotator, value in phrases(document)}
    assert {
        ("Payment card", "4111 1111 1111 1111"),
        ("E-mail address", "ana.ruiz@example.org"),
        ("IBAN", "DE89 3704 0044 0532 0130 00"),
    } <= found
    assert labels(document) == {"Personal data", "Financial", "Payment card data"}
    assert document.category == "Sensitive"


def test_the_kind_is_seen_in_the_bytes(tmp_path):
    """A pdf called .txt is read as a pdf; a name without an ending is judged by its bytes."""
    assert classified(tmp_path, documents.pdf("Card"), "a.txt").mime_type == "application/pdf"
    assert classified(tmp_path, documents.xlsx((1,)), "noending").mime_type.endswith("spreadsheetml.sheet")
    assert classified(tmp_path, documents.html("x"), "noending").mime_type == "text/html"
    assert classified(tmp_path, "plain", "noending").mime_type == "text/plain"
    assert classified(tmp_path, b"\x00\x01\x02", "noending").mime_type == "application/octet-stream"


def test_script_is_no_text_and_links_are(tmp_path):
    """What a reader of a page never sees is not classified; the address behind a link is."""
    body = "<p>Write <a href='mailto:help@example.org'>us</a></p>"
    assert phrases(classified(tmp_path, documents.html(body), "a.html")) == {
        ("E-mail address", "help@example.org")
    }


def test_offsets_are_those_of_the_text(tmp_path):
    """[value, start, end, annotator]: the text between start and end is the value, also after an emoji."""
    text = "\U0001f600 é ana@example.org, SSN 536-22-1234; card 4111111111111111."
    document = classified(tmp_path, text)
    assert len(document.annotations) == 3
    for value, start, end, _ in document.annotations:
        assert text[start:end] == value


def test_wrong_checksums_are_no_findings(tmp_path):
    """Numbers of the right shape with a wrong digit leave the file without a label."""
    text = "4111 1111 1111 1112, DE89 3704 0044 0532 0130 01, 666-12-1234, 3.14159265358979323846"
    document = classified(tmp_path, text)
    assert document.annotations == []
    assert document.labels == []


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("STRICTLY CONFIDENTIAL", "Confidential"),
        ("password = hunter2hunter2", "Confidential"),
        ("-----BEGIN RSA PRIVATE KEY-----", "Confidential"),
        ("The patient has diabetes, see the treatment plan", "Health"),
        ("The parties hereinafter agree to indemnify", "Legal"),
        ("salary and payroll", "Human resources"),
        ("this matter is under litigation hold", "Legal hold"),
        ("Press release: for public release", "Public"),
        ("Official record, kept for seven years", "Records"),
        ("This is a superseded draft", "ROT"),
        ("call +34 600 123 456", "Personal data"),
        ("invoice for a purchase order", "Financial"),
    ],
)
def test_labels_by_rules(tmp_path, text, label):
    """Each label of the package has a text that gets it."""
    assert label in labels(classified(tmp_path, text))


def test_a_public_file_with_personal_data_is_not_public(tmp_path):
    """`not` and labels given before count."""
    assert labels(classified(tmp_path, "Press release by ana@example.org")) == {"Personal data"}


def test_extracted_values_have_their_types(tmp_path):
    """An invoice has a type, an amount as a number, a date and a boolean."""
    document = classified(tmp_path, "Invoice No 7\nDate: 2026-03-01\nTotal: 1,234.50 EUR")
    named = {RULES.extractor_by_id[int(number)].name: value for number, value in document.extracted.items()}
    assert named == {
        "Document type": "Invoice",
        "Total amount": 1234.5,
        "Document date": "2026-03-01",
        "Contains personal data": False,
    }


@pytest.mark.parametrize(
    ("content", "name", "text", "metadata"),
    [
        (b"%PDF-1.7 broken", "a.pdf", "FAILED", "TEXT_UNAVAILABLE"),
        (b"PK\x03\x04broken", "a.docx", "UNSUPPORTED", "UNSUPPORTED_MIME_TYPE"),
        (b"\x89PNG\r\n\x1a\n", "a.png", "UNSUPPORTED", "UNSUPPORTED_MIME_TYPE"),
        (b"", "a.txt", "EMPTY", "TEXT_UNAVAILABLE"),
        (b"{broken ana@example.org", "a.json", "SUCCESS", "SUCCESS"),
    ],
)
def test_what_cannot_be_read_is_a_status(tmp_path, content, name, text, metadata):
    """Damaged, unknown and empty files are indexed with a status; none breaks the job."""
    document = classified(tmp_path, content, name)
    assert (document.text_status, document.metadata_status) == (text, metadata)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path, encoding):
    """Text of the usual encodings is read, marks of byte order are no part of it."""
    document = classified(tmp_path, "señor ana@example.org".encode(encoding))
    assert document.text.startswith("señor")


def test_a_large_text_is_cut_and_not_held(tmp_path):
    """Only so much of a text file is read; a character that the cut splits does no harm."""
    document = classified(tmp_path, "é" * 1000 + " ana@example.org", max_text=999)
    assert document.text == "é" * 499


def test_language(tmp_path):
    """By the words that are most frequent."""
    assert classified(tmp_path, "the cat and the dog of the house").language == "en"
    assert classified(tmp_path, "der Hund und die Katze sind nicht mit ein").language == "de"
    assert classified(tmp_path, "xyz").language == ""


def test_redaction(tmp_path):
    """Phrases of the redactor's annotators are blacked out; overlapping ones once."""
    text = "NHS number 943 476 5919 and card 4111 1111 1111 1111 of ana@example.org"
    document = classified(tmp_path, text)
    by_name = {each.name: each for each in RULES.redactors}
    assert redact(by_name["Everything"], text, document.annotations) == (
        "NHS number [REDACTED] and card [REDACTED] of [REDACTED]"
    )
    assert redact(by_name["Payments only"], text, document.annotations) == (
        "NHS number 943 476 5919 and card [REDACTED] of ana@example.org"
    )
