"""`validate` and `schema`: offline, all problems with their places, the JSON that is promised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lakeflow_job_meta.cli.program import program
from tests.cli.conftest import module_yaml


def validate(*arguments: str | Path, **variables: str) -> Result:
    return CliRunner(env=variables).invoke(program, ["validate", *map(str, arguments)])


def test_sound_files(tmp_path: Path) -> None:
    """Counts of files, modules and sources; a folder is searched, hidden and foreign files left out."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text(module_yaml("a"))
    (tmp_path / "deep" / "b.yml").write_text(module_yaml("b"))
    (tmp_path / ".hidden.yaml").write_text("modules: [")
    (tmp_path / "readme.md").write_text("modules: [")
    got = validate(tmp_path, "--format", "json")
    assert (got.exit_code, json.loads(got.stdout)) == (
        0,
        {"files": 2, "modules": 2, "sources": 2, "errors": []},
    )
    assert validate(tmp_path).stdout == "ok: 2 files, 2 modules, 2 sources\n"
    assert (
        validate(tmp_path / "a.yaml", tmp_path / "deep", tmp_path).stdout
        == "ok: 2 files, 2 modules, 2 sources\n"
    )


def test_every_problem_has_its_place(tmp_path: Path) -> None:
    """Path, line, column, pointer and message of each; in order; exit code 1."""
    (tmp_path / "a.yaml").write_text(
        "modules:\n  - module_name: a\n    sources:\n      - source_id: s\n        source_type: sql\n"
        "        execution_order: one\n        transformation_config: {task_type: notebook, notebook_path: /a}\n"
        "      - {source_id: t, source_type: sql, execution_order: 1, transformation_config: {task_type: notebok}}\n"
    )
    (tmp_path / "b.yaml").write_text("modules: [\n")
    got = validate(tmp_path, "--format", "json")
    found = json.loads(got.stdout)
    assert (got.exit_code, found["files"], found["modules"]) == (1, 2, 1)
    places = [(Path(error["path"]).name, error["line"], error["pointer"]) for error in found["errors"]]
    assert ("a.yaml", 6, "/modules/0/sources/0/execution_order") in places
    assert places[-1][:2] == ("b.yaml", 2)
    assert all(error["column"] >= 1 and error["message"] for error in found["errors"])
    text = validate(tmp_path)
    assert text.exit_code == 1
    assert "a.yaml:6:26: " in text.stdout
    assert "notebook" in text.stdout, "a suggestion"
    assert text.stderr.endswith("errors\n")


def test_problems_between_files_and_modules(tmp_path: Path) -> None:
    """One module in two files, and a reference to a module that is not there."""
    (tmp_path / "a.yaml").write_text(module_yaml("same"))
    (tmp_path / "b.yaml").write_text(module_yaml("same"))
    config = {"task_type": "run_job", "run_job_task": {"job_id": "${module.nowhere}"}}
    source = {"source_id": "s", "source_type": "x", "execution_order": 1, "transformation_config": config}
    (tmp_path / "c.yaml").write_text(json.dumps({"modules": [{"module_name": "c", "sources": [source]}]}))
    got = validate(tmp_path, "--format", "json")
    messages = {(Path(e["path"]).name, e["message"]) for e in json.loads(got.stdout)["errors"]}
    assert any(name == "a.yaml" and "b.yaml" in message for name, message in messages)
    assert any(name == "b.yaml" and "a.yaml" in message for name, message in messages)
    assert any(name == "c.yaml" and "nowhere" in message for name, message in messages)


def test_barriers_count_as_tasks(tmp_path: Path) -> None:
    """1,000 sources in two wide stages need a barrier: 1,001 tasks, told without any workspace."""
    sources = "".join(
        f"      - {{source_id: s{n}, source_type: t, execution_order: {1 + n % 2}, "
        "transformation_config: {task_type: notebook, notebook_path: /n}}\n"
        for n in range(1000)
    )
    path = tmp_path / "wide.yaml"
    path.write_text(f"modules:\n  - module_name: wide\n    sources:\n{sources}")
    done = validate(path)
    assert done.exit_code == 1
    assert f'{path}:2:18: module "wide" needs 1001 tasks (1000 sources and 1 barriers' in done.stdout


def test_variables(tmp_path: Path) -> None:
    """From --var, from the environment; without a value an error for the module that uses it."""
    (tmp_path / "a.yaml").write_text(module_yaml("a", name="job_${var.env}"))
    missing = validate(tmp_path / "a.yaml")
    assert missing.exit_code == 1
    assert "env" in missing.stdout
    assert validate(tmp_path / "a.yaml", "--var", "env=dev").exit_code == 0
    assert validate(tmp_path / "a.yaml", LAKEFLOW_JOB_META_VARIABLES='{"env": "dev"}').exit_code == 0


def test_a_warehouse_may_come_from_elsewhere(tmp_path: Path) -> None:
    """What only a setting of the workspace can tell is no error offline."""
    (tmp_path / "a.yaml").write_text(module_yaml("a").replace('"warehouse_id": "local", ', ""))
    assert validate(tmp_path / "a.yaml").exit_code == 0


@pytest.mark.parametrize(
    "text", ["", "\x00", "- 1\n", "modules: {}\n", "a: &a [*a]\n", "\ufeff{", "!!python/object:os.system x"]
)
def test_hostile_files_are_errors_with_a_place(tmp_path: Path, text: str) -> None:
    """Whatever is in a file: no traceback, the file is named."""
    (tmp_path / "a.yaml").write_text(text)
    got = validate(tmp_path, "--format", "json")
    assert got.exit_code in (0, 1)
    assert "Traceback" not in got.output
    for error in json.loads(got.stdout)["errors"]:
        assert error["path"].endswith("a.yaml")


def test_schema(tmp_path: Path) -> None:
    """The published JSON Schema, on stdout or into a file; it accepts what `validate` accepts."""
    import jsonschema

    shown = CliRunner().invoke(program, ["schema"])
    schema = json.loads(shown.stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    out = tmp_path / "schema.json"
    assert CliRunner().invoke(program, ["schema", "--out", str(out)]).exit_code == 0
    assert json.loads(out.read_text()) == schema
    jsonschema.Draft202012Validator(schema).validate(json.loads(module_yaml("a")))
