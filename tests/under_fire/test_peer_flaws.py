"""What goes wrong in the peer, one line each, and the test that shows that it does not go wrong here."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lakeflow_job_meta.errors import TablesError
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import module_tag
from tests.embedded import ROOT
from tests.under_fire.world import World, errors, job_row, kinds, notebook, pass_over, sql

pytestmark = pytest.mark.slow

#: flaw -> the test: a function of this file, or `module.path[.Class].function` of another.
FLAWS: Mapping[str, str] = {
    # The first version
    "cannot create a job with a real SDK": "tests.test_orchestrator.test_rows_become_a_job_and_a_second_pass_writes_nothing",
    "imports dbutils, which is no module": "test_dbutils_is_asked_for_and_never_imported",
    "every task ends after an hour and every job after two, unasked": "test_no_time_out_unless_said",
    "two more columns: an INSERT of the eight values that it documents fails": "test_a_plain_insert_of_eight_values",
    # 0.2.0: the monitor
    "a changed row raises and is taken for no change": "test_the_monitor_sees_a_changed_row",
    "files of a volume are never seen": "tests.test_monitor_end_to_end.test_files_new_edited_broken_and_removed",
    "an edited file has no new path and is not seen": "test_the_monitor_sees_edits_of_several_files_at_once",
    "one file a pass": "test_the_monitor_sees_edits_of_several_files_at_once",
    "a job that failed is never tried again": "tests.test_monitor_end_to_end.test_a_failed_create_is_tried_again",
    "edits during a pass are lost": "tests.test_monitor.TestTick.test_an_edit_during_a_pass_is_seen_by_the_next",
    "deletes are invisible": "test_the_monitor_sees_deleted_rows",
    "state is only in memory": "tests.test_monitor_end_to_end.test_a_new_process_finds_everything_done",
    # Jobs
    "each start of the monitor creates every job again": "test_three_starts_of_the_monitor_make_one_job",
    "a jobs table that cannot be read counts as no job": "test_a_jobs_table_that_cannot_be_read_is_an_error",
    "create, then store: an orphan and a duplicate": "tests.test_orchestrator.test_a_writer_that_died_after_its_create_leaves_no_duplicate",
    "neither lock nor token": "tests.control.test_job_records.test_two_processes_never_own_one_module",
    "an unchanged job is read, reset and merged": "test_an_unchanged_pass_writes_nothing_and_does_not_grow",
    "statements and calls grow with all jobs": "tests.test_orchestrator.test_one_changed_job_costs_one_write_and_few_statements",
    "asks for the current user once a task": "test_an_unchanged_pass_writes_nothing_and_does_not_grow",
    "strictly serial": "test_jobs_are_made_side_by_side",
    "UI_LOCKED is lost at the first reset": "test_an_update_keeps_the_lock_and_the_pause",
    "a job created PAUSED is unpaused by the second pass": "test_an_update_keeps_the_lock_and_the_pause",
    "a new saved query each pass for the same text": "tests.test_orchestrator.test_inline_sql_is_one_saved_query_through_its_life",
    "e-mail alerts are dropped on create, misplaced on reset": "test_alerts_arrive_on_create_and_on_update",
    "what left the metadata is never removed": "tests.test_orchestrator.test_retire_and_revive",
    "a file that was removed is never noticed": "tests.test_monitor_end_to_end.test_files_new_edited_broken_and_removed",
    # Metadata
    "depends_on is not sanitised as the keys are": "tests.jobs.test_stages.TestStages.test_explicit_edges_name_source_ids_and_keep_outcomes",
    "keys that collide": "tests.metadata.test_build.TestKeys.test_task_keys_that_collide_name_both_sources",
    "duplicate sources": "tests.metadata.test_build.TestKeys.test_two_rows_with_one_key_are_refused_and_both_shown",
    "unknown task types": "tests.metadata.test_build.TestTaskTypes.test_an_unknown_type_gets_a_suggestion",
    "a cycle in a folder": "test_a_cycle_takes_nobody_with_it",
    "a null job, an integer as warehouse, parameters as a mapping": "test_what_is_of_the_wrong_type_is_refused_alone",
    "an environment without spec": "test_an_environment_without_spec",
    "settings dropped without a word": "test_no_setting_is_dropped",
    "a job cluster that does not parse is dropped without a word": "test_what_is_of_the_wrong_type_is_refused_alone",
    "a load that fails returns nothing": "tests.test_metadata_manager.TestLoadYaml.test_what_is_sound_is_loaded_then_everything_else_is_told",
    "one bad file blocks its folder": "tests.test_metadata_manager.TestSync.test_one_broken_file_blocks_nobody",
    "a quote in a variable injects keys": "tests.metadata.test_build.TestVariables.test_a_value_never_becomes_structure",
    "names and paths are spliced into SQL": "tests.adapters.test_spark_tables.test_quoting_is_safe_for_any_text",
    # The package
    "imports what it does not declare": "test_every_import_is_declared",
    "its tests are mocks": "test_these_tests_use_no_mocks",
}


def functions(path: Path) -> set[str]:
    """Names of the tests of a file, those of classes also with their class."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found.update(
                f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)
            )
    return found


@pytest.mark.parametrize("flaw", FLAWS)
def test_every_flaw_has_its_test(flaw: str) -> None:
    """A test that was renamed or removed leaves its flaw unproven."""
    name = FLAWS[flaw]
    if "." not in name:
        assert name in functions(Path(__file__))
        return
    parts = name.split(".")
    depth = next(
        n for n in range(len(parts), 0, -1) if ROOT.joinpath(*parts[:n]).with_suffix(".py").is_file()
    )
    assert ".".join(parts[depth:]) in functions(ROOT.joinpath(*parts[:depth]).with_suffix(".py"))


def text(module: str, notebook_path: str) -> str:
    task = f"{{task_type: notebook, notebook_path: {notebook_path}}}"
    return (
        f"modules:\n  - module_name: {module}\n    sources:\n      - source_id: a\n        source_type: t\n"
        f"        execution_order: 1\n        transformation_config: {task}\n"
    )


def test_the_monitor_sees_a_changed_row(world: World) -> None:
    world.put(notebook("a", "m"))
    monitor = world.monitor()
    monitor.check_and_update()
    world.put(notebook("a", "m", timeout_seconds=77))
    monitor.check_and_update()
    assert world.job("m")["settings"]["tasks"][0]["timeout_seconds"] == 77


def test_the_monitor_sees_edits_of_several_files_at_once(world: World) -> None:
    monitor = world.monitor()
    for path in ("/n/one", "/n/two"):
        for number in range(3):
            (world.folder / f"{number}.yaml").write_text(text(f"m{number}", path))
        monitor.check_and_update()
        for number in range(3):
            task = world.job(f"m{number}")["settings"]["tasks"][0]
            assert task["notebook_task"]["notebook_path"] == path


def test_the_monitor_sees_deleted_rows(world: World) -> None:
    """A source that was deleted leaves the job; the last one of a module retires it."""
    world.put(notebook("a", "m"), notebook("b", "m"), notebook("a", "other"))
    monitor = world.monitor()
    monitor.check_and_update()
    world.delete("source_id = 'b' OR module_name = 'other'")
    monitor.check_and_update()
    assert [task["task_key"] for task in world.job("m")["settings"]["tasks"]] == ["a"]
    assert set(world.live()) == {module_tag("m")}


def test_three_starts_of_the_monitor_make_one_job(world: World) -> None:
    world.put(notebook("a", "m"))
    for _ in range(3):
        world.monitor().check_and_update()
    world.check_sound("m")


def test_a_jobs_table_that_cannot_be_read_is_an_error(world: World) -> None:
    """Another table of that name: nothing is planned, no job is made again."""
    world.put(notebook("a", "m"))
    pass_over(world.orchestrator())
    before = world.live()
    records = world.orchestrator().control_table.companion("jobs")
    world.session.sql(f"DROP TABLE {records.quoted}").collect()
    world.session.sql(f"CREATE TABLE {records.quoted} (something STRING) USING delta").collect()
    with pytest.raises(TablesError, match="jobs"):
        pass_over(world.orchestrator())
    assert world.live() == before


def test_an_unchanged_pass_writes_nothing_and_does_not_grow(world: World) -> None:
    costs = []
    for count in (3, 30):
        world.put(*(notebook("a", f"m{number}") for number in range(count)))
        pass_over(world.orchestrator())
        orchestrator = world.orchestrator()
        assert pass_over(orchestrator, compare=False).writes == 0
        # Who we are is not asked either: nothing is asked for each job or task.
        costs.append((orchestrator.runtime.tables.statements, orchestrator.workspace.count.calls))
    assert costs[0] == costs[1]
    assert costs[0][0] <= 5


def test_jobs_are_made_side_by_side(world: World) -> None:
    """Twenty creates of half a second each take less than twenty halves."""
    world.patience = 10
    world.put(*(notebook("a", f"m{number}") for number in range(20)))
    orchestrator = world.orchestrator()
    plan = orchestrator.plan()
    with world.faults({"method": "POST", "path": "/api/2.2/jobs/create", "delay_ms": 500}):
        started = time.monotonic()
        assert errors(orchestrator.apply(plan)) == {}
        assert time.monotonic() - started < 20 * 0.5
        assert world.struck() == 20


def test_an_update_keeps_the_lock_and_the_pause(world: World) -> None:
    schedule = {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}
    orchestrator = world.orchestrator(default_pause_status="PAUSED")
    world.put(notebook("a", "m"), job_row("m", schedule=schedule))
    for seconds in (0, 60, 120):
        world.put(notebook("a", "m", timeout_seconds=seconds))
        assert pass_over(orchestrator).writes == 1
        settings = world.job("m")["settings"]
        assert (settings["edit_mode"], settings["schedule"]["pause_status"]) == ("UI_LOCKED", "PAUSED")


def test_alerts_arrive_on_create_and_on_update(world: World) -> None:
    for address in ("one@example.com", "two@example.com"):
        alerts = {"on_failure": [address]}
        world.put(notebook("a", "m", email_notifications=alerts), job_row("m", email_notifications=alerts))
        assert pass_over(world.orchestrator()).writes == 1
        settings = world.job("m")["settings"]
        assert settings["email_notifications"]["on_failure"] == [address]
        assert settings["tasks"][0]["email_notifications"]["on_failure"] == [address]


def test_a_cycle_takes_nobody_with_it(world: World) -> None:
    circle = [notebook("a", "circle", depends_on=["b"]), notebook("b", "circle", depends_on=["a"])]
    world.put(*circle, notebook("a", "good"))
    result = pass_over(world.orchestrator())
    assert kinds(result) == {"refused": 1, "create": 1}
    assert "circle" in "".join(errors(result).values()) or "cycle" in "".join(errors(result).values())
    world.check_sound("good")


WRONG: Mapping[str, list[Row]] = {
    "null job": [replace(job_row("null job"), transformation_config="null"), notebook("a", "null job")],
    "warehouse": [
        replace(
            sql("q", "warehouse", "SELECT 1"),
            transformation_config='{"task_type": "sql_query", "sql_task": {"warehouse_id": 123, "sql_query": "x"}}',
        )
    ],
    "warehouses": [
        replace(
            sql("q", "warehouses", "SELECT 1"),
            transformation_config='{"task_type": "sql_query", "sql_task": {"warehouse_id": {}, "sql_query": "x"}}',
        )
    ],
    "parameters": [notebook("a", "parameters"), job_row("parameters", parameters={"a": "b"})],
    "environment": [notebook("a", "environment"), job_row("environment", environments=[{"spec": {}}])],
    "specification": [
        notebook("a", "specification"),
        job_row("specification", environments=[{"environment_key": "e", "spec": "4"}]),
    ],
    "cluster": [
        notebook("a", "cluster"),
        job_row("cluster", job_clusters=[{"job_cluster_key": "c", "new": 1}]),
    ],
}


def test_what_is_of_the_wrong_type_is_refused_alone(world: World) -> None:
    """Neither a crash nor silence: each is refused with its place, and the good neighbour is made."""
    world.put(*(row for rows in WRONG.values() for row in rows), notebook("a", "good"))
    result = pass_over(world.orchestrator())
    refused = {one.action.module: one.action for one in result.results if one.action.kind == "refused"}
    assert set(refused) == set(WRONG)
    assert all(problem.place for action in refused.values() for problem in action.problems)
    world.check_sound("good")


def test_an_environment_without_spec(world: World) -> None:
    """The Jobs API takes one, so it arrives as it is, and the next pass finds it unchanged."""
    world.put(notebook("a", "m", environment_key="e"), job_row("m", environments=[{"environment_key": "e"}]))
    assert errors(pass_over(world.orchestrator())) == {}
    assert world.job("m")["settings"]["environments"] == [{"environment_key": "e"}]
    assert pass_over(world.orchestrator()).writes == 0


def test_no_time_out_unless_said(world: World) -> None:
    world.put(
        notebook("a", "silent"),
        notebook("a", "said", timeout_seconds=60),
        job_row("said", timeout_seconds=90),
    )
    assert errors(pass_over(world.orchestrator())) == {}
    for module, task_seconds, job_seconds in (("silent", 0, 0), ("said", 60, 90)):
        settings = world.job(module)["settings"]
        assert settings.get("timeout_seconds", 0) == job_seconds
        assert settings["tasks"][0].get("timeout_seconds", 0) == task_seconds


def test_a_plain_insert_of_eight_values(world: World) -> None:
    """As the documentation shows it, into a table that the product made."""
    world.manager().ensure_exists()
    values = """'a', 'm', 'sql', 1, '{}', '{}', '{"task_type": "notebook", "notebook_path": "/n"}', true"""
    world.session.sql(f"INSERT INTO {world.table.quoted} VALUES ({values})").collect()
    assert errors(pass_over(world.orchestrator())) == {}
    world.check_sound("m")


def test_no_setting_is_dropped(world: World) -> None:
    job = {
        "description": "what it is for",
        "run_as": {"user_name": "someone@example.com"},
        "git_source": {
            "git_url": "https://example.com/r.git",
            "git_provider": "gitHub",
            "git_branch": "main",
        },
    }
    task = {"libraries": [{"pypi": {"package": "x==1"}}], "max_retries": 3}
    world.put(notebook("a", "m", **task), job_row("m", **job))
    assert errors(pass_over(world.orchestrator())) == {}
    settings = world.job("m")["settings"]
    assert {name: settings[name] for name in job} == job
    assert {name: settings["tasks"][0][name] for name in task} == task
    assert pass_over(world.orchestrator()).writes == 0


@functools.cache
def imports() -> tuple[tuple[Path, str], ...]:
    """Every import of the package: its file below the package, and the module."""
    return tuple(_imports())


def _imports() -> Iterator[tuple[Path, str]]:
    package = ROOT / "lakeflow_job_meta"
    for path in package.rglob("*.py"):
        if "demo_files" in path.parts:
            continue  # what the demo's own notebooks and wheels import
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path.relative_to(package), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield path.relative_to(package), node.module


def brought_by(*extras: str) -> set[str]:
    """Names of the distributions that `pip install lakeflow-job-meta[EXTRAS]` brings, here and now."""
    found: set[str] = set()
    waiting = [("lakeflow-job-meta", frozenset(extras))]
    while waiting:
        name, wanted = waiting.pop()
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        for line in lines:
            requirement = Requirement(line)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *wanted)
            ):
                needed = canonicalize_name(requirement.name)
                if needed not in found:
                    found.add(needed)
                    waiting.append((needed, frozenset(requirement.extras)))
    return found


#: Rooms that need an extra, by the beginning of their files' paths.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "local/": ("local",),
    "cli/demo": ("local",),
    "datasets/": ("datasets",),
}
#: A cluster has these with its Spark, whichever kind that is; nothing of them is imported before it is used.
WITH_SPARK = {"pyspark", "py4j", "grpc", "pyarrow", "pandas"}


def test_every_import_is_declared() -> None:
    """What a room imports comes with the package, or with the extra that this room needs."""
    owners = importlib.metadata.packages_distributions()
    brought = {extras: brought_by(*extras) for extras in {(), *EXTRAS.values()}}
    undeclared = set()
    for path, module in imports():
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top in ("lakeflow_job_meta", *WITH_SPARK):
            continue
        extras = next((one for room, one in EXTRAS.items() if path.as_posix().startswith(room)), ())
        if not {canonicalize_name(owner) for owner in owners.get(top, ())} & brought[extras]:
            undeclared.add((path.as_posix(), top))
    assert undeclared == set()


def test_dbutils_is_asked_for_and_never_imported() -> None:
    """`import dbutils` fails everywhere: it is an object of the notebook. The monitor reads widgets of what is there."""
    assert [path for path, module in imports() if module.partition(".")[0] == "dbutils"] == []
    assert "TestRunning.test_widgets_of_the_notebook_are_read" in functions(ROOT / "tests/test_main.py")


def test_these_tests_use_no_mocks() -> None:
    """What proves this product runs its real parts: nowhere does an object pretend to be anything one asks."""
    pretenders = {"Mock", "MagicMock", "AsyncMock", "NonCallableMock", "create_autospec"}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        words = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            for name in (
                getattr(node, "id", None),
                getattr(node, "attr", None),
                getattr(node, "arg", None),
                *(alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)),
            )
        }
        assert not words & pretenders, path
