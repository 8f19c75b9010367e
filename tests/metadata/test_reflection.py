from __future__ import annotations

import dataclasses
import enum
import json
from importlib import resources

import pytest
from databricks.sdk.service import compute, jobs

from lakeflow_job_meta.metadata import layout, reflection, schema


class Colour(enum.Enum):
    RED = "RED"
    BLUE = "BLUE"


@dataclasses.dataclass
class Inner:
    colour: Colour | None = None
    """What it looks like."""


@dataclasses.dataclass
class Outer:
    name: str
    many: list[Inner] | None = None


@pytest.fixture(scope="module")
def definitions():
    return reflection.definitions()


def test_the_shipped_schema_is_what_the_installed_sdk_gives():
    """`python -m lakeflow_job_meta.metadata.reflection` was run after the last change of layout or SDK."""
    shipped = (
        resources.files("lakeflow_job_meta.metadata").joinpath("schema.json").read_text(encoding="utf-8")
    )
    assert shipped == reflection.shipped_text()
    assert json.loads(shipped)[schema.VERSION_KEY] == reflection.sdk_version()


@pytest.mark.parametrize("cls", [jobs.Task, jobs.JobSettings, jobs.SqlTask, compute.ClusterSpec])
def test_every_field_of_a_dataclass_is_a_property(definitions, cls):
    node = definitions[reflection.name_of(cls)]
    fields = dataclasses.fields(cls)
    assert list(node["properties"]) == [field.name for field in fields]
    assert set(node.get("required", ())) == {f.name for f in fields if f.default is dataclasses.MISSING}
    assert node["additionalProperties"] is False


def test_every_type_that_job_settings_reach_is_there(definitions):
    assert len(definitions) > 100
    assert definitions["jobs.RunIf"]["enum"] == sorted(member.value for member in jobs.RunIf)
    assert definitions["jobs.JobSettings"]["properties"]["tags"]["additionalProperties"] == {"type": "string"}
    assert definitions["jobs.CronSchedule"]["required"] == ["quartz_cron_expression", "timezone_id"]


def test_docstrings_below_fields_are_descriptions(definitions):
    described = [
        node
        for definition in definitions.values()
        for node in definition.get("properties", {}).values()
        if node.get("description")
    ]
    assert len(described) > 300
    assert "unique name" in definitions["jobs.Task"]["properties"]["task_key"]["description"]


def test_a_new_type_of_a_new_sdk_comes_by_itself():
    """The reflector needs no list of types: it follows the dataclasses wherever they lead."""
    made = reflection._Reflector().reflect(Outer)
    name = reflection.name_of(Outer)
    assert made[name]["required"] == ["name"]
    inner = made[made[name]["properties"]["many"]["items"]["$ref"].removeprefix("#/$defs/")]
    assert inner["properties"]["colour"]["description"] == "What it looks like."
    assert made[inner["properties"]["colour"]["$ref"].removeprefix("#/$defs/")]["enum"] == ["BLUE", "RED"]


def test_another_sdk_than_the_shipped_one_is_reflected_anew(monkeypatch, definitions):
    """Where the installed SDK differs, its new task types are known."""
    added = {
        **definitions,
        "jobs.NewTask": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    task = added["jobs.Task"]
    added["jobs.Task"] = {
        **task,
        "properties": {**task["properties"], "new_task": {"$ref": "#/$defs/jobs.NewTask"}},
    }
    monkeypatch.setattr(reflection, "sdk_version", lambda: "99.0.0")
    monkeypatch.setattr(reflection, "definitions", lambda: added)
    document = schema.document.__wrapped__()
    assert document[schema.VERSION_KEY] == "99.0.0"
    assert "task.new" in document["$defs"]
    assert layout.document(added, "99.0.0") == document


def test_without_an_sdk_the_shipped_schema_serves(monkeypatch):
    monkeypatch.setattr(reflection, "sdk_version", lambda: None)
    assert "task.notebook" in schema.document.__wrapped__()["$defs"]
