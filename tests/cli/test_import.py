"""import: jobs that exist and bundles become metadata, which plans to no change once they are adopted."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk import WorkspaceClient

from lakeflow_job_meta.jobs.references import resolve
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.files import read_metadata
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, TableName, table_tag
from lakeflow_job_meta.settings import Settings
from tests.cli.conftest import Cli, module_yaml
from tests.embedded import ROOT

EXAMPLES = ROOT / "examples"
BUNDLE = EXAMPLES / "08_import_a_bundle"
NOTEBOOK = {"notebook_path": "/Workspace/a"}
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def client(workspace: Any) -> WorkspaceClient:
    connection = workspace[1]
    return WorkspaceClient(host=connection.host, token=connection.token, auth_type="pat")


def create(client: WorkspaceClient, settings: dict[str, Any]) -> int:
    """A job as somebody else made it: the body as it is, by the SDK's own client."""
    answer: Any = client.api_client.do("POST", "/api/2.2/jobs/create", body=settings)
    return int(answer["job_id"])


def job(client: WorkspaceClient, job_id: int) -> dict[str, Any]:
    found: Any = client.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": job_id})
    settings: dict[str, Any] = found["settings"]
    return settings


def own_settings(path: Path) -> dict[str, dict[str, Any]]:
    """JobSettings by module that a metadata file renders to for some other table, without its tags."""
    read = read_metadata(path.read_bytes(), str(path), {})
    assert read.problems == ()
    found = {}
    for name, definition in read.definitions.items():
        desired = render(
            definition,
            control_table=TableName("other", "team", "control"),
            settings=Settings({"default_warehouse_id": "w"}),
        )
        queries = {query.source_id: "11111111-2222-3333-4444-555555555555" for query in desired.queries}
        settings: Any = resolve(desired.settings, queries=queries, jobs={})
        settings["tags"] = {k: v for k, v in settings["tags"].items() if k not in (TABLE_TAG, MODULE_TAG)}
        for task in settings["tasks"]:
            # Another table's parameters are another tool's: that case has a test of its own.
            task.get("notebook_task", {}).pop("base_parameters", None)
        found[name] = settings
    return found


def job_settings() -> list[dict[str, Any]]:
    """Every job that examples/ has: of its metadata, of its plain JSON; jobs that run others come last."""
    found = []
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        if "modules:" in path.read_text(encoding="utf-8"):
            found += own_settings(path).values()
    for path in sorted(EXAMPLES.rglob("*_job.json")):
        found.append(json.loads(path.read_text(encoding="utf-8")))
    return sorted(found, key=lambda settings: "${module." in json.dumps(settings))


def test_every_job_of_the_examples(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """Each job of examples/, made by somebody else: imported, adopted in place, and nothing is to be done after that."""
    ids: dict[str, int] = {}
    for settings in job_settings():
        settings["name"] = f"{settings['name']} {next(_NUMBERS)}"
        ids[settings["name"].rpartition(" ")[0]] = made = create(
            client, resolve(settings, queries={}, jobs=ids)
        )
        assert made
    assert len(ids) >= 15
    before = {job_id: job(client, job_id) for job_id in ids.values()}
    chosen = [text for job_id in ids.values() for text in ("--job-id", str(job_id))]
    done = cli("import", *chosen, "-o", str(tmp_path), "--adopt", "--format", "json")
    assert done.code == 0, done.out
    assert len(done.json["modules"]) == len(ids)
    assert all(one["adopted"] for one in done.json["modules"])
    assert not any("not kept" in note for one in done.json["modules"] for note in one["notes"])
    checked = cli.here("validate", str(tmp_path), "--format", "json")
    assert (checked.code, checked.json["modules"]) == (0, len(ids))

    seen = cli("plan", "--format", "json")
    assert (seen.code, seen.json["summary"]["unchanged"]) == (0, len(ids)), seen.out
    again = cli("apply", "--yaml", str(tmp_path), "--format", "json")
    assert (again.code, again.json["writes"], again.json["rows_loaded"]) == (0, 0, 0), again.out
    assert {one["job_id"] for one in seen.json["actions"]} == set(ids.values())
    for job_id, settings in before.items():
        after = job(client, job_id)
        assert after["tags"].pop(TABLE_TAG) == table_tag(TableName.parse(cli.table))
        after["tags"].pop(MODULE_TAG)
        for task in after["tasks"]:
            task.get("notebook_task", {}).pop("base_parameters", None)
        assert after == {**settings, "tags": settings.get("tags") or {}}
    for job_id in ids.values():
        client.jobs.delete(job_id)


def test_without_adopt_no_job_is_touched(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """import writes files, which validate; the jobs stay as they are, and neither table nor tag is made."""
    name = f"plain {next(_NUMBERS)}"
    job_id = create(client, {"name": name, "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}]})
    before = job(client, job_id)
    done = cli("import", "--job-id", str(job_id), "-o", str(tmp_path / "new" / "folder"))
    assert done.code == 0
    assert f"module {name} from job {job_id}, 1 source" in done.out
    assert "--adopt" in done.err
    [path] = (tmp_path / "new" / "folder").iterdir()
    assert cli.here("validate", str(path)).code == 0
    assert job(client, job_id) == before
    assert not (cli.folder / "warehouse" / "main" / cli.table.split(".")[1]).exists()
    printed = cli("import", "--job-id", str(job_id))
    assert yaml.safe_load(printed.out) == yaml.safe_load(path.read_text())
    client.jobs.delete(job_id)


def test_all_leaves_out_what_belongs_to_a_table(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """--all takes the free jobs; this table's and other tables' are named and left alone."""
    free = create(
        client, {"name": f"free {next(_NUMBERS)}", "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}]}
    )
    theirs = create(
        client,
        {
            "name": f"theirs {next(_NUMBERS)}",
            "tags": {TABLE_TAG: "0" * 32, MODULE_TAG: "x-0123456789abcdef"},
            "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}],
        },
    )
    empty = create(client, {"name": f"empty {next(_NUMBERS)}"})
    done = cli("import", "--all", "-o", str(tmp_path), "--adopt", "--format", "json")
    found = {one["job_id"]: one for one in done.json["modules"]}
    skipped = {one["job_id"]: one for one in done.json["skipped"]}
    assert found[free]["adopted"]
    assert "another control table" in skipped[theirs]["reason"]
    assert not skipped[theirs]["failed"]
    assert "no task" in skipped[empty]["reason"]
    assert done.code == 1, "a job that cannot be said is told by the exit code"
    assert TABLE_TAG not in (job(client, empty).get("tags") or {})
    again = cli("import", "--all", "--format", "json")
    assert free in {one["job_id"] for one in again.json["skipped"]}
    refused = cli("import", "--job-id", str(theirs))
    assert refused.code == 1
    assert "belongs to another control table already" in refused.out
    missing = cli("import", "--job-id", "404404")
    assert missing.code == 1
    assert "no such job" in missing.out
    for job_id in (free, theirs, empty):
        client.jobs.delete(job_id)


def test_the_monitor_is_not_put_under_its_own_control(cli: Cli, client: WorkspaceClient) -> None:
    """A job that runs this control table's monitor is named and left alone."""
    settings = json.loads((EXAMPLES / "monitor_job.json").read_text(encoding="utf-8"))
    settings["tasks"][0]["python_wheel_task"]["named_parameters"]["control_table"] = cli.table.upper()
    settings["continuous"] = {"pause_status": "PAUSED"}
    job_id = create(client, settings)
    done = cli("import", "--job-id", str(job_id))
    assert done.code == 1
    assert "control table's monitor" in done.out
    client.jobs.delete(job_id)


def test_permissions_come_along_when_asked(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """--permissions writes who may do what, but for the owner; they are managed from then on, and nothing is to be done."""
    name = f"shared {next(_NUMBERS)}"
    granted = [{"group_name": "users", "permission_level": "CAN_VIEW"}]
    body = {
        "name": name,
        "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}],
        "access_control_list": granted,
    }
    job_id = create(client, body)
    done = cli("import", "--job-id", str(job_id), "--permissions", "-o", str(tmp_path), "--adopt")
    assert done.code == 0, done.err
    [path] = tmp_path.iterdir()
    [module] = yaml.safe_load(path.read_text())["modules"]
    assert module["job"]["permissions"] == [{"group_name": "users", "level": "CAN_VIEW"}]
    assert cli("plan").code == 0
    client.jobs.delete(job_id)


def test_our_own_job_comes_from_its_definition(cli: Cli, tmp_path: Path) -> None:
    """Rows that were typed in by SQL can become files: the job's accepted definition is written, inline SQL and all."""
    source = tmp_path / "sales.yaml"
    source.write_text(module_yaml("sales", sql="SELECT 1 AS one -- ${x}"))
    applied = cli("apply", "--yaml", str(source), "--format", "json")
    job_id = applied.json["actions"][0]["job_id"]
    done = cli("import", "--job-id", str(job_id), "-o", str(tmp_path / "out"))
    assert done.code == 0, done.err
    written = tmp_path / "out" / "sales.yaml"
    assert "SELECT 1 AS one -- ${x}" in written.read_text()
    seen = cli("plan", "--yaml", str(written), "--format", "json")
    assert (seen.code, seen.json["summary"]["unchanged"]) == (0, 1), seen.out


def test_a_dry_run_shows_and_writes_nothing(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """--dry-run says what adoption would change, path by path; no file, no tag, no table."""
    job_id = create(
        client, {"name": f"dry {next(_NUMBERS)}", "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}]}
    )
    before = job(client, job_id)
    done = cli("import", "--job-id", str(job_id), "--adopt", "--dry-run", "-o", str(tmp_path / "out"))
    assert done.code == 0, done.err
    assert f"would adopt job {job_id}" in done.out
    assert f"tags.{TABLE_TAG}: absent ->" in done.out
    assert "tasks[a].notebook_task.base_parameters.source_id: absent" in done.out
    assert not (tmp_path / "out").exists()
    assert job(client, job_id) == before
    assert not (cli.folder / "warehouse" / "main" / cli.table.split(".")[1]).exists()
    client.jobs.delete(job_id)


def test_a_bundle_job_is_taken_over_only_when_told(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """A job that a bundle deploys, and a notebook with another tool's parameters, need --take-over."""
    deployment = {"kind": "BUNDLE", "metadata_file_path": "/Workspace/x/metadata.json"}
    parameters = {"control_table": "peer.x.control", "source_id": "a"}
    tasks = [{"task_key": "a", "notebook_task": {**NOTEBOOK, "base_parameters": parameters}}]
    by_bundle = create(
        client, {"name": f"deployed {next(_NUMBERS)}", "deployment": deployment, "tasks": tasks}
    )
    by_tool = create(client, {"name": f"peer's {next(_NUMBERS)}", "tasks": tasks})
    adopt = ("import", "--job-id", str(by_bundle), "--job-id", str(by_tool), "-o", str(tmp_path), "--adopt")
    refused = cli(*adopt, "--format", "json")
    assert refused.code == 1
    reasons = {one["job_id"]: one["refusal"] for one in refused.json["modules"]}
    assert "a bundle deploys it" in reasons[by_bundle]
    assert "control_table" in reasons[by_tool]
    assert "--take-over does it" in reasons[by_tool]
    assert all(TABLE_TAG not in (job(client, one).get("tags") or {}) for one in (by_bundle, by_tool))
    done = cli(*adopt, "--take-over", "--format", "json")
    assert done.code == 0, done.out
    changed = {change["path"] for one in done.json["modules"] for change in one["changes"]}
    assert {"deployment.kind", "tasks[a].notebook_task.base_parameters.control_table"} <= changed
    assert cli("plan").code == 0
    assert "deployment" not in job(client, by_bundle)
    for job_id in (by_bundle, by_tool):
        client.jobs.delete(job_id)


def test_a_module_of_that_name_is_not_replaced(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """Rows of another module with the job's name stay what they are: the job is refused and stays too."""
    name = f"edited {next(_NUMBERS)}"
    job_id = create(client, {"name": name, "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}]})
    extra = tmp_path / "extra.yaml"
    extra.write_text(module_yaml(name))
    assert cli("load", str(extra)).code == 0
    done = cli("import", "--job-id", str(job_id), "-o", str(tmp_path / "out"), "--adopt", "--format", "json")
    assert done.code == 1
    assert "already, with other sources" in done.json["modules"][0]["refusal"]
    assert not job(client, job_id).get("tags")
    client.jobs.delete(job_id)


def test_an_adoption_that_died_is_finished_by_the_next(
    cli: Cli, client: WorkspaceClient, tmp_path: Path
) -> None:
    """Tagged, but never recorded: the plan leaves the job alone and says so; adopting again finishes it."""
    name = f"died {next(_NUMBERS)}"
    job_id = create(client, {"name": name, "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}]})
    args = ("import", "--job-id", str(job_id), "-o", str(tmp_path), "--adopt", "--format", "json")
    changes = cli(*args[:-2], "--dry-run", "--format", "json").json["modules"][0]["changes"]
    tags = {
        one["path"].removeprefix("tags."): one["new"] for one in changes if one["path"].startswith("tags.")
    }
    client.api_client.do(
        "POST", "/api/2.2/jobs/update", body={"job_id": job_id, "new_settings": {"tags": tags}}
    )
    cli("load", str(BUNDLE.parent / "volume"))
    assert f"job {job_id} ({name}) carries this control table's tags" in cli("plan").out
    done = cli(*args)
    assert done.code == 0, done.out
    assert cli("plan").code == 2, "the other module has no job yet"
    assert "unchanged" in cli("plan", "--module", name).out
    client.jobs.delete(job_id)


def test_two_tables_want_one_job(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """Both decided before either acted: the first gets the job, the second is told, and has made no rows of it."""
    from pyspark.sql import SparkSession

    from lakeflow_job_meta.adoption import Adopter
    from lakeflow_job_meta.control.control_table import ControlTable
    from lakeflow_job_meta.importer import JobImporter
    from lakeflow_job_meta.runtime import connect

    name = f"wanted {next(_NUMBERS)}"
    job_id = create(client, {"name": name, "tasks": [{"task_key": "a", "notebook_task": NOTEBOOK}]})
    spark = SparkSession.builder.remote(cli.connection.spark_remote).create()
    try:
        decided = []
        for number in (1, 2):
            runtime = connect(f"{cli.table}_{number}", spark=spark, workspace_client=client, environment={})
            found = JobImporter(runtime).by_id([job_id])
            paths = found.write(tmp_path / str(number))
            adopter = Adopter(runtime)
            decided.append((adopter, adopter.plan(found.modules, paths), paths))
        [first], [second] = [adopter.adopt(plan, paths) for adopter, plan, paths in decided]
        assert (first.refusal, first.adopts) == ("", True)
        assert "taken by another control table" in second.refusal
        tags = job(client, job_id)["tags"]
        assert tags[TABLE_TAG] == table_tag(TableName.parse(f"{cli.table}_1"))
        other = decided[1][0].runtime
        assert not ControlTable(other.tables, other.control_table).exists()
    finally:
        spark.stop()
    client.jobs.delete(job_id)


# ---------------------------------------------------------------- bundles


def test_a_bundle_with_targets_and_included_files(cli: Cli, client: WorkspaceClient, tmp_path: Path) -> None:
    """A bundle becomes metadata without any workspace; once its jobs are there, they are found by name and adopted."""
    root = ("--root", "/Workspace/Shared/shop/files")
    [one, two] = (cli.here("import", "--bundle", str(BUNDLE), *more).out for more in (root, ()))
    assert one == two, "the bundle says itself where its files are"
    done = cli.here("import", "--bundle", str(BUNDLE), *root, "-o", str(tmp_path))
    assert done.code == 0, done.err
    [refresh] = yaml.safe_load((tmp_path / "refresh.yaml").read_text())["modules"]
    by_id = {source["source_id"]: source for source in refresh["sources"]}
    assert {name: one["execution_order"] for name, one in by_id.items()} == {
        "ingest": 1,
        "prices": 1,
        "clean": 2,
    }
    assert not any("depends_on" in one["transformation_config"] for one in by_id.values())
    assert (
        by_id["ingest"]["transformation_config"]["notebook_path"] == "/Workspace/Shared/shop/files/src/ingest"
    )
    assert refresh["job"]["name"] == "shop refresh (dev)"
    assert refresh["job"]["parameters"] == [{"name": "days", "default": "1"}]
    assert refresh["job"]["permissions"] == [{"level": "CAN_VIEW", "group_name": "users"}]
    [report] = yaml.safe_load((tmp_path / "report.yaml").read_text())["modules"]
    assert report["sources"][0]["transformation_config"]["run_job_task"] == {"job_id": "${module.refresh}"}

    prod = tmp_path / "prod"
    variables = ("--target", "prod", "--var", "warehouse_id=w2")
    assert (
        cli.here(
            "import", "--bundle", str(BUNDLE / "databricks.yml"), *root, *variables, "-o", str(prod)
        ).code
        == 0
    )
    [refresh] = yaml.safe_load((prod / "refresh.yaml").read_text())["modules"]
    assert refresh["job"]["schedule"]["quartz_cron_expression"] == "0 0 3 * * ?"
    clean = refresh["sources"][-1]["transformation_config"]
    assert (clean["max_retries"], clean["sql_task"]["warehouse_id"]) == (2, "w2")

    # What the bundle deploys, as the other table's metadata makes it; then it becomes ours.
    other = f"{cli.table}_other"
    applied = cli.here(
        "apply", "--local", str(cli.folder), "--control-table", other, "--yaml", str(tmp_path / "refresh.yaml"),
        "--yaml", str(tmp_path / "report.yaml"), "--format", "json",
    )  # fmt: skip
    ids = {one["module"]: one["job_id"] for one in applied.json["actions"]}
    args = ("import", "--bundle", str(BUNDLE), *root, "-o", str(tmp_path), "--adopt", "--format", "json")
    refused = cli(*args)
    assert refused.code == 1
    assert {one["refusal"][:35] for one in refused.json["modules"]} == {"it belongs to another control table"}
    for job_id in ids.values():
        settings = job(client, job_id)
        settings["tags"] = {}
        for task in settings["tasks"]:
            task.get("notebook_task", {}).pop("base_parameters", None)
        client.api_client.do("POST", "/api/2.2/jobs/reset", body={"job_id": job_id, "new_settings": settings})
    done = cli(*args)
    assert done.code == 0, done.out
    assert {one["module"]: one["job_id"] for one in done.json["modules"]} == ids
    assert all(one["adopted"] for one in done.json["modules"])
    assert cli("plan").code == 0
    for job_id in ids.values():
        client.jobs.delete(job_id)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to import"),
        (("--job-id", "1", "--all"), "say what to import"),
        (("--all", "--adopt"), "--adopt needs -o DIR"),
        (("--all", "--take-over"), "--take-over goes with --adopt"),
        (("--all", "--target", "x"), "--target and --root go with --bundle"),
        (("--bundle", "nowhere.yml"), "cannot read the bundle"),
        (("--bundle", str(BUNDLE), "--target", "stage"), "no target 'stage'; it has dev, prod"),
    ],
)
def test_wrong_usage(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli.here("import", *arguments)
    assert done.code == 64
    assert message in done.err


def test_a_file_with_other_content_is_not_overwritten(cli: Cli, tmp_path: Path) -> None:
    """What somebody edited stays, unless --force."""
    args = ("import", "--bundle", str(BUNDLE), "-o", str(tmp_path))
    assert cli.here(*args).code == 0
    assert cli.here(*args).code == 0
    (tmp_path / "refresh.yaml").write_text("# mine\n")
    done = cli.here(*args)
    assert done.code == 64
    assert "refresh.yaml: there already" in done.err
    assert cli.here(*args, "--force").code == 0
    assert "refresh" in (tmp_path / "refresh.yaml").read_text()


def test_the_peers_format_becomes_ours(cli: Cli, tmp_path: Path) -> None:
    """A file of lakeflow-jobs-meta 0.2 (`jobs:` as a mapping) is written in our own layout, stages and all."""
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "jobs:\n  nightly:\n    name: Nightly\n    tasks:\n"
        "      - {task_key: load, task_type: notebook, file_path: /Workspace/load, parameters: {table: t}}\n"
        "      - {task_key: check, task_type: sql_query, depends_on: [load], warehouse_id: w, sql_query: SELECT 1}\n"
    )
    done = cli.here("import", "--bundle", str(path))
    assert done.code == 0, done.err
    [module] = yaml.safe_load(done.out)["modules"]
    assert (module["module_name"], module["job"]) == ("nightly", {"name": "Nightly"})
    assert [source["execution_order"] for source in module["sources"]] == [1, 2]
    assert module["sources"][1]["transformation_config"]["sql_task"]["sql_query"] == "SELECT 1"


def test_a_bundle_without_jobs_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "databricks.yml").write_text("bundle: {name: x}\ninclude: [resources/*.yml]\n")
    done = cli.here("import", "--bundle", str(tmp_path))
    assert done.code == 64
    assert "has no jobs" in done.err


def test_a_bundle_with_one_job_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    """The others are written; that one, an include that names nothing, and what is not read are told."""
    (tmp_path / "databricks.yml").write_text(
        """
bundle: {name: x}
include: [missing/*.yml]
resources:
  jobs:
    good: {tasks: [{task_key: t, notebook_task: {notebook_path: /a}}]}
    bad: {tasks: [{task_key: t, pipeline_task: {pipeline_id: "${resources.pipelines.p.id}"}}]}
  pipelines: {p: {name: p}}
"""
    )
    done = cli.here("import", "--bundle", str(tmp_path), "-o", str(tmp_path / "out"))
    assert done.code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.yaml"]
    assert "not imported bad: " in done.out
    assert "[/resources/jobs/bad/tasks/0/pipeline_task/pipeline_id]" in done.out
    assert "include: missing/*.yml matches no file" in done.err
    assert "resources.pipelines is not read" in done.err


def test_a_path_outside_of_the_bundle_is_told(cli: Cli, tmp_path: Path) -> None:
    """Whatever --root says: the file is not deployed with the bundle."""
    (tmp_path / "databricks.yml").write_text(
        "resources: {jobs: {a: {tasks: [{task_key: t, notebook_task: {notebook_path: ../other/a.py}}]}}}"
    )
    done = cli.here("import", "--bundle", str(tmp_path), "--root", "/Workspace/x")
    assert (done.code, "../other/a.py: outside of the bundle's folder" in done.err) == (64, True)
