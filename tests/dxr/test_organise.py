"""Files laid out by label: volumes, copies, tags and grants, redacted text, views; and what is taken away again."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.dxr import copies
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr.copies import place_in
from lakeflow_job_meta.dxr.label_places import Access, choose_name, slug
from lakeflow_job_meta.dxr.organise import organise
from lakeflow_job_meta.errors import TaskError, UsageError, VolumeError
from lakeflow_job_meta.names import TableName
from tests.dxr.catalog import FakeCatalog
from tests.dxr.world import World

pytestmark = pytest.mark.slow

CARD = "card 4111 1111 1111 1111, mail bo@example.org"
IBAN = "pay to DE89 3704 0044 0532 0130 00"
MAIL = "mail ana@example.org"


class Labels:
    """A classified volume, and what is organised of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.catalog = FakeCatalog(world.root)

    def organise(self, **more: Any) -> Any:
        session = self.world.session(**more)
        session.catalog = lambda: self.catalog
        summary, facts = organise(session)
        return type("Done", (), {"summary": summary, **facts})

    def tree(self) -> dict[str, bytes]:
        """Every file in a volume of a label, by `volume/path`."""
        top = self.world.root / "main" / "files"
        return {
            path.relative_to(top).as_posix(): path.read_bytes()
            for path in sorted(top.rglob("*"))
            if path.is_file() and path.relative_to(top).parts[0] != "inbox"
        }

    def ledger(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["file_path"], row["label"]): row for row in self.world.rows("dxr_copies")}

    def relabel(self, path: str, *labels: str) -> None:
        """What a later collect would write."""
        self.change(path, f"labels = array({', '.join(map(repr, labels))})" if labels else "labels = array()")

    def change(self, path: str, setting: str) -> None:
        table = self.world.metadata_table.quoted
        if setting == "labels = array()":
            setting = "labels = CAST(array() AS ARRAY<STRING>)"
        self.world.tables.query(f"UPDATE {table} SET {setting} WHERE relative_path = '{path}'")


FILES = {
    "a/x.txt": (CARD, ["Personal data", "Financial", "Payment card data"]),
    "b/x.txt": (f"{MAIL}\n{IBAN}", ["Personal data", "Financial"]),
    "plain.txt": ("nothing", []),
}


@pytest.fixture
def classified(world: World) -> Labels:
    """The files, classified by the simulator."""
    for name, (text, _) in FILES.items():
        world.put(name, text)
    assert world.run_once().classified == 3
    assert {name: sorted(row["labels"]) for name, row in world.found().items()} == {
        name: sorted(labels) for name, (_, labels) in FILES.items()
    }
    return Labels(world)


@pytest.fixture
def labels(world: World) -> Labels:
    """The same files with the same results, written by hand: quicker."""
    rows = [
        {
            "file_path": world.put(name, text),
            "relative_path": name,
            "volume_path": world.volume,
            "labels": labels,
            "source_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "file_id": f"id-{name}",
            "status": "classified",
        }
        for name, (text, labels) in FILES.items()
    ]
    definition = definitions.metadata(world.metadata_table)
    definitions.ensure(world.tables, definition)
    world.tables.append(definition, rows)
    return Labels(world)


# ---------------------------------------------------------------- copies


def test_a21_each_label_has_its_files(classified: Labels) -> None:
    """A volume a label, the files in it as they lie in their own, byte for byte; the ledger knows each."""
    labels = classified
    done = labels.organise()
    assert done.files_by_label == {"Financial": 2, "Payment card data": 1, "Personal data": 2}
    assert labels.tree() == {
        "dxr_label_financial/a/x.txt": CARD.encode(),
        "dxr_label_financial/b/x.txt": f"{MAIL}\n{IBAN}".encode(),
        "dxr_label_payment_card_data/a/x.txt": CARD.encode(),
        "dxr_label_personal_data/a/x.txt": CARD.encode(),
        "dxr_label_personal_data/b/x.txt": f"{MAIL}\n{IBAN}".encode(),
    }
    assert (done.copied, done.summary.new, done.summary.seen) == (5, 5, 3)
    row = labels.ledger()["/Volumes/main/files/inbox/a/x.txt", "Financial"]
    assert row["copy_sha256"] == row["source_sha256"] == hashlib.sha256(CARD.encode()).hexdigest()
    assert (row["state"], row["bytes"]) == ("COPIED", len(CARD))


def test_a_second_run_writes_nothing(labels: Labels) -> None:
    """Idempotent: no copy, no write to the catalog."""
    labels.organise()
    before = labels.catalog.writes
    done = labels.organise()
    assert (done.copied, done.removed, done.summary.unchanged) == (0, 0, 5)
    assert labels.catalog.writes == before


def test_only_the_dominant_label(labels: Labels) -> None:
    """The first in label_order, else the first of Data X-Ray's own; the others' copies go."""
    labels.organise()
    done = labels.organise(labels="dominant", label_order=["Payment card data", "Personal data"])
    assert set(labels.tree()) == {"dxr_label_payment_card_data/a/x.txt", "dxr_label_personal_data/b/x.txt"}
    assert done.removed == 3


def test_a_label_that_goes_takes_its_copy(labels: Labels) -> None:
    """And one that is renamed moves it."""
    labels.organise()
    labels.relabel("a/x.txt", "Cards (new)")
    labels.relabel("b/x.txt")
    done = labels.organise()
    assert labels.tree() == {"dxr_label_cards_new/a/x.txt": CARD.encode()}
    assert (done.copied, done.removed) == (1, 5)
    states = {key: row["state"] for key, row in labels.ledger().items()}
    assert states["/Volumes/main/files/inbox/b/x.txt", "Financial"] == "REMOVED"
    labels.relabel("b/x.txt", "Financial")
    assert labels.organise().copied == 1
    assert "dxr_label_financial/b/x.txt" in labels.tree()


def test_a_changed_file_is_copied_anew(classified: Labels) -> None:
    """Once its new version was classified; until then the old copy stays and the change is told."""
    labels = classified
    labels.organise()
    labels.world.put("a/x.txt", CARD + " and more", at=2_000_000_000)
    labels.change("b/x.txt", "status = 'missing'")
    before = labels.tree()
    done = labels.organise()
    assert labels.tree() == before
    assert done.summary.skipped == 1
    labels.world.run_once()
    assert labels.organise().copied >= 3
    assert labels.tree()["dxr_label_financial/a/x.txt"] == (CARD + " and more").encode()


def test_a_source_that_is_not_what_was_classified_is_not_copied(labels: Labels) -> None:
    """Its hash is told by the very bytes that are copied: nothing appears in the volume."""
    labels.world.put("a/x.txt", CARD.replace("card", "CARD"))
    done = labels.organise()
    assert not [name for name in labels.tree() if name.endswith("a/x.txt")]
    assert done.summary.skipped == 3
    assert "changed since" in done.summary.reasons[0]["reason"]


def test_a_deleted_source_takes_its_copies(classified: Labels) -> None:
    """What the source volume has no more, the labels' volumes have no more."""
    labels = classified
    labels.organise()
    (labels.world.folder / "a" / "x.txt").unlink()
    labels.world.run_once()
    labels.organise()
    assert all(name.endswith("b/x.txt") for name in labels.tree())


def test_no_metadata_removes_nothing(labels: Labels) -> None:
    """A metadata table that lost its rows, or is not there, is no reason to delete copies."""
    labels.organise()
    before = labels.tree()
    table = labels.world.metadata_table.quoted
    labels.world.tables.query(f"DELETE FROM {table} WHERE true")
    assert labels.organise().removed == 0
    labels.world.tables.query(f"DROP TABLE {table}")
    with pytest.raises(TaskError, match="dxr_collect"):
        labels.organise()
    assert labels.tree() == before


def test_only_some_labels(labels: Labels) -> None:
    """only_labels leaves the others as they are."""
    labels.organise()
    labels.relabel("a/x.txt")
    done = labels.organise(only_labels=["Financial"])
    assert done.files_by_label == {"Financial": 1}
    assert "dxr_label_personal_data/a/x.txt" in labels.tree()
    assert "dxr_label_financial/a/x.txt" not in labels.tree()


def test_two_source_volumes_do_not_share_a_path(classified: Labels) -> None:
    """The second file of a path lies apart, and stays there."""
    labels = classified
    labels.organise()
    other = World(labels.world.dxr, labels.world.tables, labels.world.schema, labels.world.root)
    other.volume = "/Volumes/main/files/other"
    other.put("a/x.txt", f"{CARD} of another")
    other.run_once()
    more = {"source_volume": "/Volumes/main/files/other"}
    labels.organise(**more)
    tree = labels.tree()
    assert tree["dxr_label_financial/a/x.txt"] == CARD.encode()
    assert tree["dxr_label_financial/main.files.other/a/x.txt"] == f"{CARD} of another".encode()
    assert labels.organise(**more).copied == 0


def test_dry_run(labels: Labels) -> None:
    """What would be copied is counted; nothing is written anywhere."""
    done = labels.organise(dry_run=True)
    assert (done.summary.new, done.copied) == (5, 0)
    assert labels.tree() == {}
    assert labels.catalog.writes == 0
    assert labels.world.tables.columns(TableName(*labels.world.schema, "dxr_labels")) is None


def test_a_volume_that_may_not_be_made_fails_its_files_only(labels: Labels) -> None:
    """The other labels' files are copied, the failure is counted and told."""
    labels.catalog.forbidden.add("dxr_label_financial")
    done = labels.organise()
    assert done.summary.failed == 2
    assert "CREATE VOLUME" in done.summary.reasons[0]["reason"]
    assert len(labels.tree()) == 3
    labels.catalog.forbidden.clear()
    assert labels.organise().copied == 2


def test_an_unreadable_source_fails_alone(labels: Labels) -> None:
    """The rest goes on, and the next run tries it again."""
    source = labels.world.folder / "a" / "x.txt"
    data = source.read_bytes()
    source.unlink()
    source.mkdir()
    done = labels.organise()
    assert done.summary.failed == 3
    assert done.copied == 2
    source.rmdir()
    source.write_bytes(data)
    assert labels.organise().copied == 3


def test_a_copy_that_reads_back_wrong_is_taken_away(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each copy is read back; a wrong one is no copy."""
    from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes

    class Rotten(FuseVolumes):
        def upload(self, path: str, source: Any) -> None:
            super().upload(path, source)
            self.write(path, b"rot")

    done = labels.organise(volumes=Rotten(labels.world.root))
    assert done.summary.failed == 5
    assert labels.tree() == {}


def test_what_a_dead_write_left_goes(labels: Labels) -> None:
    """A partial file beside a copy that was planned is removed."""
    labels.organise()
    left = labels.world.root / "main/files/dxr_label_financial/a" / f".{'0' * 32}.tmp"
    left.write_bytes(b"half")
    table = TableName(*labels.world.schema, "dxr_copies").quoted
    labels.world.tables.query(f"UPDATE {table} SET state = 'PLANNED' WHERE label = 'Financial'")
    assert labels.organise().copied == 2
    assert not left.exists()


# ---------------------------------------------------------------- names


HOSTILE = [
    "..",
    "../../etc",
    "a/b",
    "it's `quoted`",
    "new\nline",
    "emoji 🙈",
    "",
    ".",
    "ÄÖ",
    "x" * 300,
    "機密",
]


def test_any_label_has_a_legal_place(labels: Labels) -> None:
    """Quotes, backticks, newlines, emoji and `..` in a label: each has a volume of its own, one below the schema."""
    texts = [
        label.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") for label in HOSTILE if label
    ]
    array = ", ".join(f"'{text}'" for text in texts)
    labels.change("a/x.txt", f"labels = array({array})")
    assert labels.organise(only_labels=[label for label in HOSTILE if label]).copied == len(texts)
    places = set()
    for label in HOSTILE:
        name = choose_name(label, "dxr_label_", ("main", "files"), [])
        assert TableName.parse(str(name)) == name
        assert set(name.table) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
        if label:
            assert labels.tree()[f"{name.table}/a/x.txt"] == CARD.encode()
            places.add(name.table)
    assert len(places) == len(texts)


@given(st.lists(st.text(max_size=20), unique=True, max_size=20))
def test_labels_never_share_a_place(names: list[str]) -> None:
    """Different labels, different volumes, whatever their names fold to."""
    taken: list[TableName] = []
    for name in names:
        taken.append(choose_name(name, "dxr_label_", ("c", "s"), taken))
    assert len(set(taken)) == len(names)


def test_labels_that_fold_to_one_name_stay_apart(labels: Labels) -> None:
    """And keep their places in later runs."""
    labels.relabel("a/x.txt", "PII!")
    labels.relabel("b/x.txt", "pii?")
    labels.organise()
    first = labels.tree()
    assert len({name.split("/")[0] for name in first}) == 2
    assert labels.organise().copied == 0
    assert labels.tree() == first


@given(st.text(max_size=30))
def test_a_path_never_leaves_its_volume(path: str) -> None:
    """Either it lies below the volume, or it is refused."""
    try:
        found = place_in("/Volumes/c/s/v", path)
    except VolumeError:
        return
    assert found.startswith("/Volumes/c/s/v/")
    assert ".." not in found.split("/")


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "", ".", "a//b", "a/./b", "a\x00b", ".."]
)
def test_paths_that_would_leave_are_refused(labels: Labels, path: str) -> None:
    """Whoever wrote them into the table."""
    with pytest.raises(VolumeError):
        place_in("/Volumes/c/s/v", path)


def test_a_hostile_row_fails_alone(labels: Labels) -> None:
    """A path in the metadata table that would leave the volume is a failure of that file."""
    labels.change("a/x.txt", "relative_path = '../../../escaped.txt'")
    done = labels.organise()
    assert done.summary.failed == 3
    assert not list(labels.world.root.parent.rglob("escaped.txt"))
    assert done.copied == 2


def test_odd_file_names(world: World) -> None:
    """Names with quotes, backticks, newlines, emoji and dots are copied as they are."""
    names = ["it's.txt", "`back`.txt", "new\nline.txt", "🙈.txt", "a..b.txt", "-rf", "100%.txt"]
    for name in names:
        world.put(name, f"{name} {CARD}")
    world.run_once()
    labels = Labels(world)
    labels.organise(only_labels=["Financial"])
    assert {name.removeprefix("dxr_label_financial/") for name in labels.tree()} == set(names)


def test_slugs() -> None:
    """What people would expect."""
    assert slug("Sensitive Financial Information") == "sensitive_financial_information"
    assert slug("  --PII--  ") == "pii"
    assert len(slug("機密")) == 12


# ---------------------------------------------------------------- tags and grants


def test_a21_tags_and_grants_follow_the_mapping(labels: Labels) -> None:
    """Set, changed and taken away; what others set stays."""
    financial = TableName("main", "files", "dxr_label_financial")
    labels.organise(
        label_tags={"*": {"origin": "dxr"}, "Financial": {"class": "restricted"}},
        label_grants={"Financial": {"finance": ["read volume", "WRITE_VOLUME"], "audit": "READ_VOLUME"}},
    )
    assert labels.catalog.tags[financial] == {"origin": "dxr", "class": "restricted"}
    assert labels.catalog.grants[financial]["finance"] == {"READ_VOLUME", "WRITE_VOLUME"}
    labels.catalog.tags[financial]["theirs"] = "kept"
    labels.catalog.grants[financial]["others"] = frozenset({"READ_VOLUME"})
    labels.organise(
        label_tags={"Financial": {"class": "secret"}},
        label_grants={"Financial": {"finance": ["READ_VOLUME"]}},
    )
    assert labels.catalog.tags[financial] == {"class": "secret", "theirs": "kept"}
    assert labels.catalog.grants[financial] == {
        "finance": {"READ_VOLUME"},
        "audit": frozenset(),
        "others": {"READ_VOLUME"},
    }
    before = labels.catalog.writes
    labels.organise(
        label_tags={"Financial": {"class": "secret"}},
        label_grants={"Financial": {"finance": ["READ_VOLUME"]}},
    )
    assert labels.catalog.writes == before


@pytest.mark.parametrize(
    ("tags", "grants"),
    [
        ({"x": "no object"}, {}),
        ({"x": {"a.b": "1"}}, {}),
        ({"x": {"a": "v" * 1001}}, {}),
        ({}, {"x": ["READ"]}),
        ({}, {"x": {"who": [1]}}),
    ],
)
def test_wrong_mappings_are_told(tags: dict[str, Any], grants: dict[str, Any]) -> None:
    """Before anything is done."""
    with pytest.raises(UsageError, match="label_"):
        Access.of(tags, grants)


@pytest.mark.parametrize(
    "given", [{"label_volume_prefix": "../x"}, {"target_schema": "only"}, {"organise_mode": "move"}]
)
def test_wrong_settings_are_told(labels: Labels, given: dict[str, Any]) -> None:
    """A prefix, a schema, a mode that are none."""
    with pytest.raises(UsageError):
        labels.organise(**given)


# ---------------------------------------------------------------- redacted text, views


def test_redacted_text_in_the_place_of_the_bytes(classified: Labels) -> None:
    """The volume holds what the redactor leaves; a file without text is skipped and told."""
    labels = classified
    redactor = labels.world.client().redactors()[0]["id"]
    done = labels.organise(organise_mode="redacted", redactor_id=redactor, only_labels=["Payment card data"])
    [(name, data)] = labels.tree().items()
    assert name == "dxr_label_payment_card_data/a/x.txt.redacted.txt"
    assert b"4111" not in data
    assert b"card" in data
    assert done.copied == 1
    again = labels.organise(organise_mode="redacted", redactor_id=redactor, only_labels=["Payment card data"])
    assert again.copied == 0
    with pytest.raises(UsageError, match="redactor_id"):
        labels.organise(organise_mode="redacted")


def test_views_in_the_place_of_copies(labels: Labels) -> None:
    """Metadata only: a view a label, no volume, no file; a label that goes takes its view."""
    labels.relabel("b/x.txt", "it's `odd`")
    done = labels.organise(organise_mode="views", target_schema=".".join(labels.world.schema))
    assert labels.tree() == {}
    assert len(done.views) == 4
    assert {row["relative_path"] for row in labels.world.rows("dxr_label_financial")} == {"a/x.txt"}
    assert {row["relative_path"] for row in labels.world.rows("dxr_label_it_s_odd")} == {"b/x.txt"}
    labels.relabel("b/x.txt", "Financial")
    labels.organise(organise_mode="views", target_schema=".".join(labels.world.schema))
    assert len(labels.world.rows("dxr_label_financial")) == 2
    assert labels.world.tables.columns(TableName(*labels.world.schema, "dxr_label_it_s_odd")) is None
    labels.organise(
        organise_mode="views",
        target_schema=".".join(labels.world.schema),
        labels="dominant",
        label_order=["Payment card data"],
    )
    assert {row["relative_path"] for row in labels.world.rows("dxr_label_financial")} == {"b/x.txt"}


def test_pages(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows at a time give the same outcome."""
    from lakeflow_job_meta.dxr import organise as module

    monkeypatch.setattr(module, "PAGE", 1)
    monkeypatch.setattr(module, "BATCH", 1)
    assert labels.organise().copied == 5
    assert labels.organise().summary.unchanged == 5
    assert copies.PLANNED not in {row["state"] for row in labels.ledger().values()}
