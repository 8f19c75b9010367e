"""One sync of one dataset as its tasks see it: what is to be synced, where to, and what was done so far."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.control.commit import commit
from lakeflow_job_meta.datasets import naming, paths, tenancy
from lakeflow_job_meta.datasets import tables as definitions
from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.failures import StepFailed
from lakeflow_job_meta.datasets.model import EventRow, Phase, Status, Step, Targets
from lakeflow_job_meta.datasets.tables import SCHEMA, DatasetTables
from lakeflow_job_meta.errors import TableNotFound, UsageError
from lakeflow_job_meta.names import canonical_json
from lakeflow_job_meta.ports import Catalog, Tables, Volumes

if TYPE_CHECKING:
    from lakeflow_job_meta.task_context import TaskContext

JsonObject = dict[str, Any]
#: Keys that no config of a dataset may have: credentials belong to the workspace.
_SECRET = ("token", "password", "secret", "api_key", "access_key")


@dataclass(frozen=True)
class Sync:
    """One sync: a version of a dataset, in one run.

    Args:
        source_config, target_config, settings: of the dataset's row, as it was accepted.
        version: that this run syncs; a newer one may be accepted already.
        attempt: of this task in its run, from 1.
        repair: how often the run was repaired before.
    """

    module_name: str
    source_id: str
    source_config: Mapping[str, Any]
    target_config: Mapping[str, Any]
    settings: Mapping[str, Any]
    names: DatasetTables
    tables: Tables
    volumes: Volumes
    clock: Callable[[], datetime]
    log: Callable[..., None]
    version: int
    run_id: str
    job_id: int | None = None
    attempt: int = 1
    repair: int = 0
    workspace_id: str = ""
    catalog: Callable[[], Catalog] | None = None

    @property
    def dataset_id(self) -> str:
        return str(self.source_config.get("dataset_id") or "")

    @property
    def tenant_id(self) -> str:
        return str(self.source_config.get("tenant_id") or "")

    @property
    def row_count_local(self) -> int | None:
        """Rows of the landed file, as they were counted at the upload; None for another version."""
        known = self.source_config.get("row_count")
        return int(known) if known is not None and self._is_newest else None

    @property
    def _is_newest(self) -> bool:
        return self.version == int(self.source_config.get("version") or 0)

    @cached_property
    def events(self) -> Events:
        return Events(self.tables, self.names.events, self.names.status)

    @property
    def path(self) -> str:
        """The landed file of this version, inside the tenant's own folder.

        Raises:
            DatasetError: it lies elsewhere.
        """
        given = str(self.source_config.get("path") or "")
        newest = self.source_config.get("version")
        end = f"/{naming.tenant_part(self.tenant_id)}/{self.dataset_id}/{newest}.parquet"
        landing = given[: -len(end)] if given.endswith(end) else "/Volumes/the tenant's own landing folder"
        paths.check_path(given, landing, self.tenant_id, self.dataset_id)
        return paths.landed_path(landing, self.tenant_id, self.dataset_id, self.version)

    @property
    def targets(self) -> Targets:
        """The two tables, in the tenant's own catalog.

        Raises:
            DatasetError: they lie elsewhere.
        """
        bronze = self.settings.get("bronze") or {}
        location = str(bronze.get("external_location") or "") if bronze.get("mode") == "external" else ""
        name = str(self.source_config.get("dataset_name") or "")
        found = naming.targets(self.tenant_id, name, self.target_config, location)
        return tenancy.check_targets(self.tenant_id, found)

    def check(self) -> None:
        """Refuse a row that cannot be synced, whatever is tried.

        Raises:
            StepFailed, DatasetError: with everything that is missing or not allowed.
        """
        missing = [
            name
            for name in ("tenant_id", "dataset_id", "path", "version")
            if not self.source_config.get(name)
        ]
        if missing:
            raise StepFailed(
                "refused", f"source_config of {self.source_id} lacks {', '.join(missing)}: upload it again"
            )
        for name, config in (("source_config", self.source_config), ("target_config", self.target_config)):
            for key in config:
                if any(word in str(key).lower() for word in _SECRET):
                    raise StepFailed(
                        "refused",
                        f"{name} of {self.source_id} has {key!r}: credentials belong to the workspace, "
                        "which the task runs in; take it out and change the credential",
                    )
        bronze = self.settings.get("bronze") or {}
        if bronze.get("mode") == "external" and not bronze.get("external_location"):
            raise StepFailed("refused", "bronze.mode external needs bronze.external_location")

    # ------------------------------------------------------------ events and steps

    def event(self, status: Status, phase: Phase | None = None, **more: Any) -> list[EventRow]:
        """Write one event of this run; returns it, or nothing when it may not follow what happened."""
        event = EventRow(
            dataset_id=self.dataset_id,
            tenant_id=self.tenant_id,
            version=self.version,
            status=status,
            at=self.clock(),
            source_id=self.source_id,
            module_name=self.module_name,
            phase=phase,
            attempt=self.attempt,
            workspace_id=self.workspace_id,
            job_id=self.job_id,
            run_id=self.run_id,
            row_count_local=self.row_count_local,
            **more,
        )
        return self.events.append([event])

    def write_step(self, step: Step) -> None:
        """Write what an attempt did into the ledger; makes the table when it is not there."""
        definition = definitions.steps(self.names.steps)
        row = {
            one.name: getattr(step, one.name) for one in fields(step) if one.name not in ("table", "detail")
        }
        row |= {
            "phase": step.phase.value,
            "table_name": step.table or None,
            "error": step.error or None,
            "error_class": step.error_class or None,
            "detail": canonical_json(dict(step.detail)),
        }
        try:
            commit(lambda: self.tables.append(definition, [row]))
        except TableNotFound:
            commit(lambda: self.tables.create_table(definition))
            commit(lambda: self.tables.append(definition, [row]))

    def steps(self) -> list[Step]:
        """What the attempts of this run did so far, oldest first."""
        try:
            rows = self.tables.query(
                f"SELECT * FROM {self.names.steps.quoted} WHERE `dataset_id` = :dataset_id AND `run_id` = :run_id "
                "AND `version` = :version ORDER BY `started_at`, `ended_at`",
                {"dataset_id": self.dataset_id, "run_id": self.run_id, "version": self.version},
            )
        except TableNotFound:
            return []
        return [_step(row) for row in rows]


def from_context(context: TaskContext) -> Sync:
    """The sync that a task was started for.

    Raises:
        UsageError: a parameter of the task is wrong.
    """
    source = context.source
    parameters = context.parameters
    given = source.source_config.get("version")
    return Sync(
        module_name=context.module.module_name,
        source_id=source.source_id,
        source_config=source.source_config,
        target_config=source.target_config,
        settings=source.settings,
        names=DatasetTables(
            context.control_table,
            str(source.target_config.get("schema") or context.environment.get(SCHEMA, "")),
        ),
        tables=context.tables,
        volumes=context.volumes,
        clock=context.clock,
        log=context.log,
        version=_number(parameters, "version", int(given or 0)),
        run_id=context.run_id,
        job_id=_number(parameters, "job_id", 0) or None,
        attempt=max(1, _number(parameters, "attempt", 1)),
        repair=_number(parameters, "repair", 0),
        workspace_id=context.workspace().workspace_id,
        catalog=context.catalog,
    )


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name, "")
    if not text or text.startswith("{{"):  # a reference that this platform does not know stays as it is
        return default
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"--{name} must be a whole number, not {text!r}") from error


def _step(row: Mapping[str, Any]) -> Step:
    known = {one.name for one in fields(Step)} - {"table", "detail", "phase"}
    values: JsonObject = {name: row[name] for name in known}
    for name in ("error", "error_class"):
        values[name] = values[name] or ""
    values["repair"] = int(values["repair"] or 0)
    return Step(
        **values,
        phase=Phase(row["phase"]),
        table=row["table_name"] or "",
        detail=json.loads(row["detail"] or "{}"),
    )
