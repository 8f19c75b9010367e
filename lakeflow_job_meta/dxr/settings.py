"""Settings of the Data X-Ray tasks: one table of what can be set, where from, and with what default.

Strongest first: what was given (the source's own settings, or flags), the environment, a `.env` file, the
default. The environment variables are those of the systems that this replaces, so that their
configurations can be brought along. Flags, schemas and docs are made of this table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lakeflow_job_meta.dxr.export_settings import EXPORT_SETTINGS
from lakeflow_job_meta.dxr.setting import ALL, DxrSetting
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import TableName

JsonObject = dict[str, Any]

_AGO = re.compile(r"(\d+)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


SETTINGS: tuple[DxrSetting, ...] = (
    DxrSetting(
        "base_url",
        "text",
        None,
        "Data X-Ray's address, `https://host`, with or without the API prefix.",
        ("DXR_BASE_URL",),
        ALL,
    ),
    DxrSetting("api_prefix", "text", "/api", "Path before every endpoint.", ("DXR_API_PREFIX",), ALL),
    DxrSetting("verify_ssl", "boolean", True, "Check the server's certificate.", ("DXR_VERIFY_SSL",), ALL),
    DxrSetting(
        "ca_bundle",
        "text",
        None,
        "File with the certificates that sign the server's.",
        ("DXR_CA_BUNDLE_PATH",),
        ALL,
    ),
    DxrSetting(
        "timeout",
        "number",
        120.0,
        "Seconds to connect, and between two bytes.",
        ("DXR_HTTP_TIMEOUT",),
        ALL,
        minimum=1,
    ),
    DxrSetting("user_agent", "text", None, "User-Agent of the requests.", ("DXR_USER_AGENT",), ALL),
    DxrSetting(
        "secret_scope",
        "text",
        None,
        "Scope of the secret that holds the token.",
        ("DXR_SECRET_SCOPE", "DXR_TOKEN_SCOPE"),
        ALL,
    ),
    DxrSetting(
        "secret_key",
        "text",
        None,
        "Key of the secret that holds the token.",
        ("DXR_SECRET_KEY", "DXR_TOKEN_KEY"),
        ALL,
    ),
    DxrSetting(
        "source_volume",
        "text",
        None,
        "The volume whose files are classified, `/Volumes/catalog/schema/volume`.",
    ),
    DxrSetting(
        "metadata_table",
        "text",
        None,
        "Table of the results; ours lie beside it.",
        ("DATABRICKS_METADATA_TABLE",),
        ALL,
    ),
    DxrSetting(
        "checkpoint_table",
        "text",
        None,
        "Table of what is known about each source file (default: dxr_checkpoints).",
        ("DATABRICKS_CHECKPOINT_TABLE",),
        ALL,
    ),
    DxrSetting(
        "jobs_table",
        "text",
        None,
        "Table of the jobs sent, the ledger (default: dxr_jobs).",
        ("DATABRICKS_JOB_LEDGER_TABLE",),
        ALL,
    ),
    DxrSetting("runs_table", "text", None, "Table of the runs' summaries (default: dxr_runs).", (), ALL),
    DxrSetting(
        "datasource_id",
        "integers",
        (),
        "On-demand classifier datasources; with several, one crawl runs in each.",
        ("DXR_DATASOURCE_ID",),
        minimum=0,
    ),
    DxrSetting("dry_run", "boolean", False, "Say what would be done; call, write and send nothing.", (), ALL),
    DxrSetting(
        "prefix",
        "text",
        None,
        "Only files below this path in the volume.",
        ("VOLUME_PREFIX",),
        ("dxr_ingest",),
    ),
    DxrSetting(
        "include",
        "texts",
        (),
        "Globs of paths in the volume to take (`**` is any depth); none: all.",
        (),
        ("dxr_ingest",),
    ),
    DxrSetting("exclude", "texts", (), "Globs of paths in the volume to leave out.", (), ("dxr_ingest",)),
    DxrSetting(
        "since",
        "text",
        None,
        "Only files modified then or later: a date, a time with its zone, or an age like `7d`.",
        (),
        ("dxr_ingest",),
    ),
    DxrSetting(
        "sample_percent",
        "number",
        100.0,
        "Share of the files to take, always the same ones.",
        (),
        ("dxr_ingest",),
        minimum=0,
        maximum=100,
    ),
    DxrSetting(
        "max_files", "integer", None, "At most so many files sent in one run.", (), ("dxr_ingest",), minimum=1
    ),
    DxrSetting(
        "reprocess", "boolean", False, "Send files that did not change, too (backfill).", (), ("dxr_ingest",)
    ),
    DxrSetting(
        "max_bytes_per_job",
        "integer",
        31_457_280,
        "Bytes of one job; a larger file is skipped unless max_file_bytes lets it travel alone.",
        ("DXR_MAX_BYTES_PER_JOB",),
        ("dxr_ingest",),
        minimum=1,
    ),
    DxrSetting(
        "max_files_per_job",
        "integer",
        25,
        "Files of one job (1 where a deployment takes single files).",
        ("DXR_MAX_FILES_PER_JOB",),
        ("dxr_ingest",),
        minimum=1,
        maximum=10_000,  # the index answers no more rows than this for one job
    ),
    DxrSetting(
        "max_file_bytes",
        "integer",
        None,
        "A larger file is skipped with its reason (default: max_bytes_per_job).",
        (),
        ("dxr_ingest",),
        minimum=1,
    ),
    DxrSetting(
        "parallel_jobs",
        "integer",
        4,
        "Submits under way at once for each datasource.",
        (),
        ("dxr_ingest",),
        minimum=1,
        maximum=16,
    ),
    DxrSetting(
        "max_attempts",
        "integer",
        3,
        "Times that a version of a file is sent before a failure is left alone.",
        (),
        minimum=1,
    ),
    DxrSetting(
        "unclear_wait",
        "number",
        30.0,
        "Seconds that files of an unclear submit are looked for in the index before they are sent again.",
        (),
        ("dxr_ingest",),
        minimum=0,
    ),
    DxrSetting("job_id", "texts", (), "Only these jobs of the ledger.", (), ("dxr_collect",)),
    DxrSetting(
        "poll_interval",
        "number",
        10.0,
        "Seconds between two looks at a job.",
        ("DXR_POLL_INTERVAL_SECONDS",),
        ("dxr_ingest", "dxr_collect"),
        minimum=0,
    ),
    DxrSetting(
        "deadline",
        "number",
        3600.0,
        "Seconds after which the run ends; jobs that still run stay open for the next one.",
        (),
        ("dxr_collect",),
        minimum=0,
    ),
    DxrSetting(
        "job_expiry",
        "number",
        86_400.0,
        "Seconds after which a job that never ends counts as failed.",
        (),
        ("dxr_collect",),
        minimum=0,
    ),
    DxrSetting(
        "settle_interval",
        "number",
        2.0,
        "Seconds between two looks at the index.",
        (),
        ("dxr_collect",),
        minimum=0,
    ),
    DxrSetting(
        "settle_rounds",
        "integer",
        2,
        "Looks at the index in a row that must agree.",
        (),
        ("dxr_collect",),
        minimum=1,
    ),
    DxrSetting(
        "settle_limit",
        "number",
        120.0,
        "Seconds after a job's end by which files without a hit are missing.",
        (),
        ("dxr_collect",),
        minimum=0,
    ),
    DxrSetting(
        "extraction_wait",
        "number",
        30.0,
        "Seconds after a job's end in which values that models extract are waited for.",
        (),
        ("dxr_collect",),
        minimum=0,
    ),
    DxrSetting(
        "page_size", "integer", 200, "Hits of one page.", (), ("dxr_collect",), minimum=1, maximum=10_000
    ),
    DxrSetting(
        "keep_phrases",
        "boolean",
        False,
        "Keep the matched phrases (sensitive) in the tables.",
        (),
        ("dxr_collect", "dxr_snapshot"),
    ),
    DxrSetting(
        "keep_raw_text",
        "boolean",
        False,
        "Keep the files' full text (sensitive, large) in the metadata table.",
        (),
        ("dxr_collect",),
    ),
    DxrSetting("views", "boolean", True, "Make the helper views.", (), ("dxr_collect",)),
    DxrSetting(
        "sensitive_labels",
        "texts",
        ("Sensitive Financial Information",),
        "Labels whose files the view v_sensitive_files has.",
        (),
        ("dxr_collect",),
    ),
    *EXPORT_SETTINGS,
)

#: Where a token may stand; never in a control row.
TOKEN_VARIABLES = ("DXR_API_KEY", "DXR_BEARER_TOKEN", "DXR_JWE_TOKEN", "DXR_TOKEN")
_PLACES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "source_volume": (
        ("DATABRICKS_CATALOG", "DATABRICKS_SCHEMA", "DATABRICKS_SOURCE_VOLUME"),
        ("VOLUME_CATALOG", "VOLUME_SCHEMA", "VOLUME_NAME"),
    ),
}


@dataclass(frozen=True)
class DxrSettings:
    """The resolved settings of one run; `settings["name"]`, see `SETTINGS`."""

    values: Mapping[str, Any] = field(default_factory=dict)
    #: Where each value came from: `given`, `environment`, `.env`.
    origins: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values[name] if name in self.values else BY_NAME[name].default

    def need(self, name: str) -> Any:
        """The value. Raises UsageError when it is not set."""
        value = self[name]
        if value is None or value == ():
            setting = BY_NAME[name]
            variables = f", or {' or '.join(setting.environment)}" if setting.environment else ""
            raise UsageError(f"{name} is not set: give --{name.replace('_', '-')}{variables}")
        return value

    def with_values(self, **values: Any) -> DxrSettings:
        """These settings with some values replaced, checked as given ones are."""
        read = {name: BY_NAME[name].read(value, "given") for name, value in values.items()}
        return DxrSettings({**self.values, **read}, {**self.origins, **dict.fromkeys(read, "given")})

    @property
    def volume(self) -> str:
        """The source volume's path without a slash at its end. Raises UsageError when it is none."""
        path = str(self.need("source_volume"))
        parts = path.rstrip("/").split("/")
        if not path.startswith("/Volumes/") or len(parts) != 5 or not all(parts[2:]) or ".." in parts:
            raise UsageError(
                f"source_volume must be /Volumes/catalog/schema/volume, not {path!r}; a folder in it is the prefix"
            )
        return "/".join(parts)

    @property
    def metadata_table(self) -> TableName:
        return TableName.parse(str(self.need("metadata_table")))

    def table(self, name: str) -> TableName:
        """The table of our `checkpoint`s, `job`s or `run`s: what its setting names, else beside the metadata table."""
        given = self.values.get(f"{name}_table") or self.values.get(f"{name}s_table")
        if given:
            return TableName.parse(str(given))
        beside = self.metadata_table
        return TableName(beside.catalog, beside.schema, f"dxr_{name}s")

    def since(self, now: datetime) -> datetime | None:
        """The time from which on files are taken. Raises UsageError."""
        text = self["since"]
        if not text:
            return None
        ago = _AGO.fullmatch(text.strip())
        if ago is not None:
            return now - timedelta(seconds=int(ago.group(1)) * _SECONDS[ago.group(2)])
        try:
            moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        except ValueError:
            raise UsageError(
                f"since must be a date (2026-03-01), a time (2026-03-01T12:00:00Z) or an age (7d), not {text!r}"
            ) from None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


BY_NAME: Mapping[str, DxrSetting] = {setting.name: setting for setting in SETTINGS}


def for_task(task: str) -> dict[str, DxrSetting]:
    """The settings that a task type takes, by name; `dxr_run_once` takes those of ingest and of collect."""
    types = {"dxr_ingest", "dxr_collect"} if task == "dxr_run_once" else {task}
    return {setting.name: setting for setting in SETTINGS if types & set(setting.tasks)}


def resolve(
    given: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    dotenv: Mapping[str, str | None] | None = None,
    settings: Sequence[DxrSetting] = SETTINGS,
) -> DxrSettings:
    """Settings from what was given, environment variables and a `.env` file; None was not given.

    Raises:
        UsageError: a value of the wrong type, or an unknown name in `given`.
    """
    by_name = {setting.name: setting for setting in settings}
    unknown = sorted(name for name in given if name not in by_name)
    if unknown:
        raise UsageError(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(by_name))}")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    layers = (("environment", environment or {}), (".env", dotenv or {}))
    for setting in settings:
        if given.get(setting.name) is not None:
            values[setting.name] = setting.read(given[setting.name], "given")
            origins[setting.name] = "given"
            continue
        for origin, variables in layers:
            found = next((name for name in setting.environment if variables.get(name)), None)
            if found is not None:
                values[setting.name] = setting.read(variables[found], f"{origin} variable {found}")
                origins[setting.name] = origin
                break
    for origin, variables in layers:
        _from_parts(values, origins, origin, variables)
    return DxrSettings(values, origins)


def token_of(variables: Mapping[str, str | None]) -> str | None:
    """The token in the environment or a `.env` file; None when there is none."""
    return next((value for name in TOKEN_VARIABLES if (value := variables.get(name))), None)


def read_dotenv(path: Path) -> dict[str, str | None]:
    """The variables of a `.env` file; none when there is no such file. The environment stays as it is."""
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return dict(dotenv_values(path, interpolate=False))


def _from_parts(
    values: dict[str, Any], origins: dict[str, str], origin: str, variables: Mapping[str, str | None]
) -> None:
    """The volume and the metadata table from the variables that name their parts."""
    for catalog, schema, volume in _PLACES["source_volume"]:
        parts = [variables.get(name) for name in (catalog, schema, volume)]
        if "source_volume" not in values and all(parts):
            base = variables.get("VOLUME_BASE_PATH") or "/Volumes"
            values["source_volume"] = "/".join([base.rstrip("/"), *(str(part) for part in parts)])
            origins["source_volume"] = origin
    _, catalog, schema, volume = ("", *_volume_parts(values.get("source_volume")))
    named = variables.get("METADATA_TABLE") or (
        f"{volume}_metadata" if volume and variables.get("VOLUME_NAME") else None
    )
    if "metadata_table" not in values and named:
        catalog = variables.get("METADATA_CATALOG") or catalog
        schema = variables.get("METADATA_SCHEMA") or schema
        if catalog and schema:
            # in backticks: a part may hold hyphens, not dots
            values["metadata_table"] = f"`{catalog}`.`{schema}`.`{named}`"
            origins["metadata_table"] = origin


def _volume_parts(path: str | None) -> tuple[str, str, str]:
    parts = (path or "").strip("/").split("/")
    return (parts[1], parts[2], parts[3]) if len(parts) == 4 else ("", "", "")
