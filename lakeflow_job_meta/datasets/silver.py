"""Silver: bronze cleaned. Text columns get types, null tokens become NULL, duplicates go, names are snake_case.

The rules of types stand in `types`. A version replaces the table in one commit, so readers see the old rows or the
new ones, and a failure leaves the old ones; or, in mode `append`, it adds the rows that are new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.datasets import naming, statements, types
from lakeflow_job_meta.datasets.bronze import Written, count
from lakeflow_job_meta.datasets.columns import LINEAGE
from lakeflow_job_meta.datasets.failures import StepFailed
from lakeflow_job_meta.datasets.sync import Sync
from lakeflow_job_meta.names import TableName, quote_identifier
from lakeflow_job_meta.ports import Column, Tables

#: Columns whose types are found out in one statement.
_AT_ONCE = 40
_FLOATS = frozenset({"DOUBLE", "FLOAT"})


@dataclass(frozen=True, slots=True)
class Options:
    """How a dataset is cleaned; the settings `silver` of its row.

    Args:
        dedupe: `full_row`, `keys` or `none`.
        mode: `replace` or `append`.
    """

    infer_types: bool = True
    null_tokens: Sequence[str] = types.NULL_TOKENS
    dedupe: str = "full_row"
    keys: Sequence[str] = ()
    order_by: Sequence[str] = ()
    column_case: str = "snake"
    mode: str = "replace"
    watermark: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Options:
        """From the settings of a row; `keys` alone mean that duplicates are found by them."""
        given = dict(settings)
        if given.get("keys"):
            given["dedupe"] = "keys" if given.get("dedupe", "full_row") == "full_row" else given["dedupe"]
        elif given.get("dedupe") == "keys":
            raise StepFailed("refused", "silver.dedupe is keys, but silver.keys names no column")
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The cleaned rows as a query.

    Args:
        columns: of the query, with their SQL types.
        names: their names by the names in bronze.
        query: with duplicates still in it.
        nulls_replaced: values that became NULL.
    """

    columns: tuple[Column, ...]
    names: dict[str, str]
    query: str
    nulls_replaced: int
    inferred: dict[str, str] = field(default_factory=dict)


def write(sync: Sync) -> Written:
    """Write the silver table from the bronze one.

    Raises:
        StepFailed, LakeflowJobMetaError: see `failures.classify`; the table is as it was.
    """
    sync.check()
    targets = sync.targets
    options = Options.of(sync.settings.get("silver") or {})
    found = sync.tables.columns(targets.bronze)
    if found is None:
        raise StepFailed(
            "table_missing", f"{targets.bronze} is not there: run the bronze task first (repair the run)"
        )
    _check_version(sync, targets.bronze)
    rows_in = count(sync, targets.bronze.quoted)
    cleaned = clean(sync.tables, targets.bronze, found, options)
    keys = [column_of(cleaned, name, "keys") for name in options.keys]
    order_by = [column_of(cleaned, name, "order_by") for name in options.order_by]
    names = [column.name for column in cleaned.columns]
    query = statements.deduplicated(cleaned.query, names, options.dedupe, keys, order_by)
    kept = rows_in if options.dedupe == "none" else count(sync, f"({query}) AS `q`")
    before = sync.tables.columns(targets.silver)
    detail: dict[str, Any] = {
        "schema": {column.name: column.type for column in cleaned.columns},
        "inferred": cleaned.inferred,
        "names": {old: new for old, new in cleaned.names.items() if old != new},
        "nulls_replaced": cleaned.nulls_replaced,
        "duplicates_dropped": rows_in - kept,
        "mode": options.mode,
    }
    if before is not None:
        detail["evolution"] = evolution(before, cleaned.columns)
    if before is None or options.mode == "replace":
        _replace(sync, targets.silver, query)
        rows_out = count(sync, targets.silver.quoted)
        expected = kept
    else:
        there = count(sync, targets.silver.quoted)
        watermark = column_of(cleaned, options.watermark, "watermark") if options.watermark else ""
        added = _append(sync, targets.silver, before, cleaned.columns, query, keys, watermark)
        rows_out = count(sync, targets.silver.quoted)
        detail["rows_added"] = rows_out - there
        expected = there + added
    if rows_out != expected:
        detail["flags"] = [f"the table has {rows_out} rows, {expected} were to be written"]
    return Written(targets.silver, rows_in, rows_out, detail)


def clean(tables: Tables, bronze: TableName, found: Sequence[Column], options: Options) -> Cleaned:
    """The query that cleans the rows of a bronze table, after its text columns were looked at."""
    source = [column for column in found if column.name not in LINEAGE]
    if not source:
        raise StepFailed("refused", f"{bronze} has no columns")
    texts = [column.name for column in source if column.type in ("STRING", "VARCHAR")]
    kinds, replaced = _kinds(tables, bronze, texts, options)
    replaced += _not_numbers(tables, bronze, [one.name for one in source if one.type in _FLOATS])
    snake = (
        naming.column_names([column.name for column in source])
        if options.column_case == "snake"
        else [column.name for column in source]
    )
    inner, outer, columns, inferred = [], [], [], {}
    for number, (column, name) in enumerate(zip(source, snake, strict=True)):
        alias = quote_identifier(f"v{number}")
        if column.name in kinds:
            kind = kinds[column.name]
            inner.append(f"{types.cleaned(column.name, options.null_tokens)} AS {alias}")
            outer.append(f"{types.read(alias, kind)} AS {quote_identifier(name)}")
            columns.append(Column(name, types.SQL_TYPES[kind]))
            inferred[name] = kind
            continue
        value = quote_identifier(column.name)
        if column.type in _FLOATS:
            value = f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END"
        inner.append(f"{value} AS {alias}")
        outer.append(f"{alias} AS {quote_identifier(name)}")
        columns.append(Column(name, column.type))
    query = f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {bronze.quoted}) AS `b`"
    names = {column.name: name for column, name in zip(source, snake, strict=True)}
    return Cleaned(tuple(columns), names, query, replaced, inferred)


def _kinds(
    tables: Tables, bronze: TableName, texts: Sequence[str], options: Options
) -> tuple[dict[str, str], int]:
    """The kind of each text column, over all its values; and how many values are null tokens."""
    kinds: dict[str, str] = {}
    replaced = 0
    for start in range(0, len(texts), _AT_ONCE):
        part = texts[start : start + _AT_ONCE]
        inner, outer = [], []
        for number, name in enumerate(part):
            value = f"`v{number}`"
            inner += [
                f"{types.cleaned(name, options.null_tokens)} AS {value}",
                f"{quote_identifier(name)} AS `r{number}`",
            ]
            outer += [f"count({value}) AS `n{number}`", f"count(`r{number}`) AS `m{number}`"]
            if options.infer_types:
                outer += [
                    f"count(CASE WHEN {types.fits(value, kind)} THEN 1 END) AS `{kind}{number}`"
                    for kind in types.KINDS
                ]
        [row] = tables.query(
            f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner)} FROM {bronze.quoted}) AS `b`"
        )
        for number, name in enumerate(part):
            values = int(row[f"n{number}"])
            replaced += int(row[f"m{number}"]) - values
            kinds[name] = (
                types.decide(values, {kind: int(row[f"{kind}{number}"]) for kind in types.KINDS})
                if options.infer_types
                else "string"
            )
    return kinds, replaced


def _not_numbers(tables: Tables, bronze: TableName, floats: Sequence[str]) -> int:
    """How many values of these columns are NaN."""
    if not floats:
        return 0
    counts = " + ".join(f"count(CASE WHEN isnan({quote_identifier(name)}) THEN 1 END)" for name in floats)
    [row] = tables.query(f"SELECT {counts} AS `n` FROM {bronze.quoted}")
    return int(row["n"])


def column_of(cleaned: Cleaned, name: str, option: str) -> str:
    """The silver column that an option means, by its name in silver or in the file. Raises StepFailed."""
    known = {column.name for column in cleaned.columns}
    found = name if name in known else cleaned.names.get(name, "")
    if not found:
        raise StepFailed(
            "refused",
            f"silver.{option} names {name!r}, which is no column: there are {', '.join(sorted(known))}",
        )
    return found


def evolution(before: Sequence[Column], after: Sequence[Column]) -> dict[str, Any]:
    """What a version changed in the columns: added, dropped and retyped (from, to)."""
    old = {column.name: column.type for column in before}
    new = {column.name: column.type for column in after}
    return {
        "added": sorted(set(new) - set(old)),
        "dropped": sorted(set(old) - set(new)),
        "retyped": {
            name: [old[name], new[name]] for name in sorted(set(old) & set(new)) if old[name] != new[name]
        },
    }


def _check_version(sync: Sync, bronze: TableName) -> None:
    rows = sync.tables.query(f"SELECT max(`_version`) AS `v`, max(`_dataset_id`) AS `d` FROM {bronze.quoted}")
    version, dataset = rows[0]["v"], rows[0]["d"]
    if dataset is not None and dataset != sync.dataset_id:
        raise StepFailed(
            "refused", f"{bronze} holds dataset {dataset}, not {sync.dataset_id}: give target_config.table"
        )
    if version is not None and int(version) != sync.version:
        raise StepFailed(
            "superseded", f"{bronze} holds version {version}, not {sync.version}: another run syncs that one"
        )


def _replace(sync: Sync, silver: TableName, query: str) -> None:
    commit(lambda: sync.tables.replace_table(silver, query))


def _append(
    sync: Sync,
    silver: TableName,
    before: Sequence[Column],
    columns: Sequence[Column],
    query: str,
    keys: Sequence[str],
    watermark: str,
) -> int:
    """Add the rows that are new; returns how many were to be added."""
    old = {column.name: column.type for column in before}
    new = {column.name: column.type for column in columns}
    both = {name: types.common(old[name], new[name]) for name in old if name in new}
    merged = {name: both.get(name, old[name]) for name in old} | {n: new[n] for n in new if n not in old}
    names = [column.name for column in columns]
    typed = ", ".join(
        f"CAST({quote_identifier(name)} AS {merged[name]}) AS {quote_identifier(name)}" for name in names
    )
    there = {name: f"CAST(`t`.{quote_identifier(name)} AS {merged[name]})" for name in old if name in new}
    wanting = [name for name in ((watermark,) if watermark else keys) if name not in there]
    if wanting:
        raise StepFailed("refused", f"{silver} has no column {wanting[0]}, by which new rows are known")
    fresh = statements.only_new(
        f"SELECT {typed} FROM ({query}) AS `q`", names, silver, there=there, keys=keys, watermark=watermark
    )
    added = count(sync, f"({fresh}) AS `n`")
    if not added and merged == old:
        return 0
    full = ", ".join(
        quote_identifier(name) if name in new else f"CAST(NULL AS {kind}) AS {quote_identifier(name)}"
        for name, kind in merged.items()
    )
    rows = f"SELECT {full} FROM ({fresh}) AS `f`"
    if merged == old:
        commit(lambda: _insert(sync, silver, rows))
        return added
    kept = ", ".join(
        f"CAST({quote_identifier(name) if name in old else 'NULL'} AS {kind}) AS {quote_identifier(name)}"
        for name, kind in merged.items()
    )
    _replace(sync, silver, f"SELECT {kept} FROM {silver.quoted} UNION ALL {rows}")
    return added


def _insert(sync: Sync, silver: TableName, rows: str) -> None:
    sync.tables.query(f"INSERT INTO {silver.quoted} {rows}")
