"""A volume with files, a checked table that knows them, and a policy's open violations: what remediation is tested in."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.names import TableName, digest
from lakeflow_job_meta.policies import remediation_tables
from lakeflow_job_meta.policies import tables as policy_tables
from lakeflow_job_meta.policies.remediate import RemediationSession, remediate
from lakeflow_job_meta.policies.remediation_settings import Rules
from lakeflow_job_meta.policies.undo import undo
from lakeflow_job_meta.ports import Column, TableDefinition

VOLUME = "/Volumes/main/default/share"
TARGET = "/Volumes/main/default/archive"
POLICY = "duplicate_files"
#: 2024-01-01, in ns, and not on a whole second.
NEW_YEAR = 1_704_067_200_123_456_789


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def now() -> datetime:
    return datetime.now(timezone.utc)


Facts = dict[str, tuple[bytes, int, int]]


class RemediationWorld:
    """One schema and one folder that stands for /Volumes."""

    def __init__(self, tables: Any, schema: tuple[str, str], root: Path) -> None:
        self.tables = tables
        self.schema = schema
        self.root = root
        self.folder("").mkdir(parents=True)
        self.folder("", TARGET).mkdir(parents=True)
        self.volumes: Any = FuseVolumes(root)
        self.table = TableName(*schema, "files")
        self.checked = TableDefinition(
            self.table, (Column("path", "STRING"), Column("label_names", "ARRAY<STRING>"))
        )
        tables.create_table(self.checked)
        self.violations = policy_tables.violations(TableName(*schema, policy_tables.VIOLATIONS))
        tables.create_table(self.violations)
        for name, make in (
            (remediation_tables.PLAN, remediation_tables.plan),
            (remediation_tables.LOG, remediation_tables.log),
            (remediation_tables.LOCK, remediation_tables.lock),
        ):
            tables.create_table(make(TableName(*schema, name)))

    @property
    def log_name(self) -> TableName:
        return TableName(*self.schema, remediation_tables.LOG)

    def folder(self, path: str, volume: str = VOLUME) -> Path:
        """The folder or file behind a path of the volume."""
        return self.root.joinpath(*volume.split("/")[2:], *[part for part in path.split("/") if part])

    def put(self, path: str, data: bytes, *, age: int = 0) -> str:
        """A file, `age` seconds older than New Year 2024; its full path."""
        there = self.folder(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(data)
        there.chmod(0o640)
        moment = NEW_YEAR - age * 1_000_000_000
        os.utime(there, ns=(moment, moment))
        return f"{VOLUME}/{path}"

    def put_many(self, files: Mapping[str, bytes]) -> list[str]:
        return [self.put(path, data, age=number) for number, (path, data) in enumerate(files.items())]

    def violate(self, *paths: str, policy: str = POLICY, table: str | None = None, **columns: Any) -> None:
        """Open violations by these files, with the hashes and sizes that they have now."""
        rows = []
        for path in paths:
            there = self.volumes._local(path) if ".." not in path else None
            row: dict[str, Any] = {"path": path}
            if there is not None and there.is_file():
                data = there.read_bytes()
                row |= {"content_sha256": sha256(data), "size_bytes": len(data)}
            rows.append(row | columns)
        self.violate_rows(rows, policy=policy, table=table)

    def violate_rows(
        self, rows: Iterable[Mapping[str, Any]], *, policy: str = POLICY, table: str | None = None
    ) -> None:
        """Open violations with just these rows."""
        self.tables.append(
            self.violations,
            [
                {
                    "policy": policy,
                    "table_name": str(self.table) if table is None else table,
                    "violation_key": digest([policy, row], 32),
                    "row": json.dumps(row),
                    "severity": "medium",
                    "first_seen": now(),
                    "last_seen": now(),
                    "first_run": "r1",
                    "last_run": "r1",
                }
                for row in rows
            ],
        )

    def label(self, path: str, *labels: str) -> None:
        """What the checked table says of a file."""
        self.tables.append(self.checked, [{"path": path, "label_names": list(labels)}])

    def session(self) -> RemediationSession:
        return RemediationSession(self.tables, self.volumes, now)

    def rules(self, **given: Any) -> Rules:
        chosen = {
            "policy": POLICY,
            "table": str(self.table),
            "action": "archive",
            "keeper": "oldest",
            "target": TARGET,
            **given,
        }
        return Rules.of({name: value for name, value in chosen.items() if value is not None})

    def remediate(self, *, execute: bool = True, plan_run: str = "", **given: Any) -> dict[str, Any]:
        return remediate(self.session(), self.rules(**given), execute=execute, plan_run=plan_run)

    def undo(self, run: str) -> dict[str, Any]:
        return undo(self.session(), run)

    def facts(self, volume: str = VOLUME) -> Facts:
        """Bytes, modification time and mode of every file of a volume, by path."""
        top = self.folder("", volume)
        found: Facts = {}
        for file in sorted(top.rglob("*")):
            if file.is_file() and not file.is_symlink():
                status = file.stat()
                found[str(file.relative_to(top))] = (
                    file.read_bytes(),
                    status.st_mtime_ns,
                    status.st_mode & 0o777,
                )
        return found

    def stored(self) -> list[bytes]:
        """Contents in the target, manifests left out."""
        return sorted(
            data
            for path, (data, _, _) in self.facts(TARGET).items()
            if not path.rpartition("/")[2].startswith("manifest-")
        )

    def log(self, run: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.tables.query(
            f"SELECT * FROM {TableName(*self.schema, remediation_tables.LOG).quoted} WHERE run_id = :run ORDER BY at",
            {"run": run},
        )
        return rows

    def plan(self, run: str) -> dict[str, dict[str, Any]]:
        """The rows of a plan by path."""
        rows = self.tables.query(
            f"SELECT * FROM {TableName(*self.schema, remediation_tables.PLAN).quoted} WHERE run_id = :run",
            {"run": run},
        )
        return {row["path"] or row["given_path"]: row for row in rows}
