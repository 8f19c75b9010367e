"""The platform's limits, known before the platform is asked: `validate` and `plan` name each one with its place."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from lakeflow_job_meta.cli.validate import judge
from lakeflow_job_meta.errors import Problem
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.names import module_tag
from tests.under_fire.world import World, errors, job_row, notebook


@dataclass(frozen=True)
class Limit:
    """A module that breaks one limit of the platform.

    Args:
        job: its job settings, as YAML on one line.
        sources: its sources, a line each: what stands between the braces.
        cause: words of the message.
        at: what is written where the problem is; its first occurrence in the file counts.
        others: further modules of the file.
        modules: those that are refused.
    """

    job: str
    sources: tuple[str, ...]
    cause: str
    at: str
    others: str = ""
    modules: tuple[str, ...] = ("m",)

    @property
    def text(self) -> str:
        return f"modules:\n{module('m', self.job, *self.sources)}{self.others}"

    @property
    def spot(self) -> tuple[int, int]:
        """Line and column of what is wrong."""
        before = self.text[: self.text.index(self.at)]
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def module(name: str, job: str, *sources: str) -> str:
    lines = "".join(f"      - {{source_type: t, {source}}}\n" for source in sources)
    return f"  - module_name: {name}\n    job: {{{job}}}\n    sources:\n{lines}"


def task(source_id: str, fields: str = "", order: int = 1) -> str:
    more = f", {fields}" if fields else ""
    return (
        f"source_id: {source_id}, execution_order: {order}, "
        f"transformation_config: {{task_type: notebook, notebook_path: /n{more}}}"
    )


def typed(source_id: str, task_type: str, fields: str, order: int = 1) -> str:
    config = f"{{task_type: {task_type}, {fields}}}"
    return f"source_id: {source_id}, execution_order: {order}, transformation_config: {config}"


def for_each(inner: str, fields: str = 'inputs: "[1]"') -> str:
    return typed("loop", "for_each", f"for_each_task: {{{fields}, task: {{{inner}}}}}")


def running(*names: str) -> str:
    """Modules each of which runs the next; the last name is only referred to."""
    pairs = itertools.pairwise(names)
    return "".join(
        module(name, "", typed("run", "run_job", f"run_job_task: {{job_id: '${{module.{other}}}'}}"))
        for name, other in pairs
    )


RUN = "run_job_task: {job_id: '${module.%s}'}"
A = task("a")
CRON = "quartz_cron_expression: '0 0 2 * * ?', timezone_id: UTC"
INNER = "notebook_task: {notebook_path: /n}"

LIMITS = {
    # Tasks
    "1,001 tasks": Limit(
        "", tuple(task(f"s{n}") for n in range(1001)), "at most 1000 tasks", "- {source_type"
    ),
    "1,000 tasks and a barrier": Limit(
        "", tuple(task(f"s{n}", order=1 + n % 2) for n in range(1000)), "1001 tasks", "m\n"
    ),
    "two tasks with one key": Limit("", (task("a b"), task("a_b")), 'the task_key "a_b"', "a_b"),
    # The job
    "name": Limit(f"name: {'n' * 4097}", (A,), "longer than 4096 bytes", "nnn"),
    "description": Limit(f"description: {'d' * 27_701}", (A,), "at most 27700", "ddd"),
    "24 tags": Limit(
        f"tags: {{{', '.join(f't{n}: v' for n in range(24))}}}", (A,), "at most 25, and two", "{t0"
    ),
    "a tag's key": Limit(f"tags: {{{'k' * 128}: v}}", (A,), "1 to 127 characters", "v}"),
    "a tag's value": Limit(f"tags: {{k: {'v' * 256}}}", (A,), "at most 255", "vvv"),
    "our own tag": Limit("tags: {lakeflow_job_meta: x}", (A,), "is reserved", "x}"),
    "max_concurrent_runs": Limit("max_concurrent_runs: 1001", (A,), "at most 1000", "1001"),
    # Triggers
    "schedule with trigger": Limit(
        f"schedule: {{{CRON}}}, trigger: {{file_arrival: {{url: /Volumes/a/b/c}}}}",
        (A,),
        "schedule and trigger: keep one",
        "trigger:",
    ),
    "schedule with continuous": Limit(
        f"schedule: {{{CRON}}}, continuous: {{}}", (A,), "schedule and continuous: keep one", "continuous:"
    ),
    "cron": Limit(f"schedule: {{{CRON.replace('0 0 2', '* * *')}}}", (A,), "fires every 1 seconds", "'* * *"),
    "time zone": Limit(f"schedule: {{{CRON.replace('UTC', 'Mars')}}}", (A,), "is no time zone", "Mars"),
    "a wait of a trigger": Limit(
        "trigger: {file_arrival: {url: /v, wait_after_last_change_seconds: 59}}", (A,), "at least 60", "59"
    ),
    # Continuous
    "continuous with a second stage": Limit("continuous: {}", (A, task("b", order=2)), "one stage", "2, tr"),
    "continuous with dependencies": Limit(
        "continuous: {}", (A, task("b", "depends_on: [a]")), "cannot depend on one another", "[a]"
    ),
    "continuous with retries": Limit("continuous: {}", (task("a", "max_retries: 7"),), "no retries", "7}"),
    "continuous with retries inside for_each": Limit(
        "continuous: {}", (for_each(f"max_retries: 7, {INNER}"),), "no retries", "7, "
    ),
    "continuous with two runs": Limit(
        "continuous: {}, max_concurrent_runs: 2", (A,), "one run at a time", "2}"
    ),
    # References
    "a task that does not exist": Limit(
        "",
        (A, task("b", 'base_parameters: {p: "{{tasks.nobody.values.x}}"}', 2)),
        'unknown task "nobody"',
        '"{{',
    ),
    "a parameter that does not exist": Limit(
        "", (task("a", 'base_parameters: {p: "{{job.parameters.nothing}}"}'),), "not declared", '"{{'
    ),
    "a field that does not exist": Limit(
        "", (task("a", 'base_parameters: {p: "{{job.nmae}}"}'),), 'did you mean "name"', '"{{'
    ),
    "a cluster that does not exist": Limit(
        "", (task("a", "job_cluster_key: nowhere"),), "unknown job_cluster_key", "nowhere"
    ),
    "an environment that does not exist": Limit(
        "", (task("a", "environment_key: nowhere"),), "unknown environment_key", "nowhere"
    ),
    "a dependency that does not exist": Limit(
        "", (task("a", "depends_on: [nobody]"),), 'unknown source "nobody"', "nobody"
    ),
    "an outcome of no condition": Limit(
        "",
        (A, task("b", 'depends_on: [{source_id: a, outcome: "true"}]')),
        "only for dependencies on condition",
        "{source_id",
    ),
    # Cycles and nesting
    "a cycle of sources": Limit(
        "", (task("a", "depends_on: [b]"), task("b", "depends_on: [a]")), "in a circle", "[b]"
    ),
    "a module that runs itself": Limit("", (typed("a", "run_job", RUN % "m"),), "in a circle", "'$"),
    "modules that run one another": Limit(
        "", (typed("a", "run_job", RUN % "x"),), "in a circle", "'$", running("x", "m"), ("m", "x")
    ),
    "four levels of run_job": Limit(
        "",
        (typed("a", "run_job", RUN % "x1"),),
        "at most 3 are allowed",
        "'$",
        running("x1", "x2", "x3", "x4") + module("x4", "", A),
    ),
    "a module that does not exist": Limit("", (typed("a", "run_job", RUN % "x"),), "names no module", "'$"),
    # Parameters of notebooks
    "a notebook's parameters": Limit(
        "", (task("a", f"base_parameters: {{p: {'x' * 1_000_000}}}"),), "at most 1 MB", "{p:"
    ),
    "a notebook's parameters with ours": Limit("", (task("x" * 999_990),), "at most 1 MB", "xxx"),
    # for_each
    "inputs of for_each": Limit("", (for_each(INNER, f'inputs: "{"x" * 10_001}"'),), "at most 10000", '"xxx'),
    "no inputs of for_each": Limit("", (for_each(INNER, 'inputs: ""'),), "inputs are empty", '""'),
    "concurrency of for_each": Limit(
        "", (for_each(INNER, 'inputs: "[1]", concurrency: 101'),), "1 to 100", "101"
    ),
    "for_each in for_each": Limit(
        "",
        (for_each(f'for_each_task: {{inputs: "[2]", task: {{{INNER}}}}}'),),
        "cannot be nested",
        'for_each_task: {inputs: "[2]"',
    ),
    "parameters inside for_each": Limit(
        "",
        (for_each(f"notebook_task: {{notebook_path: /n, base_parameters: {{p: {'x' * 1_000_000}}}}}"),),
        "at most 1 MB",
        "{p:",
    ),
    # Others
    "a wheel's parameters in two forms": Limit(
        "",
        (
            typed(
                "a",
                "python_wheel",
                "python_wheel_task: {package_name: p, entry_point: e, parameters: [x], named_parameters: {y: z}}",
            ),
        ),
        "not both",
        "[x]",
    ),
    "a SQL task of two kinds": Limit(
        "",
        (typed("a", "sql", "sql_task: {warehouse_id: w, query: {query_id: q}, file: {path: /f}}"),),
        "exactly one of",
        "{warehouse_id",
    ),
    "a relative notebook": Limit("", (typed("a", "notebook", "notebook_path: ../n"),), "is relative", "../n"),
}


def check(limit: Limit, path: Path, problems: tuple[Problem, ...]) -> None:
    assert {problem.module for problem in problems} == set(limit.modules), problems
    [problem] = [one for one in problems if one.module == "m"]
    assert limit.cause in problem.message
    assert len(problem.message) < 1_000
    assert problem.place is not None
    assert (problem.place.path, problem.place.line, problem.place.column) == (str(path), *limit.spot)


@pytest.mark.parametrize("name", LIMITS)
def test_validate_names_the_limit_and_its_place(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(LIMITS[name].text)
    check(LIMITS[name], path, judge([str(path)], {}).problems)


def rows(limit: Limit, number: int) -> list[Row]:
    """Its modules as somebody types them into the control table, under names of their own."""
    text = limit.text
    for name in ("m", "x", "x1", "x2", "x3", "x4"):
        text = text.replace(f"module_name: {name}\n", f"module_name: {name} {number}\n")
        text = text.replace(f"${{module.{name}}}", f"${{module.{name} {number}}}")
    found = []
    for one in yaml.load(text, yaml.CSafeLoader)["modules"]:
        found.append(job_row(one["module_name"], **one["job"]))
        for source in one["sources"]:
            config = json.dumps(source.pop("transformation_config"))
            found.append(Row(module_name=one["module_name"], transformation_config=config, **source))
    return found


def test_plan_names_them_all(world: World) -> None:
    """In the table the place is the row; nothing is made of what is refused, and a good neighbour is."""
    world.put(
        notebook("a", "good"), *(row for n, limit in enumerate(LIMITS.values()) for row in rows(limit, n))
    )
    orchestrator = world.orchestrator()
    plan = orchestrator.plan()
    refused = {action.module: action.problems for action in plan.refused}
    expected = {f"{name} {n}" for n, limit in enumerate(LIMITS.values()) for name in limit.modules}
    assert set(refused) == expected
    for number, limit in enumerate(LIMITS.values()):
        [problem] = refused[f"m {number}"]
        assert limit.cause in problem.message
        assert problem.place is not None
        assert problem.place.path == str(world.table)
        assert problem.place.key.split("/")[0] == f"m {number}"
    assert not [error for error in errors(orchestrator.apply(plan)).items() if error[0] not in expected]
    assert module_tag("good") in world.live()
    assert not set(world.live()) & {module_tag(module) for module in expected}
