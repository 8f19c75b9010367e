"""`deploy`: the monitor into a workspace, and out of it again."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli import display, errors
from lakeflow_job_meta.cli.options import Command, Given, check_interval_option, connection
from lakeflow_job_meta.cli.session import session
from lakeflow_job_meta.errors import LakeflowJobMetaError, UsageError

if TYPE_CHECKING:
    from lakeflow_job_meta.deployment.request import Compute, Request
    from lakeflow_job_meta.deployment.steps import Outcome, Outline
    from lakeflow_job_meta.deployment.wheel import Wheel


@click.command(cls=Command)
@click.option(
    "--volume-path",
    envvar="LAKEFLOW_JOB_META_VOLUME_PATH",
    metavar="PATH",
    help="Folder of YAML files to watch, below /Volumes; made when it is missing.",
)
@click.option(
    "--mode",
    type=click.Choice(["continuous", "triggered", "scheduled"]),
    default="continuous",
    show_default=True,
    help="A loop; a look when a table or file changes and once an hour; or a look by the clock.",
)
@click.option("--serverless", is_flag=True, help="Run the monitor on serverless compute (the default).")
@click.option(
    "--job-cluster",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Run it on a job cluster: FILE is the Jobs API's new_cluster, as YAML or JSON.",
)
@click.option("--cluster-id", metavar="ID", help="Run it on a cluster that exists.")
@click.option(
    "--wheel",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Wheel of this package to upload; without it and --package: this very installation's code.",
)
@check_interval_option("From one look to the next, when continuous.")
@click.option(
    "--cron", default="", metavar="QUARTZ", help="When to look by the clock: scheduled, and behind triggers."
)
@click.option("--timezone", default="UTC", show_default=True, metavar="ID", help="Of --cron.")
@click.option(
    "--wait-seconds",
    type=int,
    default=60,
    show_default=True,
    metavar="N",
    help="How long a trigger waits after the last change: 0, or at least 60.",
)
@click.option(
    "--run-as", default="", metavar="NAME", help="User, or application id of a service principal, to run as."
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would be done, and do nothing; exit code 2 if something."
)
@click.option("--destroy", is_flag=True, help="Take away what deploy made, and what hangs on it. Asks first.")
@click.option(
    "--keep-data", is_flag=True, help="With --destroy: leave tables, watched volume and modules' jobs."
)
@click.option("--yes", is_flag=True, help="With --destroy: do not ask.")
@connection
@click.pass_context
def deploy(
    ctx: click.Context,
    given: Given,
    volume_path: str | None,
    mode: str,
    serverless: bool,
    job_cluster: Path | None,
    cluster_id: str | None,
    wheel: Path | None,
    check_interval_seconds: float,
    cron: str,
    timezone: str,
    wait_seconds: int,
    run_as: str,
    dry_run: bool,
    destroy: bool,
    keep_data: bool,
    yes: bool,
) -> None:
    """Put the monitor into a workspace: schema, volumes, control table, wheel, and its jobs.

    What is there already stays; a second call changes nothing. The jobs go through plan and apply like
    any others. Settings given here (--drift, --var, ...) are those of the monitor.
    """
    table = given.table
    if destroy:
        if wheel or given.flags.get("package"):
            raise UsageError("--destroy takes a deployment away: leave --wheel and --package out")
        code = _destroy(given, dry_run=dry_run, keep_data=keep_data, yes=yes)
        ctx.exit(code)
    if keep_data or yes:
        raise UsageError("--keep-data and --yes are about --destroy")
    from lakeflow_job_meta.deployment.request import Request, normal_path

    package, packed = _package(wheel, given.flags.pop("package", None))
    request = Request(
        control_table=table,
        volume_path=normal_path(volume_path) if volume_path else "",
        package=package,
        mode=mode,  # type: ignore[arg-type]
        compute=_compute(serverless, job_cluster, cluster_id),
        check_interval_seconds=check_interval_seconds,
        cron=cron,
        timezone=timezone,
        wait_seconds=wait_seconds,
        run_as=run_as,
        parameters={name: _text(value) for name, value in given.flags.items()},
    )
    ctx.exit(_deploy(given, request, packed, dry_run=dry_run))


def _deploy(given: Given, request: Request, wheel: Wheel | None, *, dry_run: bool) -> int:
    from lakeflow_job_meta.deployment.deploy import Deployment

    with session(given) as opened:
        deployment = Deployment(opened.runtime, request, wheel)
        outline = deployment.plan()
        try:
            outcome = None if dry_run else deployment.apply(outline)
        except LakeflowJobMetaError:
            errors.warn("what was made so far stays: deploy again to go on from there, or deploy --destroy")
            raise
    facts = {
        "mode": request.mode,
        "package": deployment.request.package,
        "volume_path": request.volume_path or None,
    }
    return _show(given, outline, outcome, facts)


def _destroy(given: Given, *, dry_run: bool, keep_data: bool, yes: bool) -> int:
    from lakeflow_job_meta.deployment.destroy import Destruction

    with session(given) as opened:
        destruction = Destruction(opened.runtime, keep_data=keep_data)
        outline = destruction.plan()
        outcome = None
        asks = not (dry_run or yes) and outline.changes
        if asks:
            _ask(given, outline)
        if not dry_run:
            outcome = destruction.apply(outline)
    return _show(given, outline, outcome, {}, shown_already=asks)


def _ask(given: Given, outline: Outline) -> None:
    """Show what is about to be taken away, on stderr when stdout is JSON; anything but yes ends the command."""
    for line in _lines(outline):
        click.echo(line, err=given.json)
    try:
        click.confirm("Take all of this away?", abort=True, err=True)
    except click.Abort as error:
        raise UsageError("nothing was taken away; answer y, or give --yes where nobody can answer") from error


def _show(
    given: Given,
    outline: Outline,
    outcome: Outcome | None,
    facts: dict[str, Any],
    *,
    shown_already: bool = False,
) -> int:
    from lakeflow_job_meta.deployment.monitor_jobs import MODULES, MONITOR

    table = str(given.table)
    if outcome is not None:
        jobs = {module: outcome.jobs[module] for module in MODULES if module in outcome.jobs}
        shown, code = outcome.as_json(table), outcome.exit_code
    else:
        jobs = {
            a.module: a.job_id for a in outline.plan.actions if a.job_id is not None and a.kind != "retire"
        }
        shown, code = {**outline.as_json(table), "writes": 0, "errors": []}, outline.exit_code
    if given.json:
        display.print_json({**shown, **facts, "monitor_job_id": jobs.get(MONITOR), "monitor_jobs": jobs})
        return code
    target = display.console()
    for line in () if shown_already else _lines(outline):
        target.print(display.styled(line), soft_wrap=True)
    if outcome is None:
        count = sum(step.changes for step in outline.steps)
        what = f"{display.count(count, 'step')}, and the jobs above" if outline.changes else "nothing"
        target.print(display.styled(f"to do: {what}"))
        return code
    for result in outcome.results:
        if result.error:
            target.print(
                display.styled(f"! failed {result.action.module}: {result.error}", "failed"), soft_wrap=True
            )
    for text in outcome.errors:
        target.print(display.styled(f"! {text}", "failed"), soft_wrap=True)
    for note in (*outline.plan.notes, *outcome.notes):
        errors.warn(note)
    if not (facts or outline.steps or outline.actions):
        target.print(display.styled(f"nothing to take away: no deployment of {table} is known here"))
        return code
    monitor = f"; monitor: job {jobs[MONITOR]}" if MONITOR in jobs else ""
    target.print(display.styled(f"done: {outcome.writes} changed{monitor}"))
    if code == 0 and any(action.kind == "create" and action.module == MONITOR for action in outline.actions):
        files = f"put YAML files into {facts['volume_path']}, or " if facts.get("volume_path") else ""
        target.print(
            display.styled(
                f"next: {files}INSERT rows into {table}; `status` shows what becomes of them", "dim"
            ),
            soft_wrap=True,
        )
    return code


def _lines(outline: Outline) -> list[str]:
    """The outline as text: steps that change something, then the jobs."""
    from lakeflow_job_meta.reconcile.render import render_action

    signs = {"create": "+", "upload": "+", "set": "~", "delete": "-", "keep": "="}
    lines = [f"{signs[step.verb]} {step}" for step in outline.steps if step.changes or step.detail]
    for action in outline.actions:
        lines += [str(line) for line in render_action(action)]
    return lines


def _package(wheel: Path | None, package: str | None) -> tuple[str, Wheel | None]:
    """Where the package comes from: the wheel to upload, or the requirement to install."""
    from lakeflow_job_meta.deployment.wheel import of_this_installation, read

    if wheel is not None and package:
        raise UsageError("--wheel uploads a wheel and --package names what to install: give one of them")
    if wheel is not None:
        return "", read(wheel)
    if not package:
        return "", of_this_installation()
    if package.endswith(".whl") and not package.startswith(("/Volumes/", "/Workspace/")):
        raise UsageError(f"{package} is no path that a task can read: upload it with --wheel {package}")
    return package, None


def _compute(serverless: bool, job_cluster: Path | None, cluster_id: str | None) -> Compute:
    from lakeflow_job_meta.deployment.request import Compute

    if serverless + (job_cluster is not None) + bool(cluster_id) > 1:
        raise UsageError("give one of --serverless, --job-cluster and --cluster-id")
    if job_cluster is None:
        return Compute(cluster_id=cluster_id or "")
    import yaml

    try:
        found = yaml.safe_load(job_cluster.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {job_cluster}: {error}") from error
    inner = found.get("new_cluster", found) if isinstance(found, dict) else None
    if not isinstance(inner, dict) or not inner:
        raise UsageError(f"{job_cluster} holds no cluster: write the Jobs API's new_cluster as an object")
    return Compute(job_cluster=inner)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value)
