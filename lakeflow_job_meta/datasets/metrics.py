"""Metrics and alerts about syncs, as SQL over the events: views for dashboards, queries for Databricks SQL alerts.

`dataset_sync_round` has one row a sync, `dataset_sync_metrics` one row a tenant. An alert is one row whose column
`alert` is true when somebody should look; make a SQL alert of its text with the condition `alert = true`.
"""

from __future__ import annotations

from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Tables

#: Share of failed syncs above which the alert is on, and the minutes that it looks back.
FAILURE_RATE, FAILURE_MINUTES = 0.1, 5
#: Minutes without a heartbeat after which the monitor counts as gone; it writes one every 15 minutes at most.
HEARTBEAT_MINUTES = 31


def rounds_query(events: TableName) -> str:
    """One row a sync: when it was asked for and ended, how it ended, most attempts of a task, seconds in all."""
    return (
        "WITH e AS (SELECT *, row_number() OVER (PARTITION BY `dataset_id`, `round` "
        f"ORDER BY `seq` DESC, `at` DESC, `event_id` DESC) AS `n` FROM {events.quoted} WHERE `status` <> 'not_synced'), "
        "r AS (SELECT `dataset_id`, `round`, min(`at`) AS `started_at`, max(`at`) AS `last_at`, "
        "max(`attempt`) AS `attempts`, max(`run_id`) AS `run_id` FROM e GROUP BY `dataset_id`, `round`) "
        "SELECT e.`tenant_id`, e.`dataset_id`, e.`version`, e.`round`, e.`status`, r.`run_id`, r.`started_at`, "
        "CASE WHEN e.`status` IN ('synced', 'failed') THEN r.`last_at` END AS `ended_at`, r.`attempts`, "
        "e.`error_class`, CASE WHEN e.`status` IN ('synced', 'failed') "
        "THEN (unix_micros(r.`last_at`) - unix_micros(r.`started_at`)) / 1000000.0 END AS `seconds` "
        "FROM e JOIN r ON e.`dataset_id` = r.`dataset_id` AND e.`round` = r.`round` WHERE e.`n` = 1"
    )


def metrics_query(rounds: TableName) -> str:
    """One row a tenant: syncs that ended and how, how long the good ones took, which took attempts, what waits."""
    return (
        "SELECT `tenant_id`, count(`ended_at`) AS `ended`, count(CASE WHEN `status` = 'synced' THEN 1 END) AS `synced`, "
        "count(CASE WHEN `status` = 'failed' THEN 1 END) AS `failed`, "
        "CASE WHEN count(`ended_at`) > 0 THEN count(CASE WHEN `status` = 'synced' THEN 1 END) * 1.0D / "
        "count(`ended_at`) END AS `success_rate`, "
        "CAST(avg(CASE WHEN `status` = 'synced' THEN `seconds` END) AS DOUBLE) AS `average_seconds`, "
        "CAST(max(CASE WHEN `status` = 'synced' THEN `seconds` END) AS DOUBLE) AS `longest_seconds`, "
        "count(CASE WHEN `attempts` > 1 THEN 1 END) AS `repeated`, "
        "count(CASE WHEN `status` = 'pending' THEN 1 END) AS `pending`, "
        "min(CASE WHEN `status` = 'pending' THEN `started_at` END) AS `oldest_pending` "
        f"FROM {rounds.quoted} GROUP BY `tenant_id`"
    )


def views(events: TableName) -> dict[TableName, str]:
    """The views beside the events, by name, in the order in which they are made."""
    rounds = TableName(events.catalog, events.schema, "dataset_sync_round")
    metrics = TableName(events.catalog, events.schema, "dataset_sync_metrics")
    return {rounds: rounds_query(events), metrics: metrics_query(rounds)}


def create(tables: Tables, events: TableName) -> None:
    """Make the views, or make them anew."""
    for name, query in views(events).items():
        tables.query(f"CREATE OR REPLACE VIEW {name.quoted} AS {query}")


def failure_alert(
    events: TableName,
    *,
    rate: float = FAILURE_RATE,
    minutes: int = FAILURE_MINUTES,
    now: str = "current_timestamp()",
) -> str:
    """Alert: more than this share of the syncs that ended lately have failed.

    Args:
        now: SQL expression of the moment that is looked back from.
    """
    return (
        "SELECT count(*) AS `ended`, count(CASE WHEN `status` = 'failed' THEN 1 END) AS `failed`, "
        f"count(*) > 0 AND count(CASE WHEN `status` = 'failed' THEN 1 END) > {float(rate)}D * count(*) AS `alert` "
        f"FROM ({rounds_query(events)}) AS `s` WHERE `ended_at` > {now} - INTERVAL {int(minutes)} MINUTES "
        f"AND `ended_at` <= {now}"
    )


def heartbeat_alert(
    control_table: TableName, *, minutes: int = HEARTBEAT_MINUTES, now: str = "current_timestamp()"
) -> str:
    """Alert: the monitor, which makes and watches the jobs, has not been heard of for this long, or never."""
    return (
        f"SELECT max(`at`) AS `last_heartbeat`, coalesce(max(`at`) < {now} - INTERVAL {int(minutes)} MINUTES, true) "
        f"AS `alert` FROM {control_table.companion('events').quoted} WHERE `kind` = 'heartbeat'"
    )
