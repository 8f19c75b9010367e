"""How quick reading and judging are. The bounds are wide, since test machines are slow and shared; figures are printed."""

from __future__ import annotations

import time

from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.files import read_metadata
from lakeflow_job_meta.metadata.lint import cross_check
from lakeflow_job_meta.settings import Settings

HEAD = """\
metadata_version: "1.0"
variables: {env: {default: dev}, warehouse: {default: abc}}
defaults: {transformation_config: {sql_task: {warehouse_id: "${var.warehouse}"}, max_retries: 1}}
modules:
"""
SQL = """\
      - source_id: source_%d
        source_type: sql
        execution_order: %d
        source_config: {path: "/Volumes/${var.env}/in", format: json}
        target_config: {catalog: bronze, schema: data, table: t%d}
        transformation_config:
          task_type: sql_query
          sql_task:
            sql_query: |
              SELECT * FROM bronze.data.t
              WHERE day = :day
            parameters: {day: "{{job.start_time.iso_date}}", threshold: "5.0"}
"""
NOTEBOOK = """\
      - source_id: source_%d
        source_type: files
        execution_order: %d
        target_config: {table: t%d}
        transformation_config: {task_type: notebook, notebook_path: "/Workspace/${var.env}/load", timeout_seconds: 600}
"""


def text(modules: range, sources: int) -> bytes:
    parts = [HEAD]
    for module in modules:
        parts.append(
            f"  - module_name: module_{module}_${{var.env}}\n    job: {{max_concurrent_runs: 1}}\n    sources:\n"
        )
        parts += [(SQL if n % 2 else NOTEBOOK) % (n, n // 250 + 1, n) for n in range(sources)]
    return "".join(parts).encode()


def test_ten_thousand_sources_in_one_file():
    data = text(range(20), 500)
    started = time.perf_counter()
    file = read_metadata(data, "big.yaml", {})
    read = time.perf_counter() - started
    by_module: dict[str, list[object]] = {}
    for row in file.rows:
        by_module.setdefault(row.module_name or "", []).append(row)
    defined = [define(rows, table="c.s.t", settings=Settings()) for rows in by_module.values()]
    assert cross_check(file.definitions) == []
    took = time.perf_counter() - started
    print(
        f"10,000 sources, {len(data) / 1e6:.1f} MB: read and judged {read:.2f} s, and defined from rows {took:.2f} s"
    )
    assert file.problems == ()
    assert len(file.rows) == 10_020
    assert sum(len(one.definition.sources) for one in defined) == 10_000
    assert took < 10


def test_ten_thousand_sources_with_a_mistake_in_each():
    data = (
        text(range(20), 500)
        .replace(b"timeout_seconds", b"timeout_second")
        .replace(b"sql_query: |", b"sql_qery: |")
    )
    started = time.perf_counter()
    file = read_metadata(data, "big.yaml", {})
    took = time.perf_counter() - started
    print(f"10,000 mistakes: {took:.2f} s, {len(file.problems)} problems listed")
    assert len(file.refused) == 20
    assert took < 20


def test_a_thousand_modules_in_a_hundred_files():
    files = [text(range(n * 10, n * 10 + 10), 5) for n in range(100)]
    started = time.perf_counter()
    read = [read_metadata(data, f"f{n}.yaml", {}) for n, data in enumerate(files)]
    took = time.perf_counter() - started
    print(f"1,000 modules with 5 sources in 100 files: {took:.2f} s")
    assert sum(len(file.definitions) for file in read) == 1000
    assert took < 10
