"""`notify`: posts what a run's Data X-Ray tasks did to a Slack- or Teams-compatible webhook, or to nothing.

The webhook's URL is a secret: it comes from one, or from the environment, and is in no log, table or error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lakeflow_job_meta.errors import TableNotFound, TaskError, UsageError
from lakeflow_job_meta.names import TableName

if TYPE_CHECKING:
    from lakeflow_job_meta.task_context import TaskContext

JsonObject = dict[str, Any]
#: Where the webhook's URL may stand beside a secret.
VARIABLE = "LAKEFLOW_JOB_META_WEBHOOK_URL"
#: Runs that are told of where the job's own run has none: the newest ones.
NEWEST = 5
LABELS = 15
ATTEMPTS = 3
SECONDS = 20.0
_COUNTS = ("seen", "new", "uploaded", "classified", "missing", "ambiguous", "failed", "skipped")


def run(context: TaskContext, post: Callable[[str, JsonObject], None] | None = None) -> JsonObject:
    """Post the summary of the run.

    Args:
        post: sends a message to a URL; None: over HTTP.

    Returns:
        `posted` (and why not), `tasks`, `failures`, `files_by_label`, and `message`, the text.

    Raises:
        UsageError: a setting is wrong.
        TaskError: the message could not be delivered, and `required` is set.
        TablesError, WorkspaceError: the tables or the secret cannot be read.
    """
    settings = {**context.source.source_config, **context.source.target_config, **context.settings}
    url = _webhook(context, settings)
    runs = _runs(context, settings)
    labels = _labels(context, settings)
    failures = [one for one in runs if one["outcome"] != "succeeded"]
    title = settings.get("title") or context.module.module_name
    facts: JsonObject = {
        "tasks": [one["task"] for one in runs],
        "failures": len(failures),
        "files_by_label": labels,
    }
    text = message(title, context.run_id, runs, labels)
    facts["message"] = text
    if url is None:
        return {**facts, "posted": False, "reason": "there is no webhook: name its secret to have one"}
    if settings.get("only_failures") and not failures:
        return {**facts, "posted": False, "reason": "nothing failed"}
    links = _links(context, settings)
    kind = settings.get("webhook_format") or "auto"
    body = teams(title, text, links) if _is_teams(kind, url) else slack(text, links)
    try:
        (post or deliver)(url, body)
    except TaskError as error:
        if settings.get("required"):
            raise
        context.log("not delivered", reason=str(error))
        return {**facts, "posted": False, "reason": str(error)}
    return {**facts, "posted": True}


def message(title: str, run_id: str, runs: Sequence[JsonObject], labels: Mapping[str, int]) -> str:
    """The message for people, a few lines of plain text."""
    bad = [one for one in runs if one["outcome"] != "succeeded"]
    state = f"{len(bad)} of {len(runs)} tasks failed" if bad else "all is well" if runs else "no task ran"
    lines = [f"{title}: {state}" + (f" (run {run_id})" if run_id else "")]
    for one in runs:
        counts = ", ".join(f"{one[name]} {name}" for name in _COUNTS if one.get(name))
        why = f": {_first_line(one['message'])}" if one.get("message") else ""
        lines.append(f"- {one['task']}: {one['outcome']} ({counts or 'nothing to do'}){why}")
    if labels:
        shown = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
        more = f" and {len(shown) - LABELS} more labels" if len(shown) > LABELS else ""
        lines.append(
            "Files by label: " + ", ".join(f"{name} {count}" for name, count in shown[:LABELS]) + more
        )
    return "\n".join(lines)


def slack(text: str, links: Mapping[str, str]) -> JsonObject:
    """The message as Slack's incoming webhooks take it (Mattermost and others, too)."""
    told = _escaped(text)
    told += "".join(f"\n<{url}|{_escaped(name)}>" for name, url in links.items())
    return {"text": told}


def teams(title: str, text: str, links: Mapping[str, str]) -> JsonObject:
    """The message as Teams' webhooks (Workflows) take it: an adaptive card."""
    body: list[JsonObject] = [
        {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "text": title, "wrap": True},
        *(
            {"type": "TextBlock", "text": line, "wrap": True, "spacing": "Small"}
            for line in text.splitlines()
        ),
    ]
    card: JsonObject = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": name, "url": address} for name, address in links.items()
        ],
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _is_teams(kind: str, url: str) -> bool:
    if kind != "auto":
        return kind == "teams"
    host = urlsplit(url).hostname or ""
    return host.endswith((".office.com", ".logic.azure.com", ".powerplatform.com", "teams.microsoft.com"))


def _webhook(context: TaskContext, settings: JsonObject) -> str | None:
    """The URL; None when there is none. Raises UsageError when it is no http(s) URL, without showing it."""
    scope, key = settings.get("secret_scope"), settings.get("secret_key")
    if bool(scope) != bool(key):
        raise UsageError("secret_scope and secret_key go together: give both or neither")
    if scope and context.secrets is not None:
        url = context.secrets().get(scope, str(key)).strip()
        origin = f"the secret {key!r} of scope {scope!r}"
    else:
        url, origin = context.environment.get(VARIABLE, "").strip(), VARIABLE
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{origin} holds no URL of a webhook")
    return url


def _tables(settings: JsonObject) -> tuple[TableName | None, TableName | None]:
    """(metadata table, runs table), as far as they are given."""
    metadata = TableName.parse(settings["metadata_table"]) if settings.get("metadata_table") else None
    if settings.get("runs_table"):
        return metadata, TableName.parse(settings["runs_table"])
    return metadata, TableName(metadata.catalog, metadata.schema, "dxr_runs") if metadata else None


def _runs(context: TaskContext, settings: JsonObject) -> list[JsonObject]:
    """The last run of each task in this job run; without a job run, the newest ones."""
    _, table = _tables(settings)
    if table is None:
        return []
    columns = "`task`, `outcome`, `message`, `started_at`, " + ", ".join(f"`{name}`" for name in _COUNTS)
    sql = f"SELECT {columns} FROM {table.quoted}"
    try:
        if context.run_id:
            found = context.tables.query(
                f"{sql} WHERE `run_id` = :run_id ORDER BY `started_at`", {"run_id": context.run_id}
            )
        else:
            found = context.tables.query(f"{sql} ORDER BY `started_at` DESC LIMIT {NEWEST}")[::-1]
    except TableNotFound:
        return []
    last = {one["task"]: one for one in found}
    return sorted(last.values(), key=lambda one: one["started_at"])


def _labels(context: TaskContext, settings: JsonObject) -> dict[str, int]:
    """How many files have each label now."""
    table, _ = _tables(settings)
    if table is None:
        return {}
    sql = (
        "SELECT `label`, count(*) AS `files` FROM (SELECT explode(`labels`) AS `label` "
        f"FROM {table.quoted} WHERE `source_deleted_at` IS NULL) AS `each` GROUP BY `label`"
    )
    try:
        rows = context.tables.query(sql)
    except TableNotFound:
        return {}
    return {row["label"]: int(row["files"]) for row in sorted(rows, key=lambda row: str(row["label"]))}


def _links(context: TaskContext, settings: JsonObject) -> dict[str, str]:
    given = {str(name): str(url) for name, url in (settings.get("links") or {}).items()}
    host = context.environment.get("DATABRICKS_HOST", "").rstrip("/")
    if host and context.run_id.isdigit():
        return {"The run": f"{host}/jobs/runs/{context.run_id}", **given}
    return given


def _first_line(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= 300 else line[:297] + "..."


class _Passing(TaskError):
    """A failure that may pass."""


def deliver(url: str, body: JsonObject, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Send the message, again when that may help; `sleep` waits for seconds. Raises TaskError without the URL."""
    import httpx
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_incrementing

    def once() -> None:
        try:
            answer = httpx.post(
                url,
                content=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                timeout=SECONDS,
                follow_redirects=False,
            )
        except httpx.HTTPError as error:
            raise _Passing(f"no answer ({type(error).__name__})") from None
        status = answer.status_code
        if status in {408, 429} or status >= 500:
            raise _Passing(f"it answered {status}")
        if status >= 300:
            raise TaskError(f"it answered {status}")

    again = Retrying(
        retry=retry_if_exception_type(_Passing),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_incrementing(start=1, increment=1),
        sleep=sleep,
        reraise=True,
    )
    try:
        again(once)
    except TaskError as error:
        # The cause would show the URL, which is a secret.
        raise TaskError(f"the webhook does not take the message: {error}; check its secret") from None
