"""What a deployment is asked for: mode, compute, places. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]
Mode = Literal["continuous", "triggered", "scheduled"]
MODES: tuple[Mode, ...] = ("continuous", "triggered", "scheduled")

#: Cron of the job that looks without being told: alone (`scheduled`), and behind triggers, for files that
#: were overwritten and for drift.
DEFAULT_CRON: Mapping[str, str] = {"scheduled": "0 0/5 * * * ?", "triggered": "0 17 * * * ?"}
#: A requirement of this distribution (PEP 508), or the place of its wheel (PEP 427). A name that is nearly right
#: would only show when the run cannot start, or, worse, install another's package.
_PACKAGE = re.compile(
    r"lakeflow[-_.]job[-_.]meta(\[[\w, -]*\])?\s*((===|[=<>!~]=|[<>])[^;]+|@\s*\S+)?"
    r"|(/Volumes/|/Workspace/|https://)([^/]+/)*lakeflow_job_meta-[^/]+\.whl",
    re.IGNORECASE,
)
#: Jobs API: a trigger's wait is 0 (none) or at least so many seconds.
SHORTEST_WAIT = 60


@dataclass(frozen=True, slots=True)
class Compute:
    """Where the monitor runs: serverless unless a cluster is named.

    Args:
        job_cluster: `new_cluster` of the Jobs API, made for every run.
        cluster_id: a cluster that exists.
    """

    job_cluster: JsonObject | None = None
    cluster_id: str = ""

    @property
    def is_serverless(self) -> bool:
        return self.job_cluster is None and not self.cluster_id


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be deployed.

    Args:
        volume_path: folder of YAML files that the monitor watches; empty: none.
        package: requirement, or path of a wheel below /Volumes or /Workspace, that brings this package.
        check_interval_seconds: from one look to the next, of the continuous monitor.
        cron: Quartz expression of the job that looks by the clock; empty: `DEFAULT_CRON`.
        wait_seconds: how long a trigger waits after the last change, so that many edits make one run;
            0 or at least SHORTEST_WAIT.
        run_as: user name (with an @) or application id of a service principal; empty: the deployer.
        parameters: further parameters of the monitor (settings), by name.

    Raises:
        UsageError: values that contradict each other or the platform's rules.
    """

    control_table: TableName
    volume_path: str = ""
    package: str = ""
    mode: Mode = "continuous"
    compute: Compute = field(default_factory=Compute)
    check_interval_seconds: float = 60.0
    cron: str = ""
    timezone: str = "UTC"
    wait_seconds: int = SHORTEST_WAIT
    run_as: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.volume_path:
            volume_of(self.volume_path)
        if self.wait_seconds and self.wait_seconds < SHORTEST_WAIT:
            raise UsageError(
                f"a trigger waits 0 or at least {SHORTEST_WAIT} seconds after a change, not {self.wait_seconds}"
            )
        if self.package and not _PACKAGE.fullmatch(self.package):
            raise UsageError(
                f"--package {self.package!r} brings no lakeflow-job-meta: give a requirement such as "
                "lakeflow-job-meta==0.1.0, or the path of its wheel below /Volumes or /Workspace"
            )
        if self.cron and self.mode == "continuous":
            raise UsageError("a continuous monitor has no cron expression: use --mode triggered or scheduled")


def volume_of(path: str) -> TableName:
    """The volume that a path below /Volumes lies in.

    Raises:
        UsageError: it is no path of a volume.
    """
    parts = posixpath.normpath(path).split("/")
    if len(parts) < 5 or parts[:2] != ["", "Volumes"]:
        raise UsageError(
            f"{path!r} is not in a volume: write /Volumes/CATALOG/SCHEMA/VOLUME, with a folder or without"
        )
    return TableName.parse(".".join(f"`{part}`" for part in parts[2:5]))


def normal_path(path: str) -> str:
    """The path of a volume or folder as jobs and listings have it: the volume in lower case, no slash at the end."""
    volume = volume_of(path)
    rest = posixpath.normpath(path).split("/")[5:]
    return "/".join(["", "Volumes", volume.catalog, volume.schema, volume.table, *rest])
