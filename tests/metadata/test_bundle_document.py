"""Bundles put together: included files, targets, variables, what holds for all jobs, and what is not read."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lakeflow_job_meta.metadata.bundle_document import (
    BundleDocument,
    built,
    deployed,
    from_root,
    put_together,
)
from lakeflow_job_meta.metadata.files import read_metadata
from tests.metadata.given import told

MAIN = """\
bundle: {name: shop}
include: [resources/*.yml]
workspace: {root_path: "/Workspace/Shared/${bundle.name}/${bundle.target}"}
variables:
  days: {default: 7}
  cluster: {description: none yet}
run_as: {service_principal_name: sp}
permissions: [{level: CAN_VIEW, group_name: users}]
targets:
  dev:
    default: true
    mode: development
  prod:
    variables: {days: 30, cluster: {default: c1}}
    run_as: {user_name: ops@example.com}
    permissions: [{level: CAN_RUN, group_name: ops}]
    presets: {name_prefix: p_}
    resources:
      jobs:
        a:
          max_concurrent_runs: 2
          tasks:
            - {task_key: x, max_retries: 3}
            - {task_key: z, notebook_task: {notebook_path: /z}}
"""
PART = """\
resources:
  jobs:
    a:
      name: a (${bundle.target})
      permissions: [{level: CAN_MANAGE_RUN, group_name: team}]
      tasks:
        - {task_key: x, notebook_task: {notebook_path: /x, base_parameters: {days: "${var.days}"}}}
        - {task_key: y, notebook_task: {notebook_path: /y}, depends_on: [{task_key: x}]}
    b:
      run_as: {user_name: me@example.com}
      tasks: [{task_key: x, notebook_task: {notebook_path: /x}}]
  pipelines: {p: {}}
"""


def whole(target: str | None = None, main: str = MAIN) -> BundleDocument:
    return put_together(yaml.safe_load(main), [yaml.safe_load(PART)], target)


def test_default_target() -> None:
    """The target that says default: true is taken, its mode's effects are told, not done."""
    found = whole()
    assert (found.target, found.root, found.problems) == ("dev", "/Workspace/Shared/shop/dev/files", [])
    jobs = found.value["resources"]["jobs"]
    assert jobs["a"]["name"] == "a (dev)"
    assert jobs["a"]["run_as"] == {"service_principal_name": "sp"}
    assert jobs["b"]["run_as"] == {"user_name": "me@example.com"}
    assert jobs["a"]["permissions"] == [
        {"level": "CAN_MANAGE_RUN", "group_name": "team"},
        {"level": "CAN_VIEW", "group_name": "users"},
    ]
    assert any("mode: development" in note for note in found.notes)
    assert any("resources.pipelines is not read" in note for note in found.notes)


def test_overrides_of_a_target() -> None:
    """A target's values win: variables, run_as, settings; lists with keys are merged by them, others follow on."""
    found = whole("prod")
    jobs: dict[str, Any] = found.value["resources"]["jobs"]
    assert found.value["variables"]["days"] == {"default": 30}
    assert found.value["variables"]["cluster"] == {"description": "none yet", "default": "c1"}
    assert jobs["a"]["run_as"] == {"user_name": "ops@example.com"}
    assert jobs["a"]["max_concurrent_runs"] == 2
    tasks = {task["task_key"]: task for task in jobs["a"]["tasks"]}
    assert list(tasks) == ["x", "y", "z"]
    assert (tasks["x"]["max_retries"], tasks["x"]["notebook_task"]["notebook_path"]) == (3, "/x")
    assert {"level": "CAN_MANAGE_RUN", "group_name": "ops"} in jobs["b"]["permissions"]
    assert any("presets are not applied" in note for note in found.notes)


def test_what_comes_out_is_metadata() -> None:
    """The document reads as any bundle does, with the variables' values of the target."""
    read = read_metadata(yaml.safe_dump(whole("prod").value).encode(), "b.yml", {})
    assert told(read) == []
    [source, *_] = read.definitions["a"].sources
    assert source.settings["base_parameters"] == {"days": "30"}


COMPLEX = """\
bundle: {name: shop}
variables:
  size: {type: complex, default: {num_workers: 2, node_type_id: "${var.node}"}}
  cluster: {type: complex, default: {spark_version: 16.4.x, more: "${var.size}"}}
  libraries: {type: complex, default: [{whl: /a.whl}]}
  node: {default: m5.large}
  warehouse: {lookup: {warehouse: shared}}
  circle: {type: complex, default: {again: "${var.circle}"}}
resources:
  jobs:
    c:
      job_clusters: [{job_cluster_key: k, new_cluster: "${var.cluster}"}]
      tasks:
        - task_key: t
          libraries: ${var.libraries}
          max_retries: ${var.cluster.more.num_workers}
          existing_cluster_id: ${var.size.unknown}
          description: "${var.cluster} in a text"
targets:
  dev: {default: true}
  prod: {variables: {size: {num_workers: 9}, warehouse: w9, node: {default: big}}}
"""


def test_complex_variables_take_the_place_of_their_names() -> None:
    """A mapping or list, whole or a part of it; the texts inside stay variables. What is no value stays a name."""
    found = put_together(yaml.safe_load(COMPLEX), [], None).value
    job = found["resources"]["jobs"]["c"]
    assert job["job_clusters"][0]["new_cluster"] == {
        "spark_version": "16.4.x",
        "more": {"num_workers": 2, "node_type_id": "${var.node}"},
    }
    [task] = job["tasks"]
    assert (task["libraries"], task["max_retries"]) == ([{"whl": "/a.whl"}], 2)
    assert task["existing_cluster_id"] == "${var.size.unknown}"
    assert task["description"] == "${var.cluster} in a text"
    assert set(found["variables"]) == {"node", "warehouse"}


def test_a_value_is_instead_of_what_the_bundle_says() -> None:
    """A target's value, and one from the command line, leave no lookup; complex values of a target are values."""
    variables = put_together(yaml.safe_load(COMPLEX), [], None).value["variables"]
    assert "lookup" in variables["warehouse"]
    variables = put_together(yaml.safe_load(COMPLEX), [], None, ["warehouse"]).value["variables"]
    assert variables["warehouse"] == {}
    found = put_together(yaml.safe_load(COMPLEX), [], "prod").value
    assert found["variables"] == {"node": {"default": "big"}, "warehouse": {"default": "w9"}}
    [cluster] = found["resources"]["jobs"]["c"]["job_clusters"]
    assert cluster["new_cluster"]["more"] == {"num_workers": 9}


@pytest.mark.parametrize(
    ("main", "target", "note", "problem"),
    [
        ("bundle: {name: x}\n", None, "", ""),
        ("targets: {one: {}}\n", None, "", ""),
        ("targets: {one: {}, two: {}}\n", None, "none of the targets one, two is applied", ""),
        ("targets: {one: {}}\n", "three", "", "no target 'three'; it has one"),
        ("python: {resources: [x]}\n", None, "python of the bundle is not read", ""),
    ],
)
def test_targets_that_are_not_clear(main: str, target: str | None, note: str, problem: str) -> None:
    found = whole(target, main)
    assert note in "; ".join(found.notes)
    assert problem in "; ".join(found.problems)
    assert bool(problem) == bool(found.problems)


@pytest.mark.parametrize("place", ["~/.bundle/x", "${workspace.current_user.userName}/x"])
def test_a_root_that_only_a_workspace_knows(place: str) -> None:
    """A root of a person is left open: --root says it."""
    assert whole(main=f"workspace: {{root_path: '{place}'}}\n").root == ""


def job(**task: Any) -> dict[str, Any]:
    return {"resources": {"jobs": {"a": {"tasks": [{"task_key": "t", **task}]}}}}


@pytest.mark.parametrize(
    ("folder", "task", "expected"),
    [
        (".", {"notebook_task": {"notebook_path": "./src/a.ipynb"}}, "/W/src/a"),
        ("resources/jobs", {"notebook_task": {"notebook_path": "../../src/a.py"}}, "/W/src/a"),
        ("resources", {"notebook_task": {"notebook_path": "../resources/a"}}, "/W/resources/a"),
        ("resources", {"spark_python_task": {"python_file": "../src/x.py"}}, "/W/src/x.py"),
        ("resources", {"sql_task": {"file": {"path": "../q.sql"}}}, "/W/q.sql"),
        ("resources", {"notebook_task": {"notebook_path": "/Workspace/n"}}, "/Workspace/n"),
        ("resources", {"notebook_task": {"notebook_path": "n", "source": "GIT"}}, "n"),
        ("resources", {"notebook_task": {"notebook_path": "${var.n}"}}, "${var.n}"),
    ],
)
def test_paths_of_a_bundle(folder: str, task: dict[str, Any], expected: str) -> None:
    """A path is relative to the file that names it, and becomes one below the folder of deployed files."""
    strays: list[str] = []
    found = deployed(from_root(job(**task), folder), "/W", strays)
    [settings] = (
        value for key, value in found["resources"]["jobs"]["a"]["tasks"][0].items() if key != "task_key"
    )
    settings = settings.get("file", settings)
    assert expected in settings.values()
    assert strays == []


def test_paths_without_a_place() -> None:
    """Without a root, or outside of the bundle, a path is told; wheels are told as well."""
    strays: list[str] = []
    deployed(from_root(job(notebook_task={"notebook_path": "../../x"}), "resources"), "/W", strays)
    deployed(from_root(job(notebook_task={"notebook_path": "x"}), "."), "", strays)
    assert strays == ["../x", "x"]
    assert list(built(job(libraries=[{"whl": "./dist/*.whl"}, {"whl": "/Volumes/x.whl"}]))) == [
        "./dist/*.whl"
    ]
