"""Parquet files: what they hold, whether they are what they say, and their checksum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakeflow_job_meta.datasets.columns import batch_rows, landed_names, type_name
from lakeflow_job_meta.datasets.json_values import json_value
from lakeflow_job_meta.errors import DatasetError
from lakeflow_job_meta.ports import sha256_of

_BLOCK = 1024 * 1024
#: Rows that are kept as a preview.
SAMPLE = 10


@dataclass(frozen=True, slots=True)
class Described:
    """What a Parquet file holds.

    Args:
        schema: `[{"name": ..., "dtype": ...}]`.
        sample_rows: the first rows, values that JSON has.
    """

    rows: int
    bytes: int
    sha256: str
    schema: tuple[dict[str, Any], ...]
    sample_rows: tuple[dict[str, Any], ...]


def check_parquet(path: Path, shown: str) -> int:
    """The number of rows of a Parquet file.

    Raises:
        DatasetError: its first bytes or its footer are not those of a Parquet file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"PAR1":
            raise DatasetError(f"{shown} is no Parquet file: its first bytes say so")
        return int(parquet.read_metadata(path).num_rows)
    except OSError as error:
        if isinstance(error, pa.ArrowException):
            raise DatasetError(f"{shown} is a damaged Parquet file: {_line(error)}") from error
        raise DatasetError(f"{shown} cannot be read: {error.strerror or _line(error)}") from error
    except pa.ArrowException as error:
        raise DatasetError(f"{shown} is a damaged Parquet file: {_line(error)}") from error


def describe(path: Path, shown: str) -> Described:
    """What the Parquet file at `path` holds. Raises DatasetError as `check_parquet` does."""
    from pyarrow import parquet

    rows = check_parquet(path, shown)
    with parquet.ParquetFile(path) as file:
        schema = tuple({"name": field.name, "dtype": type_name(field.type)} for field in file.schema_arrow)
        first = next(file.iter_batches(batch_size=SAMPLE), None)
    sample = tuple(json_value(row) for row in first.to_pylist()) if first is not None else ()
    with path.open("rb") as file:
        sha256 = sha256_of(file)
    return Described(rows, path.stat().st_size, sha256, schema, sample[:SAMPLE])


def take_parquet(source: Path, target: Path, *, shown: str) -> tuple[int, dict[str, str]]:
    """A Parquet file that somebody brought, checked and written anew; returns its rows, and `landed_names`' changes.

    Raises:
        DatasetError: it is damaged, has no rows or columns, or two columns have one name.
    """
    import pyarrow as pa
    from pyarrow import parquet

    rows = check_parquet(source, shown)
    if not rows:
        raise DatasetError(f"{shown} has no rows: there is nothing to take")
    try:
        with parquet.ParquetFile(source) as file:
            names, renamed = landed_names(file.schema_arrow.names, shown)
            schema = _storable(file.schema_arrow, names)
            with parquet.ParquetWriter(target, schema, compression="snappy") as writer:
                for batch in file.iter_batches(batch_size=batch_rows(len(names))):
                    columns = [
                        column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)
                    ]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{shown} is a damaged Parquet file: {_line(error)}") from error
    return rows, renamed


def _storable(schema: Any, names: Sequence[str]) -> Any:
    """The schema with these names, without metadata; a column that has no type, since all of it is null, becomes text as in CSV."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(name, pa.string() if pa.types.is_null(field.type) else field.type)
            for name, field in zip(names, schema, strict=True)
        ]
    )


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
