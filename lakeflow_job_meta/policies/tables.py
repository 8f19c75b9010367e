"""The tables of the policies. Columns only; what is done with them stands in `violations`, `results` and the tasks."""

from __future__ import annotations

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.errors import TableMismatch
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Column, TableDefinition, Tables

_TEXT, _TIME, _LONG = "STRING", "TIMESTAMP", "BIGINT"
#: Names of the tables in the schema of the table that is checked, unless others are given.
RESULTS, VIOLATIONS = "policy_results", "policy_violations"


def results(name: TableName) -> TableDefinition:
    """One row for each policy and run."""
    return TableDefinition(
        name,
        (
            Column("run_id", _TEXT, "the run"),
            Column("policy", _TEXT, "the policy's name"),
            Column("table_name", _TEXT, "the table that was checked; empty when the SQL names its own"),
            Column("severity", _TEXT, "low, medium, high or critical"),
            Column("status", _TEXT, "PASS, FAIL, WARN or ERROR"),
            Column("violations", _LONG, "rows that the policy's SELECT returned; NULL on ERROR"),
            Column("new", _LONG, "of them, not there in the run before"),
            Column("resolved", _LONG, "violations of the run before that are not there any more"),
            Column("threshold", _LONG, "max_violations: more than this many are a FAIL or a WARN"),
            Column("on_violation", _TEXT, "fail or warn"),
            Column("seconds", "DOUBLE", "how long the SELECT took"),
            Column("error", _TEXT, "why it is ERROR, or what else is to be said"),
            Column("sql_sha256", _TEXT, "SHA-256 of the policy's SQL, in hex"),
            Column("parameters", _TEXT, "values of its parameters, a JSON object"),
            Column("evaluated_at", _TIME, "just before the SELECT began"),
            Column("recorded_at", _TIME, "when this row was written"),
            Column(
                "is_complete", "BOOLEAN", "every violation was recorded; false on ERROR, and above the limit"
            ),
        ),
        "Policies: what each run found (lakeflow_job_meta)",
    )


def violations(name: TableName) -> TableDefinition:
    """One row for each violation of a policy that was ever found, open or resolved."""
    return TableDefinition(
        name,
        (
            Column("policy", _TEXT, "the policy's name"),
            Column("table_name", _TEXT, "the table that was checked; empty when the SQL names its own"),
            Column("violation_key", _TEXT, "hash of the policy's key columns; the same over runs"),
            Column("row", _TEXT, "the violating row as it was last found, a JSON object"),
            Column("severity", _TEXT, "low, medium, high or critical"),
            Column("first_seen", _TIME, "when it was found; anew when it came back after it was resolved"),
            Column("last_seen", _TIME, "when it was last found"),
            Column("resolved_at", _TIME, "when a run no longer found it; NULL while it is open"),
            Column("first_run", _TEXT, "the run in which it was new"),
            Column("last_run", _TEXT, "the run that last found it"),
            Column("resolved_run", _TEXT, "the run that no longer found it; NULL while it is open"),
        ),
        "Policies: violations, open and resolved (lakeflow_job_meta)",
    )


def ensure(tables: Tables, definition: TableDefinition) -> None:
    """Make the table, or check that the one that is there has its columns.

    Raises:
        TableMismatch: it has other columns.
    """
    found = tables.columns(definition.name)
    if found is None:
        commit(lambda: tables.create_schema(definition.name.catalog, definition.name.schema))
        commit(lambda: tables.create_table(definition))
        return
    there = {column.name.lower(): column.type.upper() for column in found}
    wrong = [
        f"{column.name} is {there.get(column.name.lower(), 'missing')}, not {column.type}"
        for column in definition.columns
        if there.get(column.name.lower()) != column.type
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise TableMismatch(
            f"{definition.name} is another table than this needs: {', '.join(wrong[:5])}{more}; "
            "name another table, or rename that one and let this one be made"
        )
