"""SQL of bronze and silver tables, as text. Pure: identifiers quoted, values as literals, one statement each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakeflow_job_meta.names import TableName, quote_identifier


def literal(text: str) -> str:
    r"""`text` as a string literal of Spark SQL: safe for any text."""
    escaped = (
        text.replace("\\", "\\\\")
        .replace("'", "\\'")
        .replace("\n", "\\n")
        .replace("\r", "\\r")
        .replace("\t", "\\t")
    )
    return f"'{escaped}'"


def file_relation(path: str) -> str:
    """The rows of a Parquet file as a relation."""
    return f"parquet.{quote_identifier(path)}"


def bronze_query(path: str, *, dataset_id: str, version: int) -> str:
    """What the bronze table holds: every column of the file, untouched, and the lineage columns."""
    return (
        f"SELECT *, {literal(dataset_id)} AS `_dataset_id`, CAST({int(version)} AS BIGINT) AS `_version`, "
        f"current_timestamp() AS `_ingested_at`, {literal(path)} AS `_source_file` FROM {file_relation(path)}"
    )


def count(relation: str) -> str:
    """The rows of a relation or a query in parentheses."""
    return f"SELECT count(*) AS `n` FROM {relation}"


def deduplicated(
    query: str, columns: Sequence[str], mode: str, keys: Sequence[str] = (), order_by: Sequence[str] = ()
) -> str:
    """The query without its duplicates. NULLs are equal to each other.

    Args:
        columns: of the query, in order.
        mode: `none`, `full_row`, or `keys`: of the rows with one key the one with the highest `order_by`, and
            where those are equal too, the highest of the other columns, so that a repetition keeps the same row.
    """
    if mode == "none":
        return query
    names = ", ".join(quote_identifier(name) for name in columns)
    if mode == "full_row":
        return f"SELECT DISTINCT {names} FROM ({query}) AS `c`"
    rest = [name for name in columns if name not in keys and name not in order_by]
    order = ", ".join(f"{quote_identifier(name)} DESC NULLS LAST" for name in (*order_by, *rest, *keys))
    by = ", ".join(quote_identifier(name) for name in keys)
    return (
        f"SELECT {names} FROM (SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY {order}) AS `__n` "
        f"FROM ({query}) AS `c`) AS `d` WHERE `__n` = 1"
    )


def only_new(
    query: str,
    columns: Sequence[str],
    table: TableName,
    *,
    there: Mapping[str, str],
    keys: Sequence[str] = (),
    watermark: str = "",
) -> str:
    """Of the query's rows those that the table has not yet: above its watermark, or with a new key (or a new row).

    Args:
        there: columns that the table has, each as the expression over `t` that compares with the query's.
    """
    names = ", ".join(f"`s`.{quote_identifier(name)}" for name in columns)
    if watermark:
        mark = quote_identifier(watermark)
        return (
            f"SELECT {names} FROM ({query}) AS `s` CROSS JOIN (SELECT max({there[watermark]}) AS `m` "
            f"FROM {table.quoted} AS `t`) AS `w` WHERE `m` IS NULL OR `s`.{mark} > `m`"
        )
    compared = [name for name in (keys or columns) if name in there]
    same = " AND ".join(f"{there[name]} <=> `s`.{quote_identifier(name)}" for name in compared)
    return f"SELECT {names} FROM ({query}) AS `s` LEFT ANTI JOIN {table.quoted} AS `t` ON {same}"
