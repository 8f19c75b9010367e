"""The queries of docs/policies.md: the dashboard's, and those of the older systems, on Sail."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sqlglot

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.dxr import tables as dxr_tables
from lakeflow_job_meta.dxr import views as dxr_views
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies.definition import from_text, shipped
from lakeflow_job_meta.policies.inputs import prepare
from lakeflow_job_meta.policies.run import Places, evaluate
from lakeflow_job_meta.policies.settings import read
from lakeflow_job_meta.policies.statement import check
from lakeflow_job_meta.policies.tasks import PolicySession, perform
from lakeflow_job_meta.policies.views import VIEWS
from lakeflow_job_meta.policies.views import texts as view_texts
from tests.embedded import run
from tests.policies.files import NOW, collected, file, metadata, snapshot

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
VOLUME = "/Volumes/main/files/inbox"


@pytest.fixture
def views(tables: Any, schema: tuple[str, str]) -> tuple[str, str]:
    """A schema with the views of dxr_collect and of the policies over two files; its name."""
    rows = [
        collected(
            f"{VOLUME}/pay.csv",
            labels=["Financial", "Personal data"],
            labels_json='["Financial"]',
            file_size=7,
        ),
        collected(f"{VOLUME}/plan.txt", labels=["Public"], labels_json='["Public"]', file_size=9),
    ]
    table = metadata(tables, schema, rows)
    checkpoints = dxr_tables.checkpoints(TableName(*schema, "dxr_checkpoints"))
    tables.create_table(checkpoints)
    known = [
        {
            "volume_path": VOLUME,
            "file_path": row["file_path"],
            "file_size": row["file_size"],
            "state": "classified",
        }
        for row in rows
    ]
    tables.append(checkpoints, known)
    dxr_views.create(tables, table, checkpoints.name, ["Financial"])
    given = {
        "table": str(table),
        "policies": {
            "name": "open",
            "sql": "SELECT path FROM snapshot",
            "on_violation": "warn",
            "severity": "critical",
        },
    }
    perform(
        PolicySession(read(given), tables, FuseVolumes(None), "r", lambda: NOW, lambda event, **facts: None)
    )
    return schema


def test_every_query_of_the_page_runs(tables: Any, views: tuple[str, str]) -> None:
    """Each says something about the two files."""
    place = ".".join(views)
    found = [
        tables.query(re.sub(r"\bv_\w+", lambda view: f"{place}.{view.group()}", statement))
        for block in BLOCKS
        for statement in block.split(";")
        if statement.strip()
    ]
    assert len(found) == 7
    summary, trend, critical, sensitive, labels, sources, newest = found
    assert [(row["severity"], row["open_violations"]) for row in summary] == [("critical", 2)]
    assert [(row["policy"], row["new"]) for row in trend] == [("open", 2)]
    assert {row["path"] for row in critical} == {f"{VOLUME}/pay.csv", f"{VOLUME}/plan.txt"}
    assert {row["label"]: row["file_count"] for row in sensitive} == {"Financial": 1, "Personal data": 1}
    assert {row["label"] for row in labels} == {"Financial", "Personal data", "Public"}
    assert {row["file_path"]: row["size"] for row in sources} == {
        f"{VOLUME}/pay.csv": 7,
        f"{VOLUME}/plan.txt": 9,
    }
    assert len(newest) == 3


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_views_parse_in_the_databricks_dialect(name: str) -> None:
    """Views are one SELECT each, for Databricks as for Sail."""
    texts = view_texts(Places.beside(TableName("main", "a", "b")))
    assert set(texts) == set(VIEWS)
    check(texts[name])
    assert len(sqlglot.parse(texts[name], read="databricks")) == 1


def test_the_page_has_every_policy_with_its_sql() -> None:
    """What is shipped can be read."""
    for policy in shipped().values():
        assert f"### {policy.name}\n" in PAGE
        assert policy.sql.strip() in PAGE


def test_the_example_file_finds_large_videos(tables: Any, sail: Any, schema: tuple[str, str]) -> None:
    """examples/policies/large_media.sql, as it lies there."""
    videos = [file(f"/v/{n}.mp4", mime_type="video/mp4", size=n * 10**9) for n in range(4)]
    table = snapshot(tables, sail.warehouse, schema, [*videos, file("/v/big.txt", size=10**12)])
    policy = from_text((EXAMPLES / "large_media.sql").read_text(encoding="utf-8"), "large_media.sql")
    [outcome] = evaluate([policy], tables, prepare(tables, table), clock=lambda: NOW)
    assert (outcome.status, outcome.violations, outcome.error) == ("PASS", 2, "")
    [strict] = evaluate([policy.given({"min_bytes": 1})], tables, prepare(tables, table), clock=lambda: NOW)
    assert strict.violations == 3


def test_the_example_pipeline_is_valid() -> None:
    """examples/policies/governance.yaml validates, and becomes a module of three sources."""
    done = run("lakeflow-job-meta", "validate", str(EXAMPLES / "governance.yaml"), "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["sources"] == 3


def test_the_example_of_the_page_is_a_policy() -> None:
    """The file that the page shows can be used as it is."""
    [text] = re.findall(r"^```text\n(-- name: large_media.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    policy = from_text(text, "large_media.sql")
    assert (policy.severity, policy.on_violation, policy.max_violations) == ("low", "warn", 10)
    assert check(policy.sql, policy.parameters).relations == {"snapshot"}
