"""300 hostile values in rows and files, in a few passes: refused with cause and place, or unchanged in the job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient

from lakeflow_job_meta.adapters.databricks import workspace_client
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.metadata_manager import MetadataManager
from lakeflow_job_meta.names import MODULE_TAG, TableName, read_module_tag
from lakeflow_job_meta.orchestrator import JobOrchestrator
from lakeflow_job_meta.reconcile.actions import ApplyResult
from lakeflow_job_meta.runtime import Runtime
from tests.contract.servers import Server, embedded

TEXTS = (
    "x'); DROP TABLE main.meta.etl_control; --",
    "' OR '1'='1",
    "`; DELETE FROM etl_control WHERE true; `",
    '"; "injected": "yes',
    '", "is_active": false, "x": "',
    "\"'`´”",
    "\\ \\\\ \\n \\u0041 \\",
    "ends with a backslash \\",
    "a\nb\r\nc\td",
    "\n\n",
    " leading and trailing ",
    "😀👩‍👩‍👧‍👦",
    "\u202eevil\u202c \u200f\u200e",
    "عربى עברית",
    "zero\u200bwidth\ufeff",
    "a\u2028b\u2029c\x85d",
    "a\x00b",
    "\x1b[31mred\x07",
    "\x7f\x80",
    "e\u0301 is not \u00e9",
    "%s %(a)s {0} $1 :name ?",
    "a: b\n- c: [d]\n# e\n---\n...",
    "!!python/object/apply:os.system ['true']",
    "&a *a <<: *a",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "NULL",
    "null",
    "true",
    "NaN",
    "1e400",
    "-0",
    "0x1F",
    "012",
    "1_000",
    "2024-01-01",
    "SELECT",
    "DEFAULT",
    "__proto__",
    "~",
    "${",
    "$${var.x}",
    "{{",
    "}}",
    "😀" * 300,
    "x" * 5_000,
)
BIG = "x" * 10_000_000

#: What stands raw in a config's JSON text or in a YAML file where a mapping belongs.
RAW_CONFIGS = (
    "NaN",
    "Infinity",
    '{"a": NaN}',
    '{"a": -Infinity}',
    '{"a": 1e999999}',
    '{"a": ' + "9" * 5_000 + "}",
    "[]",
    "7",
    '"text"',
    "true",
    "{",
    '{"a": 1,}',
    "{'a': 1}",
    '{"a": 1} {"b": 2}',
    '{"a": "\\ud800"}',
    '{"a": "\x00"}',
    "[" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
    '{"task_type": "notebook", "task_type": "sql_query"}',
    '{"task_type": null}',
    '{"task_type": ["notebook"]}',
    '{"task_type": "notebook", "notebook_path": {"a": 1}}',
    '{"task_type": "notebook", "notebook_path": "/n", "depends_on": {"a": "b"}}',
    '{"task_type": "notebook", "notebook_path": "/n", "timeout_seconds": 1e400}',
    '{"task_type": "notebook", "notebook_path": "/n", "max_retries": 99999999999999999999999}',
    '{"task_type": "notebook", "notebook_path": "/n", "base_parameters": [1, 2]}',
    "{" * 1_000_000,
    json.dumps({"task_type": "notebook", "notebook_path": "/n", BIG: 1}),
    json.dumps({"task_type": BIG}),
)
ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)
)
RAW_FILES = (
    ALIAS_BOMB + "modules: *a19\n",
    "modules: &m\n  - *m\n",
    "modules: " + "[" * 50_000,
    "modules: " + "{a: " * 50_000 + "1" + "}" * 50_000,
    "modules:\n  - module_name: [\n",
    "modules: {}\n---\nmodules: []\n",
    "modules: 7\n",
    "modules: .nan\n",
    "- a\n- b\n",
    "just text",
    "\x00\x01\x02",
    "\ufeffmodules: nothing",
    "modules:\n\t- module_name: a\n",
    "modules:\n  - module_name: !!python/object/apply:os.system ['true']\n    sources: []\n",
    "modules:\n  - module_name: {a: b}\n    sources: []\n",
    "modules:\n  - module_name: .inf\n    sources: 5\n",
    "modules:\n  - null\n",
    "modules:\n  - module_name: x1\n    sources:\n      - null\n",
    "modules:\n  - module_name: x2\n    sources: {a: b}\n",
    "modules:\n  - module_name: x3\n    description: " + BIG + "\n    sources: []\n",
    "? [a, b]\n: c\n",
    "modules: *nobody\n",
    '"unclosed',
    "%YAML 9.9\n---\nmodules: 1\n",
)
RAW_BYTES = (b"\xff\xfe\x00\xd8", b"modules: \xc3\x28\n", b"\x80" * 1000)


def config(**more: Any) -> str:
    return json.dumps({"task_type": "notebook", "notebook_path": "/n", **more})


def unescaped(text: str) -> str:
    """What a config's text means: `$${` stands for `${`."""
    return text.replace("$${", "${")


def row(module: str, source_id: str = "a", text: str | None = None, **columns: Any) -> Row:
    columns = {"source_type": "t", "execution_order": 1, **columns}
    return Row(source_id, module, transformation_config=text or config(), **columns)


def hostile_rows() -> list[Row]:
    """Hostile texts in each column and in the configs, a module each."""
    rows = []
    for number, text in enumerate(TEXTS):
        rows += [
            row(f"parameter {number}", text=config(base_parameters={"p": text})),
            row(f"source {number}", source_id=text),
            row(f"module {number} {text}"),
            row(f"columns {number}", source_type=text, source_config=json.dumps({text: text})),
        ]
    rows += [row(f"raw {number}", text=text) for number, text in enumerate(RAW_CONFIGS)]
    rows += [row(f"raw source {number}", source_config=text) for number, text in enumerate(RAW_CONFIGS)]
    rows += [row("big parameter", text=config(base_parameters={"p": BIG})), row("big source", source_id=BIG)]
    rows += [row("big order", execution_order=2**31 - 1), row("low order", execution_order=-(2**31))]
    return rows


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceClient]:
    with embedded(tmp_path_factory.mktemp("hostile")) as server:
        yield _client(server)


def _client(server: Server) -> WorkspaceClient:
    return workspace_client(host=server.host, token=server.token, auth_type="pat")


@pytest.fixture
def runtime(client: WorkspaceClient, spark: Any, control_name: TableName) -> Runtime:
    return Runtime(control_name, spark=spark, workspace_client=client, environment={})


def jobs_by_module(orchestrator: JobOrchestrator) -> dict[str, dict[str, Any]]:
    """Settings of the live jobs, by the id that their record has for the module."""
    by_id = {job.job_id: job.settings for job in orchestrator.workspace.jobs.list()}
    return {
        one.module: by_id[one.job_id] for one in orchestrator.status(runs=False) if one.job_id is not None
    }


def check_errors(result: ApplyResult) -> None:
    """Every refusal has a cause and a place, of a readable length; nothing else failed; nothing is retired."""
    for one in result.results:
        assert one.action.kind in ("create", "update", "unchanged", "refused"), one.action
        if one.action.kind == "refused":
            assert one.action.problems, one.action
            assert all(problem.message and problem.place is not None for problem in one.action.problems)
            assert all(len(problem.message) < 3_000 for problem in one.action.problems)
            assert len(one.error) < 20_000
        else:  # what the platform would refuse was refused before it was asked
            assert one.error == "", (one.action.module[:80], one.error[:500])


def test_there_are_300_of_them() -> None:
    assert len(hostile_rows()) + len(TEXTS) + len(RAW_FILES) + len(RAW_BYTES) >= 300


def test_hostile_rows(runtime: Runtime) -> None:
    """In one table with good neighbours: those are made, and stay; what is legal arrives byte for byte."""
    orchestrator = JobOrchestrator(runtime.control_table, runtime=runtime, sleep=lambda seconds: None)
    table = ControlTable(runtime.tables, runtime.control_table)
    table.ensure()
    table.write([row("good before")])
    assert orchestrator.apply(orchestrator.plan()).writes == 1
    table.write([*hostile_rows(), row("good after")])

    result = orchestrator.apply(orchestrator.plan())
    check_errors(result)
    kinds = {one.action.module: one.action.kind for one in result.results}
    assert (kinds["good before"], kinds["good after"]) == ("unchanged", "create")
    jobs = jobs_by_module(orchestrator)
    assert {"good before", "good after"} <= set(jobs)

    refused = {module for module, kind in kinds.items() if kind == "refused"}
    assert refused.isdisjoint(jobs)
    assert {"big parameter", "big source"} <= refused
    for number, text in enumerate(TEXTS):
        if f"parameter {number}" not in refused:
            parameters = jobs[f"parameter {number}"]["tasks"][0]["notebook_task"]["base_parameters"]
            assert parameters["p"] == unescaped(text)
        if f"source {number}" not in refused:
            parameters = jobs[f"source {number}"]["tasks"][0]["notebook_task"]["base_parameters"]
            assert parameters["source_id"] == text
        module = f"module {number} {text}"
        if module not in refused:
            tag = read_module_tag(jobs[module]["tags"][MODULE_TAG])
            assert tag is not None
            parameters = jobs[module]["tasks"][0]["notebook_task"]["base_parameters"]
            assert parameters["module_name"] == module
    # Few are refused for what they are: braces and what no tag, name or parameter can hold.
    texts_refused = [m for m in refused if not m.startswith(("raw", "big", "low"))]
    assert len(texts_refused) < 40, sorted(m[:40] for m in texts_refused)

    again = orchestrator.apply(orchestrator.plan())
    check_errors(again)
    assert again.writes == 0
    assert set(jobs_by_module(orchestrator)) == set(jobs)


def test_hostile_files(runtime: Runtime, tmp_path: Path) -> None:
    """In one folder with good files: those are loaded, the others are told with their place."""
    good = "modules:\n  - module_name: {}\n    sources:\n      - source_id: a\n        source_type: t\n"
    good += "        execution_order: 1\n        transformation_config: {{task_type: notebook, notebook_path: /n}}\n"
    manager = MetadataManager(runtime.control_table, runtime=runtime, sleep=lambda seconds: None)
    orchestrator = JobOrchestrator(runtime.control_table, runtime=runtime, sleep=lambda seconds: None)
    (tmp_path / "0 good.yaml").write_text(good.format("first"))
    assert manager.load([str(tmp_path)]).changed == 1
    assert orchestrator.apply(orchestrator.plan()).writes == 1

    (tmp_path / "z good.yaml").write_text(good.format("last"))
    for number, text in enumerate(RAW_FILES):
        (tmp_path / f"raw {number}.yaml").write_bytes(text.encode())
    for number, data in enumerate(RAW_BYTES):
        (tmp_path / f"bytes {number}.yaml").write_bytes(data)
    for number, text in enumerate(TEXTS):  # JSON is YAML
        source = {"source_id": "a", "source_type": "t", "execution_order": 1}
        source["transformation_config"] = {
            "task_type": "notebook",
            "notebook_path": "/n",
            "base_parameters": {"p": text},
        }
        document = {"modules": [{"module_name": f"file {number}", "sources": [source]}]}
        (tmp_path / f"text {number}.yaml").write_text(json.dumps(document))

    load = manager.load([str(tmp_path)])
    assert all(problem.message and problem.place is not None for problem in load.problems)
    assert all(len(problem.message) < 3_000 for problem in load.problems)
    told = {problem.place.path.rpartition("/")[2] for problem in load.problems if problem.place}
    wrong = {path.name for path in tmp_path.iterdir() if path.name.startswith(("raw", "bytes"))}
    assert wrong <= told, sorted(wrong - told)
    assert not any("good" in name for name in told)

    result = orchestrator.apply(orchestrator.plan())
    check_errors(result)
    jobs = jobs_by_module(orchestrator)
    assert {"first", "last"} <= set(jobs)
    for number, text in enumerate(TEXTS):
        if f"text {number}.yaml" in told:
            assert f"file {number}" not in jobs
        else:
            parameters = jobs[f"file {number}"]["tasks"][0]["notebook_task"]["base_parameters"]
            assert parameters["p"] == unescaped(text)
    again = orchestrator.apply(orchestrator.plan())
    assert again.writes == 0
    assert set(jobs_by_module(orchestrator)) == set(jobs)
