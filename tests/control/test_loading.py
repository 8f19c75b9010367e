"""Files own rows: every sentence of it, on plain values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.control.loading import Load, overlay
from tests.control.world import FOLDER, NAMELESS, World, row, rows_of


@pytest.fixture
def world() -> World:
    return World()


def idle(world: World) -> bool:
    """Whether another look finds nothing to do."""
    load = world.sync()
    return not load.write and not load.records


def test_a_new_file_writes_its_rows_and_owns_them(world: World) -> None:
    """All rows of a file that is new are written; its record holds a hash of each."""
    world.put("a.yaml", {"m": {"s1": "1", "s2": "2"}})
    load = world.sync()
    assert load.changed == 2
    assert load.modules == {"m"}
    assert world.active() == rows_of({"m": {"s1": "1", "s2": "2"}})
    assert world.record("a.yaml").keys == {
        "m": {"s1": row("m", "s1", "1").hash, "s2": row("m", "s2", "2").hash}
    }
    assert world.record("a.yaml").status == "loaded"
    assert idle(world)


def test_only_rows_that_changed_in_the_file_are_written(world: World) -> None:
    """A direct SQL edit stands until that very row changes in its file."""
    world.put("a.yaml", {"m": {"s1": "1", "s2": "2", "s3": "3"}})
    world.sync()
    world.edit("m", "s1", "mine")
    world.edit("m", "s2", "2", active=False)
    world.put("a.yaml", {"m": {"s1": "1", "s2": "2", "s3": "new"}})
    assert [one.key for one in world.sync().write] == [("m", "s3")]
    assert world.active() == {("m", "s1"): "mine", ("m", "s3"): "new"}
    world.put("a.yaml", {"m": {"s1": "changed", "s2": "changed", "s3": "new"}})
    assert world.sync().changed == 2
    assert world.active() == rows_of({"m": {"s1": "changed", "s2": "changed", "s3": "new"}})


def test_a_row_deleted_by_sql_stays_deleted_until_it_changes_in_its_file(world: World) -> None:
    """A DELETE is a direct edit, too."""
    world.put("a.yaml", {"m": {"s1": "1", "s2": "2"}})
    world.sync()
    world.table = [one for one in world.table if one.source_id != "s1"]
    world.put("a.yaml", {"m": {"s1": "1", "s2": "new"}})
    world.sync()
    assert world.active() == {("m", "s2"): "new"}


def test_a_row_that_left_its_file_becomes_inactive_as_it_is(world: World) -> None:
    """Rows are never deleted; what SQL had made of the row stays in it."""
    world.put("a.yaml", {"m": {"s1": "1", "s2": "2"}})
    world.sync()
    world.edit("m", "s2", "mine")
    world.put("a.yaml", {"m": {"s1": "1"}})
    assert world.sync().write == (row("m", "s2", "mine", active=False),)
    world.put("a.yaml", {"m": {"s1": "1", "s2": "2"}})
    world.sync()
    assert world.active() == rows_of({"m": {"s1": "1", "s2": "2"}})


def test_rows_of_nobody_stay(world: World) -> None:
    """A row INSERTed by SQL into a module of a file is no file's, and stays whatever the file does."""
    world.put("a.yaml", {"m": {"s1": "1"}, "n": {"s": "1"}})
    world.sync()
    world.edit("m", "extra", "x")
    world.put("a.yaml", {"n": {"s": "1"}})
    world.sync()
    assert world.active() == {("m", "extra"): "x", ("n", "s"): "1"}


def test_rows_that_are_in_the_table_already_are_not_written(world: World) -> None:
    """Adopting rows that are equal changes nothing."""
    world.table = [row("m", "s1", "1"), row("m", "s2", "other")]
    world.put("a.yaml", {"m": {"s1": "1", "s2": "2"}})
    assert [one.key for one in world.sync().write] == [("m", "s2")]


def test_modules_empty_list_retires_all_of_the_file(world: World) -> None:
    """`modules: []` is how the last module is retired."""
    world.put("a.yaml", {"m": {"s1": "1"}, "n": {"s": "1"}})
    world.sync()
    world.put("a.yaml", {})
    assert world.sync().changed == 2
    assert world.active() == {}
    assert world.record("a.yaml").keys == {}


class TestVanished:
    def test_a_vanished_file_releases_its_keys(self, world: World) -> None:
        """Its rows become inactive, its record says so, and it is new when it comes back."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.put("b.yaml", {"n": {"s": "1"}})
        world.sync()
        world.remove("a.yaml")
        world.sync()
        assert world.active() == {("n", "s"): "1"}
        assert world.inactive() == {("m", "s")}
        assert world.record("a.yaml").status == "vanished"
        assert world.record("a.yaml").keys == {}
        assert idle(world)
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        assert world.active() == {("m", "s"): "1", ("n", "s"): "1"}

    def test_an_empty_listing_retires_nothing(self, world: World) -> None:
        """The brake: neither all files' leaving at once, nor the last one's, is enough."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        world.remove("a.yaml")
        load = world.sync()
        assert not load.write
        assert not load.records
        assert "modules: []" in load.notes[0]
        assert world.active() == {("m", "s"): "1"}

    def test_force_lifts_the_brake(self, world: World) -> None:
        """An empty volume retires what was in it when it is said to."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        world.remove("a.yaml")
        assert world.sync(force=True).changed == 1
        assert world.active() == {}

    def test_files_elsewhere_and_files_loaded_by_hand_never_vanish(self, world: World) -> None:
        """Only what lay in the listed folder can leave it."""
        world.disk["/home/me/h.yaml"] = {"h": {"s": "1"}}
        world.hand("/home/me/h.yaml")
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        other = world.record("a.yaml")
        world.records["/Volumes/main/etl/metadata2/b.yaml"] = replace(
            other, path="/Volumes/main/etl/metadata2/b.yaml", keys={"o": {"s": "x"}}
        )
        world.edit("o", "s", "1")
        world.put("c.yaml", {})
        world.sync()
        assert world.active() == {("h", "s"): "1", ("m", "s"): "1", ("o", "s"): "1"}


class TestRename:
    def test_a_rename_is_no_conflict_and_writes_nothing(self, world: World) -> None:
        """The new file takes over hashes and all: nothing goes off and on again, SQL edits stand."""
        world.put("a.yaml", {"m": {"s1": "1", "s2": "2"}})
        world.put("z.yaml", {"z": {"s": "1"}})
        world.sync()
        world.edit("m", "s1", "mine")
        world.rename("a.yaml", "b.yaml")
        load = world.sync()
        assert not load.write
        assert not load.problems
        assert world.active()["m", "s1"] == "mine"
        assert world.record("b.yaml").keys["m"]
        assert world.record("a.yaml").status == "vanished"
        assert idle(world)

    def test_the_only_file_may_be_renamed_and_edited(self, world: World) -> None:
        """Rows that the new file has no more become inactive, changed ones are written."""
        world.put("a.yaml", {"m": {"s1": "1", "s2": "2"}, "n": {"s": "1"}})
        world.sync()
        world.remove("a.yaml")
        world.put("b.yaml", {"m": {"s1": "new"}})
        world.sync()
        assert world.active() == {("m", "s1"): "new"}
        assert world.inactive() == {("m", "s2"), ("n", "s")}

    def test_a_module_that_is_wrong_after_a_rename_keeps_its_rows(self, world: World) -> None:
        """Last good moves with the module."""
        world.put("a.yaml", {"m": {"s": "1"}, "n": {"s": "1"}})
        world.sync()
        world.remove("a.yaml")
        world.put("b.yaml", {"m": None, "n": {"s": "1"}})
        assert not world.sync().write
        assert world.active() == {("m", "s"): "1", ("n", "s"): "1"}
        world.put("b.yaml", {"n": {"s": "1"}})
        world.sync()
        assert world.active() == {("n", "s"): "1"}

    def test_a_module_moves_between_files(self, world: World) -> None:
        """Two files that are changed in one listing may swap their modules."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.put("b.yaml", {"n": {"s": "1"}})
        world.sync()
        world.put("a.yaml", {"n": {"s": "1"}})
        world.put("b.yaml", {"m": {"s": "2"}})
        load = world.sync()
        assert [one.key for one in load.write] == [("m", "s")]
        assert not load.problems


class TestConflict:
    def test_two_files_that_claim_a_module_are_named_both(self, world: World) -> None:
        """Both refuse the module, with both places; the rest of both files is loaded."""
        world.put("a.yaml", {"a": {"s": "1"}, "m": {"s": "1"}})
        world.put("b.yaml", {"m": {"s": "2"}, "b": {"s": "1"}})
        load = world.sync()
        assert world.active() == {("a", "s"): "1", ("b", "s"): "1"}
        texts = sorted(str(problem) for problem in load.problems)
        assert len(texts) == 2
        assert texts[0].startswith(f"{FOLDER}/a.yaml:3:5: ")
        assert f"{FOLDER}/b.yaml:2:5" in texts[0]
        assert texts[1].startswith(f"{FOLDER}/b.yaml:2:5: ")
        assert f"{FOLDER}/a.yaml:3:5" in texts[1]
        assert {problem.module for problem in load.problems} == {"m"}
        assert world.record("a.yaml").status == world.record("b.yaml").status == "partial"
        assert idle(world)

    def test_last_good_stays_and_both_know(self, world: World) -> None:
        """A new claim on a module that a file has: neither is taken, the rows stay, and so does ownership."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        world.put("b.yaml", {"m": {"s": "2"}})
        load = world.sync()
        assert len(load.problems) == 2
        assert world.active() == {("m", "s"): "1"}
        assert world.record("a.yaml").status == "partial"
        world.put("a.yaml", {"m": {"s": "3"}})
        assert world.sync().changed == 0
        assert world.active() == {("m", "s"): "1"}

    @pytest.mark.parametrize("way", ["drop", "vanish"])
    def test_it_ends_when_one_gives_way(self, world: World, way: str) -> None:
        """The other file is looked at again though it did not change; rows it has not become inactive."""
        world.put("a.yaml", {"m": {"s": "1", "old": "1"}, "a": {"s": "1"}})
        world.sync()
        world.put("b.yaml", {"m": {"s": "2"}})
        world.sync()
        if way == "drop":
            world.put("a.yaml", {"a": {"s": "1"}})
        else:
            world.remove("a.yaml")
        load = world.sync()
        assert not load.problems
        assert world.active()["m", "s"] == "2"
        assert ("m", "old") in world.inactive()
        assert world.record("b.yaml").status == "loaded"
        assert idle(world)

    def test_the_holder_stays_when_the_newcomer_goes(self, world: World) -> None:
        """Nothing is written: the rows are the holder's still."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        world.put("b.yaml", {"m": {"s": "2"}})
        world.sync()
        world.remove("b.yaml")
        load = world.sync()
        assert not load.write
        assert world.record("a.yaml").status == "loaded"
        assert idle(world)

    def test_a_renamed_file_that_meets_a_copy_keeps_last_good(self, world: World) -> None:
        """The file is gone and two claim its module: nothing changes until one is left."""
        world.put("a.yaml", {"m": {"s": "1", "t": "1"}})
        world.sync()
        world.remove("a.yaml")
        world.put("b.yaml", {"m": {"s": "2"}})
        world.put("c.yaml", {"m": {"s": "3"}})
        world.sync()
        assert world.active() == {("m", "s"): "1", ("m", "t"): "1"}
        world.remove("c.yaml")
        world.sync()
        assert world.active() == {("m", "s"): "2"}


class TestRejected:
    def test_a_file_that_does_not_parse_keeps_what_it_had(self, world: World) -> None:
        """Nothing of it is taken, nothing of it is lost."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.put("b.yaml", {"n": {"s": "1"}})
        world.sync()
        world.put("a.yaml", None)
        load = world.sync()
        assert not load.write
        assert [str(problem) for problem in load.problems] == [f"{FOLDER}/a.yaml:3:1: not YAML"]
        assert world.record("a.yaml").status == "rejected"
        assert world.record("a.yaml").errors == (f"{FOLDER}/a.yaml:3:1: not YAML",)
        assert world.record("a.yaml").keys["m"]
        assert idle(world)
        world.put("a.yaml", {"m": {"s": "2"}})
        world.sync()
        assert world.active() == {("m", "s"): "2", ("n", "s"): "1"}
        assert world.record("a.yaml").errors == ()

    def test_its_modules_cannot_be_taken_meanwhile(self, world: World) -> None:
        """A file that claims a module of a broken one is in conflict with it."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        world.put("a.yaml", None)
        world.put("b.yaml", {"m": {"s": "2"}})
        world.sync()
        assert world.active() == {("m", "s"): "1"}

    def test_one_wrong_module_is_refused_alone(self, world: World) -> None:
        """The rest of its file is loaded."""
        world.put("a.yaml", {"m": {"s": "1"}, "n": {"s": "1"}})
        world.sync()
        world.put("a.yaml", {"m": None, "n": {"s": "2"}})
        load = world.sync()
        assert world.active() == {("m", "s"): "1", ("n", "s"): "2"}
        assert [problem.module for problem in load.problems] == ["m"]
        assert world.record("a.yaml").status == "partial"

    def test_a_module_whose_name_cannot_be_told_may_be_any(self, world: World) -> None:
        """A file with a nameless module gives nothing up until it can be read whole."""
        world.put("a.yaml", {"m": {"s": "1"}, "n": {"s": "1"}})
        world.sync()
        world.put("a.yaml", {"n": {"s": "2"}, NAMELESS: {"s": "1"}})
        world.sync()
        assert world.active() == {("m", "s"): "1", ("n", "s"): "2"}
        world.put("a.yaml", {"n": {"s": "2"}})
        world.sync()
        assert world.active() == {("n", "s"): "2"}


class TestHand:
    def test_it_takes_over_from_earlier_hand_loads(self, world: World) -> None:
        """Rows that only the earlier file had become inactive; equal ones are not written."""
        world.disk = {"/x.yaml": {"m": {"s": "1", "t": "1"}}, "/y.yaml": {"m": {"s": "1", "u": "1"}}}
        world.hand("/x.yaml")
        load = world.hand("/y.yaml")
        assert sorted(one.key for one in load.write) == [("m", "t"), ("m", "u")]
        assert world.active() == {("m", "s"): "1", ("m", "u"): "1"}
        assert "m" not in world.records["/x.yaml"].keys
        world.hand("/x.yaml")
        assert world.active() == {("m", "s"): "1", ("m", "t"): "1"}

    def test_two_files_of_one_load_conflict(self, world: World) -> None:
        """They were given together: neither is the earlier one."""
        world.disk = {"/x.yaml": {"m": {"s": "1"}}, "/y.yaml": {"m": {"s": "2"}}}
        assert len(world.hand("/x.yaml", "/y.yaml").problems) == 2
        assert world.active() == {}

    def test_from_a_volumes_file_only_with_take_over(self, world: World) -> None:
        """Without it the module is refused, naming the file that it belongs to."""
        world.put("a.yaml", {"m": {"s": "1", "t": "1"}})
        world.sync()
        world.disk["/x.yaml"] = {"m": {"s": "2"}, "n": {"s": "1"}}
        load = world.hand("/x.yaml")
        assert world.active() == {("m", "s"): "1", ("m", "t"): "1", ("n", "s"): "1"}
        assert len(load.problems) == 1
        assert f"{FOLDER}/a.yaml" in load.problems[0].message
        assert "--take-over" in load.problems[0].message
        assert not world.hand("/x.yaml", take_over=True).problems
        assert world.active() == {("m", "s"): "2", ("n", "s"): "1"}
        world.disk["/x.yaml"] = {"m": {"s": "3"}, "n": {"s": "1"}}
        assert not world.hand("/x.yaml").problems, "it is its own by now"

    def test_what_was_taken_over_stands_until_the_volumes_file_changes_it(self, world: World) -> None:
        """Another edit of that file leaves the module alone; an edit of the module takes it back, whole."""
        world.put("a.yaml", {"m": {"s": "1", "t": "1"}, "n": {"s": "1"}})
        world.sync()
        world.disk["/x.yaml"] = {"m": {"s": "hot", "u": "hot"}}
        world.hand("/x.yaml", take_over=True)
        world.put("a.yaml", {"m": {"s": "1", "t": "1"}, "n": {"s": "2"}})
        world.sync()
        assert world.active() == {("m", "s"): "hot", ("m", "u"): "hot", ("n", "s"): "2"}
        world.put("a.yaml", {"m": {"s": "1", "t": "2"}, "n": {"s": "2"}})
        world.sync()
        assert world.active() == {("m", "s"): "1", ("m", "t"): "2", ("n", "s"): "2"}
        assert "m" not in world.records["/x.yaml"].keys
        assert idle(world)

    def test_a_module_falls_back_to_the_volumes_file(self, world: World) -> None:
        """When the hand file gives it up, the volume's file is loaded again."""
        world.put("a.yaml", {"m": {"s": "1", "t": "1"}})
        world.sync()
        world.disk["/x.yaml"] = {"m": {"s": "hot", "u": "hot"}}
        world.hand("/x.yaml", take_over=True)
        world.disk["/x.yaml"] = {}
        world.hand("/x.yaml")
        world.sync()
        assert world.active() == {("m", "s"): "1", ("m", "t"): "1"}
        assert idle(world)

    def test_the_volumes_file_may_go(self, world: World) -> None:
        """What was taken over from it stays."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.put("b.yaml", {"n": {"s": "1"}})
        world.sync()
        world.disk["/x.yaml"] = {"m": {"s": "hot"}}
        world.hand("/x.yaml", take_over=True)
        world.remove("a.yaml")
        world.sync()
        assert world.active() == {("m", "s"): "hot", ("n", "s"): "1"}

    def test_a_volume_takes_a_module_over_from_a_hand_load(self, world: World) -> None:
        """The file that is followed wins over one that was loaded once."""
        world.disk["/x.yaml"] = {"m": {"s": "1", "t": "1"}}
        world.hand("/x.yaml")
        world.put("a.yaml", {"m": {"s": "1"}})
        load = world.sync()
        assert [one.key for one in load.write] == [("m", "t")]
        assert not load.problems
        assert idle(world)

    def test_it_restores_rows_that_are_missing(self, world: World) -> None:
        """To load a file by hand says that its rows are wanted, though the file did not change."""
        world.disk["/x.yaml"] = {"m": {"s": "1", "t": "1"}}
        world.hand("/x.yaml")
        world.edit("m", "t", "mine")
        world.table = [one for one in world.table if one.source_id != "s"]
        assert [one.key for one in world.hand("/x.yaml").write] == [("m", "s")]

    def test_a_file_of_the_volume_stays_one(self, world: World) -> None:
        """Loading it by hand changes nothing about whose it is."""
        world.put("a.yaml", {"m": {"s": "1"}})
        world.sync()
        path = f"{FOLDER}/a.yaml"
        world.disk[path] = world.volume[path] = {"m": {"s": "2"}}
        assert not world.hand(path).problems
        assert world.active() == {("m", "s"): "2"}
        assert not world.records[path].hand
        assert idle(world)


def test_overlay_shows_the_rows_after_the_load_and_changes_none() -> None:
    """It is what `plan --yaml` plans with."""
    rows = [row("m", "a", "1"), row("m", "b", "1")]
    load = Load(write=(row("m", "b", "2"), row("n", "c", "1")))
    assert overlay(rows, load) == [row("m", "a", "1"), row("m", "b", "2"), row("n", "c", "1")]
    assert rows == [row("m", "a", "1"), row("m", "b", "1")]


MODULES = ("m1", "m2", "m3")
NAMES = ("a.yaml", "b.yaml", "c.yaml")
sources = st.dictionaries(st.sampled_from(("s", "t")), st.sampled_from("123"), min_size=1)
contents = st.dictionaries(st.sampled_from(MODULES), st.one_of(st.none(), sources), max_size=3)
steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(NAMES), st.one_of(st.none(), contents)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("hand"), st.sampled_from(("/x.yaml", "/y.yaml")), contents),
    st.tuples(st.just("sync"), st.just(""), st.none()),
    st.tuples(st.just("kill"), st.sampled_from(("before its rows", "after its rows")), st.none()),
)


@st.composite
def sound_volumes(draw: st.DrawFn) -> dict[str, dict[str, dict[str, str]]]:
    """Files without errors, each module in one of them."""
    files: dict[str, dict[str, dict[str, str]]] = {name: {} for name in draw(st.sets(st.sampled_from(NAMES)))}
    for module in MODULES if files else ():
        name = draw(st.one_of(st.none(), st.sampled_from(sorted(files))))
        if name is not None:
            files[name][module] = draw(sources)
    return files


def take(world: World, step: tuple[str, str, object]) -> None:
    """Do one step of a history, if it can be done."""
    kind, name, what = step
    path = f"{FOLDER}/{name}"
    if kind == "put":
        world.put(name, what)
    elif kind == "remove" and path in world.volume:
        world.remove(name)
    elif kind == "rename" and path in world.volume:
        world.rename(name, str(what))
    elif kind == "hand":
        world.disk[name] = what
        world.hand(name, take_over=True)
    elif kind == "sync":
        world.sync()
    elif kind == "kill":
        world.dies = name


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=14), sound_volumes(), st.booleans())
def test_any_history_converges_to_a_fresh_load(
    history: list[tuple[str, str, object]], final: dict[str, dict[str, dict[str, str]]], between: bool
) -> None:
    """Whatever edits, errors, renames, removals and kills went before: sound files in the end make their rows.

    Hand loads are given back at the end, so that the volume alone decides.
    """
    world = World()
    world.put("anchor.yaml", {"anchor": {"s": "1"}})
    for step in history:
        take(world, step)
        if between:
            world.sync()
    world.dies = ""
    for name in list(world.disk):
        world.disk[name] = {}
        world.hand(name)
    world.volume = {f"{FOLDER}/anchor.yaml": {"anchor": {"s": "1"}}}
    for name, content in final.items():
        world.put(name, content)
    load = world.sync()
    assert not load.problems
    assert world.active() == rows_of({"anchor": {"s": "1"}}, *final.values())
    assert idle(world)
    held = {path: set(record.keys) for path, record in world.records.items() if record.status != "vanished"}
    assert held == {
        f"{FOLDER}/anchor.yaml": {"anchor"},
        **{f"{FOLDER}/{n}": set(c) for n, c in final.items()},
    } | {path: set() for path in world.disk}


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=12))
def test_a_second_look_finds_nothing_to_do(history: list[tuple[str, str, object]]) -> None:
    """After any history, conflicts and broken files among it, a load is idempotent."""
    world = World()
    for step in history:
        take(world, step)
    world.dies = ""
    world.sync()
    assert idle(world)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=12), st.integers(0, 11))
def test_a_sql_edit_stands_until_its_row_changes(history: list[tuple[str, str, object]], number: int) -> None:
    """Touching other things in the files never overwrites a row that was edited by SQL."""
    world = World()
    world.put("sql.yaml", {"q": {"s": "1", "t": "1"}})
    world.sync()
    for index, step in enumerate(history):
        if index == number:
            world.edit("q", "s", "mine")
        take(world, step)
    world.dies = ""
    world.edit("q", "s", "mine")
    world.put("sql.yaml", {"q": {"s": "1", "t": "2"}})
    world.sync()
    assert world.active()["q", "s"] == "mine"
    assert world.active()["q", "t"] == "2"
