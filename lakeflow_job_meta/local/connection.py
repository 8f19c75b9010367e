"""A workspace that is up: how to reach it, and whether it answers."""

from __future__ import annotations

import http.client
import os
from dataclasses import dataclass, field
from typing import Any

import orjson

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.folder import Folder


@dataclass(frozen=True)
class Connection:
    """How to reach an embedded workspace.

    Args:
        host: `http://127.0.0.1:PORT`.
        token: the bearer token; not shown by repr.
        spark_remote: Spark Connect URL, with the token; empty when the workspace runs without Spark.
        pid: the process.
        directory: the workspace's folder.
        dxr_url: `http://127.0.0.1:PORT` of its Data X-Ray simulator, which starts when it is used.
        dxr_token: the simulator's bearer token; not shown by repr.
    """

    host: str
    token: str = field(repr=False)
    spark_remote: str = field(repr=False)
    pid: int
    directory: str
    dxr_url: str = ""
    dxr_token: str = field(default="", repr=False)

    def environment(self) -> dict[str, str]:
        """Variables with which the databricks-sdk, Spark and clients of Data X-Ray reach this workspace."""
        variables = {
            "DATABRICKS_HOST": self.host,
            "DATABRICKS_TOKEN": self.token,
            "DATABRICKS_AUTH_TYPE": "pat",
        }
        if self.spark_remote:
            variables["SPARK_REMOTE"] = self.spark_remote
        if self.dxr_url:
            variables |= {
                "DXR_BASE_URL": self.dxr_url,
                "DXR_BEARER_TOKEN": self.dxr_token,
                "DXR_API_KEY": self.dxr_token,
            }
        return variables

    def ask(self, method: str, path: str, body: Any = None, seconds: float = 5.0) -> dict[str, Any]:
        """One call of the workspace's own API (`/local/...`), without the SDK.

        Raises:
            LocalError: it does not answer, or not with success.
        """
        address, _, port = self.host.rpartition("/")[2].partition(":")
        connection = http.client.HTTPConnection(address, int(port), timeout=seconds)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else orjson.dumps(body),
                headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            )
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as e:
            raise LocalError(f"the workspace of {self.directory} does not answer at {self.host}: {e}") from e
        finally:
            connection.close()
        if response.status != 200:
            raise LocalError(
                f"the workspace of {self.directory} answered {method} {path} with {response.status}"
            )
        return dict(orjson.loads(data))

    def is_up(self) -> bool:
        """Whether this very process answers."""
        try:
            return self.ask("GET", "/local/health").get("pid") == self.pid
        except LocalError:
            return False


def recorded(folder: Folder) -> Connection | None:
    """What the lock file says, whether the process still lives or not; None when it says nothing."""
    try:
        data = orjson.loads(folder.lock.read_bytes())
        return Connection(
            host=f"http://127.0.0.1:{int(data['port'])}",
            token=str(data["token"]),
            spark_remote=str(data["spark_remote"]),
            pid=int(data["pid"]),
            directory=str(folder.root),
            dxr_url=str(data.get("dxr_url", "")),
            dxr_token=str(data.get("dxr_token", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_alive(pid: int) -> bool:
    """Whether a process of that id exists (a zombie counts until it is waited for)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
