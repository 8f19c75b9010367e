"""Views over the tables of policies, for people and dashboards. They lie beside the results."""

from __future__ import annotations

from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies.run import Places
from lakeflow_job_meta.ports import Tables

#: What each view has.
VIEWS = {
    "v_policy_latest": "one row a policy and checked table: its newest result",
    "v_policy_open": "one row an open violation, with the days since it was first seen and the file's path",
    "v_policy_trend": "one row a policy, checked table and day: the day's last count, and what was new and resolved",
    "v_policy_summary": "one row a severity: policies, how many fail, and open violations",
}


def create(tables: Tables, places: Places) -> None:
    """Make the views, or make them anew.

    Raises:
        TablesError: the engine or a missing right does not let us.
    """
    for name, text in texts(places).items():
        view = TableName(places.results.catalog, places.results.schema, name)
        tables.query(f"CREATE OR REPLACE VIEW {view.quoted} AS {text}")


def texts(places: Places) -> dict[str, str]:
    """The views' queries by their names."""
    results, violations = places.results.quoted, places.violations.quoted
    newest = f"SELECT policy AS p, table_name AS t, max(evaluated_at) AS newest FROM {results} GROUP BY policy, table_name"
    latest = (
        f"SELECT r.* FROM {results} AS r JOIN ({newest}) AS n "
        "ON r.policy = n.p AND r.table_name = n.t AND r.evaluated_at = n.newest"
    )
    opened = (
        f"SELECT policy, table_name, count(*) AS open_violations FROM {violations} "
        "WHERE resolved_at IS NULL GROUP BY policy, table_name"
    )
    return {
        "v_policy_latest": latest,
        "v_policy_open": (
            "SELECT policy, table_name, severity, violation_key, "
            "coalesce(get_json_object(`row`, '$.path'), get_json_object(`row`, '$.file_path')) AS path, "
            "`row`, first_seen, last_seen, datediff(current_timestamp(), first_seen) AS days_open, first_run, last_run "
            f"FROM {violations} WHERE resolved_at IS NULL"
        ),
        "v_policy_trend": (
            "SELECT to_date(evaluated_at) AS day, policy, table_name, max_by(violations, evaluated_at) AS violations, "
            "max_by(status, evaluated_at) AS status, sum(new) AS new, sum(resolved) AS resolved "
            f"FROM {results} GROUP BY to_date(evaluated_at), policy, table_name"
        ),
        "v_policy_summary": (
            "SELECT l.severity, count(*) AS policies, count_if(l.status IN ('FAIL', 'ERROR')) AS failing, "
            "count_if(l.status = 'WARN') AS warning, coalesce(sum(o.open_violations), 0) AS open_violations "
            f"FROM ({latest}) AS l LEFT JOIN ({opened}) AS o "
            "ON l.policy = o.policy AND l.table_name = o.table_name GROUP BY l.severity"
        ),
    }
