"""What Databricks puts into every task: `spark`, `dbutils`, `display`, and the modules that give them."""

from __future__ import annotations

import builtins
import sys
import types
from typing import Any

from .dbutils import DBUtils

_DISPLAY_ROWS = 20


class LazySpark:
    """`spark`, connected at its first use: importing pyspark takes a second that few tasks need."""

    @property  # type: ignore[misc]  # so that isinstance says what the session is
    def __class__(self) -> Any:
        return type(session())

    def __getattr__(self, name: str) -> Any:
        return getattr(session(), name)

    def __repr__(self) -> str:
        return repr(session())


def session() -> Any:
    """The Spark session of this task."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


def close() -> None:
    """Ends the Spark session when one was opened."""
    pyspark = sys.modules.get("pyspark.sql")
    active = pyspark.SparkSession.getActiveSession() if pyspark is not None else None
    if active is not None:
        try:
            active.stop()
        except Exception as e:  # noqa: BLE001  # outermost boundary: the task's own result stands
            print(f"spark.stop(): {type(e).__name__}", file=sys.stderr)


def display(*values: Any, **_: Any) -> None:
    """Prints tables as text; a DataFrame's first 20 rows."""
    for value in values:
        show = getattr(value, "show", None)
        if callable(show) and hasattr(value, "columns"):
            show(_DISPLAY_ROWS, truncate=False)
        else:
            print(value)


def namespace(dbutils: DBUtils) -> dict[str, Any]:
    """The names that notebooks and Python files find without an import."""
    spark = LazySpark()
    return {
        "spark": spark,
        "dbutils": dbutils,
        "display": display,
        "displayHTML": print,
        "getArgument": dbutils.widgets.getArgument,
        "sql": lambda query, **keywords: session().sql(query, **keywords),
        "table": lambda name: session().table(name),
    }


def install(dbutils: DBUtils) -> dict[str, Any]:
    """Puts the names into builtins, and makes the imports work that Databricks offers for them.

    `pyspark.dbutils.DBUtils`, `databricks.sdk.runtime` and `databricks.connect.DatabricksSession`.
    """
    names = namespace(dbutils)
    for name in ("spark", "dbutils", "display", "displayHTML"):
        setattr(builtins, name, names[name])
    _module("pyspark.dbutils", DBUtils=lambda *_: dbutils)
    initializer = types.SimpleNamespace(get_namespace_globals=lambda: names)
    _module("dbruntime", UserNamespaceInitializer=types.SimpleNamespace(getOrCreate=lambda: initializer))
    if "databricks.connect" not in sys.modules:
        _module("databricks.connect", DatabricksSession=types.SimpleNamespace(builder=_Builder()))
    return names


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


class _Builder:
    """`DatabricksSession.builder`: however it is configured, the session is this task's."""

    def getOrCreate(self) -> Any:  # noqa: N802
        return session()

    create = getOrCreate

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self
