"""Ports: what the product needs from the outside, as protocols and plain values; one module a service.

Adapters (`adapters/`) implement them; `runtime` picks the adapter. Every method raises only errors of this
package (`errors`). No I/O but through the ports themselves, and nothing that decides anything.
"""

from __future__ import annotations

from lakeflow_job_meta.ports.catalog import Catalog
from lakeflow_job_meta.ports.content import HashedStream, Readable, file_sha256, sha256_of
from lakeflow_job_meta.ports.platform import Caller, Platform, Securable, SecurableKind
from lakeflow_job_meta.ports.secrets import Secrets
from lakeflow_job_meta.ports.tables import Column, TableDefinition, Tables
from lakeflow_job_meta.ports.volumes import FileInfo, FileState, Volumes
from lakeflow_job_meta.ports.workspace import (
    CallCount,
    Jobs,
    JsonObject,
    ObjectKind,
    Permissions,
    Queries,
    RemoteJob,
    RemoteQuery,
    Run,
    TaskRun,
    Workspace,
)

__all__ = [
    "CallCount",
    "Caller",
    "Catalog",
    "Column",
    "FileInfo",
    "FileState",
    "HashedStream",
    "Jobs",
    "JsonObject",
    "ObjectKind",
    "Permissions",
    "Platform",
    "Queries",
    "Readable",
    "RemoteJob",
    "RemoteQuery",
    "Run",
    "Secrets",
    "Securable",
    "SecurableKind",
    "TableDefinition",
    "Tables",
    "TaskRun",
    "Volumes",
    "Workspace",
    "file_sha256",
    "sha256_of",
]
