from __future__ import annotations

from lakeflow_job_meta.metadata import schema
from lakeflow_job_meta.metadata.task_types import TASK_TYPES, common_keys, own_keys


def test_every_task_field_of_the_api_has_its_type():
    fields = [
        name for name in schema.document()["$defs"]["jobs.Task"]["properties"] if name.endswith("_task")
    ]
    assert len(fields) >= 20
    for name in fields:
        assert TASK_TYPES[name.removesuffix("_task")].api_key == name


def test_the_types_of_the_seed_and_ours():
    assert TASK_TYPES["notebook"].api_key == "notebook_task"
    assert (
        TASK_TYPES["sql_query"].api_key
        == TASK_TYPES["sql_file"].api_key
        == TASK_TYPES["sql"].api_key
        == "sql_task"
    )
    ours = {name for name, task_type in TASK_TYPES.items() if task_type.ours}
    assert "sql_script" in ours
    assert all(TASK_TYPES[name].api_key is None for name in ours)


def test_keys_of_types_and_common_keys():
    assert {"notebook_path", "sql_task", "python_wheel_task"} <= own_keys()
    assert {"depends_on", "run_if", "max_retries", "libraries", "new_cluster"} <= common_keys()
    assert "task_key" not in common_keys() | own_keys()
    # A type's own key may not hide a Task field, or the field could not be set for it.
    assert own_keys().isdisjoint(common_keys())
    widened = {key for one in TASK_TYPES.values() for key in one.keys if key in common_keys()}
    assert widened == {"timeout_seconds"}
    assert {"type": "integer", "minimum": 1} in TASK_TYPES["dataset_sync"].keys["timeout_seconds"]["anyOf"]


def test_every_type_has_its_part_of_the_schema():
    for name, task_type in TASK_TYPES.items():
        node = schema.document()["$defs"][f"task.{name}"]
        assert set(node["properties"]) == {"task_type", *task_type.keys, *common_keys()}
        assert set(task_type.required) <= set(task_type.keys)
        assert set(task_type.lifted) <= set(task_type.keys)


def test_it_is_a_mapping():
    assert len(TASK_TYPES) == len(list(TASK_TYPES))
    assert "nonsense" not in TASK_TYPES
    assert TASK_TYPES.get("nonsense") is None
