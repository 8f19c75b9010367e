"""What the tests of the metadata room start from: rows, files, and whole values made from the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lakeflow_job_meta.metadata import schema
from lakeflow_job_meta.metadata.build import Defined, define
from lakeflow_job_meta.metadata.files import MetadataFile, read_metadata
from lakeflow_job_meta.metadata.rows import JOB_ROW, JOB_SOURCE_TYPE, Row
from lakeflow_job_meta.settings import Settings

TABLE = "main.control.pipelines"
NOTEBOOK = {"task_type": "notebook", "notebook_path": "/Workspace/a"}

DESIGN_EXAMPLE = """\
metadata_version: "1.0"
variables: {env: {default: dev}, warehouse_id: {}}
defaults: {transformation_config: {sql_task: {warehouse_id: "${var.warehouse_id}"}}}
modules:
  - module_name: sales_${var.env}
    description: Bronze to silver
    job:
      schedule: {quartz_cron_expression: "0 0 2 * * ?", timezone_id: UTC}
      permissions: [{group_name: data-eng, level: CAN_MANAGE_RUN}]
    sources:
      - source_id: customers
        source_type: sql
        execution_order: 1
        source_config: {}
        target_config: {}
        transformation_config:
          task_type: sql_query
          sql_task: {sql_query: "SELECT 1", parameters: {threshold: "5.0"}}
"""


def row(source_id: str | None = "a", config: Any = NOTEBOOK, *, order: Any = 1, **columns: Any) -> Row:
    """A row as SQL would write it."""
    text = config if config is None or isinstance(config, str) else json.dumps(config)
    values: dict[str, Any] = {"module_name": "m", "source_type": "table", "is_active": True, **columns}
    return Row(source_id=source_id, execution_order=order, transformation_config=text, **values)


def job_row(config: Any, *, active: bool = True, **columns: Any) -> Row:
    return row(JOB_ROW, config, order=0, **{"source_type": JOB_SOURCE_TYPE, "is_active": active, **columns})


def built(*rows: Row, **settings: Any) -> Defined:
    return define(rows, table=TABLE, settings=Settings({"default_warehouse_id": "w", **settings}))


def sound(*rows: Row, **settings: Any) -> Any:
    """The definition of rows that have no problems."""
    defined = built(*rows, **settings)
    assert defined.problems == ()
    assert defined.definition is not None
    return defined.definition


def wrong(*rows: Row, **settings: Any) -> list[str]:
    """The messages of rows that have problems."""
    defined = built(*rows, **settings)
    assert defined.definition is None
    assert defined.problems
    return [problem.message for problem in defined.problems]


def read(text: str | bytes, **variables: str) -> MetadataFile:
    data = text if isinstance(text, bytes) else text.encode()
    return read_metadata(data, "f.yaml", variables)


def told(file: MetadataFile) -> list[str]:
    """The problems of a file as people see them."""
    return [str(problem) for problem in file.problems]


def whole(node: Mapping[str, Any], depth: int = 0) -> Any:
    """A value in which every field of this part of the schema is set."""
    if "$ref" in node:
        target: Any = schema.document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return whole(target, depth)
    if "anyOf" in node:
        return whole(node["anyOf"][0], depth)
    if "const" in node or "enum" in node:
        return node.get("const") or node["enum"][0]
    kind = node.get("type")
    if kind == "object":
        value = {name: whole(inner, depth + 1) for name, inner in node.get("properties", {}).items()}
        if isinstance(node.get("additionalProperties"), dict):
            value["key"] = whole(node["additionalProperties"], depth + 1)
        return value
    if kind == "array":
        return [whole(node["items"], depth + 1)]
    plain: dict[str, object] = {"string": "text", "integer": 7, "number": 1.5, "boolean": True}
    return node["maximum"] if "maximum" in node else plain[str(kind)]
