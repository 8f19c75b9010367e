"""Jobs as metadata: by reflection over every field of the SDK, what is written renders to the job that it was read from."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from databricks.sdk.service import jobs
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from lakeflow_job_meta.importer import changes_of, is_ours, judged
from lakeflow_job_meta.local.api.job_defaults import with_defaults
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.writing import write_metadata
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, TableName
from lakeflow_job_meta.ports import RemoteJob
from lakeflow_job_meta.reconcile.transcription import Transcript, module_name, transcribe
from lakeflow_job_meta.settings import Settings
from tests.wire import COMMON_TASK_FIELDS, JOB_FIELDS, TASK_FIELDS, field_value, full, plain, variants

TABLE = TableName("main", "meta", "etl_control")
NOTEBOOK = {"notebook_path": "/n"}
#: What the tasks below refer to.
COMPUTE: dict[str, Any] = {
    "job_clusters": [
        {"job_cluster_key": "main_cluster", "new_cluster": {"spark_version": "x", "num_workers": 1}}
    ],
    "environments": [{"environment_key": "main_environment", "spec": {"environment_version": "4"}}],
}


def told(settings: dict[str, Any], **more: Any) -> Transcript:
    return transcribe(settings, module_name="m", control_table=TABLE, **more)


def definition(settings: dict[str, Any], **more: Any) -> ModuleDefinition:
    """The definition of a job that can be said, as its file reads back."""
    transcript = told(settings, **more)
    assert transcript.problems == ()
    assert transcript.definition is not None
    return judged(transcript.definition, write_metadata([transcript.definition]), "m.yaml")


def strange(settings: dict[str, Any]) -> list[str]:
    """What adoption would change beside what is ours."""
    changes = changes_of(
        definition(settings), RemoteJob(1, settings), control_table=TABLE, settings=Settings(), job_ids={}
    )
    assert {f"tags.{TABLE_TAG}", f"tags.{MODULE_TAG}"} <= {change.path for change in changes}
    return [str(change) for change in changes if not is_ours(change)]


def as_read(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as a workspace gives them back, with all that it fills in."""
    read: dict[str, Any] = with_defaults(settings, version="2.2")
    return read


@pytest.mark.parametrize("field", TASK_FIELDS)
def test_every_field_of_a_task_type(field: str) -> None:
    """Each task type of the SDK with all of its fields."""
    cls = plain(typing.get_type_hints(jobs.Task)[field])
    made = variants(lambda pick: full(cls, (jobs.ForEachTask,) if field != "for_each_task" else (), pick))
    for number, one in enumerate(made if field == "for_each_task" else ()):
        del one["task"]["depends_on"]
        one["task"]["task_key"] = f"inner{number}"
    tasks = [{"task_key": f"t{number}", field: one} for number, one in enumerate(made)]
    assert strange(as_read({"name": "m", "tasks": tasks, **COMPUTE})) == []


def test_every_task_field_beside_the_type() -> None:
    """Each field that any task may have."""
    fields = [name for name in COMMON_TASK_FIELDS if name != "depends_on"]
    tasks = [
        {"task_key": f"{field}-{number}", "notebook_task": NOTEBOOK, field: value}
        for field in fields
        for number, value in enumerate(
            variants(lambda pick, field=field: field_value(jobs.Task, field, pick))
        )
    ]
    assert strange(as_read({"name": "m", "tasks": tasks, **COMPUTE})) == []


@pytest.mark.parametrize("field", [name for name in JOB_FIELDS if name not in ("deployment", "format")])
def test_every_field_of_job_settings(field: str) -> None:
    """Each field of the job itself."""
    for value in variants(lambda pick: field_value(jobs.JobSettings, field, pick)):
        settings = {"name": "m", "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}], field: value}
        assert strange(as_read(settings)) == []


def graph(*edges: tuple[str, str]) -> dict[str, Any]:
    """A job whose tasks wait for one another: (before, after) each."""
    keys = sorted({key for edge in edges for key in edge})
    tasks = [
        {
            "task_key": key,
            "notebook_task": NOTEBOOK,
            "depends_on": [{"task_key": before} for before, after in edges if after == key],
        }
        for key in keys
    ]
    return {"name": "m", "tasks": tasks}


def test_stages_become_execution_order() -> None:
    """A task that waits for exactly the level before it needs no edges; the order says it."""
    found = definition(graph(("a", "c"), ("b", "c"), ("a", "d"), ("b", "d"), ("c", "e"), ("d", "e")))
    orders = {source.source_id: source.execution_order for source in found.sources}
    assert orders == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
    assert not any("depends_on" in source.task for source in found.sources)


def test_anything_else_stays_edges() -> None:
    """One task that skips a level, and the whole job keeps its edges."""
    found = definition(graph(("a", "b"), ("b", "c"), ("a", "c"), ("x", "c")))
    edges = {
        source.source_id: sorted(edge["task_key"] for edge in source.task.get("depends_on", []))
        for source in found.sources
    }
    assert edges == {"a": [], "x": [], "b": ["a"], "c": ["a", "b", "x"]}


@limits(max_examples=50)
@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=16))
def test_any_graph_round_trips(pairs: set[tuple[int, int]]) -> None:
    """Whatever waits for whatever, the job is the same afterwards."""
    edges = [(f"t{low}", f"t{high}") for low, high in pairs if low < high]
    if edges:
        assert strange(graph(*edges)) == []


def test_a_wide_job_keeps_its_edges() -> None:
    """Render would put a barrier between two wide stages: the job has none, so its edges are said."""
    wide = graph(*((f"a{n}", f"b{m}") for n in range(15) for m in range(15)))
    assert strange(wide) == []
    assert any("depends_on" in source.task for source in definition(wide).sources)


@limits(max_examples=50)
@example("a\x85b\u2028c\r\nd\t\n")
@example("$${var.x} ${var.y}\n  # no comment: - yes\n")
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_round_trips(text: str) -> None:
    """A text stays what it is, variables and YAML's surprises included."""
    settings = {
        "name": "m",
        "description": text or "d",
        "tasks": [
            {"task_key": "a", "spark_python_task": {"python_file": "/x.py", "parameters": [text, "${var.x}"]}}
        ],
    }
    found = definition(settings)
    assert found.sources[0].settings["parameters"] == [text, "${var.x}"]
    assert strange(settings) == []


def test_what_the_server_fills_in_is_not_said() -> None:
    """The metadata of a plain job is as short as what somebody wrote."""
    settings = as_read({"name": "m", "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}]})
    assert settings["max_concurrent_runs"] == 1
    found = definition(settings, creator=settings["run_as"]["user_name"])
    assert found.job == {"edit_mode": "EDITABLE"}
    assert found.sources[0].task == {}
    assert found.sources[0].settings == NOTEBOOK


def test_a_paused_trigger_stays_paused() -> None:
    """PAUSED is said, so that a new job is paused too; UNPAUSED is what silence means."""
    schedule = {"quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC"}
    tasks = graph(("a", "b"))["tasks"]
    for status, expected in (("PAUSED", {"pause_status": "PAUSED"}), ("UNPAUSED", {})):
        found = definition({"name": "m", "tasks": tasks, "schedule": {**schedule, "pause_status": status}})
        assert found.job["schedule"] == {**schedule, **expected}


def test_reserved_parameters_are_told() -> None:
    """A notebook that another tool gave our parameters: equal ones go without a word, others are named."""
    parameters = {"source_id": "my source", "control_table": "peer.t.control", "x": "1"}
    task = {"task_key": "my_source", "notebook_task": {**NOTEBOOK, "base_parameters": parameters}}
    after = {"task_key": "b", "notebook_task": NOTEBOOK, "depends_on": [{"task_key": "my_source"}]}
    loose = {"task_key": "c", "notebook_task": NOTEBOOK}
    transcript = told({"name": "m", "tasks": [task, after, loose]})
    assert transcript.definition is not None
    by_id = {source.source_id: source for source in transcript.definition.sources}
    assert by_id["my source"].settings["base_parameters"] == {"x": "1"}
    assert by_id["b"].task["depends_on"] == [{"task_key": "my source"}]
    [note] = transcript.notes
    assert "control_table = 'main.meta.etl_control' instead of 'peer.t.control'" in note


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "it has no task"),
        ([{"task_key": "a"}], "one task type"),
        ([{"task_key": "a", "new_thing_task": {"x": 1}}], "new_thing_task"),
        ([{"task_key": "__a", "notebook_task": NOTEBOOK}], "reserved"),
    ],
)
def test_what_cannot_be_said_is_a_problem(tasks: list[dict[str, Any]], message: str) -> None:
    """A job that metadata has no words for is refused with the reason."""
    transcript = told({"name": "m", "tasks": tasks})
    assert transcript.definition is None
    assert message in transcript.problems[0]


def test_job_references_become_names() -> None:
    """A job id of another imported job is its module's name, inside a loop too; any other stays."""
    run = {"run_job_task": {"job_id": 7}}
    tasks = [
        {"task_key": "a", **run},
        {"task_key": "b", "run_job_task": {"job_id": 8}},
        {"task_key": "c", "for_each_task": {"inputs": "[1]", "task": {"task_key": "i", **run}}},
    ]
    found = definition({"name": "m", "tasks": tasks}, job_modules={7: "other"})
    settings = {source.source_id: source.settings for source in found.sources}
    assert settings["a"] == {"job_id": "${module.other}"}
    assert settings["b"] == {"job_id": 8}
    assert settings["c"]["task"]["run_job_task"] == {"job_id": "${module.other}"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("nightly", "nightly_7"), ("a {b}", "a (b)"), ("", "job_7"), ("__x", "job_7"), ("new", "new")],
)
def test_module_names(name: str, expected: str) -> None:
    """The job's name where it may be a module's and is free."""
    assert module_name(name, 7, {"nightly"}) == expected
