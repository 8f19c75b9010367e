"""SQL tasks: a saved query or a file, on the workspace's own Spark session, without any process."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.runs.tasks import TaskContext, TaskFailure, refuse

Json = dict[str, Any]
T = TypeVar("T")

_ROWS_KEPT = 1000
_BYTES_KEPT = 1 << 20


class NoSql:
    """Stands in for Spark in a workspace that was started without it."""

    def run(
        self, sql: str, parameters: Mapping[str, Any], catalog: str | None = None, schema: str | None = None
    ) -> Any:
        raise LocalError("this workspace was started without Spark: it runs no SQL; start it with Spark")

    def script(self, sql: str, parameters: Mapping[str, Any]) -> Any:
        return self.run(sql, parameters)


def run_sql(context: TaskContext) -> None:
    """Runs a sql_task; its last result's first rows stay in the output.

    Raises:
        TaskFailure: the statement failed, or it is an alert or a dashboard.
    """
    task = context.task["sql_task"]
    for kind in ("alert", "dashboard"):
        if task.get(kind) is not None:
            raise refuse(f"the embedded workspace cannot run sql_task with {kind}; run it on Databricks")
    given = {
        **(task.get("parameters") or {}),
        **(context.run.request.get("sql_params") or {}),
        **context.job_parameters,
    }
    sql = context.services.sql
    if task.get("query") is not None:
        query = _query(context, task["query"]["query_id"])
        text = query.get("query_text", "")
        values = _used(
            text, {**_declared(query, given), **{k: v for k, v in given.items() if k not in _names(query)}}
        )
        results = _until_stopped(
            context, lambda: [sql.run(text, values, query.get("catalog"), query.get("schema"))]
        )
    else:
        text = _file(context, task["file"])
        results = _until_stopped(context, lambda: sql.script(text, _used(text, given)))
    _keep(context, text, task.get("warehouse_id", ""), results)


def _query(context: TaskContext, query_id: str) -> Json:
    query = context.services.queries.get(query_id)
    if query is None or query.get("lifecycle_state") == "TRASHED":
        raise TaskFailure(f"Query {query_id} does not exist or is in the trash.", code="RESOURCE_NOT_FOUND")
    return query


def _file(context: TaskContext, file: Json) -> str:
    if file.get("source") == "GIT":
        raise refuse("the embedded workspace checks out no Git repository: set source to WORKSPACE")
    path = context.services.file(file["path"])
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as e:
        raise TaskFailure(f"SQL file {file['path']} does not exist.", code="RESOURCE_NOT_FOUND") from e
    except (OSError, UnicodeDecodeError) as e:
        raise TaskFailure(f"SQL file {file['path']} cannot be read: {e}") from e


def _names(query: Json) -> set[str]:
    return {parameter.get("name", "") for parameter in query.get("parameters") or []}


def _declared(query: Json, given: dict[str, str]) -> dict[str, Any]:
    """Values of the parameters that a query declares, with the SQL type of each."""
    found: dict[str, Any] = {}
    for parameter in query.get("parameters") or []:
        name = parameter.get("name", "")
        default, kind = _default(parameter)
        value = given.get(name, default)
        if kind == "NUMBER" and value is not None:
            kind = "BIGINT" if re.fullmatch(r"[+-]?\d+", value.strip()) else "DOUBLE"
        found[name] = (value, "STRING" if kind == "NUMBER" else kind)
    return found


def _default(parameter: Json) -> tuple[str | None, str]:
    if parameter.get("numeric_value") is not None:
        value = parameter["numeric_value"].get("value")
        number = value if not isinstance(value, float) or not value.is_integer() else int(value)
        return (None if value is None else str(number)), "NUMBER"
    if parameter.get("date_value") is not None:
        date = parameter["date_value"]
        precise = date.get("precision", "DAY_PRECISION") != "DAY_PRECISION"
        return date.get("date_value"), "TIMESTAMP" if precise else "DATE"
    if parameter.get("enum_value") is not None:
        return next(iter(parameter["enum_value"].get("values") or []), None), "STRING"
    return (parameter.get("text_value") or {}).get("value"), "STRING"


def _used(text: str, values: dict[str, Any]) -> dict[str, Any]:
    """The parameters that the text names; job parameters are pushed to every task, used or not."""
    names = set(re.findall(r":([A-Za-z_]\w*)", text))
    return {name: value for name, value in values.items() if name in names}


def _until_stopped(context: TaskContext, work: Callable[[], T]) -> T:
    """What `work` returns; a statement that is asked to stop is left to end by itself."""
    done = threading.Event()
    box: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with context.services.statements:
                if not context.stop.reason:
                    box.append(work())
        except BaseException as e:  # noqa: BLE001  # handed on to the waiting thread, whatever it is
            raised.append(e)
        finally:
            done.set()

    threading.Thread(target=run, name=f"sql-{context.record.run_id}", daemon=True).start()
    with context.stop.listen(done.set):
        done.wait()
    if raised:
        raise raised[0]
    if not box:
        raise TaskFailure(f"The statement was {context.stop.reason or 'stopped'}.")
    return box[0]


def _keep(context: TaskContext, text: str, warehouse_id: str, results: Any) -> None:
    last = results[-1] if results else None
    names = [column[0] for column in last.columns] if last is not None else []
    rows: list[Json] = []
    size = 0
    for row in (last.rows if last is not None else [])[:_ROWS_KEPT]:
        size += sum(len(str(value)) for value in row)
        if size > _BYTES_KEPT:
            break
        rows.append({name: _redacted(context, value) for name, value in zip(names, row, strict=True)})
    context.record.output.update(
        query_text=context.redact(text),
        warehouse_id=warehouse_id,
        rows=rows,
        statements=len(results),
        columns=names,
    )


def _redacted(context: TaskContext, value: Any) -> Any:
    return context.redact(value) if isinstance(value, str) else value
