from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.local.dxr.answers import Refusal
from lakeflow_job_meta.local.dxr.kql import matches_all, parse

NOW = 1_772_000_000.0  # 2026-02-25T06:13:20Z
ROW = {
    "fileId": "Qm3xT5gBk0-aZ_91LwPe",
    "fileName": 'quarter "1" \\ report.pdf',
    "size": 20480,
    "mimeType": "application/pdf",
    "createdAt": "2026-01-10T08:00:00Z",
    "lastModifiedAt": "2026-02-24T09:30:00.5+01:00",
    "labels": [{"name": "Confidential"}, {"name": "Legal hold"}],
    "annotators": [
        {"name": "IBAN", "domain": {"name": "Financial"}, "uniquePhrases": 1},
        {"name": "E-mail address", "domain": {"name": "PII"}, "uniquePhrases": 4},
    ],
    "entitlements": {"whoCanAccess": [{"accountType": "GROUP", "name": "Everyone"}, {"accountType": "USER", "name": "Ana"}]},
    "extractedMetadata": [{"name": "Document type", "value": "Big invoice"}, {"name": "Total", "value": 12.5}, {"name": "Paid", "value": True}],
    "coordinates": {"lat": 41.4, "lon": 2.17},
}  # fmt: skip


def yes(query):
    return parse(query, NOW)(ROW)


@pytest.mark.parametrize(
    "query",
    [
        'fileName:"*"',
        'fileName: "*REPORT.pdf"',
        'fileId:"Qm3xT5gBk0-aZ_91LwPe"',
        r'fileName:"quarter \"1\" \\ report.pdf"',
        'fileName:"quarter ?1? ? report.pdf"',
        'mimeType:"application/pdf" AND size >= 20480',
        "size > 20479 AND size < 20481 AND size <= 20480",
        'labels.name:"legal hold"',
        'labels.name:"Confidential" AND labels.name:"Legal hold"',
        'labels.name:"x" OR labels.name:"Confidential"',
        'NOT labels.name:"x"',
        'NOT (labels.name:"x" OR size < 5)',
        'labels.name:"x" AND labels.name:"y" OR size > 5',
        'labels.name:"Confidential" size > 5',
        "annotators.uniquePhrases > 3",
        'annotators: { name:"IBAN" AND uniquePhrases < 2 }',
        'annotators:{domain.name:"PII"}',
        'annotators.domain.name:"PII" AND annotators.name:"IBAN"',
        'entitlements.whoCanAccess: { accountType:"GROUP" AND name:"Everyone" }',
        'entitlements.whoCanAccess.name:"ana"',
        'extractedMetadata: { name:"Document type" AND value:"*invoice*" }',
        'extractedMetadata: { name:"Total" AND value > 12 }',
        'extractedMetadata: { name:"Paid" AND value:"true" }',
        "coordinates.lat > 41 AND coordinates.lon < 3",
        "createdAt < now-7d",
        "createdAt >= 2026-01-10T08:00:00Z AND createdAt <= 2026-01-10T08:00:00Z",
        "lastModifiedAt > 2026-02-24T08:30:00Z",
        "lastModifiedAt > now-2d AND lastModifiedAt < now AND lastModifiedAt < now+1h",
    ],
)  # fmt: skip
def test_what_matches(query):
    """Every construct of section 8 finds the row that it should."""
    assert yes(query)


@pytest.mark.parametrize(
    "query",
    [
        'fileName:"report"',
        "size > 20480",
        'labels: { name:"Confidential" AND name:"Legal hold" }',
        'annotators: { name:"IBAN" AND uniquePhrases > 2 }',
        'entitlements.whoCanAccess: { accountType:"USER" AND name:"Everyone" }',
        'NOT labels.name:"Confidential" OR size < 5',
        'extractors.name:"Document type"',
        'contentSha256:"*"',
        "createdAt > now-1d",
        'annotators:"IBAN"',
    ],
)  # fmt: skip
def test_what_does_not_match(query):
    """One element must satisfy a whole block; an absent field matches nothing."""
    assert not yes(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "report",
        '"report"',
        "fileName:report",
        'fileName:"report',
        'fileName:"a" and fileName:"b"',
        'fileName:"a" OR',
        'AND fileName:"a"',
        '(fileName:"a"',
        'fileName:"a")',
        'labels:{name:"a"',
        "labels:{}",
        '_exists_:"labels"',
        "_exists_:labels",
        "size:>=1",
        'size >= "1"',
        "size >= many",
        "fileName > 3",
        "labels.name >= 3",
        "createdAt > 2026-01-01",
        "createdAt > yesterday",
        'createdAt > "2026-01-01T00:00:00Z"',
        "createdAt > now-7q",
        "createdAt > 2026-13-40T00:00:00Z",
        "value > 3",
        "NOT",
        "size >=",
        ":",
        "\\",
    ],
)  # fmt: skip
def test_what_is_refused(query):
    """Everything that section 8 calls unsupported is a 400 with a sentence in plain text."""
    with pytest.raises(Refusal) as error:
        parse(query, NOW)
    assert error.value.status == 400
    assert error.value.plain


@given(st.text())
def test_any_text_is_a_predicate_or_a_refusal(text):
    """No query breaks the parser, and none breaks the evaluation."""
    try:
        predicate = parse(text, NOW)
    except Refusal:
        return
    assert predicate(ROW) in (True, False)


@given(st.text(min_size=1))
def test_a_quoted_text_finds_exactly_itself(text):
    """Escaping is safe for any name: it matches itself (in any case), and wildcards in it count only as such."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*").replace("?", "\\?")
    assert parse(f'fileName:"{quoted}"', NOW)({"fileName": text})
    assert not parse(f'fileName:"{quoted}"', NOW)({"fileName": text + "x"})


def test_the_query_for_everything():
    """It is recognised, so that no row need be looked at; nothing else is."""
    assert matches_all("")
    assert matches_all(' fileName : "*" ')
    assert not matches_all('fileName:"*a"')
    assert not matches_all("size > 0")  # fmt: skip
