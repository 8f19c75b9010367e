"""Taking a deployment away, whenever it died: nothing that it made is left, nothing else is gone."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from databricks.sdk.service.catalog import VolumeType

from lakeflow_job_meta.control.control_table import COLUMNS
from lakeflow_job_meta.deployment.deploy import Deployment
from lakeflow_job_meta.deployment.destroy import Destruction
from lakeflow_job_meta.deployment.request import Request
from lakeflow_job_meta.deployment.wheel import Wheel
from lakeflow_job_meta.runtime import Runtime
from tests.cli.conftest import Cli, inventory

pytestmark = pytest.mark.slow

#: What changes something, of every port that a deployment works with.
WRITES = {"create_schema", "create_table", "append", "merge", "create_volume", "create_folder", "upload"}
PORTS = ("platform", "catalog", "tables", "volumes")


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Port:
    """A port that calls `before` with every write."""

    def __init__(self, real: Any, before: Callable[[str], None]) -> None:
        self._real = real
        self._before = before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in WRITES:
            return found

        def write(*arguments: Any, **named: Any) -> Any:
            # A definition has a name; a schema is a catalog and a name.
            about = getattr(
                arguments[0], "name", ".".join(map(str, arguments[: 2 if "schema" in name else 1]))
            )
            self._before(f"{name} {about}")
            return found(*arguments, **named)

        return write


def tiny_wheel() -> Wheel:
    """No installer needs to read it: no deployment of this file comes as far as a run."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("lakeflow_job_meta/__init__.py", "")
    return Wheel("lakeflow_job_meta-0.1.0-py3-none-any.whl", data.getvalue())


def deployment_of(cli: Cli, client: Any, before: Callable[[str], None]) -> Deployment:
    """A deployment into a schema of its own, with a volume in a second one and a folder in that."""
    runtime = Runtime(cli.table, workspace_client=client, warehouse_id="local", environment={})
    for name in PORTS:
        runtime.__dict__[name] = Port(getattr(runtime, name), before)
    volume_path = f"/Volumes/main/{runtime.control_table.schema}_files/metadata/prod"
    return Deployment(runtime, Request(runtime.control_table, volume_path, mode="scheduled"), tiny_wheel())


def deploy(cli: Cli, client: Any, before: Callable[[str], None]) -> None:
    deployment = deployment_of(cli, client, before)
    deployment.apply(deployment.plan())


def destroy(cli: Cli, client: Any) -> Any:
    runtime = Runtime(cli.table, workspace_client=client, warehouse_id="local", environment={})
    destruction = Destruction(runtime)
    outcome = destruction.apply(destruction.plan())
    assert outcome.errors == ()
    return outcome


def at(number: int, seen: list[str]) -> Callable[[str], None]:
    """Dies before the write of that number; at the latest before the first about the monitor's jobs."""

    def before(write: str) -> None:
        seen.append(write)
        if len(seen) > number or write.endswith("_deployment_jobs"):
            raise Killed

    return before


def dying_before(last: str) -> Callable[[str], None]:
    def before(write: str) -> None:
        if write == last:
            raise Killed

    return before


def test_no_moment_to_die_leaves_anything_behind(cli: Cli, client: Any) -> None:
    """Whichever write was the last one: `--destroy` leaves the workspace as it was."""
    before = inventory(client)
    everything: list[str] = []
    with pytest.raises(Killed):
        deploy(cli, client, at(10_000, everything))
    assert "append" in everything[1], "the ledger comes right after the schema that it lies in"
    destroy(cli, client)
    assert inventory(client) == before
    for number in range(1, len(everything) - 1):
        seen: list[str] = []
        with pytest.raises(Killed):
            deploy(cli, client, at(number, seen))
        assert seen == everything[: number + 1]
        outcome = destroy(cli, client)
        assert outcome.writes > 0, f"after {seen[-2]}"
        assert inventory(client) == before, f"after {seen[-2]}"


def test_what_somebody_else_made_meanwhile_stays(cli: Cli, client: Any) -> None:
    """The deployment died before it made them; then somebody made the second schema, the volume and the table."""
    schema = cli.table.split(".")[1]
    volume = f"main.{schema}_files.metadata"
    with pytest.raises(Killed):
        deploy(cli, client, dying_before(f"create_schema main.{schema}_files"))
    client.schemas.create(f"{schema}_files", "main")
    client.volumes.create("main", f"{schema}_files", "metadata", VolumeType.MANAGED)
    cli.sql(f"CREATE TABLE {cli.table} (mine INT)")
    destroy(cli, client)
    assert client.volumes.read(volume).name == "metadata"
    assert client.tables.exists(cli.table).table_exists
    cli.sql(f"DROP TABLE {cli.table}")
    client.volumes.delete(volume)
    client.schemas.delete(f"main.{schema}_files")


def test_a_table_that_was_there_keeps_its_rows_and_no_more(cli: Cli, client: Any) -> None:
    """The settings row that was made for the setting `package` goes; one that says more by then stays."""
    cli.sql(f"CREATE SCHEMA {cli.table.rpartition('.')[0]}")
    columns = ", ".join(f"{column.name} {column.type}" for column in COLUMNS)
    cli.sql(f"CREATE TABLE {cli.table} ({columns}) USING DELTA")
    cli.sql(f"INSERT INTO {cli.table} VALUES ('a', 'm', 'sql', 1, '{{}}', '{{}}', '{{}}', false)")
    before, rows = inventory(client), cli.sql(f"SELECT * FROM {cli.table}")
    with pytest.raises(Killed):
        deploy(cli, client, at(10_000, []))
    assert len(cli.sql(f"SELECT * FROM {cli.table}")) == 2
    destroy(cli, client)
    assert (inventory(client), cli.sql(f"SELECT * FROM {cli.table}")) == (before, rows)
    with pytest.raises(Killed):
        deploy(cli, client, at(10_000, []))
    [settings] = cli.sql(f"SELECT * FROM {cli.table} WHERE source_id = '__settings__'")
    more = {**json.loads(settings["transformation_config"]), "drift": "report"}
    cli.sql(
        f"UPDATE {cli.table} SET transformation_config = '{json.dumps(more)}' WHERE source_id = '__settings__'"
    )
    destroy(cli, client)
    [settings] = cli.sql(f"SELECT * FROM {cli.table} WHERE source_id = '__settings__'")
    assert json.loads(settings["transformation_config"]) == {"drift": "report"}


def test_what_another_workspace_works_with_stays(cli: Cli, client: Any) -> None:
    """Several workspaces share a metastore: tables, volumes and wheels stay as long as one of them has jobs by them."""
    before = inventory(client)
    with pytest.raises(Killed):
        deploy(cli, client, at(10_000, []))
    after = inventory(client)
    cli.sql(f"INSERT INTO {cli.table}_jobs (workspace_id, module_name, job_id) VALUES ('42', 'theirs', 1)")
    outcome = destroy(cli, client)
    kept = {(step.kind, step.name): step.detail for step in outcome.outline.steps}
    assert "workspace 42 has jobs by it" in kept["table", cli.table]
    assert inventory(client) == after
    cli.sql(f"UPDATE {cli.table}_jobs SET job_id = NULL WHERE workspace_id = '42'")
    destroy(cli, client)
    assert inventory(client) == before


def test_two_deployments_at_once_make_one_monitor(cli: Cli, client: Any) -> None:
    """Both had planned to make everything: one makes the job, the other waits for it and finds nothing to do."""
    before = inventory(client)
    both = [deployment_of(cli, client, lambda _: None) for _ in range(2)]
    outlines = [deployment.plan() for deployment in both]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda pair: pair[0].apply(pair[1]), zip(both, outlines, strict=True)))
    assert [outcome.exit_code for outcome in outcomes] == [0, 0]
    [job_id] = inventory(client)["jobs"].keys() - before["jobs"].keys()
    assert [outcome.jobs for outcome in outcomes] == [{"monitor": job_id}] * 2
    destroy(cli, client)
    assert inventory(client) == before
