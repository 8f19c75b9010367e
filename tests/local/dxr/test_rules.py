from __future__ import annotations

import pytest

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.dxr.classify import classify
from lakeflow_job_meta.local.dxr.rules import FIRST_FREE_ID, read_rules

OWN = """
annotators:
  - {name: Project code, domain: Projects, patterns: ['\\bPRJ-\\d{4}\\b']}
  - {name: Badge, domain: Projects, patterns: ['\\b\\d{9}\\b'], check: nl_bsn, near: [badge]}
  - {name: Code names, domain: Projects, words: [blue heron, heron]}
extractors:
  - {name: Project, type: TEXT, patterns: ['\\b(PRJ-\\d{4})\\b']}
labels:
  - {name: Project file, when: {any: [{annotator: Project code}, {annotator: Code names}]}}
  - {name: Big project, when: {all: [{label: Project file}, {extractor: Project, equals: PRJ-0001}]}}
  - {name: Legal hold, remove: true}
categories:
  - {name: Project, when: {label: Project file}}
redactors:
  - {name: Projects, domains: [Projects]}
"""


def found(rules, tmp_path, text, name="a.txt"):
    path = tmp_path / "content"
    path.write_text(text)
    return classify(rules, name, "text/plain", len(text), path)


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    return read_rules(file)


def test_users_rules_are_added_and_applied(own, tmp_path):
    """`--rules FILE` brings annotators, extractors, labels, categories and redactors of the user's own."""
    document = found(
        own, tmp_path, "PRJ-0001 is run by the blue heron team; badge 111222333, other 111222333000."
    )
    annotators = {own.annotator_by_id[one[3]].name: one[0] for one in document.annotations}
    assert annotators["Project code"] == "PRJ-0001"
    assert annotators["Code names"] == "blue heron"  # the longest word wins
    assert annotators["Badge"] == "111222333"
    assert {own.label_by_id[label].name for label in document.labels} >= {"Project file", "Big project"}
    assert "PRJ-0001" in document.extracted.values()
    assert document.category == "Project"


def test_ids_are_free_and_stable(own):
    """Entries without an id get one above all that are taken, and those of the package keep theirs."""
    names = {each.name: each.id for each in own.annotators}
    assert names["Payment card"] == 18
    assert names["Project code"] == FIRST_FREE_ID
    assert names["Badge"] == FIRST_FREE_ID + 1
    labels = [each.name for each in own.labels]
    assert "Legal hold" not in labels
    assert len({each.id for each in own.labels}) == len(labels)


def test_an_entry_of_the_same_name_replaces_ours_and_keeps_its_id(tmp_path):
    """A user's e-mail rule takes the place of ours, under the number that clients know."""
    file = tmp_path / "own.yaml"
    file.write_text("annotators:\n- {name: E-mail address, domain: PII, patterns: ['me@here']}\n")
    rules = read_rules(file)
    document = found(rules, tmp_path, "me@here and ana@example.org")
    assert document.annotations == [["me@here", 0, 7, 25]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels: [{name: a, when: {annotator: Nothing}}]", "unknown annotator 'Nothing'"),
        ("labels: [{name: a, when: {annotatr: IBAN}}]", "unknown condition 'annotatr'"),
        ("labels: [{name: a, when: {annotator: IBAN, label: Health}}]", "does not go with"),
        ("labels: [{name: a}]", "needs a condition"),
        ("labels: [{name: a, wehn: {annotator: IBAN}}]", "unknown or of the wrong type: wehn"),
        ("labels: [{when: {annotator: IBAN}}]", "a mapping with a name"),
        ("annotators: [{name: a, patterns: ['(']}]", "pattern '('"),
        ("annotators: [{name: a}]", "either patterns or words"),
        ("annotators: [{name: a, words: [b], check: lun}]", "unknown check 'lun'"),
        ("annotators: [{name: a, id: 18, words: [b]}]", "have one id, 18"),
        ("extractors: [{name: a, patterns: ['b']}]", "needs a group"),
        ("extractors: [{name: a, type: DATE}]", "TEXT, NUMBER or BOOLEAN"),
        ("redactors: [{name: a, annotators: [b]}]", "unknown annotator 'b'"),
        ("words: [a]", "must be one of annotators"),
        ("[a]", "must be a mapping"),
        ("a: [", "no YAML"),
    ],
)
def test_wrong_rules_are_refused_with_the_place(tmp_path, text, message):
    """Every mistake in a rules file is told by section and name; nothing is skipped silently."""
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(LocalError) as error:
        read_rules(file)
    assert message in str(error.value)


def test_all_mistakes_at_once(tmp_path):
    """Two wrong labels are two lines of one error."""
    file = tmp_path / "own.yaml"
    file.write_text("labels: [{name: a}, {name: b, when: {label: zzz}}]")
    with pytest.raises(LocalError) as error:
        read_rules(file)
    assert len(str(error.value).splitlines()) == 2


def test_a_file_that_is_not_there(tmp_path):
    """The path is named."""
    with pytest.raises(LocalError, match=r"none\.yaml"):
        read_rules(tmp_path / "none.yaml")
