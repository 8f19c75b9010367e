from __future__ import annotations

import copy
import subprocess
import sys

import jsonschema
import pytest
import yaml

from lakeflow_job_meta.metadata import schema
from lakeflow_job_meta.metadata.task_types import TASK_TYPES
from tests.metadata.given import DESIGN_EXAMPLE, whole


@pytest.fixture(scope="module")
def validator():
    published = schema.schema()
    jsonschema.Draft202012Validator.check_schema(published)
    return jsonschema.Draft202012Validator(published)


def one_source(config: object, **top: object) -> dict[str, object]:
    source = {"source_id": "a", "source_type": "t", "execution_order": 1, "transformation_config": config}
    return {"modules": [{"module_name": "m", "sources": [source]}], **top}


def test_it_is_a_schema_of_draft_2020_12():
    assert schema.document()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema.document())


def test_loading_it_imports_no_sdk_and_is_quick():
    code = (
        "import sys, time\n"
        "from lakeflow_job_meta.metadata.files import read_metadata\n"
        "start = time.perf_counter()\n"
        "from lakeflow_job_meta.metadata import schema, shapes, task_types\n"
        "shapes.shape('task.notebook'); schema.schema(); list(task_types.TASK_TYPES)\n"
        "assert not {'databricks', 'databricks.sdk', 'pyspark', 'httpx'} & set(sys.modules)\n"
        "print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2


def test_a_caller_may_change_what_it_gets():
    one = schema.schema()
    one["$defs"].clear()
    assert schema.schema()["$defs"]


def test_the_example_of_the_design_is_valid_with_its_variables(validator):
    assert list(validator.iter_errors(yaml.safe_load(DESIGN_EXAMPLE))) == []


@pytest.mark.parametrize("task_type", sorted(TASK_TYPES))
def test_a_whole_task_of_every_type_is_valid(validator, task_type):
    config = whole(schema.document()["$defs"][f"task.{task_type}"])
    if task_type == "sql_script":
        config["sql_file_path"] = "/Workspace/a.sql"
    if task_type == "dataset_sync":
        config["bronze"]["external_location"] = "s3://bucket/folder"
    assert list(validator.iter_errors(one_source(config))) == []


#: Types whose settings may all come from elsewhere: the environment, other configs of the row.
SELF_SUFFICIENT = {
    "dataset_sync",
    "dxr_ingest",
    "dxr_collect",
    "dxr_organise",
    "dxr_snapshot",
    "notify",
    "sql_policy",
    "remediate",
}


@pytest.mark.parametrize("task_type", sorted(set(TASK_TYPES) - SELF_SUFFICIENT))
def test_a_task_type_without_its_settings_is_refused_unless_defaults_may_bring_them(validator, task_type):
    bare = one_source({"task_type": task_type})
    assert not validator.is_valid(bare)
    assert validator.is_valid({**bare, "defaults": {}})


@pytest.mark.parametrize(
    "config",
    [
        {"task_type": "notebook", "notebook_path": "/a", "notebok_path": "/b"},
        {"task_type": "notebook", "notebook_path": "/a", "run_if": "SOMETIMES"},
        {"task_type": "notebook", "notebook_path": "/a", "max_retries": "many"},
        {"task_type": "notebook", "notebook_path": "/a", "sql_task": {}},
        {"task_type": "nothing"},
        {"notebook_path": "/a"},
    ],
)
def test_mistakes_are_refused(validator, config):
    assert not validator.is_valid(one_source(config))


def test_a_variable_may_stand_for_a_number_a_boolean_and_a_choice(validator):
    config = {
        "task_type": "notebook",
        "notebook_path": "/a",
        "max_retries": "${var.n}",
        "retry_on_timeout": "${var.b}",
        "run_if": "${var.r}",
    }
    assert validator.is_valid(one_source(config))


def test_what_is_converted_to_text_passes(validator):
    config = {"task_type": "notebook", "notebook_path": "/a", "base_parameters": {"n": 3, "b": True}}
    assert validator.is_valid(one_source(config))
    assert not validator.is_valid(one_source({**config, "base_parameters": {"n": 5.5}}))


def test_other_layouts_pass(validator):
    assert validator.is_valid({"jobs": {"a": {"tasks": []}}})
    assert validator.is_valid({"bundle": {"name": "x"}, "resources": {"jobs": {"a": {"tasks": []}}}})
    assert not validator.is_valid({"modulez": []})
    assert not validator.is_valid({"modules": [], "modulez": []})


def test_an_editor_is_told_what_a_field_means(validator):
    text = schema.schema()["$defs"]["jobs.Task"]["properties"]["timeout_seconds"]["description"]
    assert "timeout" in text


def test_allowing_variables_keeps_literals():
    node = {"enum": ["a"], "type": "string", "default": "a", "description": "x"}
    before = copy.deepcopy(node)
    assert schema.allow_variables(node)["anyOf"][0]["enum"] == ["a"]
    assert node == before
