"""`{{...}}`: what each reference stands for, and that nothing is looked at twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakeflow_job_meta.local.runs.records import RunRecord, TaskRecord
from lakeflow_job_meta.local.runs.references import Scope, SecretMissing
from lakeflow_job_meta.local.runs.states import State

START = 1_709_251_199_123  # 2024-02-29T23:59:59.123Z, a Thursday


def scope(**more: object) -> Scope:
    run = RunRecord(
        run_id=7,
        job_id=5,
        run_type="JOB_RUN",
        name="nightly",
        settings={},
        request={"job_parameters": {"env": "dev", "a.b": "dotted", "raw": "{{job.id}}"}},
        trigger_type="PERIODIC",
        trigger_info={"time": START, "location": "/Volumes/c/s/v"},
        created=START,
        start_time=START,
    )
    up = TaskRecord(
        8, 7, "up", state=State("TERMINATED", "SUCCESS", code=""), output={"rows": [{"n": "1", "s": None}]}
    )
    settings = {
        "task": TaskRecord(9, 7, "load", attempt=2),
        "tasks": {"up": up},
        "values": {"up": {"list": [1, "x"], "flag": True, "text": "plain", "my key": 3}},
        "settings": {"notebook_task": {"notebook_path": "/n"}},
        "workspace_id": "123",
        "workspace_url": "http://w",
        "executions": 3,
        "repairs": 1,
    }
    return Scope(**{"run": run, **settings, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{job.id}}", "5"),
        ("{{ job.name }}", "nightly"),
        ("r-{{job.run_id}}-{{task.run_id}}", "r-7-9"),
        ("{{job.repair_count}}", "1"),
        ("{{job.parameters.env}}", "dev"),
        ("{{job.parameters.a.b}}", "dotted"),
        ("{{job.parameters.`a.b`}}", "dotted"),
        ("{{job.start_time.iso_date}}", "2024-02-29"),
        ("{{job.start_time.iso_datetime}}", "2024-02-29T23:59:59.123Z"),
        ("{{job.start_time.iso_weekday}}", "4"),
        ("{{job.start_time.is_weekday}}", "true"),
        ("{{job.start_time.year}}/{{job.start_time.month}}/{{job.start_time.day}}", "2024/2/29"),
        ("{{job.start_time.timestamp_ms}}", str(START)),
        ("{{job.trigger.type}}", "periodic"),
        ("{{job.trigger.time.hour}}", "23"),
        ("{{job.trigger.file_arrival.location}}", "/Volumes/c/s/v"),
        ("{{task.name}}", "load"),
        ("{{task.execution_count}}", "3"),
        ("{{task.notebook_path}}", "/n"),
        ("{{tasks.up.result_state}}", "success"),
        ("{{tasks.up.run_id}}", "8"),
        ("{{tasks.up.values.list}}", '[1, "x"]'),
        ("{{tasks.up.values.flag}}", "true"),
        ("{{tasks.up.values.text}}", "plain"),
        ("{{tasks.up.values.`my key`}}", "3"),
        ("{{tasks.up.output.first_row.n}}", "1"),
        ("{{tasks.up.output.rows}}", '[{"n": "1", "s": null}]'),
        ("{{workspace.id}} {{workspace.url}}", "123 http://w"),
        ("{{run_id}} {{job_id}} {{parent_run_id}} {{task_key}} {{task_retry_count}}", "9 5 7 load 2"),
        ("{{start_date}} {{start_time}}", f"2024-02-29 {START}"),
    ],
)
def test_stands_for(text: str, expected: str) -> None:
    """Every documented reference is replaced by its value."""
    assert scope().expand(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{{job.naem}}",
        "{{nothing}}",
        "{{tasks.other.run_id}}",
        "{{tasks.up.values.missing}}",
        "{{job.parameters.missing}}",
        "{{input}}",
        "{{job.id + 1}}",
        "{job.id}",
        "{{job.id}",
        "{{}}",
        "{{job.start_time.century}}",
        "{{.}}",
        "{{job}}",
        "{{job.}}",
    ],
)
def test_unknown_stays_literal(text: str) -> None:
    """A reference that stands for nothing is left as it was written."""
    assert scope().expand(text) == text


def test_one_pass() -> None:
    """A value that looks like a reference is not replaced again."""
    assert scope().expand("{{job.parameters.raw}}") == "{{job.id}}"


@given(st.text())
def test_values_come_through_whole(value: str) -> None:
    """Whatever text a parameter has, that is what the task gets."""
    wanted = scope()
    wanted.run.request["job_parameters"]["any"] = value
    assert wanted.expand("<{{job.parameters.any}}>") == f"<{value}>"


def test_input_of_for_each() -> None:
    """`{{input}}` is the element, `{{input.key}}` a field of it, at any depth."""
    inside = scope(input={"a": {"b": 2}, "c.d": "x", "n": None})
    assert inside.expand("{{input.a.b}} {{input.c.d}} {{input.n}} {{input.z}}") == "2 x null {{input.z}}"
    assert inside.expand("{{input}}") == '{"a": {"b": 2}, "c.d": "x", "n": null}'
    assert scope(input="word").expand("{{input}}") == "word"


def test_secrets() -> None:
    """`{{secrets/scope/key}}` is the secret; one that does not exist is an error, not an empty text."""
    vault = {("s", "k"): "hush"}
    wanted = scope(secret=lambda s, k: vault.get((s, k)))
    assert wanted.expand({"password": "{{secrets/s/k}}"}) == {"password": "hush"}
    with pytest.raises(SecretMissing, match="scope: s and key: other"):
        wanted.expand("{{secrets/s/other}}")


def test_keeps_other_values() -> None:
    """Numbers, booleans and keys of objects are not touched."""
    value = {"{{job.id}}": [1, True, None, "{{job.id}}"]}
    assert scope().expand(value) == {"{{job.id}}": [1, True, None, "5"]}
