"""The importer: jobs that exist, written as metadata YAML. Reads only; files are all that it writes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lakeflow_job_meta.control.job_records import JobRecords
from lakeflow_job_meta.errors import MetadataError, UsageError
from lakeflow_job_meta.jobs.references import resolve
from lakeflow_job_meta.jobs.render import render
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.files import read_metadata
from lakeflow_job_meta.metadata.writing import write_metadata
from lakeflow_job_meta.names import MODULE_TAG, TABLE_TAG, TableName, module_tag, table_tag
from lakeflow_job_meta.ports import RemoteJob
from lakeflow_job_meta.reconcile.actions import Change
from lakeflow_job_meta.reconcile.diff import diff
from lakeflow_job_meta.reconcile.retirement import held_pause, with_pause
from lakeflow_job_meta.reconcile.transcription import RESERVED, module_name, transcribe
from lakeflow_job_meta.runtime import Runtime
from lakeflow_job_meta.settings import Settings

JsonObject = dict[str, Any]

_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED_PATH = re.compile(rf"\.notebook_task\.base_parameters\.({'|'.join(RESERVED)})$")
#: Package and entry point of the monitor's task.
_MONITOR = ("lakeflow_job_meta", "lakeflow-job-meta-monitor")
#: Changes that adoption makes to every job, however little it takes over.
_OUR_TAGS = (f"tags.{TABLE_TAG}", f"tags.{MODULE_TAG}")


@dataclass(frozen=True, slots=True)
class Imported:
    """One job as a module.

    Args:
        job_id: the job it was read from; None for a bundle's, until its job is found by name.
        job_name: name of the job.
        notes: what is to be known about it, a sentence each.
        owned: it is this control table's job already, written from the definition that was accepted.
        origin: what it was read from, for people.
    """

    module: str
    definition: ModuleDefinition
    job_id: int | None = None
    job_name: str = ""
    notes: tuple[str, ...] = ()
    owned: bool = False
    origin: str = ""

    @property
    def text(self) -> str:
        """Its YAML file."""
        return write_metadata([self.definition], [f"Imported from {self.origin}.", *self.notes])


@dataclass(frozen=True, slots=True)
class Skipped:
    """A job that was not written as metadata, and why.

    Args:
        failed: it was asked for, or cannot be said as metadata; else it is simply nobody's to import.
    """

    job_id: int | None
    name: str
    reason: str
    failed: bool = True

    def __str__(self) -> str:
        named = f" ({self.name})" if self.name else ""
        what = f"job {self.job_id}{named}" if self.job_id is not None else self.name
        return f"{what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Import:
    """What an import found, in order of module name."""

    modules: tuple[Imported, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One YAML file with all of it."""
        comments = [
            f"{one.module}: {line}" for one in self.modules for line in (f"from {one.origin}", *one.notes)
        ]
        return write_metadata([one.definition for one in self.modules], comments)

    def write(self, folder: Path, *, force: bool = False) -> dict[str, Path]:
        """Write each module into a file of its own; returns the paths by module.

        Raises:
            UsageError: a file of that name says something else (and not `force`), or cannot be written; nothing
                or only a part was written.
        """
        paths: dict[str, Path] = {}
        for one in self.modules:
            name = (_NOT_IN_FILE_NAMES.sub("_", one.module).strip("._") or "module")[:80]
            path = folder / f"{name}.yaml"
            if path in paths.values():
                path = folder / f"{name}_{one.job_id or len(paths)}.yaml"
            paths[one.module] = path
        texts = {path: one.text for one, path in zip(self.modules, paths.values(), strict=True)}
        try:
            other = [
                path for path, text in texts.items() if path.exists() and path.read_text("utf-8") != text
            ]
            if other and not force:
                raise UsageError(
                    f"{', '.join(map(str, other))}: there already, with other content; choose another folder, or --force"
                )
            folder.mkdir(parents=True, exist_ok=True)
            for path, text in texts.items():
                path.write_text(text, encoding="utf-8")
        except OSError as e:
            raise UsageError(
                f"cannot write {e.filename or folder}: {e.strerror}; choose another folder"
            ) from e
        return paths


def judged(definition: ModuleDefinition, text: str, path: str) -> ModuleDefinition:
    """The definition as its file reads back.

    Raises:
        MetadataError: the file is refused: the job has what metadata cannot say.
    """
    read = read_metadata(text.encode("utf-8", "surrogatepass"), path, {})
    if definition.module_name not in read.definitions:
        raise MetadataError(read.problems)
    return read.definitions[definition.module_name]


def changes_of(
    definition: ModuleDefinition,
    actual: RemoteJob,
    *,
    control_table: TableName,
    settings: Settings,
    job_ids: Mapping[str, int],
) -> list[Change]:
    """What applying the definition would change of this job, our tags included.

    Raises:
        MetadataError: it cannot be rendered.
    """
    desired = render(definition, control_table=control_table, settings=settings)
    wanted: JsonObject = resolve(desired.settings, queries={}, jobs=job_ids)
    return diff(actual.settings, with_pause(wanted, wanted, held_pause(actual.settings)))


def is_ours(change: Change, *, more: bool = False) -> bool:
    """Whether the change is what belonging to a control table means: tags, and parameters that notebooks get.

    Args:
        more: also what takes something away: a parameter that had another value, the mark of a bundle.
    """
    if change.path in _OUR_TAGS:
        return True
    if _RESERVED_PATH.search(change.path):
        return change.old is None or more
    return more and (change.path == "deployment" or change.path.startswith("deployment."))


class JobImporter:
    """Reads jobs of one workspace as modules of one control table.

    Args:
        runtime: the workspace and the control table; neither has to have anything of ours yet.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def by_id(self, job_ids: Iterable[int], *, permissions: bool = False) -> Import:
        """These jobs. One that is this control table's already is written from its accepted definition.

        Args:
            permissions: also say who may do what with them.

        Raises:
            WorkspaceError: the workspace cannot be read.
        """
        jobs, skipped = [], []
        for job_id in dict.fromkeys(job_ids):
            job = self.runtime.workspace.jobs.get(job_id)
            if job is None:
                skipped.append(
                    Skipped(job_id, "", "there is no such job in this workspace, or no right to see it")
                )
            else:
                jobs.append(job)
        return self._import(jobs, skipped, permissions=permissions, named=True)

    def everything(self, *, permissions: bool = False) -> Import:
        """Every job of the workspace that is no control table's. Raises as `by_id`."""
        jobs = sorted(self.runtime.workspace.jobs.list(), key=lambda job: job.job_id)
        return self._import(jobs, [], permissions=permissions, named=False)

    def located(self, found: Import) -> Import:
        """A bundle's modules with the job that each has in the workspace: the only one of its name."""
        modules, notes = [], list(found.notes)
        for one in found.modules:
            ids = [job.job_id for job in self.runtime.workspace.jobs.list(name=one.job_name)]
            if len(ids) == 1:
                modules.append(replace(one, job_id=ids[0]))
                continue
            modules.append(one)
            reason = (
                f"jobs {', '.join(map(str, sorted(ids)))} have its name: import the one that you mean with --job-id"
                if ids
                else "the workspace has no job of its name: apply will create it"
            )
            notes.append(f"{one.module}: {reason}")
        return replace(found, modules=tuple(modules), notes=tuple(notes))

    def _import(
        self, jobs: Sequence[RemoteJob], skipped: Sequence[Skipped], *, permissions: bool, named: bool
    ) -> Import:
        left = list(skipped)
        ours = table_tag(self.runtime.control_table)
        accepted = self._accepted() if any(job.tags.get(TABLE_TAG) == ours for job in jobs) else {}
        modules: list[Imported] = []
        free: list[RemoteJob] = []
        for job in jobs:
            name = str(job.settings.get("name") or "")
            owner = job.tags.get(TABLE_TAG)
            known = accepted.get(job.tags.get(MODULE_TAG, ""))
            if self._watches_us(job):
                reason = "it is this control table's monitor: under its own control, an emptied table would pause it"
                left.append(Skipped(job.job_id, name, reason, failed=named))
            elif owner is None or (owner == ours and known is None):  # the latter: an adoption that died
                free.append(job)
            elif owner == ours and known is not None and named:
                origin = f"job {job.job_id}, as it was accepted last"
                modules.append(
                    Imported(known.module_name, known, job.job_id, name, owned=True, origin=origin)
                )
            else:
                whose = "this control table" if owner == ours else "another control table"
                left.append(Skipped(job.job_id, name, f"it belongs to {whose} already", failed=named))
        modules += self._transcribed(free, left, {one.module for one in modules}, permissions)
        modules.sort(key=lambda one: one.module)
        return Import(tuple(modules), tuple(left))

    def _watches_us(self, job: RemoteJob) -> bool:
        """Whether a task of the job is the monitor of this control table."""
        found = [task.get("python_wheel_task") or {} for task in job.settings.get("tasks") or ()]
        tables = [
            str((task.get("named_parameters") or {}).get("control_table"))
            for task in found
            if (task.get("package_name"), task.get("entry_point")) == _MONITOR
        ]
        return str(self.runtime.control_table) in (table.lower().replace("`", "") for table in tables)

    def _accepted(self) -> dict[str, ModuleDefinition]:
        """The definitions that were accepted last, by the tags of their modules."""
        tables, workspace = self.runtime.tables, self.runtime.workspace.workspace_id
        records = JobRecords(tables, self.runtime.control_table, workspace, self.runtime.clock).all()
        return {
            module_tag(record.module_name): ModuleDefinition.from_json(record.definition)
            for record in records.values()
            if record.definition
        }

    def _transcribed(
        self, jobs: Sequence[RemoteJob], left: list[Skipped], taken: Collection[str], permissions: bool
    ) -> list[Imported]:
        """The jobs as modules; references among them are by name, as far as both ends can be said."""
        names: dict[int, str] = {}
        for job in jobs:
            name = str(job.settings.get("name") or "")
            names[job.job_id] = module_name(name, job.job_id, {*taken, *names.values()})
        told: dict[int, Imported] = {}
        waiting = {job.job_id: job for job in jobs}
        known = dict(names)
        while True:
            refused: dict[int, str] = {}
            for job in waiting.values():
                one = self._transcribe(job, known, permissions)
                if isinstance(one, str):
                    refused[job.job_id] = one
                else:
                    told[job.job_id] = one
            for job_id, reason in refused.items():
                job = waiting.pop(job_id)
                left.append(Skipped(job_id, str(job.settings.get("name") or ""), reason))
                del known[job_id]
            if not refused:
                return list(told.values())
            told.clear()

    def _transcribe(self, job: RemoteJob, names: Mapping[int, str], permissions: bool) -> Imported | str:
        """The job as a module, or why it cannot be one."""
        granted = None
        if permissions:
            entries = self.runtime.workspace.permissions.get("jobs", str(job.job_id))
            granted = tuple(entry for entry in entries if entry["level"] != "IS_OWNER")
        name = names[job.job_id]
        transcript = transcribe(
            job.settings,
            module_name=name,
            control_table=self.runtime.control_table,
            creator=job.creator,
            job_modules=names,
            permissions=granted,
        )
        if transcript.definition is None:
            return "; ".join(transcript.problems)
        one = Imported(
            name,
            transcript.definition,
            job.job_id,
            str(job.settings.get("name") or name),
            transcript.notes,
            origin=f"job {job.job_id}",
        )
        try:
            read = judged(one.definition, one.text, f"job {job.job_id}")
            changes = changes_of(
                read,
                job,
                control_table=self.runtime.control_table,
                settings=self.runtime.settings(),
                job_ids={module: job_id for job_id, module in names.items()},
            )
        except MetadataError as error:
            return "; ".join(problem.message for problem in error.problems)
        lost = [str(change) for change in changes if not is_ours(change, more=True)]
        return replace(one, notes=(*one.notes, *(f"not kept: {text}" for text in lost)))
