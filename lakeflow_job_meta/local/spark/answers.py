"""Results that the gateway gives itself: rows as the relation that a client then collects."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import ExecutePlanResponse, Relation

Columns = Sequence[tuple[str, str]]
"""Name and Spark type of each column."""


def _arrow_type(text: str) -> Any:
    import pyarrow as pa

    simple = {
        "string": pa.string(),
        "bigint": pa.int64(),
        "int": pa.int32(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "array<string>": pa.list_(pa.string()),
        "map<string,string>": pa.map_(pa.string(), pa.string()),
    }
    return simple[text]


def _arrow_value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "timestamp":
        return value * 1000
    return list(dict(value).items()) if kind == "map<string,string>" else value


def relation(columns: Columns, rows: Iterable[Sequence[Any]] = ()) -> Relation:
    """A relation with these rows; without columns it is what a statement without a result gives.

    Args:
        columns: types out of string, bigint, int, boolean, timestamp (milliseconds since the
            epoch as int), array<string>, map<string,string>.
        rows: one value a column; None is NULL.
    """
    import pyarrow as pa
    from pyspark.sql.connect.proto import Relation

    result = Relation()
    if not columns:
        result.local_relation.schema = "struct<>"
        return result
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    arrays = []
    for (_, kind), column in zip(columns, values, strict=True):
        arrays.append(pa.array([_arrow_value(value, kind) for value in column], _arrow_type(kind)))
    table = pa.table(arrays, names=[name for name, _ in columns])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    result.local_relation.data = sink.getvalue().to_pybytes()
    result.local_relation.schema = ", ".join(f"`{name}` {kind}" for name, kind in columns)
    return result


def rows(result: Relation) -> list[dict[str, Any]]:
    """The rows of a small result of Sail."""
    import pyarrow as pa

    if result.WhichOneof("rel_type") != "local_relation" or not result.local_relation.data:
        return []
    found: list[dict[str, Any]] = pa.ipc.open_stream(result.local_relation.data).read_all().to_pylist()
    return found


def responses(session: str, operation: str, result: Relation | None) -> list[ExecutePlanResponse]:
    """The stream that answers a SQL statement (or, without a result, a command)."""
    from pyspark.sql.connect.proto import ExecutePlanResponse

    def response() -> ExecutePlanResponse:
        return ExecutePlanResponse(
            session_id=session,
            server_side_session_id=session,
            operation_id=operation,
            response_id=str(uuid.uuid4()),
        )

    stream = []
    if result is not None:
        answer = response()
        answer.sql_command_result.relation.CopyFrom(result)
        stream.append(answer)
    done = response()
    done.result_complete.SetInParent()
    return [*stream, done]
