"""The steps of `demo --datasets`: files become queryable at once, and clean tables in Unity Catalog shortly after.

They use what every user has: the dataset manager, the monitor, the Databricks SDK, and Spark.
"""

from __future__ import annotations

import time

from lakeflow_job_meta.cli.demo_stage import CONTROL_TABLE, RUN_LIMIT, Demo, expect, task_keys
from lakeflow_job_meta.cli.demo_steps import Step, start

TENANT = "acme"
MODULE = "datasets_acme"
#: As a spreadsheet in the south of Germany writes it: a title, semicolons, latin-1, decimal points, a row twice.
ORDERS = """Bestellungen 2025
Order ID;Kunde;Product ID;Amount ($);Ordered At;Rush
1001;Müller;1;10.50;2025-01-15;true
1002;Jørgensen;2;11.00;2025-01-16;false
1002;Jørgensen;2;11.00;2025-01-16;false
1003;N/A;1;7.25;2025-02-01;true
"""
MORE_ORDERS = ORDERS + "1004;Núñez;3;99.99;2025-03-04;false\n"
PRODUCTS = (("Product ID", "Name", "SKU"), (1, "Pen", "00123"), (2, "Ink", "00456"), (3, "Paper", "00789"))


def upload(demo: Demo) -> None:
    """Two files are taken, and can be queried before any job has run."""
    from openpyxl import Workbook

    from lakeflow_job_meta.dataset_manager import DatasetManager
    from lakeflow_job_meta.monitor import MetadataMonitor

    demo.spark.sql("CREATE SCHEMA IF NOT EXISTS main.demo")
    demo.datasets = DatasetManager(CONTROL_TABLE, demo.client, spark=demo.spark, settings={"tenant": TENANT})
    demo.monitor = MetadataMonitor(CONTROL_TABLE, spark=demo.spark, workspace_client=demo.client)
    csv, excel = demo.root / "orders.csv", demo.root / "products.xlsx"
    csv.write_bytes(ORDERS.encode("latin-1"))
    book = Workbook()
    for row in PRODUCTS:
        book.active.append(row)
    book.save(excel)
    demo.say(f"{csv.name}, in latin-1:")
    demo.show(ORDERS, "text")
    for path, name in ((csv, "Orders 2025"), (excel, "Products")):
        answer = demo.datasets.ingest(str(path), name=name).as_json()
        demo.ids[name] = str(answer["id"])
        status = answer["metadata"]["sync_status"]
        demo.say(f"    {path.name} is dataset {answer['id']}: {answer['row_count']} rows, {status}", status)
        expect(status == "pending", f"{name} is {status}")
    found = demo.datasets.query(demo.ids["Orders 2025"], "SELECT * FROM dataset").as_json()
    demo.table(
        "a local query, with no job yet",
        found["columns"],
        [list(row.values()) if isinstance(row, dict) else row for row in found["rows"]],
    )
    expect(found["row_count"] == 4, f"the query has {found['row_count']} rows")
    expect(any("Müller" in str(row) for row in found["rows"]), "the accents are broken")


def sync(demo: Demo) -> None:
    """One pass of the monitor makes one job of three tasks a dataset, and starts it; the statuses follow."""
    demo.quiet_tick()
    job = demo.existing(MODULE)
    keys = task_keys(job)
    expect(len(keys) == 6, f"the job has the tasks {keys}")
    demo.say(f"    job {job.job_id} `{MODULE}` has the tasks {', '.join(keys)}")
    _follow(demo)
    for name, dataset_id in demo.ids.items():
        status = demo.datasets.status(dataset_id).as_json()
        expect(
            status["sync_status"] == "synced",
            f"{name} is {status['sync_status']}: {status['last_sync_error']}",
        )
    counts: dict[str, tuple[int | None, ...]] = {}
    for found in demo.datasets.list(TENANT):
        told = found.as_json()
        demo.facts.setdefault("datasets", []).append(told)
        demo.say(f"    {told['dataset_name']}: {told['bronze_table']} -> {told['silver_table']}")
        assert found.sync is not None
        counts[told["dataset_name"]] = (
            told["row_count_local"],
            told["row_count_databricks"],
            found.sync.row_count_silver,
        )
    demo.table(
        "rows, measured in the tables",
        ("dataset", "in the file", "in bronze", "in silver"),
        [(name, *numbers) for name, numbers in counts.items()],
    )
    expect(counts == {"Orders 2025": (4, 4, 3), "Products": (3, 3, 3)}, f"the rows are {counts}")


def join(demo: Demo) -> None:
    """Bronze has the values as they came, silver has types, and the two silver tables join."""
    demo.show_rows(
        "bronze, untouched",
        "SELECT `Order ID`, `Kunde`, `Amount ($)`, `Ordered At`, `_version` FROM catalog_tenant_acme.bronze.orders_2025",
    )
    demo.show_rows("silver", "SELECT * FROM catalog_tenant_acme.silver.orders_2025_clean ORDER BY order_id")
    kinds = {
        row[0]: row[1]
        for row in demo.spark.sql("DESCRIBE catalog_tenant_acme.silver.orders_2025_clean").collect()
    }
    wanted = {
        "order_id": "bigint",
        "kunde": "string",
        "amount": "double",
        "ordered_at": "date",
        "rush": "boolean",
    }
    expect({name: kinds.get(name) for name in wanted} == wanted, f"silver has the types {kinds}")
    joined = demo.show_rows(
        "joined with the other dataset",
        "SELECT p.name, p.sku, count(*) AS orders, sum(o.amount) AS amount "
        "FROM catalog_tenant_acme.silver.orders_2025_clean AS o "
        "JOIN catalog_tenant_acme.silver.products_clean AS p ON o.product_id = p.product_id "
        "GROUP BY p.name, p.sku ORDER BY p.name",
    )
    expect(joined == [("Ink", "00456", 1, 11.0), ("Pen", "00123", 2, 17.75)], f"the join has {joined}")


def next_version(demo: Demo) -> None:
    """The same name again is version 2: the next pass runs that dataset alone, and its tables have the new rows."""
    path = demo.root / "orders.csv"
    path.write_bytes(MORE_ORDERS.encode("latin-1"))
    found = demo.datasets.ingest(str(path), name="Orders 2025")
    expect(found.dataset.dataset_id == demo.ids["Orders 2025"], "another dataset was made")
    demo.say(f"    orders.csv, with one order more, is version {found.dataset.version}")
    demo.quiet_tick()
    _follow(demo)
    rows = demo.show_rows(
        "silver", "SELECT count(*) AS orders FROM catalog_tenant_acme.silver.orders_2025_clean"
    )
    expect(rows == [(4,)], f"silver has {rows}")
    history = demo.datasets.service.events.history(demo.ids["Orders 2025"])
    demo.table(
        "what happened to it",
        ("version", "status", "phase", "at (UTC)"),
        [(one.version, one.status, one.phase or "", f"{one.at:%H:%M:%S}") for one in history],
    )
    expect(
        [one.status.value for one in history] == ["pending", "syncing", "syncing", "synced"] * 2,
        "the history",
    )


def _follow(demo: Demo) -> None:
    """Tell each change of status until every dataset is synced or failed."""
    told: dict[str, str] = {}
    started = time.monotonic()
    while True:
        open_ = 0
        for name, dataset_id in demo.ids.items():
            found = demo.datasets.status(dataset_id)
            sync_ = found.sync
            word = found.status.value + (f"/{sync_.phase.value}" if sync_ and sync_.phase else "")
            open_ += found.status.value in ("pending", "syncing")
            if told.get(name) != word:
                told[name] = word
                demo.say(f"        {name:<14} {word}", found.status.value)
        if not open_:
            return
        expect(time.monotonic() - started < RUN_LIMIT, f"after {RUN_LIMIT:.0f} s still {told}")
        time.sleep(0.3)


STEPS: tuple[Step, ...] = (
    Step(
        "start a workspace",
        "An embedded workspace on this machine: the Databricks SDK and Spark work with it.",
        start,
    ),
    Step(
        "upload a CSV and an Excel file",
        "Both are checked, land as Parquet in a volume, and are queried at once with DuckDB.",
        upload,
    ),
    Step(
        "sync",
        "The monitor makes a job with three tasks a dataset (bronze, silver, record) and starts it.",
        sync,
    ),
    Step("query the tables", "Bronze as it came, silver clean, and a join of two datasets.", join),
    Step("upload a new version", "The same dataset, new rows: only its own tasks run.", next_version),
)


def commands(shown: str) -> tuple[tuple[str, str], ...]:
    """What to try afterwards: a title and the command after the program's name."""
    table = "--control-table main.demo.etl_control"
    return (
        ("the datasets", f"dataset list --tenant {TENANT} {table} --local {shown}"),
        (
            "the tables",
            f'local sql --dir {shown} "SELECT * FROM catalog_tenant_acme.silver.orders_2025_clean"',
        ),
        ("the metrics", f'local sql --dir {shown} "SELECT * FROM main.demo.dataset_sync_metrics"'),
        ("stop it again", f"local stop --dir {shown}"),
    )
