"""Files: one YAML file becomes rows of the control table, and problems for all of it that cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from lakeflow_job_meta.errors import Place, Problem
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.bundles import read_job
from lakeflow_job_meta.metadata.definition import ModuleDefinition
from lakeflow_job_meta.metadata.documents import Flaw, read_document
from lakeflow_job_meta.metadata.entries import Entry, FileContext
from lakeflow_job_meta.metadata.header import read_header
from lakeflow_job_meta.metadata.modules import read_module
from lakeflow_job_meta.metadata.places import Places, Tokens, YamlMap, descend, pointer
from lakeflow_job_meta.metadata.problems import in_order
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
from lakeflow_job_meta.metadata.suggestions import quoted, shown
from lakeflow_job_meta.metadata.variables import MARK
from lakeflow_job_meta.settings import Settings

#: All rows of one file together may hold this many characters (defaults and variables can multiply texts).
MAX_ROWS_TEXT = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class MetadataFile:
    """A YAML file, judged with certain variables.

    Args:
        path: as it was given.
        sha256: of its bytes.
        rows: rows of the modules without problems.
        modules: every module that the file claims, refused ones too.
        module_places: where each of them is claimed.
        problems: everything that is wrong, in order of place; one without a module rejects the file.
        rejected: nothing of the file can be taken; what it gave before stays.
        refused: modules with problems; what they were before stays.
        incomplete: the names of some modules could not be told, so a module that the file does not claim
            any more may still be in it: nothing that it owned may be taken for vanished.
        places: where the rows were written.
        definitions: of the modules without problems; settings still open, as `read_metadata` was told.
        sources: how many sources the file has, those of refused modules too as far as they could be read.
    """

    path: str
    sha256: str
    rows: tuple[Row, ...] = ()
    modules: tuple[str, ...] = ()
    module_places: Mapping[str, Place] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    rejected: bool = False
    refused: frozenset[str] = frozenset()
    incomplete: bool = False
    places: Places = field(default_factory=lambda: Places(""))
    definitions: Mapping[str, ModuleDefinition] = field(default_factory=dict)
    sources: int = 0


def read_metadata(
    data: bytes, path: str, variables: Mapping[str, str], settings: Settings | None = None
) -> MetadataFile:
    """Read one YAML file. Never raises for what is in the file: every problem is in the result.

    Args:
        data: the file's bytes.
        path: how the file is called in places.
        variables: values of `${var.NAME}`; they win over the file's defaults.
        settings: the control table's settings, when they are known; without them a SQL task without a warehouse is
            let pass, since the setting default_warehouse_id may bring it (`build.define` decides then).
    """
    sha256 = hashlib.sha256(data).hexdigest()
    document = read_document(data, path)
    if document.problem is not None:
        return MetadataFile(path, sha256, problems=(document.problem,), rejected=True)
    top = document.value
    if not isinstance(top, YamlMap):
        what = "the file is empty" if top is None else f"the file must be a mapping, not {shown(top)}"
        problem = Problem(f"{what}: write modules: [] for a file without modules", Place(path, 1, 1))
        return MetadataFile(path, sha256, problems=(problem,), rejected=True)
    problems: list[Problem] = []

    def report(tokens: Tokens, message: str, at_key: bool) -> None:
        _, place = descend(top, top.place, tokens, at_key=at_key)
        problems.append(Problem(message, Place(path, *place), pointer(tokens)))

    header = read_header(top, variables, report)
    flaws = _by_entry(document.flaws)
    problems += [_flaw(path, flaw) for flaw in flaws.pop((), [])]
    context = FileContext(path, top, header, MARK.encode() in data or _wide(data), Places(path))
    entries = []
    for entry in _entries(context, report):
        for flaw in flaws.get(entry.at, ()):
            entry.flaw(flaw)
        (read_module if entry.at[0] == "modules" else read_job)(entry)
        entry.problems = [replace(problem, module=entry.name) for problem in entry.problems]
        entries.append(entry)
    if problems:
        return MetadataFile(path, sha256, problems=in_order(problems), rejected=True)
    _check_claims(entries)
    return _judged(path, sha256, entries, settings)


def _wide(data: bytes) -> bool:
    """Whether the bytes are not UTF-8, so that marks cannot be looked for in them."""
    return data[:1] in (b"\xff", b"\xfe", b"\x00")


def _by_entry(flaws: tuple[Flaw, ...]) -> dict[Tokens, list[Flaw]]:
    """Flaws by the module they belong to; those of the file itself under ()."""
    result: dict[Tokens, list[Flaw]] = {}
    for flaw in flaws:
        tokens = flaw.tokens
        depth = 0
        if tokens[:1] in (("modules",), ("jobs",)):
            depth = 2
        elif tokens[:2] == ("resources", "jobs"):
            depth = 3
        at = tokens[:depth] if depth and len(tokens) >= depth else ()
        result.setdefault(at, []).append(flaw)
    return result


def _flaw(path: str, flaw: Flaw) -> Problem:
    return Problem(flaw.message, Place(path, *flaw.place), pointer(flaw.tokens))


def _entries(file: FileContext, report: Callable[[Tokens, str, bool], None]) -> Iterator[Entry]:
    """Every module that the file brings, still to be read."""
    top, header = file.top, file.header
    modules = top.get("modules")
    if isinstance(modules, list):
        for index, node in enumerate(modules):
            yield Entry(file, ("modules", index), node)
    places: list[tuple[Tokens, object]] = [(("jobs",), top.get("jobs"))]
    if header.bundle and isinstance(top["resources"], dict):
        for kind in top["resources"]:
            if kind != "jobs":
                report(
                    ("resources", kind),
                    f"resources.{kind} is not read, only resources.jobs: keep it in the bundle",
                    True,
                )
        places.append((("resources", "jobs"), top["resources"].get("jobs")))
    for at, jobs in places:
        if not isinstance(jobs, dict):
            if jobs is not None and at != ("jobs",):
                report(at, f"resources.jobs must be a mapping, not {shown(jobs)}", False)
            continue
        for name, node in jobs.items():
            yield Entry(file, (*at, name), node)


def _check_claims(entries: list[Entry]) -> None:
    """One module, one place: two that claim it are refused, both places named."""
    claims: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.named:
            claims.setdefault(entry.name, []).append(entry)
    for name, claimants in claims.items():
        if len(claimants) > 1:
            spots = [str(_name_place(entry)) for entry in claimants]
            for index, entry in enumerate(claimants):
                others = " and ".join(spot for other, spot in enumerate(spots) if other != index)
                entry.report(
                    _name_tokens(entry),
                    f"module {quoted(name)} is claimed at {others} too: keep one",
                    at_key=True,
                )


def _name_tokens(entry: Entry) -> Tokens:
    return (*entry.at, "module_name") if entry.at[0] == "modules" else entry.at


def _name_place(entry: Entry) -> Place:
    return entry.file.place(_name_tokens(entry), at_key=entry.at[0] != "modules")


def _judged(path: str, sha256: str, entries: list[Entry], settings: Settings | None) -> MetadataFile:
    rows: list[Row] = []
    problems: list[Problem] = []
    refused: set[str] = set()
    module_places: dict[str, Place] = {}
    definitions: dict[str, ModuleDefinition] = {}
    places = entries[0].file.places if entries else Places(path)
    size = 0
    for entry in entries:
        module_places.setdefault(entry.name, _name_place(entry))
        found = list(entry.problems)
        if entry.rows and entry.named:
            size += sum(len(row.transformation_config or "") for row in entry.rows)
            if size > MAX_ROWS_TEXT:
                message = (
                    f"defaults and variables write this file out to more than {MAX_ROWS_TEXT} characters"
                )
                problem = Problem(message, module_places[entry.name])
                return MetadataFile(path, sha256, problems=(problem,), rejected=True)
            defined = define(
                entry.rows,
                table=path,
                settings=settings or Settings(),
                places=places,
                open_settings=settings is None,
                broken=entry.broken,
            )
            # One problem a spot: what the file says about it explains what the row would.
            told = {problem.place for problem in found}
            found += [problem for problem in defined.problems if problem.place not in told]
            if defined.definition is not None and not found:
                definitions[entry.name] = defined.definition
        if found:
            problems += found
            refused.add(entry.name)
        else:
            rows += entry.rows
    return MetadataFile(
        path,
        sha256,
        tuple(row for row in rows if row.module_name not in refused),
        tuple(module_places),
        module_places,
        in_order(problems),
        rejected=False,
        refused=frozenset(refused),
        incomplete=any(not entry.named for entry in entries),
        places=places,
        definitions={name: one for name, one in definitions.items() if name not in refused},
        sources=sum(row.source_id != JOB_ROW for entry in entries for row in entry.rows),
    )
