from __future__ import annotations

import json

import pytest

from tests.metadata.given import read, told

FLAT = """\
jobs:
  etl_${var.env}:
    name: "ETL (${var.env})"
    description: nightly
    timeout_seconds: 7200
    parameters: {default_catalog: main, days: 7}
    notification_settings:
      email_notifications: {on_failure: [a@example.com]}
      no_alert_for_skipped_runs: true
    tasks:
      - task_key: load
        task_type: notebook
        depends_on: [transform, check]
        file_path: /Workspace/load
        parameters: {table: t}
        run_if: ALL_DONE
        disabled: true
        timeout_seconds: 60
        notification_settings: {email_notifications: {on_failure: [b@example.com]}}
      - task_key: transform
        task_type: sql_query
        depends_on: [extract]
        warehouse_id: "${var.warehouse}"
        sql_query: SELECT * FROM :catalog.t
        parameters: {catalog: c}
      - {task_key: extract, task_type: sql_file, warehouse_id: w, file_path: /Workspace/a.sql, file_source: GIT}
      - {task_key: check, task_type: python_wheel, package_name: p, entry_point: e, parameters: [a, b]}
      - {task_key: named, task_type: python_wheel, package_name: p, entry_point: e, parameters: {a: b}}
      - {task_key: jar, task_type: spark_jar, main_class_name: x.Y, parameters: [a]}
      - {task_key: pipe, task_type: pipeline, pipeline_id: "1"}
      - {task_key: dbt, task_type: dbt, commands: dbt run, project_directory: /p, catalog: c, schema: s}
"""

BUNDLE = """\
bundle: {name: shop}
variables: {days: {description: how far back, default: 7}}
resources:
  jobs:
    parent:
      name: Parent
      permissions: [{level: CAN_VIEW, group_name: users}]
      schedule: {quartz_cron_expression: "0 0 2 * * ?", timezone_id: UTC}
      job_clusters: [{job_cluster_key: main, new_cluster: {spark_version: 16.4.x-scala2.12, num_workers: 2}}]
      tasks:
        - task_key: child
          depends_on: [{task_key: gate, outcome: "true"}]
          run_job_task: {job_id: "${resources.jobs.child.id}"}
        - task_key: gate
          condition_task: {op: EQUAL_TO, left: "1", right: "1"}
        - task_key: work
          job_cluster_key: main
          notebook_task: {notebook_path: "/Workspace/a", base_parameters: {days: "${var.days}"}}
          libraries: [{pypi: {package: x}}]
    child:
      tasks:
        - {task_key: q, sql_task: {warehouse_id: w, query: {query_id: q}}}
"""


class TestFlat:
    def test_every_task_type_and_field_arrives(self):
        file = read(FLAT, env="dev", warehouse="w1")
        assert told(file) == []
        definition = file.definitions["etl_dev"]
        assert definition.job == {
            "name": "ETL (dev)",
            "description": "nightly",
            "timeout_seconds": 7200,
            "parameters": [{"name": "default_catalog", "default": "main"}, {"name": "days", "default": "7"}],
            "email_notifications": {"on_failure": ["a@example.com"]},
            "notification_settings": {"no_alert_for_skipped_runs": True},
        }
        sources = {source.source_id: source for source in definition.sources}
        assert sources["load"].settings == {
            "notebook_path": "/Workspace/load",
            "base_parameters": {"table": "t"},
        }
        assert sources["load"].task == {
            "depends_on": [{"task_key": "transform"}, {"task_key": "check"}],
            "run_if": "ALL_DONE",
            "disabled": True,
            "timeout_seconds": 60,
            "email_notifications": {"on_failure": ["b@example.com"]},
        }
        assert sources["transform"].settings == {
            "warehouse_id": "w1",
            "sql_query": "SELECT * FROM :catalog.t",
            "parameters": {"catalog": "c"},
        }
        assert sources["extract"].settings == {
            "warehouse_id": "w",
            "sql_file_path": "/Workspace/a.sql",
            "source": "GIT",
        }
        assert sources["check"].settings["parameters"] == ["a", "b"]
        assert sources["named"].settings["named_parameters"] == {"a": "b"}
        assert sources["jar"].settings == {"main_class_name": "x.Y", "parameters": ["a"]}
        assert sources["pipe"].settings == {"pipeline_id": "1"}
        assert sources["dbt"].settings == {
            "commands": ["dbt run"],
            "project_directory": "/p",
            "catalog": "c",
            "schema": "s",
        }

    def test_stages_follow_the_dependencies(self):
        definition = read(FLAT, env="dev", warehouse="w1").definitions["etl_dev"]
        orders = {source.source_id: source.execution_order for source in definition.sources}
        assert (orders["extract"], orders["transform"], orders["load"]) == (1, 2, 3)
        assert orders["check"] == orders["jar"] == 1

    def test_a_task_without_dependencies_waits_for_nothing(self):
        """Not for the stage before: what the file says is all there is."""
        definition = read(FLAT, env="dev", warehouse="w1").definitions["etl_dev"]
        assert all("depends_on" in source.task for source in definition.sources)

    def test_an_undefined_variable_leaves_the_other_jobs(self):
        text = FLAT + "  good:\n    tasks: [{task_key: a, task_type: notebook, file_path: /a}]\n"
        file = read(text, env="dev")
        assert file.refused == {"etl_dev"}
        assert {row.module_name for row in file.rows} == {"good"}

    def test_a_name_with_an_undefined_variable(self):
        file = read(FLAT, warehouse="w")
        assert file.incomplete
        assert told(file)[0].startswith('f.yaml:2:3: unknown variable "env"')

    @pytest.mark.parametrize(
        ("task", "message"),
        [
            ("{task_key: a, task_type: nonsense}", 'unknown task_type "nonsense"'),
            ("{task_key: a, task_type: notebook}", 'task_type "notebook" needs "notebook_path"'),
            (
                "{task_key: a, task_type: notebook, file_path: /a, depends_on: [b]}",
                'depends on unknown source "b"',
            ),
            ("{task_key: a, task_type: notebook, file_path: /a, depends_on: [a]}", "depends on itself"),
            (
                "{task_key: a, task_type: notebook, file_path: /a, depends_on: b}",
                '"depends_on" must be a list',
            ),
            ("{task_key: a, task_type: notebook, file_path: /a, filepath: /b}", 'unknown key "filepath"'),
            ("{task_key: a, task_type: sql_query, warehouse_id: 1, sql_query: x}", 'write "1" in quotes'),
            ("{task_type: notebook, file_path: /a}", "task_key is missing"),
            ("{task_key: 7, task_type: notebook, file_path: /a}", "task_key must be text, not 7"),
            ("null", "a task must be a mapping"),
            ("{task_key: a, task_type: [notebook]}", "unknown task_type a list of 1"),
        ],
    )
    def test_mistakes_refuse_their_job(self, task, message):
        file = read(f"jobs:\n  j:\n    tasks:\n      - {task}\n  good: {{tasks: []}}\n")
        assert file.refused == {"j"}
        assert message in told(file)[0]
        assert file.problems[0].place.line == 4

    def test_two_tasks_with_one_key(self):
        task = "{task_key: a, task_type: notebook, file_path: /a}"
        (problem,) = told(read(f"jobs: {{j: {{tasks: [{task}, {task}]}}}}\n"))
        assert 'source_id "a" is taken: another source has it at f.yaml:1:20' in problem

    @pytest.mark.parametrize("job", ["null", "7", "[]", "{}", "{tasks: {}}", "{tasks: null}"])
    def test_a_job_that_is_none(self, job):
        file = read(f"jobs:\n  j: {job}\n")
        assert file.refused == {"j"}
        assert not file.incomplete

    def test_a_circle(self):
        task = "{{task_key: {}, task_type: notebook, file_path: /a, depends_on: [{}]}}"
        one, two = task.format("a", "b"), task.format("b", "a")
        (problem,) = told(read(f"jobs: {{j: {{tasks: [{one}, {two}]}}}}\n"))
        assert 'circle: "a" -> "b" -> "a"' in problem


class TestBundles:
    def test_jobs_become_modules(self):
        file = read(BUNDLE)
        assert told(file) == []
        parent = file.definitions["parent"]
        assert parent.permissions == ({"level": "CAN_VIEW", "group_name": "users"},)
        assert parent.job["name"] == "Parent"
        sources = {source.source_id: source for source in parent.sources}
        assert sources["child"].settings == {"job_id": "${module.child}"}
        assert sources["child"].task == {"depends_on": [{"task_key": "gate", "outcome": "true"}]}
        assert sources["work"].settings["base_parameters"] == {"days": "7"}
        assert sources["work"].task["libraries"] == [{"pypi": {"package": "x"}}]
        assert file.definitions["child"].sources[0].task_type == "sql"

    @pytest.mark.parametrize("key", ["targets", "include", "permissions", "run_as", "presets", "python"])
    def test_what_would_change_the_jobs_is_refused(self, key):
        file = read(BUNDLE + f"{key}: {{}}\n")
        assert file.rejected
        assert told(file)[0].startswith(f"f.yaml:23:1: {key} is a key of bundles: ")

    @pytest.mark.parametrize("key", ["workspace", "sync", "artifacts"])
    def test_what_does_not_is_let_pass(self, key):
        assert told(read(BUNDLE + f"{key}: {{}}\n")) == []

    def test_other_resources_are_refused(self):
        file = read(BUNDLE + "  pipelines: {p: {}}\n")
        assert file.rejected
        assert "resources.pipelines is not read" in told(file)[0]

    @pytest.mark.parametrize(
        "text", ["${bundle.target}", "${workspace.current_user.userName}", "${resources.pipelines.p.id}"]
    )
    def test_references_that_only_a_bundle_knows_refuse_their_job(self, text):
        file = read(BUNDLE.replace("/Workspace/a", text))
        assert file.refused == {"parent"}
        assert f"{text} is not known here" in told(file)[0]

    def test_an_id_of_a_job_only_where_a_job_is_run(self):
        """Anywhere else it would reach the task as these letters."""
        for text in ("${resources.jobs.child.id}", "id ${resources.jobs.child.id}"):
            (problem,) = told(read(BUNDLE.replace("/Workspace/a", text)))
            assert "run_job_task.job_id, as the whole value" in problem

    @pytest.mark.parametrize(
        ("task", "message"),
        [
            ("{task_key: a}", "it has none"),
            (
                "{task_key: a, notebook_task: {notebook_path: /a}, sql_task: {}}",
                "it has notebook_task and sql_task",
            ),
            ("{task_key: a, notebok_task: {}}", 'unknown task type "notebok_task"'),
        ],
    )
    def test_a_task_needs_one_type(self, task, message):
        file = read(f"resources: {{jobs: {{j: {{tasks: [{task}]}}}}}}\n")
        assert message in told(file)[0]

    def test_resources_without_jobs(self):
        assert read("resources: {}\n").modules == ()
        assert read("resources: {jobs: 7}\n").rejected
        assert read("resources: 7\n").rejected

    def test_one_name_in_two_layouts_is_a_conflict(self):
        file = read(BUNDLE + "jobs: {child: {tasks: []}}\n")
        assert file.refused == {"child"}
        assert "is claimed at" in told(file)[0]

    def test_rows_are_plain(self):
        """What comes out are rows like any others: nothing of the bundle is left in them."""
        (row,) = [row for row in read(BUNDLE).rows if row.key == ("parent", "child")]
        assert json.loads(row.transformation_config) == {
            "task_type": "run_job",
            "run_job_task": {"job_id": "${module.child}"},
            "depends_on": [{"task_key": "gate", "outcome": "true"}],
        }
