"""`import`: existing jobs and bundles as metadata YAML, and their adoption."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli import display, errors
from lakeflow_job_meta.cli.options import Command, Given, connection
from lakeflow_job_meta.cli.session import session
from lakeflow_job_meta.errors import UsageError

if TYPE_CHECKING:
    from lakeflow_job_meta.adoption import Adoption
    from lakeflow_job_meta.importer import Import
    from lakeflow_job_meta.runtime import Runtime


@click.command("import", cls=Command)
@click.option("--job-id", "job_ids", type=int, multiple=True, metavar="N", help="This job; may be repeated.")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The jobs of a bundle: its databricks.yml.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Every job of the workspace that is no control table's."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write a file for each module into this folder; without it all of it goes to stdout.",
)
@click.option("--adopt", is_flag=True, help="Make the jobs this control table's own; needs -o.")
@click.option(
    "--take-over",
    is_flag=True,
    help="Adopt also what a bundle deploys, or what another tool gave its notebooks.",
)
@click.option("--dry-run", is_flag=True, help="Show what --adopt would do; write nothing.")
@click.option("--force", is_flag=True, help="Overwrite files in DIR that say something else.")
@click.option("--permissions", is_flag=True, help="Also write who may do what with the jobs.")
@click.option("--target", metavar="NAME", help="Target of the bundle; default: its default target.")
@click.option("--root", default="", metavar="PATH", help="Workspace folder of the bundle's files.")
@connection
@click.pass_context
def import_jobs(
    ctx: click.Context,
    given: Given,
    job_ids: tuple[int, ...],
    bundle: Path | None,
    everything: bool,
    out: Path | None,
    adopt: bool,
    take_over: bool,
    dry_run: bool,
    force: bool,
    permissions: bool,
    target: str | None,
    root: str,
) -> None:
    """Write existing jobs as metadata YAML, and adopt them when asked.

    Without --adopt no job is touched: applying the files then makes new jobs beside the old ones.
    With --adopt the job itself becomes the module's: it gets this control table's tags, its notebooks get their
    parameters, and nothing else of it changes. A job of another control table is refused.
    """
    if sum([bool(job_ids), bundle is not None, everything]) != 1:
        raise UsageError("say what to import: --job-id N (may be repeated), --bundle PATH, or --all")
    if adopt and out is None and not dry_run:
        raise UsageError("--adopt needs -o DIR: the files own the modules from then on")
    if (take_over or dry_run) and not adopt:
        raise UsageError(f"{'--take-over' if take_over else '--dry-run'} goes with --adopt")
    if bundle is None and (target or root):
        raise UsageError("--target and --root go with --bundle")
    # Adoption does what it shows, whatever the table's settings say, and starts nothing.
    flags = {**given.flags, "drift": "enforce", "run_on_change": False} if adopt else given.flags
    with session(replace(given, flags=flags), create=adopt and not dry_run) as opened, ExitStack() as stack:
        from lakeflow_job_meta.bundle_importer import import_bundle
        from lakeflow_job_meta.importer import JobImporter

        if bundle is not None:
            found = import_bundle(bundle, given.flags.get("variables") or {}, target=target, root=root)
            if adopt:
                found = JobImporter(opened.runtime).located(found)
        elif everything:
            found = JobImporter(opened.runtime).everything(permissions=permissions)
        else:
            found = JobImporter(opened.runtime).by_id(job_ids, permissions=permissions)
        paths: dict[str, Path] = {}
        if out is not None and not dry_run:
            paths = found.write(out, force=force)
        elif adopt:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            paths = found.write(folder)
        adoptions: list[Adoption] = []
        if adopt:
            adoptions = _adopt(opened.runtime, found, paths, take_over=take_over, dry_run=dry_run)
    shown = {} if dry_run else paths
    if given.json:
        display.print_json(_as_json(found, shown, adoptions, dry_run=dry_run))
    else:
        _show(found, shown, adoptions, dry_run=dry_run, text=out is None and not adopt)
    failed = any(one.failed for one in found.skipped) or any(one.refusal for one in adoptions)
    ctx.exit(1 if failed else 0)


def _adopt(
    runtime: Runtime, found: Import, paths: Mapping[str, Path], *, take_over: bool, dry_run: bool
) -> list[Adoption]:
    from lakeflow_job_meta.adoption import Adopter

    adopter = Adopter(runtime)
    planned = adopter.plan(found.modules, paths, take_over=take_over)
    return planned if dry_run else adopter.adopt(planned, paths, take_over=take_over)


def _as_json(
    found: Import, paths: Mapping[str, Path], adoptions: list[Adoption], *, dry_run: bool
) -> dict[str, Any]:
    by_module = {one.module: one for one in adoptions}
    modules = []
    for one in found.modules:
        adoption = by_module.get(one.module)
        modules.append(
            {
                "module": one.module,
                "job_id": one.job_id,
                "job_name": one.job_name,
                "path": str(paths[one.module]) if one.module in paths else None,
                "sources": len(one.definition.sources),
                "notes": list(one.notes),
                "owned": one.owned,
                "adopted": adoption is not None and adoption.adopts and not dry_run,
                "changes": [change.as_json() for change in adoption.changes] if adoption else [],
                "refusal": adoption.refusal if adoption else "",
            }
        )
    skipped = [
        {"job_id": one.job_id, "name": one.name, "reason": one.reason, "failed": one.failed}
        for one in found.skipped
    ]
    return {"modules": modules, "skipped": skipped, "notes": list(found.notes), "dry_run": dry_run}


def _show(
    found: Import, paths: Mapping[str, Path], adoptions: list[Adoption], *, dry_run: bool, text: bool
) -> None:
    if text and found.modules:
        click.echo(found.text, nl=False)
    for one in found.modules:
        origin = f" from job {one.job_id}" if one.job_id is not None else ""
        if one.module in paths:
            sources = display.count(len(one.definition.sources), "source")
            click.echo(errors.printable(f"wrote {paths[one.module]}: module {one.module}{origin}, {sources}"))
        for note in one.notes if not text else ():
            errors.warn(f"{one.module}: {note}")
    for note in found.notes:
        errors.warn(note)
    for adoption in adoptions:
        _show_adoption(adoption, dry_run=dry_run)
        if adoption.refusal and adoption.module in paths:
            errors.warn(
                f"{paths[adoption.module]} would make a new job beside that one: do not apply it as it is"
            )
    for skipped in found.skipped:
        if skipped.failed:
            display.console().print(display.styled(f"! not imported {skipped}", "refused"), soft_wrap=True)
        else:
            errors.warn(f"left out {skipped}")
    if paths and not adoptions:
        click.echo(
            "no job was touched; applying these files makes new jobs: use --adopt to keep the old ones",
            err=True,
        )


def _show_adoption(one: Adoption, *, dry_run: bool) -> None:
    console = display.console()
    if one.refusal:
        console.print(
            display.styled(f"! not adopted {one.module} (job {one.job_id}): {one.refusal}", "refused"),
            soft_wrap=True,
        )
    elif one.idle:
        why = "has no job yet" if one.job_id is None else f"has job {one.job_id} already"
        console.print(display.styled(f"  {one.module} {why}", "unchanged"), soft_wrap=True)
    else:
        verb = "would adopt" if dry_run else "adopted"
        console.print(
            display.styled(f"~ {verb} job {one.job_id} as module {one.module}", "update"), soft_wrap=True
        )
        for change in one.changes:
            console.print(display.styled(f"    {change}"), soft_wrap=True)
