"""notify: what the message says, where it goes, and that the webhook's URL is shown nowhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.dxr import tables as definitions
from lakeflow_job_meta.dxr.summary import record
from lakeflow_job_meta.errors import TaskError, UsageError
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.task_context import TaskContext
from lakeflow_job_meta.tasks import notify

NOW = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
Start = Callable[..., dict[str, Any]]


class Hook:
    """A webhook over real HTTP that keeps what it is sent; `answers` are its statuses, then 200."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answers: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.sent.append(json.loads(body))
                self.send_response(hook.answers.pop(0) if hook.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T0/SECRETPART"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


class FakeSecrets:
    def __init__(self, value: str) -> None:
        self._value = value

    def get(self, scope: str, key: str) -> str:
        return self._value


@pytest.fixture
def start(tables: Any, schema: tuple[str, str]) -> Start:
    """Runs the task: `start(url, secret_scope=...)`; what it logged is in `logged`."""

    def run(
        url: str = "", run_id: str = "77", environment: dict[str, str] | None = None, **settings: Any
    ) -> Any:
        given = {"metadata_table": ".".join((*schema, "file_metadata")), **settings}
        if url:
            given |= {"secret_scope": "dxr", "secret_key": "hook"}
        source = SourceDefinition("tell", "notify", 9, "notify", given)
        context = TaskContext(
            control_table=TableName("main", "t", "etl_control"),
            module=ModuleDefinition("documents", {}, (source,)),
            source=source,
            run_id=run_id,
            tables=tables,
            volumes=FuseVolumes(None),
            spark=lambda: None,
            workspace=lambda: pytest.fail("no workspace is needed"),
            clock=lambda: NOW,
            log=lambda event, **facts: None,
            secrets=lambda: FakeSecrets(url),
            environment=environment or {},
        )
        return notify.run(context, partial(notify.deliver, sleep=lambda seconds: None))

    return run


@pytest.fixture
def runs(tables: Any, schema: tuple[str, str]) -> None:
    """A run with a good ingest and a failed collect, and files with labels."""
    table = TableName(*schema, "dxr_runs")
    common = {"started_at": NOW, "ended_at": NOW}
    record(tables, table, run_id="77", task="dxr_ingest", summary={"seen": 9, "uploaded": 3}, **common)
    record(tables, table, run_id="77", task="dxr_collect", summary={"missing": 1, "classified": 2}, error="1 missing <b>", good=False, **common)  # fmt: skip
    record(tables, table, run_id="76", task="dxr_snapshot", summary={"seen": 1}, **common)
    metadata = definitions.metadata(TableName(*schema, "file_metadata"))
    definitions.ensure(tables, metadata)
    files = [{"file_path": str(n), "labels": ["PII"] if n else ["PII", "Legal & more"]} for n in range(3)]
    tables.append(metadata, files)


def test_a21_slack_message(start: Start, hook: Hook, runs: None) -> None:
    """This run's tasks, their counts and failures, files by label and a link, as text that Slack takes."""
    done = start(hook.url, environment={"DATABRICKS_HOST": "https://h.example"}, links={"Docs": "https://d"})
    [sent] = hook.sent
    assert set(sent) == {"text"}
    text = sent["text"]
    assert "documents: 1 of 2 tasks failed (run 77)" in text
    assert "- dxr_ingest: succeeded (9 seen, 3 uploaded)" in text
    assert "- dxr_collect: failed (2 classified, 1 missing): 1 missing &lt;b&gt;" in text
    assert "PII 3, Legal &amp; more 1" in text
    assert "<https://h.example/jobs/runs/77|The run>" in text
    assert "<https://d|Docs>" in text
    assert "snapshot" not in text
    assert (done["posted"], done["failures"], done["files_by_label"]) == (
        True,
        1,
        {"Legal & more": 1, "PII": 3},
    )
    assert "SECRETPART" not in json.dumps(done)


def test_teams_message(start: Start, hook: Hook, runs: None) -> None:
    """An adaptive card in the envelope that Teams takes."""
    start(hook.url, webhook_format="teams")
    [sent] = hook.sent
    card = sent["attachments"][0]["content"]
    assert sent["attachments"][0]["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["type"] == "AdaptiveCard"
    assert any("dxr_ingest" in block["text"] for block in card["body"])


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://hooks.slack.com/services/x", False),
        ("https://acme.webhook.office.com/webhookb2/x", True),
        ("https://prod-1.westeurope.logic.azure.com/workflows/x", True),
        ("https://evil.example/?webhook.office.com", False),
    ],
)
def test_the_shape_follows_the_url(url: str, kind: bool) -> None:
    """Unless it is named."""
    assert notify._is_teams("auto", url) is kind
    assert notify._is_teams("teams", url) is True
    assert notify._is_teams("slack", url) is False


def test_without_a_webhook_nothing_is_posted(start: Start, runs: None) -> None:
    """That is no failure; the message is in the task's output all the same."""
    done = start()
    assert done["posted"] is False
    assert "dxr_ingest" in done["message"]


def test_the_environment_may_name_it(start: Start, hook: Hook) -> None:
    """And tables that are not there yet are no failure."""
    assert start(environment={notify.VARIABLE: hook.url})["posted"] is True
    assert "no task ran" in hook.sent[0]["text"]


def test_only_failures(start: Start, hook: Hook, runs: None) -> None:
    """A good run is not told when only failures are wanted."""
    assert start(hook.url, run_id="76", only_failures=True)["posted"] is False
    assert start(hook.url, run_id="77", only_failures=True)["posted"] is True


def test_a_webhook_that_fails(start: Start, hook: Hook, runs: None) -> None:
    """Asked again when it may help; told without the URL; a failure only where it is required."""
    hook.answers = [503, 429]
    assert start(hook.url)["posted"] is True
    assert len(hook.sent) == 3
    hook.answers = [404]
    done = start(hook.url)
    assert (done["posted"], done["reason"]) == (
        False,
        "the webhook does not take the message: it answered 404; check its secret",
    )
    hook.answers = [403]
    with pytest.raises(TaskError) as failed:
        start(hook.url, required=True)
    assert "SECRETPART" not in str(failed.value)
    with pytest.raises(TaskError, match="no answer") as failed:
        start("http://127.0.0.1:1/SECRETPART", required=True)
    assert "SECRETPART" not in str(failed.value)
    assert failed.value.__cause__ is None


@pytest.mark.parametrize("url", ["ftp://x/SECRETPART", "SECRETPART", "https://"])
def test_a_secret_that_is_no_url(start: Start, url: str) -> None:
    """Told without showing it."""
    with pytest.raises(UsageError, match="holds no URL") as failed:
        start(url)
    assert "SECRETPART" not in str(failed.value)
