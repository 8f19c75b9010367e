"""The settings of `sql_policy`: read from the source's configs, every mistake told at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from lakeflow_job_meta.errors import LakeflowJobMetaError, PolicyError, UsageError, VolumeError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies import definition
from lakeflow_job_meta.policies.definition import Broken, Policy
from lakeflow_job_meta.policies.inputs import Ledger
from lakeflow_job_meta.policies.run import MAX_ROWS
from lakeflow_job_meta.policies.statement import check
from lakeflow_job_meta.ports import Volumes

JsonObject = dict[str, Any]
_TEXT: JsonObject = {"type": "string", "minLength": 1}
_VALUE: JsonObject = {
    "anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}},
    ]
}
_VALUES: JsonObject = {"type": "object", "additionalProperties": _VALUE}
_POLICY: JsonObject = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {
            **_TEXT,
            "description": "Its name in the tables; default: the shipped policy's, or the file's.",
        },
        "policy": {**_TEXT, "description": "A shipped policy, to be changed by the other keys."},
        "sql": {**_TEXT, "description": "One SELECT that returns the violating rows."},
        "sql_file_path": {
            **_TEXT,
            "description": "A .sql file, below /Workspace or /Volumes; its header may say the rest.",
        },
        "description": {**_TEXT, "description": "What it finds."},
        "severity": {
            "type": "string",
            "enum": list(definition.SEVERITIES),
            "description": "Default: medium.",
        },
        "key": {
            "anyOf": [_TEXT, {"type": "array", "items": _TEXT}],
            "description": "Columns that name a violation over runs. Default: all of them.",
        },
        "parameters": {**_VALUES, "description": "Values of the named parameters (`:name`)."},
        "max_violations": {"type": "integer", "minimum": 0, "description": "So many pass. Default: 0."},
        "on_violation": {
            "type": "string",
            "enum": list(definition.ON_VIOLATION),
            "description": "What more are: a FAIL, and the task fails after all is recorded, or a WARN. Default: fail.",
        },
    },
}
#: JSON Schema of each key of a `sql_policy` source.
KEYS: Mapping[str, JsonObject] = {
    "table": {
        **_TEXT,
        "description": "The table to check, catalog.schema.table: policies read its newest day as `snapshot`, all of "
        "it as `history`. A snapshot of dxr_snapshot, a metadata table of dxr_collect, or any other.",
    },
    "metadata_table": {
        **_TEXT,
        "description": "The metadata table of dxr_collect: the ledger of what was sent lies beside it. "
        "Default: beside `table`.",
    },
    "checkpoint_table": {
        **_TEXT,
        "description": "The ledger's dxr_checkpoints: with it files of a snapshot that were sent to the on-demand "
        "classifier have the path and the time of their source. Default: dxr_checkpoints, if there.",
    },
    "jobs_table": {**_TEXT, "description": "The ledger's dxr_jobs. Default: dxr_jobs, if there."},
    "tables": {
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "Further tables, by the word that policies call them.",
    },
    "policies": {
        "anyOf": [_TEXT, _POLICY, {"type": "array", "minItems": 1, "items": {"anyOf": [_TEXT, _POLICY]}}],
        "description": "Each the name of a shipped policy, the path of a .sql file, or an object. "
        "Default: all that are shipped.",
    },
    "parameters": {
        **_VALUES,
        "description": "Values for every policy that has a parameter of that name; a name that none has is refused.",
    },
    "results_table": {**_TEXT, "description": "Default: policy_results in the schema of `table`."},
    "violations_table": {**_TEXT, "description": "Default: policy_violations in the schema of `table`."},
    "warehouse_id": {
        **_TEXT,
        "description": "SQL warehouse that runs the policies. Default: the task's own Spark.",
    },
    "export_path": {
        **_TEXT,
        "description": "Folder below /Volumes for results and violations as CSV and JSON, a folder a run. Default: none.",
    },
    "views": {
        "type": "boolean",
        "description": "Make the dashboard's views beside the results. Default: true.",
    },
    "max_rows": {
        "type": "integer",
        "minimum": 1,
        "description": f"Violating rows of one policy that are kept; all are counted. Default: {MAX_ROWS}.",
    },
}


@dataclass(frozen=True)
class PolicySettings:
    """What one run of policies is told.

    Args:
        table: the checked table; None when every policy names its own.
        ledger: what dxr_ingest sent; None without a table.
        tables: further tables, by the word that policies call them.
        policies: each a name of a shipped policy, the path of a `.sql` file, or an object.
        parameters: values for all policies that have a parameter of that name; one at least has.
        further: the same, where none need have: parameters of the run.
        results, violations: tables to write; None: beside the checked table.
        export_path: folder below `/Volumes` for CSV and JSON; empty: none.
        views: whether the dashboard's views are made.
        max_rows: violating rows of one policy that are kept.
    """

    table: TableName | None = None
    ledger: Ledger | None = None
    tables: Mapping[str, TableName] = field(default_factory=dict)
    policies: Sequence[Any] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    further: Mapping[str, Any] = field(default_factory=dict)
    results: TableName | None = None
    violations: TableName | None = None
    warehouse_id: str = ""
    export_path: str = ""
    views: bool = True
    max_rows: int = MAX_ROWS

    @property
    def beside(self) -> TableName:
        """The table whose schema our tables lie in. Raises UsageError when none is known."""
        for table in (self.table, self.results, self.violations):
            if table is not None:
                return table
        raise UsageError("no table to check: give `table`, or name results_table and violations_table")


def read(given: Mapping[str, Any]) -> PolicySettings:
    """The settings from a source's configs. Raises UsageError naming the first that is wrong."""
    policies = given.get("policies") or ()
    path = str(given.get("export_path") or "").rstrip("/")
    if path and not path.startswith("/Volumes/"):
        raise UsageError(f"export_path must be a folder below /Volumes, not {path!r}")
    table = _table(given.get("table"))
    beside = _table(given.get("metadata_table")) or table
    named = (_table(given.get("checkpoint_table")), _table(given.get("jobs_table")))
    return PolicySettings(
        table=table,
        ledger=None if beside is None else Ledger.beside(beside, *named),
        tables={name: TableName.parse(str(one)) for name, one in (given.get("tables") or {}).items()},
        policies=(policies,) if isinstance(policies, (str, Mapping)) else tuple(policies),
        parameters=given.get("parameters") or {},
        results=_table(given.get("results_table")),
        violations=_table(given.get("violations_table")),
        warehouse_id=str(given.get("warehouse_id") or ""),
        export_path=path,
        views=given.get("views", True) is not False,
        max_rows=int(given.get("max_rows") or MAX_ROWS),
    )


def _table(value: Any) -> TableName | None:
    return TableName.parse(str(value)) if value else None


def load(settings: PolicySettings, volumes: Volumes) -> list[Policy | Broken]:
    """The policies of a run: the shipped ones when none is named. What cannot be read is Broken.

    Raises:
        UsageError: a name that no shipped policy has, or a parameter that none of the policies has.
        PolicyError: two have one name.
    """
    wanted: Sequence[Any] = settings.policies or tuple(definition.shipped())
    found = [_one(one, volumes) for one in wanted]
    _refuse_unused(found, settings.parameters)
    values = {**settings.parameters, **settings.further}
    return definition.unique(_given(policy, values) for policy in found)


def _refuse_unused(policies: Sequence[Policy | Broken], values: Mapping[str, Any]) -> None:
    """Raises UsageError naming a value that no policy takes; a typo would leave the default in force."""
    known: set[str] = set()
    for policy in policies:
        if isinstance(policy, Broken):
            return
        try:
            known.update(policy.parameters, check(policy.sql, origin=policy.origin).parameters)
        except PolicyError:
            return
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UsageError(
                f"none of the policies has a parameter {name!r}{hint}; they have {', '.join(sorted(known)) or 'none'}"
            )


def _given(policy: Policy | Broken, values: Mapping[str, Any]) -> Policy | Broken:
    """The policy with the values that are for all: those of its parameters, and what its SQL alone names."""
    if isinstance(policy, Broken):
        return policy
    try:
        return policy.given(values)
    except PolicyError as e:
        return Broken(policy.name, str(e), policy.severity, policy.on_violation, policy.max_violations)


def _one(wanted: Any, volumes: Volumes) -> Policy | Broken:
    if isinstance(wanted, str):
        if not wanted.endswith(".sql"):
            return definition.shipped_policy(wanted)
        return _careful({}, wanted, volumes)
    return _careful(wanted, str(wanted.get("sql_file_path") or ""), volumes)


def _careful(given: Mapping[str, Any], path: str, volumes: Volumes) -> Policy | Broken:
    """A policy from an object or a file; an error is its own."""
    said = {key: value for key, value in given.items() if key not in {"sql", "sql_file_path", "policy"}}
    try:
        if given.get("sql"):
            return definition.from_mapping(
                said, sql=str(given["sql"]), origin=str(given.get("name") or "policy")
            )
        if path:
            return definition.changed(definition.from_text(_file(path, volumes), path), said)
        if given.get("policy"):
            return definition.changed(definition.shipped_policy(str(given["policy"])), said)
        raise PolicyError(
            f"policy {given.get('name')!r} has no SQL: give `sql`, `sql_file_path`, or `policy`, the name of a "
            "shipped one"
        )
    except UsageError:
        raise
    except LakeflowJobMetaError as e:
        name = str(given.get("name") or given.get("policy") or PurePosixPath(path).name.removesuffix(".sql"))
        return Broken(name or "policy", str(e), str(given.get("severity") or "medium"))


def _file(path: str, volumes: Volumes) -> str:
    try:
        return volumes.read(path).decode("utf-8-sig")
    except VolumeError as e:
        raise PolicyError(f"{e}; put {path} there, or correct the path") from e
    except UnicodeDecodeError as e:
        raise PolicyError(f"{path}: not UTF-8 text ({e.reason} at byte {e.start})") from e
