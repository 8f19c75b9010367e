from __future__ import annotations

from lakeflow_job_meta.errors import Place
from lakeflow_job_meta.metadata.lint import cross_check
from tests.metadata.given import TABLE, read, row, sound


def running(**targets: str) -> dict[str, object]:
    """Definitions of modules that run one another: `running(a="bc")` is a running b and c."""
    definitions = {}
    for name, others in targets.items():
        rows = [row("own", module_name=name)]
        for other in others:
            config = {"task_type": "run_job", "run_job_task": {"job_id": f"${{module.{other}}}"}}
            rows.append(row(f"run_{other}", config, module_name=name))
        definitions[name] = sound(*rows)
    return definitions


def test_modules_that_run_others_are_fine():
    assert cross_check(running(a="b", b="cd", c="d", d="")) == []


def test_an_unknown_module_gets_a_suggestion():
    definitions = running(sales="x", marketing="")
    definitions["sales"] = sound(
        row(
            "run",
            {"task_type": "run_job", "run_job_task": {"job_id": "${module.markting}"}},
            module_name="sales",
        )
    )
    (problem,) = cross_check(definitions, table=TABLE)
    assert problem.message == '${module.markting} names no module (did you mean "marketing"?)'
    assert problem.place == Place(TABLE, key="sales/run")
    assert (problem.module, problem.source_id) == ("sales", "run")


def test_a_refused_module_still_exists():
    """Its last good job stays, so who runs it is right."""
    assert cross_check(running(a="b"), known={"b"}) == []


def test_a_circle_refuses_each_of_its_modules():
    problems = cross_check(running(a="b", b="c", c="a", d="a", e=""))
    assert {problem.module for problem in problems} == {"a", "b", "c"}
    assert all("in a circle" in problem.message for problem in problems)


def test_a_module_that_runs_itself():
    (problem,) = cross_check(running(a="a"))
    assert 'circle: "a" -> "a"' in problem.message


def test_two_circles_are_both_told():
    problems = cross_check(running(a="b", b="a", c="d", d="c"))
    assert {problem.module for problem in problems} == {"a", "b", "c", "d"}


def test_three_levels_and_no_more():
    assert cross_check(running(a="b", b="c", c="d", d="")) == []
    (problem,) = cross_check(running(a="b", b="c", c="d", d="e", e=""))
    assert problem.module == "a"
    assert problem.message.endswith('"a" -> "b" -> "c" -> "d" -> "e"')


def test_inside_for_each():
    inner = {"run_job_task": {"job_id": "${module.gone}"}}
    config = {"task_type": "for_each", "for_each_task": {"inputs": "[1]", "task": inner}}
    (problem,) = cross_check({"a": sound(row("x", config, module_name="a"))})
    assert problem.pointer == "/transformation_config/for_each_task/task/run_job_task/job_id"


def test_a_long_chain_does_not_recurse():
    names = [f"m{n}" for n in range(3000)]
    definitions = {}
    for name, other in zip(names, [*names[1:], "end"], strict=True):
        config = {"task_type": "run_job", "run_job_task": {"job_id": f"${{module.{other}}}"}}
        definitions[name] = sound(row("run", config, module_name=name))
    problems = cross_check(definitions, known={"end"})
    assert len(problems) == 3000 - 4


def test_places_in_files():
    text = (
        "modules:\n"
        "  - module_name: a\n"
        "    sources:\n"
        "      - {source_id: r, source_type: t, execution_order: 1, transformation_config: {task_type: run_job, run_job_task: {job_id: '${module.b}'}}}\n"
    )
    file = read(text)
    (problem,) = cross_check(file.definitions, places={"a": file.places})
    assert str(problem.place) == "f.yaml:4:127"
