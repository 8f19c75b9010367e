"""Plans, without a file: keepers, exclusions, targets, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import digest
from lakeflow_job_meta.policies import plan
from lakeflow_job_meta.policies.plan import HELD, KEEPER, PLANNED, REFUSED, SKIPPED, Candidate, Item
from lakeflow_job_meta.policies.remediation_settings import KEYS, Keeper, Rules
from lakeflow_job_meta.policies.violations import Violation
from lakeflow_job_meta.ports import FileState

VOLUME = "/Volumes/main/default/share"
RUN = "main.default.20260131-235959-1a2b3c4d"


def rules(**given: Any) -> Rules:
    chosen = {
        "policy": "p",
        "table": "main.default.files",
        "action": "archive",
        "keeper": "oldest",
        "target": "/Volumes/main/default/archive",
    }
    return Rules.of({key: value for key, value in {**chosen, **given}.items() if value is not None})


def violation(**row: Any) -> Violation:
    now = datetime(2026, 1, 31, tzinfo=timezone.utc)
    return Violation("p", digest(row, 8), row, now, now)


def candidate(path: str, content: str = "a", *, time: int = 0, size: int = 10, **more: Any) -> Candidate:
    """A surveyed file of the share."""
    full = f"{VOLUME}/{path}"
    file = FileState(full, size, time, 0o644, more.pop("identity", full), "v", exact=True)
    return Candidate(digest(path, 8), full, full, VOLUME, digest(content), size, file=file, **more)


def decide(candidates: Sequence[Candidate], **given: Any) -> dict[str, Item]:
    """The plan by the path below the share."""
    items = plan.decide(candidates, rules(**given), RUN)
    return {item.path.removeprefix(f"{VOLUME}/"): item for item in items}


FILES = (
    candidate("deep/er/a", time=1),
    candidate("master/b", time=2),
    candidate("c", time=3),
    candidate("master/deep/d", time=4),
)


@pytest.mark.parametrize(
    ("keeper", "kept"),
    [
        ("oldest", "deep/er/a"),
        ("newest", "master/deep/d"),
        ("shortest_path", "c"),
        ("shortest-path", "c"),
        (f"root:{VOLUME}/master", "master/b"),
        (f"root:{VOLUME}/master/deep,{VOLUME}/master", "master/deep/d"),
        (f"root:{VOLUME}/nowhere", "deep/er/a"),
    ],
)
def test_one_stays_by_the_rule(keeper: str, kept: str) -> None:
    """All others go, and name it."""
    items = decide(FILES, keeper=keeper)
    assert [path for path, item in items.items() if item.state == KEEPER] == [kept]
    others = [item for path, item in items.items() if path != kept]
    assert {item.state for item in others} == {PLANNED}
    assert {item.keeper for item in others} == {f"{VOLUME}/{kept}"}


def test_the_same_time_ends_in_the_path() -> None:
    """Whatever the order of the rows, the plan is the same."""
    files = [candidate(name) for name in ("b", "a", "cc")]
    assert decide(files)["a"].state == decide(files[::-1])["a"].state == KEEPER


def test_without_a_rule_no_content_may_go_whole() -> None:
    """Single files go; two of one content need a rule, and none is one."""
    assert decide([candidate("a", "1"), candidate("b", "2")], keeper=None)["a"].state == PLANNED
    with pytest.raises(UsageError, match="1 content would go with every copy"):
        decide([candidate("a"), candidate("b")], keeper=None)
    assert {item.state for item in decide([candidate("a"), candidate("b")], keeper="none").values()} == {
        PLANNED
    }


def test_a_file_on_hold_stays_and_may_be_the_keeper() -> None:
    """The rule chooses among all; a held one stays beside the keeper."""
    items = decide([candidate("held", time=1, held=True), candidate("b", time=2), candidate("c", time=3)])
    assert items["held"].state == KEEPER
    assert {items["b"].state, items["c"].state} == {PLANNED}
    items = decide([candidate("a", time=1), candidate("held", time=2, held=True), candidate("c", time=3)])
    assert [items[name].state for name in ("a", "held", "c")] == [KEEPER, HELD, PLANNED]


def test_what_is_not_there_or_changed_is_no_keeper() -> None:
    """A keeper is a file that was seen, as it was scanned."""
    gone = replace(candidate("gone", time=1), file=None)
    changed = replace(candidate("changed", time=2), size=11)
    items = decide([gone, changed, candidate("c", time=3), candidate("d", time=4)])
    assert [items[name].state for name in ("gone", "changed", "c", "d")] == [
        SKIPPED,
        SKIPPED,
        KEEPER,
        PLANNED,
    ]


def test_a_second_name_is_no_copy() -> None:
    """Two names of one file: the file stays."""
    items = decide([candidate("a", identity="1"), candidate("b", identity="1")])
    assert [items["a"].state, items["b"].state] == [KEEPER, SKIPPED]


def test_exclusions() -> None:
    """Empty, small and excluded files stay; an excluded one may be the keeper."""
    items = decide(
        [
            candidate("empty", "e", size=0),
            candidate("small", "s", size=4),
            candidate("templates/a", time=1),
            candidate("b", time=2),
        ],
        min_size=5,
        exclude=["*/templates/*"],
    )
    assert [items[name].state for name in ("empty", "small", "templates/a", "b")] == [
        SKIPPED,
        SKIPPED,
        SKIPPED,
        PLANNED,
    ]
    assert items["b"].keeper == f"{VOLUME}/templates/a"


def test_targets_are_named_by_content_or_by_name() -> None:
    """Archive: by the run and the content; move: by the name, or another one where that is taken."""
    sha256 = digest("a")
    archived = decide(FILES)["c"]
    assert archived.target == f"/Volumes/main/default/archive/20260131-235959-1a2b3c4d/{sha256[:2]}/{sha256}"
    assert archived.stub == f"{VOLUME}/c.archived.txt"
    taken = plan.decide(
        [candidate("x/a.txt", "1"), candidate("x/b.txt", "2")],
        rules(action="move", keeper="none", target="/Volumes/main/default/label"),
        RUN,
        is_taken=lambda path: path.endswith("a.txt"),
    )
    assert taken[1].target == "/Volumes/main/default/label/x/b.txt"
    assert taken[0].target.startswith("/Volumes/main/default/label/x/a.")
    assert taken[0].target.endswith(".txt")
    assert taken[0].stub == ""


def test_nothing_is_deleted_for_good_unasked() -> None:
    """Copies go, as their keeper stays; a file without one needs a target, or the word."""
    assert decide(FILES, action="delete", target=None)["c"].target == ""
    with pytest.raises(UsageError, match="no copy stays"):
        decide([candidate("a")], action="delete", target=None, keeper="none")
    assert (
        decide([candidate("a")], action="delete", target=None, keeper="none", permanent=True)["a"].state
        == PLANNED
    )


def test_our_own_places_are_left_alone() -> None:
    """What a remediation stored, and its stubs."""
    items = plan.decide(
        [candidate("old/run/ab/abcd"), candidate("x.archived.txt", "b")],
        rules(keeper="none"),
        RUN,
        ours={f"{VOLUME}/old/run"},
        stubs={f"{VOLUME}/x.archived.txt"},
    )
    assert [item.state for item in items] == [SKIPPED, SKIPPED]


@pytest.mark.parametrize(
    "path",
    [
        f"{VOLUME}/../x",
        f"{VOLUME}/a/./b",
        f"{VOLUME}//a",
        f"{VOLUME}/a/",
        f"{VOLUME}/a\x00b",
        f"{VOLUME}/a\nb",
        VOLUME,
        "/Volumes/main/default",
        "/Volumes/../etc/passwd",
        "",
    ],
)
def test_paths_that_are_none_are_refused(path: str) -> None:
    [one] = plan.read([violation(path=path, content_sha256=digest("a"))], rules())
    assert one.outcome is not None
    assert one.outcome[0] == REFUSED


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "s3://bucket/x", "\\\\server\\share\\x", "relative/x", "C:\\x"]
)
def test_paths_elsewhere_are_not_reached(path: str) -> None:
    [one] = plan.read([violation(path=path)], rules())
    assert one.outcome is not None
    assert one.outcome[0] == SKIPPED
    assert one.path == ""


def test_roots_and_maps() -> None:
    """A plain path needs a root; the longest folder of the map wins; what is outside of the roots is skipped."""
    chosen = rules(
        roots=["/data/share", VOLUME],
        path_map={"\\\\server\\share": VOLUME, "\\\\server\\share\\hr": f"{VOLUME}/people"},
    )
    found = {
        one.given_path: (one.path, one.root)
        for one in plan.read(
            [
                violation(path="/data/share/x"),
                violation(path="\\\\server\\share\\a\\b.txt"),
                violation(path="\\\\server\\share\\hr\\c.txt"),
                violation(path="/Volumes/main/default/other/x"),
            ],
            chosen,
        )
    }
    assert found == {
        "/data/share/x": ("/data/share/x", "/data/share"),
        "\\\\server\\share\\a\\b.txt": (f"{VOLUME}/a/b.txt", VOLUME),
        "\\\\server\\share\\hr\\c.txt": (f"{VOLUME}/people/c.txt", VOLUME),
        "/Volumes/main/default/other/x": ("/Volumes/main/default/other/x", ""),
    }


def test_a_file_that_two_violations_name_comes_once() -> None:
    """And is held when one of them says so; with two hashes it is refused."""
    path = f"{VOLUME}/a"
    [one] = plan.read(
        [
            violation(path=path, reason="x"),
            violation(file_path=path, legal_hold="yes", sha256=digest("a").upper()),
        ],
        rules(),
    )
    assert (one.held, one.sha256) == (True, digest("a"))
    [one] = plan.read([violation(path=path, sha256=digest(text)) for text in "ab"], rules())
    assert one.outcome is not None
    assert one.outcome[0] == REFUSED


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ({"labels": ["Legal Hold"]}, True),
        ({"labels": '["legal-hold"]'}, True),
        ({"label_names": [{"name": "LEGAL_HOLD 2024"}]}, True),
        ({"label": "Litigation hold: x"}, True),
        ({"legal_hold": "true"}, True),
        ({"legal_hold": 1}, True),
        ({"legal_hold": "false", "labels": ["Household"]}, False),
        ({"legal_hold": None, "labels": None}, False),
        ({"labels": ["Illegal holdings"]}, False),
    ],
)
def test_holds(row: dict[str, Any], held: bool) -> None:
    [one] = plan.read([violation(path=f"{VOLUME}/a", **row)], rules())
    assert one.held is held


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"policy": None}, "policy is missing"),
        ({"action": "burn"}, "none of archive"),
        ({"target": None}, "target is missing"),
        ({"target": "/Volumes/main"}, "no folder of a volume"),
        ({"target": "/Volumes/a/b/c/../d"}, "no folder"),
        ({"keeper": "biggest"}, "no rule"),
        ({"keeper": "root:"}, "no rule"),
        ({"keeper": "oldest:/x"}, "no rule"),
        ({"table": "files"}, "catalog.schema.table"),
        ({"min_size": 0}, "min_size"),
        ({"stub": "perhaps"}, "stub must be true or false"),
        ({"roots": ["relative"]}, "no folder"),
    ],
)
def test_wrong_rules_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        rules(**given)


def test_rules_come_back_as_they_were_kept() -> None:
    chosen = rules(
        keeper=f"root:{VOLUME}/a,{VOLUME}/b",
        roots=[VOLUME],
        path_map={"x:/": VOLUME},
        exclude="*.tmp",
        stub=False,
        hold_labels=["freeze"],
    )
    assert Rules.of(chosen.as_json()) == chosen
    assert set(chosen.as_json()) <= set(KEYS)
    assert Keeper.parse(str(chosen.keeper)) == chosen.keeper


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"), st.sampled_from("xyz"), st.integers(0, 3), st.booleans(), st.booleans()
        ),
        unique_by=lambda one: one[0],
    ),
    st.sampled_from(["oldest", "newest", "shortest_path", f"root:{VOLUME}/a"]),
)
def test_of_every_content_one_stays(files: list[tuple[str, str, int, bool, bool]], keeper: str) -> None:
    """Whatever the files: a keeper is never planned, is there, has the same content; what is held never goes."""
    candidates = [
        replace(candidate(name, content, time=time, held=held), **({} if there else {"file": None}))
        for name, content, time, held, there in files
    ]
    items = decide(candidates, keeper=keeper)
    by_path = {item.path: item for item in items.values()}
    for one in candidates:
        item = by_path[one.path]
        if item.state == PLANNED:
            kept = by_path[item.keeper]
            assert kept.state in {KEEPER, HELD}
            assert kept.sha256 == item.sha256
            assert one.file is not None
            assert not one.held
            assert item.keeper != item.path
