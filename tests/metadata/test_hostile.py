"""What nobody should write: it is refused with cause and place, or it comes through unchanged; it never breaks anything."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import task_key
from lakeflow_job_meta.settings import Settings
from tests.metadata.given import NOTEBOOK, built, job_row, read, row, sound

TEXTS = {
    "sql": "x'); DROP TABLE main.control.pipelines; --",
    "quotes": "\"'`´”",
    "backslashes": "\\ \\\\ \\n \\u0041 \\",
    "newlines": "a\nb\r\nc\td",
    "emoji": "😀👩‍👩‍👧‍👦 \u202eevil\u202c",
    "braces": "${module.x} ${bundle.y} {{z}} %s %(a)s {0} $1",
    "json": '", "is_active": false, "x": "',
    "yaml": "a: b\n- c: [d]\n# e\n---\n...",
    "html": "<script>alert(1)</script>",
    "path": "../../etc/passwd",
    "long": "x" * 4_000,
    "nulls": "a\x00b",
    "separators": "a\u2028b\u2029c\x85d\ufeffe",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "field",
    ["source_id", "source_type", "parameter", "parameter name", "sql", "config", "description", "tag"],
)
def test_hostile_texts_in_rows_come_through_or_are_refused(name, field):
    text = TEXTS[name]
    columns = {"source_id": "a", "source_type": "t"}
    config, job = dict(NOTEBOOK), {}
    if field in columns:
        columns[field] = text
    elif field == "parameter":
        config["base_parameters"] = {"p": text}
    elif field == "parameter name":
        config["base_parameters"] = {text: "v"}
    elif field == "sql":
        config = {"task_type": "sql_query", "sql_task": {"warehouse_id": "w", "sql_query": text}}
    elif field == "config":
        columns["source_config"] = json.dumps({text: text})
    elif field == "description":
        job["description"] = text
    else:
        job["tags"] = {"k": text}
    defined = built(row(config=config, **columns), job_row(job))
    if defined.definition is None:
        assert all(problem.place is not None and len(str(problem)) < 1000 for problem in defined.problems)
        return
    source = defined.definition.sources[0]
    found = {
        "source_id": source.source_id,
        "source_type": source.source_type,
        "parameter": source.settings.get("base_parameters", {}).get("p"),
        "parameter name": next(iter(source.settings.get("base_parameters", {})), None),
        "sql": source.settings.get("sql_query"),
        "config": source.source_config.get(text),
        "description": defined.definition.job.get("description"),
        "tag": defined.definition.job.get("tags", {}).get("k"),
    }
    assert found[field] == text
    assert set(task_key(source.source_id)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    )


class _Quoting(yaml.SafeDumper):
    pass


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_texts_in_files_come_through(name):
    text = TEXTS[name]
    source = {
        "source_id": text,
        "source_type": text,
        "execution_order": 1,
        "source_config": {text: [text]},
        "transformation_config": {
            "task_type": "notebook",
            "notebook_path": "/a",
            "base_parameters": {"p": text},
        },
    }
    modules = [{"module_name": f"m {text}".replace("{", "(").replace("}", ")"), "sources": [source]}]
    data = yaml.dump({"modules": modules}, Dumper=_Quoting, allow_unicode=False, width=10**9).encode()
    file = read(data)
    # References in braces are judged; anything else is the user's own.
    assert all("{{" in problem.message for problem in file.problems), file.problems
    for one in file.rows:
        assert one.source_id == text
        assert json.loads(one.source_config) == {text: [text]}
        assert json.loads(one.transformation_config)["base_parameters"] == {"p": text}


def test_ten_megabytes_in_every_place():
    big = "x" * 10_000_000
    started = time.perf_counter()
    assert sound(row("a", {"task_type": "sql_query", "sql_task": {"warehouse_id": "w", "sql_query": big}}))
    assert sound(row("a", NOTEBOOK, source_config=json.dumps({big: big})))
    for bad in (
        built(row(big, {**NOTEBOOK, "notebok": 1})),
        built(row("a", {"task_type": big})),
        built(row("a", {**NOTEBOOK, big: big})),
        built(row("a", {**NOTEBOOK, "depends_on": [big]})),
        built(row("a", big)),
        built(row("a", "{" * 10_000_000)),
        built(row("a", '"' * 10_000_000)),
        built(
            row("a"), job_row({"name": big, "schedule": {"quartz_cron_expression": big, "timezone_id": big}})
        ),
        built(row("a", order=1), row("a", order=2, source_config=big)),
    ):
        assert bad.definition is None
        assert all(len(problem.message) < 2000 for problem in bad.problems)
    assert time.perf_counter() - started < 30


def test_a_large_file_of_one_text():
    text = f"modules:\n  - module_name: m\n    sources: []\n    description: {'x' * 10_000_000}\n"
    file = read(text)
    assert [problem.message for problem in file.problems] == [
        "description has 10000000 characters, at most 27700 are allowed"
    ]


@pytest.mark.parametrize("count", [50, 99, 101, 5000])
def test_deep_configs(count):
    """Deep JSON is refused by a limit of ours, never by the interpreter's."""
    text = '{"a":' * count + "1" + "}" * count
    defined = built(row("a", NOTEBOOK, source_config=text))
    assert (defined.definition is None) == (count > 100)


def test_deep_configs_called_from_a_deep_stack():
    def down(levels: int) -> object:
        return (
            down(levels - 1)
            if levels
            else built(row("a", NOTEBOOK, source_config='{"a":' * 99 + "1" + "}" * 99))
        )

    assert down(500).definition is not None


def test_brackets_in_texts_are_no_nesting():
    assert sound(row("a", NOTEBOOK, source_config=json.dumps({"a": "[{" * 10_000 + '\\"'})))


@pytest.mark.parametrize("value", [True, 7, 1.5, b"{}", [], {}])
def test_columns_of_another_type_never_raise(value):
    """Foreign tables may hold anything."""
    for column in ("execution_order", "is_active"):
        define([Row(**{"source_id": "a", "module_name": "m", column: value})], table="t", settings=Settings())


@pytest.mark.parametrize("name", ["m\nx", "m'x", "m x", "ü" * 100, "a/b", "a.b", "😀", "CON", "a\u2028b"])
def test_module_names_are_free(name):
    assert sound(row("a", module_name=name)).module_name == name
