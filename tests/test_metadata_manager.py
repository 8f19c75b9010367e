"""The metadata manager on Sail and Delta, with files in a folder that stands for /Volumes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lakeflow_job_meta.control import reading
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.events import Events
from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.control.records import JobRecord
from lakeflow_job_meta.errors import MetadataError, TableNotFound, UsageError, VolumeError
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.rows import Row, rows_hash
from lakeflow_job_meta.metadata_manager import MetadataManager
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.runtime import VOLUMES_ROOT, Runtime

pytestmark = pytest.mark.slow

VOLUME = "/Volumes/main/etl/metadata"


def text(module: str, *sources: str, order: int = 1, job: str = "") -> str:
    """A YAML file with one module of notebook tasks."""
    lines = ['metadata_version: "1.0"', "modules:", f"  - module_name: {module}"]
    lines += [f"    job: {job}"] if job else []
    lines += ["    sources:"]
    for source in sources:
        lines += [
            f"      - source_id: {source}",
            "        source_type: sql",
            f"        execution_order: {order}",
            f"        transformation_config: {{task_type: notebook, notebook_path: /Workspace/{source}}}",
        ]
    return "\n".join(lines) + "\n"


BROKEN = "modules:\n  - module_name: [\n"


class CountingVolumes:
    """Volumes that note what is read."""

    def __init__(self, volumes: Any) -> None:
        self._volumes = volumes
        self.reads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volumes, name)

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        data: bytes = self._volumes.read(path)
        return data


@dataclass
class Stage:
    """A manager, its volume's folder, and what it has done."""

    manager: MetadataManager
    folder: Path
    volumes: CountingVolumes
    tables: Any

    def put(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def sync(self) -> int:
        return self.manager.sync_from_volume(VOLUME)

    def rows(self) -> dict[str, bool]:
        """Whether each row `module/source` is active."""
        table = ControlTable(self.tables, self.manager.control_table)
        return {f"{row.module_name}/{row.source_id}": row.active for row in table.rows()}

    def cost(self, call: Callable[[], Any]) -> int:
        before = self.tables.statements
        call()
        return int(self.tables.statements - before)


@pytest.fixture
def stage(spark: Any, control_name: TableName, tmp_path: Path) -> Stage:
    root = tmp_path / "Volumes"
    folder = root.joinpath(*VOLUME.split("/")[2:])
    folder.mkdir(parents=True)
    runtime = Runtime(control_name, spark=spark, environment={VOLUMES_ROOT: str(root)})
    # A workspace's id is all that loading needs of a workspace.
    runtime.__dict__["workspace"] = SimpleNamespace(workspace_id="ws1")
    volumes = CountingVolumes(runtime.volumes)
    runtime.__dict__["volumes"] = volumes
    manager = MetadataManager(control_name, runtime=runtime, sleep=_blink)
    return Stage(manager, folder, volumes, runtime.tables)


def _blink(seconds: float) -> None:
    """Waits for the next tick of the file system's clock; files that were just written are read again at once."""
    time.sleep(min(seconds, 0.02))


class TestLoadYaml:
    def test_it_returns_the_number_of_rows_changed(self, stage: Stage, tmp_path: Path) -> None:
        """And makes the control table when it is missing; the same file again changes nothing."""
        path = tmp_path / "jobs.yaml"
        path.write_text(text("m", "a", "b"))
        assert stage.manager.load_yaml(str(path)) == 2
        assert stage.rows() == {"m/a": True, "m/b": True}
        assert stage.manager.load_yaml(str(path)) == 0
        path.write_text(text("m", "a"))
        assert stage.manager.load_yaml(str(path)) == 1
        assert stage.rows() == {"m/a": True, "m/b": False}

    def test_it_takes_a_folder(self, stage: Stage, tmp_path: Path) -> None:
        """With all folders in it; *.yml too; hidden and temporary files and folders never."""
        for name in ("a.yaml", "deep/er/b.yml", "C.YAML"):
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(path.stem.lower(), "s"))
        for name in (
            ".h.yaml",
            "_t.yaml",
            "~x.yaml",
            "y.yaml~",
            "y.yaml.tmp",
            ".y.yaml.swp",
            ".git/z.yaml",
            "n.txt",
        ):
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(BROKEN)
        assert stage.manager.load_yaml(str(tmp_path / "in")) == 3
        assert stage.rows() == {"a/s": True, "b/s": True, "c/s": True}

    def test_a_file_that_is_named_is_read_whatever_its_name(self, stage: Stage, tmp_path: Path) -> None:
        path = tmp_path / "_jobs.txt"
        path.write_text(text("m", "a"))
        assert stage.manager.load_yaml(str(path)) == 1

    def test_what_is_sound_is_loaded_then_everything_else_is_told(self, stage: Stage, tmp_path: Path) -> None:
        """One error, every problem in it with its place, and the number of rows that changed."""
        (tmp_path / "good.yaml").write_text(text("good", "a"))
        (tmp_path / "half.yaml").write_text(
            text("half", "a") + text("wrong", "a").split("modules:\n")[1].replace("task_type", "task_typ")
        )
        (tmp_path / "broken.yaml").write_text(BROKEN)
        with pytest.raises(MetadataError) as caught:
            stage.manager.load_yaml(str(tmp_path))
        assert caught.value.changed == 2
        assert stage.rows() == {"good/a": True, "half/a": True}
        told = str(caught.value)
        assert f"{tmp_path}/broken.yaml:" in told
        assert f"{tmp_path}/half.yaml:14:" in told
        assert "task_type" in told
        events = Events(stage.tables, stage.manager.control_table, "ws1").recent(10)
        assert {event.kind for event in events} == {"rejected"}
        with pytest.raises(MetadataError):  # told again, as long as it is so
            stage.manager.load_yaml(str(tmp_path))

    def test_a_path_that_is_not_there(self, stage: Stage, tmp_path: Path) -> None:
        """Is an error, unless the caller says that it may be missing."""
        with pytest.raises(VolumeError, match="no such file"):
            stage.manager.load_yaml(str(tmp_path / "missing.yaml"))
        assert stage.manager.load_yaml(str(tmp_path / "missing.yaml"), validate_file_exists=False) == 0

    def test_variables(self, stage: Stage, tmp_path: Path) -> None:
        """Other variables make other rows of the same bytes."""
        path = tmp_path / "jobs.yaml"
        path.write_text("variables: {env: {default: dev}}\n" + text("sales_${var.env}", "a"))
        assert stage.manager.load_yaml(str(path)) == 1
        assert stage.manager.load_yaml(str(path), variables={"env": "prod"}) == 2
        assert stage.rows() == {"sales_dev/a": False, "sales_prod/a": True}

    def test_variables_of_the_settings_row(self, stage: Stage, tmp_path: Path) -> None:
        """Are in force, and a new value has the file read again."""
        stage.manager.ensure_exists()
        table = ControlTable(stage.tables, stage.manager.control_table)
        settings = Row("__settings__", "__control__", transformation_config='{"variables": {"env": "one"}}')
        table.write([settings])
        path = tmp_path / "jobs.yaml"
        path.write_text("variables: {env: {default: dev}}\n" + text("sales_${var.env}", "a"))
        stage.manager.load_yaml(str(path))
        table.write([replace(settings, transformation_config='{"variables": {"env": "two"}}')])
        stage.manager.load_yaml(str(path))
        assert stage.rows() == {"__control__/__settings__": True, "sales_one/a": False, "sales_two/a": True}

    def test_a_wrong_settings_row_stops_everything(self, stage: Stage, tmp_path: Path) -> None:
        """Nothing is loaded with variables that are not known."""
        stage.manager.ensure_exists()
        ControlTable(stage.tables, stage.manager.control_table).write(
            [Row("__settings__", "__control__", transformation_config='{"variables": 5}')]
        )
        (tmp_path / "a.yaml").write_text(text("m", "a"))
        with pytest.raises(MetadataError, match="__control__/__settings__"):
            stage.manager.load_yaml(str(tmp_path / "a.yaml"))
        assert list(stage.rows()) == ["__control__/__settings__"]

    def test_take_over(self, stage: Stage, tmp_path: Path) -> None:
        """From a volume's file only when it is said."""
        stage.put("a.yaml", text("m", "a"))
        stage.sync()
        path = tmp_path / "mine.yaml"
        path.write_text(text("m", "b"))
        with pytest.raises(MetadataError, match="--take-over"):
            stage.manager.load_yaml(str(path))
        assert stage.manager.load_yaml(str(path), take_over=True) == 2
        assert stage.rows() == {"m/a": False, "m/b": True}

    def test_a_file_loaded_before_another_took_its_module_is_loaded_again(
        self, stage: Stage, tmp_path: Path
    ) -> None:
        """Though its bytes are those that were loaded last."""
        one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
        one.write_text(text("m", "a"))
        other.write_text(text("m", "b"))
        for path in (one, other, one):
            stage.manager.load_yaml(str(path))
        assert stage.rows() == {"m/a": True, "m/b": False}

    def test_rows_that_are_gone_are_restored(self, spark: Any, stage: Stage, tmp_path: Path) -> None:
        """A file that did not change is read when a row of it is missing."""
        (tmp_path / "a.yaml").write_text(text("m", "a", "b"))
        stage.manager.load_yaml(str(tmp_path / "a.yaml"))
        spark.sql(f"DELETE FROM {stage.manager.control_table} WHERE source_id = 'b'").collect()
        assert stage.manager.load_yaml(str(tmp_path / "a.yaml")) == 1


class TestSync:
    def test_files_come_change_and_go(self, stage: Stage) -> None:
        """The control table follows the volume; the last file's leaving retires nothing."""
        stage.put("a.yaml", text("a", "s"))
        stage.put("sub/b.yml", text("b", "s"))
        assert stage.sync() == 2
        assert stage.sync() == 0
        stage.put("a.yaml", text("a", "t"))
        assert stage.sync() == 2
        assert stage.rows() == {"a/s": False, "a/t": True, "b/s": True}
        (stage.folder / "sub/b.yml").unlink()
        assert stage.sync() == 1
        (stage.folder / "a.yaml").unlink()
        assert stage.sync() == 0
        assert stage.rows() == {"a/s": False, "a/t": True, "b/s": False}

    def test_a_file_that_is_no_metadata_does_not_lift_the_brake(self, stage: Stage) -> None:
        """An empty volume is one without metadata files."""
        stage.put("a.yaml", text("a", "s"))
        stage.put("README.md", "hello")
        stage.sync()
        (stage.folder / "a.yaml").unlink()
        load = stage.manager.load([VOLUME], hand=False)
        assert not load.write
        assert load.notes
        assert stage.manager.sync_from_volume(VOLUME, force=True) == 1

    def test_a_volume_that_cannot_be_listed_changes_nothing(self, stage: Stage) -> None:
        """It is an error, never an empty volume."""
        stage.put("a.yaml", text("a", "s"))
        stage.sync()
        stage.folder.rename(stage.folder.with_name("away"))
        with pytest.raises(VolumeError):
            stage.sync()
        assert stage.rows() == {"a/s": True}

    def test_another_pattern_makes_nothing_vanish(self, stage: Stage) -> None:
        """A file that the pattern leaves out is there still."""
        stage.put("a.yaml", text("a", "s"))
        stage.put("b_prod.yaml", text("b", "s"))
        stage.sync()
        assert stage.manager.sync_from_volume(VOLUME, "*_prod.yaml") == 0
        assert stage.rows() == {"a/s": True, "b/s": True}

    def test_one_broken_file_blocks_nobody(self, stage: Stage) -> None:
        """What it had stays; the others are loaded; the error has file and line."""
        stage.put("a.yaml", text("a", "s"))
        stage.sync()
        stage.put("a.yaml", BROKEN)
        stage.put("b.yaml", text("b", "s"))
        with pytest.raises(MetadataError, match=rf"{VOLUME}/a\.yaml:\d+:\d+: "):
            stage.sync()
        assert stage.rows() == {"a/s": True, "b/s": True}

    def test_a_file_that_cannot_be_read_is_told_and_tried_again(self, stage: Stage) -> None:
        """It keeps what it had, and the listing is not taken for done."""
        stage.put("a.yaml", text("a", "s"))
        stage.sync()
        stage.put("a.yaml", text("a", "s", "t"))
        read = stage.volumes._volumes.read
        stage.volumes._volumes.read = lambda path: (_ for _ in ()).throw(
            VolumeError(f"cannot read {path}: gone")
        )
        load = stage.manager.load([VOLUME], hand=False)
        assert load.unsettled
        assert [str(problem) for problem in load.problems] == [
            f"{VOLUME}/a.yaml: cannot read {VOLUME}/a.yaml: gone"
        ]
        stage.volumes._volumes.read = read
        assert stage.sync() == 1

    @pytest.mark.parametrize("half", ["a module less", "a source less", "no YAML", "a text less"])
    def test_a_file_that_is_being_written_is_left_alone(self, stage: Stage, half: str) -> None:
        """Half of it may be sound YAML. It is said, last good stays, and the whole is taken when it is there."""
        whole = text("a", "s", "t") + text("b", "s").partition("modules:\n")[2]
        stage.put("a.yaml", whole)
        stage.sync()
        before = stage.rows()
        cuts = {
            "a module less": whole.index("  - module_name: b"),
            "a source less": whole.index("source_id: t") - len("      - "),
            "no YAML": whole.index("source_id: t") + 4,
            "a text less": len(whole) - 3,
        }
        new = whole.replace("execution_order: 1", "execution_order: 2")
        stage.put("a.yaml", new[: cuts[half]])
        stage.manager = MetadataManager(
            stage.manager.control_table,
            runtime=stage.manager.runtime,
            sleep=lambda seconds: stage.put("a.yaml", new[: cuts[half] + 2]),
        )
        with pytest.raises(MetadataError, match=rf"{VOLUME}/a.yaml: the file is being written"):
            stage.sync()
        assert stage.rows() == before
        stage.manager = MetadataManager(
            stage.manager.control_table, runtime=stage.manager.runtime, sleep=_blink
        )
        stage.put("a.yaml", new)
        assert stage.sync() == 3
        assert stage.rows() == before

    def test_a_huge_file_is_refused_unread(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """As one that does not parse: it keeps what it had."""
        stage.put("a.yaml", text("a", "s"))
        stage.sync()
        monkeypatch.setattr(reading, "MAX_FILE_BYTES", 500)
        stage.put("a.yaml", text("a", "s") + "#" * 500)
        stage.put("b.yaml", text("b", "s"))
        stage.volumes.reads.clear()
        with pytest.raises(MetadataError, match=rf"{VOLUME}/a.yaml: the file has \d+ bytes"):
            stage.sync()
        assert set(stage.volumes.reads) == {f"{VOLUME}/b.yaml"}
        assert stage.rows() == {"a/s": True, "b/s": True}
        assert stage.sync() == 0

    def test_only_files_that_moved_are_read(self, stage: Stage) -> None:
        """By size and time, then by their bytes; a conflict has its other side read, too."""
        stage.put("a.yaml", text("a", "s"))
        stage.put("b.yaml", text("b", "s"))
        stage.sync()
        stage.volumes.reads.clear()
        stage.sync()
        assert stage.volumes.reads == []
        os.utime(stage.folder / "a.yaml", (1_700_000_000, 1_700_000_000.5))
        assert stage.sync() == 0
        assert stage.volumes.reads == [f"{VOLUME}/a.yaml"]
        stage.volumes.reads.clear()
        stage.sync()
        assert stage.volumes.reads == []
        stage.put("c.yaml", text("b", "s"))
        with pytest.raises(MetadataError, match=r"b\.yaml:3:\d+: .*c\.yaml:3:"):
            stage.sync()
        assert sorted(set(stage.volumes.reads)) == [f"{VOLUME}/b.yaml", f"{VOLUME}/c.yaml"]

    def test_an_edit_of_the_same_size_at_once_is_seen(self, stage: Stage) -> None:
        """Bytes are read when the clock's tick, in which the file was written, is over."""
        for value in range(10):
            stage.put("a.yaml", text("a", "s", order=value))
            stage.sync()
        row = ControlTable(stage.tables, stage.manager.control_table).rows()[0]
        assert row.execution_order == 9

    def test_statements(self, stage: Stage) -> None:
        """Rows and records are read once, the rows written once, the records before and after, however many files."""
        stage.manager.ensure_exists()
        stage.put("first.yaml", text("first", "s"))
        stage.sync()
        for number in range(20):
            stage.put(f"f{number}.yaml", text(f"m{number}", "a", "b"))
        assert stage.cost(stage.sync) == 5
        assert stage.cost(stage.sync) == 2
        stage.put("f3.yaml", text("m3", "a", "c"))
        assert stage.cost(stage.sync) == 5

    def test_a_lost_control_table_is_filled_again(self, spark: Any, stage: Stage) -> None:
        """Files that did not change are loaded again when the table has no rows at all."""
        stage.put("a.yaml", text("a", "s"))
        stage.sync()
        spark.sql(f"DELETE FROM {stage.manager.control_table}").collect()
        assert stage.sync() == 1
        assert stage.rows() == {"a/s": True}

    def test_one_volume_at_a_time(self, stage: Stage) -> None:
        with pytest.raises(UsageError, match="one volume"):
            stage.manager.load([VOLUME, VOLUME], hand=False)


def test_overlay_writes_nothing(stage: Stage, tmp_path: Path) -> None:
    """Not even tables: the rows as they would be, in memory."""
    (tmp_path / "a.yaml").write_text(text("m", "a"))
    load = stage.manager.overlay([str(tmp_path / "a.yaml")])
    assert [row.key for row in load.write] == [("m", "a")]
    table = stage.manager.control_table
    assert [stage.tables.columns(name) for name in (table, table.companion("files"))] == [None, None]


def test_list_files_lists_metadata(stage: Stage) -> None:
    """What the monitor compares between two ticks."""
    stage.put("b.yaml", "x")
    stage.put("a.yml", "x")
    stage.put("a.txt", "x")
    assert [info.path for info in stage.manager.list_files(VOLUME)] == [f"{VOLUME}/a.yml", f"{VOLUME}/b.yaml"]


def test_read_paths_needs_no_table(stage: Stage, tmp_path: Path) -> None:
    """Files are judged each on its own, under the paths that were given."""
    (tmp_path / "a.yaml").write_text(text("m", "a"))
    (tmp_path / "b.yaml").write_text(BROKEN)
    assert stage.cost(lambda: stage.manager.read_paths([str(tmp_path)])) == 0
    found = stage.manager.read_paths([str(tmp_path)])
    assert [(file.path, file.rejected) for file in found] == [
        (f"{tmp_path}/a.yaml", False),
        (f"{tmp_path}/b.yaml", True),
    ]


class TestQuestions:
    def test_modules_and_sources(self, stage: Stage) -> None:
        """Live modules; the sources of one by stage, without its job row."""
        stage.put("a.yaml", text("m", "b", "a", job="{max_concurrent_runs: 2}"))
        stage.put("b.yaml", text("p", "s"))
        stage.sync()
        stage.put("a.yaml", text("m", "a", order=2, job="{max_concurrent_runs: 2}"))
        stage.sync()
        assert stage.manager.get_all_modules() == ["m", "p"]
        sources = stage.manager.get_module_sources("m")
        assert [(source["source_id"], source["execution_order"]) for source in sources] == [("a", 2)]
        assert list(sources[0]) == [
            "source_id",
            "module_name",
            "source_type",
            "execution_order",
            "source_config",
            "target_config",
            "transformation_config",
            "is_active",
        ]
        everything = stage.manager.get_module_sources("m", include_inactive=True)
        assert [source["source_id"] for source in everything] == ["b", "a"]
        assert stage.manager.get_module_sources("unknown") == []

    def test_without_a_table(self, stage: Stage) -> None:
        """They say that there is none."""
        for ask in (stage.manager.get_all_modules, lambda: stage.manager.get_module_sources("m")):
            with pytest.raises(TableNotFound):
                ask()


def accept(stage: Stage, status: Any = "active") -> None:
    """Records as an apply leaves them: every module's rows are accepted."""
    table = stage.manager.control_table
    rows = ControlTable(stage.tables, table).rows()
    records = JobRecords(stage.tables, table, "ws1")
    modules = sorted({row.module_name or "" for row in rows})
    records.insert(dict.fromkeys(modules, ""))
    records.claim(modules, "00000000-0000", 60)
    accepted = []
    for module in modules:
        mine = [row for row in rows if row.module_name == module]
        definition = define(mine, table=str(table), settings=stage.manager.runtime.settings()).definition
        assert definition is not None
        accepted.append(
            JobRecord(
                module, job_id=1, rows_hash=rows_hash(mine), definition=definition.as_json(), status=status
            )
        )
    records.save(accepted, "00000000-0000")


class TestDetectChanges:
    def test_it_compares_with_what_was_accepted(self, stage: Stage) -> None:
        """New, changed and retired modules, and the sources that make it; nothing twice, nothing lost."""
        stage.put("a.yaml", text("a", "s", "t"))
        stage.put("b.yaml", text("b", "s"))
        stage.put("c.yaml", text("c", "s"))
        stage.sync()
        changes = stage.manager.detect_changes()
        assert changes["new_modules"] == ["a", "b", "c"]
        assert len(changes["changed_sources"]) == 4
        accept(stage)
        found = stage.manager.detect_changes()
        assert [found[name] for name in ("new_modules", "updated_modules", "deactivated_modules")] == [
            [],
            [],
            [],
        ]
        assert found["changed_sources"] == []
        stage.put("a.yaml", text("a", "s", "u"))
        (stage.folder / "b.yaml").unlink()
        stage.put("d.yaml", text("d", "s"))
        stage.sync()
        for since in (None, "2026-01-01T00:00:00", changes):
            found = stage.manager.detect_changes(since)
            assert found["new_modules"] == ["d"]
            assert found["updated_modules"] == ["a"]
            assert found["deactivated_modules"] == ["b"]
            assert found["changed_sources"] == [
                {"module_name": "a", "source_id": "t"},
                {"module_name": "a", "source_id": "u"},
                {"module_name": "b", "source_id": "s"},
                {"module_name": "d", "source_id": "s"},
            ]

    def test_a_retired_module_is_no_news(self, stage: Stage) -> None:
        """Nor is one that never was live."""
        stage.put("a.yaml", text("a", "s"))
        stage.put("b.yaml", text("b", "s"))
        stage.sync()
        accept(stage, "retired")
        (stage.folder / "a.yaml").unlink()
        stage.sync()
        assert stage.manager.detect_changes()["deactivated_modules"] == []

    def test_without_a_table(self, stage: Stage) -> None:
        with pytest.raises(TableNotFound):
            stage.manager.detect_changes()


def test_without_a_workspace_it_works_on_spark_alone(
    spark: Any, control_name: TableName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading needs no credentials; the records are then kept for no workspace."""
    for name in [name for name in os.environ if name.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    (tmp_path / "a.yaml").write_text(text("m", "a"))
    manager = MetadataManager(str(control_name), spark=spark)
    assert manager.load_yaml(str(tmp_path / "a.yaml")) == 1
    assert manager.get_all_modules() == ["m"]
    assert manager.load_yaml(str(tmp_path / "a.yaml")) == 0
