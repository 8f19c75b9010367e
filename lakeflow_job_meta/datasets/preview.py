"""What a dataset looks like: its columns with some of their values, and figures about them, by DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lakeflow_job_meta.datasets.local_types import view_of
from lakeflow_job_meta.datasets.model import Dataset
from lakeflow_job_meta.datasets.query import VIEW, query_file, quoted

#: Distinct values that are shown of a column.
VALUES = 5


def preview(dataset: Dataset, path: Path) -> dict[str, Any]:
    """Columns with up to five distinct values each, figures, and the first rows.

    Args:
        path: the landed file on this machine.

    Raises:
        DatasetError: the file cannot be read.
    """
    names = [str(column["name"]) for column in dataset.schema]
    seen = view_of(dataset.schema)
    values = ", ".join(
        f"list_slice(list_sort(list(DISTINCT {quoted(name)}) FILTER ({quoted(name)} IS NOT NULL)), 1, {VALUES})"
        for name in names
    )
    nulls = ", ".join(f"count(*) - count({quoted(name)})" for name in names)
    extremes = ", ".join(f"min({quoted(name)}), max({quoted(name)})" for name in names)
    [sampled] = query_file(path, f"SELECT {values} FROM (SELECT * FROM {VIEW} LIMIT 10000)", view=seen).rows
    [counted] = query_file(path, f"SELECT {nulls}, {extremes} FROM {VIEW}", view=seen).rows
    averages = _averages(dataset, path)
    columns = []
    for place, column in enumerate(dataset.schema):
        least, most = counted[len(names) + 2 * place : len(names) + 2 * place + 2]
        columns.append(
            {
                **column,
                "sample_values": sampled[place] or [],
                "nulls": counted[place],
                "min": least,
                "max": most,
                "avg": averages.get(str(column["name"])),
            }
        )
    return {
        "id": dataset.dataset_id,
        "name": dataset.name,
        "version": dataset.version,
        "row_count": dataset.row_count_local,
        "columns": columns,
        "sample_rows": list(dataset.sample_rows),
    }


def _averages(dataset: Dataset, path: Path) -> dict[str, Any]:
    """The mean of every column of numbers."""
    names = [
        str(one["name"])
        for one in dataset.schema
        if one.get("inferred", one["dtype"]) in ("bigint", "double")
    ]
    if not names:
        return {}
    means = ", ".join(f"avg({quoted(name)})" for name in names)
    [row] = query_file(path, f"SELECT {means} FROM {VIEW}", view=view_of(dataset.schema)).rows
    return dict(zip(names, row, strict=True))
