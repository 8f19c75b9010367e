"""The steps of the demo: each does one thing that a user would do, and checks what came of it.

They use what every user has: the three public services, the Databricks SDK, and Spark.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lakeflow_job_meta.cli import demo_documents, demo_policies
from lakeflow_job_meta.cli.demo_stage import (
    CODE,
    CONTROL_TABLE,
    FILES,
    METADATA,
    WHEELS,
    Demo,
    expect,
    task_keys,
    text_of,
)

TASKS = ["load_orders", "clean_orders", "check_quality", "daily_sales", "any_sales", "report_regions"]


def start(demo: Demo) -> None:
    """The workspace is up, and the real SDK and Spark work with it."""
    from lakeflow_job_meta.cli.session import enter_local

    enter_local(demo.folder)
    from databricks.sdk import WorkspaceClient
    from pyspark.sql import SparkSession

    demo.client = WorkspaceClient()
    demo.spark = SparkSession.builder.getOrCreate()
    catalogs = sorted(catalog.name or "" for catalog in demo.client.catalogs.list())
    warehouses = [warehouse.id for warehouse in demo.client.warehouses.list()]
    demo.table(
        "",
        ("what", "answer"),
        [
            ("host", demo.client.config.host),
            ("user", demo.client.current_user.me().user_name),
            ("catalogs", ", ".join(catalogs)),
            ("SQL warehouses", ", ".join(str(warehouse) for warehouse in warehouses)),
            ("Spark", demo.spark.version),
        ],
    )
    expect(
        {"main", "bronze", "silver", "gold"} <= set(catalogs), f"catalogs are missing: there are {catalogs}"
    )
    expect("local" in warehouses, f"there is no SQL warehouse `local`: there are {warehouses}")


def upload(demo: Demo) -> None:
    """The code of the tasks lies in the workspace: a SQL file, a notebook, a wheel."""
    from databricks.sdk.service.catalog import VolumeType
    from databricks.sdk.service.workspace import ImportFormat

    demo.spark.sql("CREATE SCHEMA IF NOT EXISTS main.demo")
    for path in (METADATA, WHEELS):
        demo.client.volumes.create("main", "demo", path.rsplit("/", 1)[1], VolumeType.MANAGED)
    demo.client.workspace.mkdirs(CODE)
    sql, notebook = f"{CODE}/clean_orders.sql", f"{CODE}/daily_sales"
    for target, name, kind in (
        (sql, "clean_orders.sql", ImportFormat.AUTO),
        (notebook, "daily_sales.ipynb", ImportFormat.JUPYTER),
    ):
        content = io.BytesIO(text_of(f"workspace/{name}").encode())
        demo.client.workspace.upload(target, content, format=kind, overwrite=True)
    wheel = _build_wheel(demo.root / "wheels")
    with wheel.open("rb") as file:
        demo.client.files.upload(f"{WHEELS}/{wheel.name}", file, overwrite=True)
    there = sorted(Path(entry.path or "").name for entry in demo.client.workspace.list(CODE))
    expect(there == ["clean_orders.sql", "daily_sales"], f"{CODE} has {there}")
    demo.table(
        "",
        ("what", "where"),
        [("SQL file", sql), ("notebook", notebook), ("wheel", f"{WHEELS}/{wheel.name}")],
    )
    demo.say("The SQL file, as stage 2 of the pipeline will run it:")
    demo.show(text_of("workspace/clean_orders.sql"), "sql")


def _build_wheel(target: Path) -> Path:
    """The demo's wheel, built without a network."""
    from flit_core.wheel import make_wheel_in

    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = shutil.copytree(FILES / "wheel", Path(scratch) / "wheel")
        built = make_wheel_in(source / "pyproject.toml", target)
    return Path(built.file)


def drop_yaml(demo: Demo) -> None:
    """A YAML file in the volume becomes rows of the control table and a job."""
    from lakeflow_job_meta import JobOrchestrator, MetadataManager, MetadataMonitor

    demo.manager = MetadataManager(CONTROL_TABLE, spark=demo.spark)
    demo.orchestrator = JobOrchestrator(CONTROL_TABLE, demo.client, spark=demo.spark)
    demo.monitor = MetadataMonitor(
        CONTROL_TABLE, volume_path=METADATA, spark=demo.spark, workspace_client=demo.client
    )
    demo.say(f"{METADATA}/sales.yaml:")
    demo.show(text_of("volume/sales.yaml"), "yaml")
    demo.drop("sales.yaml", text_of("volume/sales.yaml"))
    demo.quiet_tick()
    demo.show_rows(
        CONTROL_TABLE,
        f"SELECT execution_order, source_id, get_json_object(transformation_config, '$.task_type') AS task_type"
        f" FROM {CONTROL_TABLE} WHERE source_type <> 'job' ORDER BY execution_order, source_id",
    )
    job = demo.existing("sales")
    demo.job_id = job.job_id or 0
    expect(sorted(task_keys(job)) == sorted(TASKS), f"the job has the tasks {task_keys(job)}")
    demo.say(f"    job {demo.job_id} `sales` has {len(TASKS)} tasks")


def run_job(demo: Demo) -> None:
    """The job runs: every task is green, and the Delta tables hold what they should."""
    demo.run_module("sales")
    raw = demo.spark.table("bronze.demo.orders").count()
    clean = demo.spark.table("silver.demo.orders").count()
    expect(
        raw == 70 and clean == 63, f"70 raw and 63 clean orders were expected, there are {raw} and {clean}"
    )
    daily = demo.show_rows(
        "gold.demo.daily_sales", "SELECT * FROM gold.demo.daily_sales ORDER BY day LIMIT 3"
    )
    expect(len(daily) == 3, "gold.demo.daily_sales is empty")
    regions = demo.show_rows(
        "one table a region, from the for_each",
        "SELECT * FROM gold.demo.sales_north UNION ALL SELECT * FROM gold.demo.sales_south ORDER BY region",
    )
    expect([row[0] for row in regions] == ["north", "south"], f"the regions' tables hold {regions}")
    expect(sum(row[1] for row in regions) == clean, "the regions' orders do not add up")


def insert_row(demo: Demo) -> None:
    """A row INSERTed into the control table is one task more, in the same job."""
    statement = text_of("top_customers.sql")
    demo.show(statement, "sql")
    demo.spark.sql(statement)
    demo.quiet_tick()
    job = demo.existing("sales")
    expect(job.job_id == demo.job_id, f"the job's id changed from {demo.job_id} to {job.job_id}")
    expect("top_customers" in task_keys(job), f"the job has the tasks {task_keys(job)}")
    demo.say(f"    job {job.job_id} has {len(task_keys(job))} tasks now: {', '.join(task_keys(job))}")


def edit_file(demo: Demo) -> None:
    """An edited file updates the job in place; the plan shows exactly what."""
    edited = text_of("volume/sales.yaml")
    for old, new in (
        ('parameters: {threshold: "5.0"}', 'parameters: {threshold: "3.0"}'),
        ('days: "7"', 'days: "14"'),
    ):
        expect(old in edited, f"sales.yaml has no {old}")
        demo.say(f"    - {old}", "retire")
        demo.say(f"    + {new}", "create")
        edited = edited.replace(old, new)
    demo.drop("sales.yaml", edited)
    demo.say("\nWhat `plan` says of it (it writes nothing):")
    plan = demo.orchestrator.plan(load=demo.manager.overlay([f"{METADATA}/sales.yaml"]))
    demo.show_plan(plan)
    paths = {change.path for action in plan.actions for change in action.changes}
    expect(
        [action.kind for action in plan.actions] == ["update"],
        f"the plan is {[a.kind for a in plan.actions]}",
    )
    expect(any("days" in path for path in paths), f"the plan names {sorted(paths)}")
    demo.quiet_tick()
    job = demo.existing("sales")
    expect(job.job_id == demo.job_id, f"the job's id changed from {demo.job_id} to {job.job_id}")
    tasks = {task.task_key: task for task in (job.settings and job.settings.tasks) or []}
    wheel = tasks["load_orders"].python_wheel_task
    expect(
        wheel and wheel.named_parameters and wheel.named_parameters["days"] == "14",
        "the job still has the old value",
    )
    expect("top_customers" in tasks, "the task that was INSERTed is gone")
    demo.say(
        f"    job {job.job_id} is updated in place; the row that was INSERTed is still its task. It runs again:"
    )
    demo.run_module("sales")
    raw = demo.spark.table("bronze.demo.orders").count()
    expect(raw == 140, f"14 days with 140 orders were expected, there are {raw}")
    demo.say(f"    bronze.demo.orders has {raw} rows now: 14 days")


def drop_broken(demo: Demo) -> None:
    """A broken file is refused with line and column; a good one beside it goes live."""
    demo.say(f"{METADATA}/returns.yaml has two mistakes:")
    demo.show(text_of("volume/returns.yaml"), "yaml")
    demo.say(f"{METADATA}/inventory.yaml is good:")
    demo.show(text_of("volume/inventory.yaml"), "yaml")
    demo.drop("returns.yaml", text_of("volume/returns.yaml"))
    demo.drop("inventory.yaml", text_of("volume/inventory.yaml"))
    seen = demo.tick()
    told = "\n".join(str(error) for error in seen["errors"])
    line = next(
        n for n, text in enumerate(text_of("volume/returns.yaml").splitlines(), 1) if "sql_qery" in text
    )
    expect(
        f"returns.yaml:{line}:" in told,
        f"no error names returns.yaml, line {line}: {told or 'there is none'}",
    )
    expect("sql_query" in told, f"no error suggests sql_query: {told}")
    expect(demo.job("returns") is None, "a job was made from the broken file")
    good = demo.existing("inventory")
    demo.say(f"    job {good.job_id} `inventory` was created all the same; there is no job `returns`")
    expect(demo.existing("sales").job_id == demo.job_id, "the job `sales` is another one")
    demo.client.files.delete(f"{METADATA}/returns.yaml")
    demo.say("    returns.yaml is taken away again")
    demo.quiet_tick()


def change_behind(demo: Demo) -> None:
    """A change made in the workspace is seen as drift, and reverted."""
    from databricks.sdk.service.jobs import JobSettings

    demo.show(
        "from databricks.sdk import WorkspaceClient\n"
        "from databricks.sdk.service.jobs import JobSettings\n\n"
        f"WorkspaceClient().jobs.update({demo.job_id}, new_settings=JobSettings(max_concurrent_runs=9))",
        "python",
    )
    demo.client.jobs.update(demo.job_id, new_settings=JobSettings(max_concurrent_runs=9))
    plan = demo.orchestrator.plan()
    demo.show_plan(plan)
    drifted = [change.path for action in plan.actions for change in action.changes if change.drift]
    expect(drifted == ["max_concurrent_runs"], f"drift was seen in {drifted or 'nothing'}")
    result = demo.orchestrator.apply(plan)
    settings = demo.existing("sales").settings
    expect(settings and settings.max_concurrent_runs == 1, "the change was not reverted")
    demo.say(f"    applied with {result.writes} call that writes: back to 1")


def remove_and_return(demo: Demo) -> None:
    """A file that is removed retires its job; put back, the job is revived with its id."""
    before = demo.existing("inventory")
    demo.client.files.delete(f"{METADATA}/inventory.yaml")
    demo.say(f"    {METADATA}/inventory.yaml removed")
    demo.quiet_tick()
    retired = demo.existing("inventory")
    expect(_pause_status(retired) == "PAUSED", "the retired job's schedule is not paused")
    demo.say(f"    job {retired.job_id} is retired: its schedule is paused, nothing was deleted")
    demo.drop("inventory.yaml", text_of("volume/inventory.yaml"))
    demo.say(f"    {METADATA}/inventory.yaml put back")
    demo.quiet_tick()
    revived = demo.existing("inventory")
    expect(revived.job_id == before.job_id, f"the job's id changed from {before.job_id} to {revived.job_id}")
    expect(_pause_status(revived) == "UNPAUSED", "the revived job's schedule is still paused")
    demo.say(f"    job {revived.job_id} is revived: the same job, its schedule runs again")


def _pause_status(job: object) -> str:
    schedule = getattr(getattr(job, "settings", None), "schedule", None)
    return schedule.pause_status.value if schedule and schedule.pause_status else ""


def look_again(demo: Demo) -> None:
    """A second pass has nothing to do and says so."""
    plan = demo.orchestrator.plan()
    demo.show_plan(plan)
    expect(not plan.changing and not plan.refused, f"the plan is {dict(plan.summary)}")
    result = demo.orchestrator.apply(plan)
    expect(result.writes == 0, f"{result.writes} calls changed the workspace")
    demo.say("    apply made no call that writes")
    seen = demo.quiet_tick()
    expect(
        not any(_any(seen[name]) for name in ("yaml_changes", "table_changes", "jobs_updated")),
        f"the monitor did {seen}",
    )


def _any(value: object) -> bool:
    return bool(value)


class Step(NamedTuple):
    """One step: a short name, what is told before it, and what it does."""

    name: str
    text: str
    act: Callable[[Demo], None]


STEPS: tuple[Step, ...] = (
    Step(
        "start a workspace",
        "A local process stands in for Databricks. The real SDK and Spark talk to it.",
        start,
    ),
    Step(
        "upload the tasks' code", "A SQL file, a notebook and a wheel: what any pipeline consists of.", upload
    ),
    Step(
        "drop a YAML file",
        "A file in the metadata volume describes a module: one job. The monitor sees it and makes the job.",
        drop_yaml,
    ),
    Step(
        "run the job",
        "Wheel, SQL file, SQL query, notebook, condition and for_each, in five stages, on real Delta tables.",
        run_job,
    ),
    Step(
        "insert a row",
        "The control table is the source of truth. A row typed in by SQL is a task of the job.",
        insert_row,
    ),
    Step("edit the file", "Two values change in sales.yaml, where it lies.", edit_file),
    Step("drop a broken file", "One bad file never blocks another.", drop_broken),
    Step(
        "change the job behind our back",
        "Somebody edits the job in the workspace, past the metadata.",
        change_behind,
    ),
    Step(
        "remove a file, put it back", "A job whose file is gone is retired, not deleted.", remove_and_return
    ),
    Step("look again", "A second pass finds nothing to do.", look_again),
    Step(
        "drop documents",
        "Text, CSV, JSON, HTML, Word, Excel and PDF, and a file that describes six tasks: send them to Data X-Ray, "
        "collect what it finds, lay them out by label, record all it knows, tell of it, check it by policies.",
        demo_documents.drop_documents,
    ),
    Step(
        "classify them",
        "The job runs. Data X-Ray's simulator reads the documents and finds cards, accounts, persons.",
        demo_documents.classify,
    ),
    Step("add one document", "Only what is new or changed is sent.", demo_documents.add_document),
    Step(
        "check by policies",
        "The job's last task ran SQL policies over the snapshot: a copy, a record that is overdue and a scratch file "
        "were planted. A policy warns, or fails the job, as it is configured.",
        demo_policies.check,
    ),
    Step(
        "plan a remediation",
        "What would be done about the copies: a dry run writes the plan and touches nothing.",
        demo_policies.plan_remediation,
    ),
)
