"""The demo's wheel: two entry points, as a Databricks python_wheel task calls them."""

import argparse
from datetime import date, timedelta

from pyspark.sql import SparkSession

REGIONS = ("north", "south")
CUSTOMERS = ("Ada ", "Grace", " Edsger", "Barbara", "Alan")


def load() -> None:
    """Write some days of orders to `--table`; a few are worthless on purpose."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", required=True)
    parser.add_argument("--days", type=int, default=7)
    arguments = parser.parse_args()
    start = date(2025, 1, 1)
    rows = [
        (
            100 * day + number,
            start + timedelta(days=day),
            REGIONS[number % 2],
            CUSTOMERS[(day + number) % 5],
            float(number * 3),
        )
        for day in range(arguments.days)
        for number in range(10)
    ]
    spark = SparkSession.builder.getOrCreate()
    catalog, schema, _ = arguments.table.split(".")
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS {catalog}.{schema}")
    frame = spark.createDataFrame(
        rows, "order_id BIGINT, day DATE, region STRING, customer STRING, amount DOUBLE"
    )
    frame.write.format("delta").mode("overwrite").saveAsTable(arguments.table)
    print(f"{len(rows)} orders in {arguments.table}")


def report() -> None:
    """Sum up one region's sales in a table of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--region", required=True, choices=REGIONS)
    region = parser.parse_args().region
    spark = SparkSession.builder.getOrCreate()
    spark.sql("CREATE SCHEMA IF NOT EXISTS gold.demo")
    totals = spark.sql(
        "SELECT region, count(*) AS orders, sum(amount) AS total"
        " FROM silver.demo.orders WHERE region = :region GROUP BY region",
        {"region": region},
    )
    totals.write.format("delta").mode("overwrite").saveAsTable(f"gold.demo.sales_{region}")
    print(f"gold.demo.sales_{region} written")
