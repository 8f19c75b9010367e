"""Rows in a Delta control table become Databricks Jobs, and stay equal to them.

What lives here: the names that users import (`__all__`), and the version. Each is imported when it is
first asked for, so that `import lakeflow_job_meta` stays quick and loads no SDK, no Spark, no HTTP.

What may not live here: code. No room imports a public name from here; they import from one another.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakeflow_job_meta.dataset_manager import DatasetManager
    from lakeflow_job_meta.errors import (
        CommitConflict,
        DatasetError,
        DatasetNotFound,
        DxrError,
        DxrNotFound,
        DxrRefused,
        DxrRunFailed,
        DxrUnauthorized,
        DxrUnavailable,
        DxrUnclear,
        InvalidRequest,
        LakeflowJobMetaError,
        LocalError,
        MetadataError,
        NotFound,
        PermissionDenied,
        Place,
        PlanError,
        PolicyError,
        PolicyRunFailed,
        Problem,
        StalePlan,
        StreamCut,
        TableMismatch,
        TableNotFound,
        TablesError,
        TablesUnavailable,
        TaskError,
        Throttled,
        Unavailable,
        UnclearOutcome,
        UnsafePlan,
        UsageError,
        VolumeError,
        WorkspaceError,
    )
    from lakeflow_job_meta.metadata_manager import MetadataManager
    from lakeflow_job_meta.monitor import MetadataMonitor
    from lakeflow_job_meta.orchestrator import JobOrchestrator

#: The one place of the version; pyproject.toml reads it from here.
__version__ = "0.1.0"

__all__ = [
    "CommitConflict",
    "DatasetError",
    "DatasetManager",
    "DatasetNotFound",
    "DxrError",
    "DxrNotFound",
    "DxrRefused",
    "DxrRunFailed",
    "DxrUnauthorized",
    "DxrUnavailable",
    "DxrUnclear",
    "InvalidRequest",
    "JobOrchestrator",
    "LakeflowJobMetaError",
    "LocalError",
    "MetadataError",
    "MetadataManager",
    "MetadataMonitor",
    "NotFound",
    "PermissionDenied",
    "Place",
    "PlanError",
    "PolicyError",
    "PolicyRunFailed",
    "Problem",
    "StalePlan",
    "StreamCut",
    "TableMismatch",
    "TableNotFound",
    "TablesError",
    "TablesUnavailable",
    "TaskError",
    "Throttled",
    "Unavailable",
    "UnclearOutcome",
    "UnsafePlan",
    "UsageError",
    "VolumeError",
    "WorkspaceError",
    "__version__",
]

_ROOMS = {
    "DatasetManager": "dataset_manager",
    "JobOrchestrator": "orchestrator",
    "MetadataManager": "metadata_manager",
    "MetadataMonitor": "monitor",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ROOMS.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
