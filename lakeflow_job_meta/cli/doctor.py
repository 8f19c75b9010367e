"""`doctor`: every piece that a deployment rests on, probed; one line each, with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lakeflow_job_meta.cli import display
from lakeflow_job_meta.cli.options import Command, Given, connection
from lakeflow_job_meta.cli.session import session

if TYPE_CHECKING:
    from lakeflow_job_meta.deployment.doctor import Check

#: Seconds that a call is repeated for: a piece that does not answer at once is what is looked for.
PATIENCE = 3


@click.command(cls=Command)
@click.option(
    "--volume-path",
    envvar="LAKEFLOW_JOB_META_VOLUME_PATH",
    metavar="PATH",
    help="The watched folder below /Volumes; without it, the deployed monitor's.",
)
@click.option("--cluster-id", metavar="ID", help="A cluster to look at; without it, the deployed monitor's.")
@connection
@click.pass_context
def doctor(ctx: click.Context, given: Given, volume_path: str | None, cluster_id: str | None) -> None:
    """Probe what a deployment needs: host, login, warehouse, catalog, tables, permissions, Data X-Ray.

    Reads only. One line a check; a piece that rests on a broken one is not checked. Exit code 1 when a
    check failed.
    """
    from lakeflow_job_meta.deployment.doctor import Doctor
    from lakeflow_job_meta.deployment.request import normal_path

    made: list[Check] = []
    with session(given, patience=PATIENCE) as opened:
        doctor = Doctor(
            opened.runtime,
            volume_path=normal_path(volume_path) if volume_path else "",
            warehouse_id=given.warehouse_id or "",
            cluster_id=cluster_id or "",
            reach=_reach(given),
        )
        for check in doctor.checks():
            made.append(check)
            if not given.json:
                _print(check)
    if given.json:
        display.print_json({"checks": [check.as_json() for check in made]})
    ctx.exit(1 if any(check.ok is False for check in made) else 0)


def _reach(given: Given) -> list[str]:
    """The flags that led to this workspace."""
    flags = {"--local": given.local, "--profile": given.profile, "--warehouse-id": given.warehouse_id}
    return [word for flag, value in flags.items() if value for word in (flag, str(value))]


def _print(check: Check) -> None:
    target = display.console()
    sign, style = {True: ("ok", "active"), False: ("FAIL", "failed"), None: ("-", "dim")}[check.ok]
    fix = f"; to do: {check.fix}" if check.fix else ""
    target.print(display.styled(f"{sign:<5}{check.name:<14} {check.detail}{fix}", style), soft_wrap=True)
