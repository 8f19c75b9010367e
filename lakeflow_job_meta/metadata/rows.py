"""Rows of the control table as values: what YAML becomes and what definitions are built from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lakeflow_job_meta.names import digest

#: source_id of the row whose transformation_config holds a module's job settings.
JOB_ROW = "__job__"
#: source_type of that row.
JOB_SOURCE_TYPE = "job"
#: module_name and source_id of the settings row.
SETTINGS_MODULE = "__control__"
SETTINGS_ROW = "__settings__"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the control table, its eight columns in order (DESIGN 2).

    The three configs are JSON objects as text, or None when empty. `is_active` None means true.
    Values are as the table has them: not checked yet.
    """

    source_id: str | None
    module_name: str | None
    source_type: str | None = None
    execution_order: int | None = None
    source_config: str | None = None
    target_config: str | None = None
    transformation_config: str | None = None
    is_active: bool | None = True

    @property
    def key(self) -> tuple[str, str]:
        """(module_name, source_id): unique in a sound control table."""
        return (self.module_name or "", self.source_id or "")

    @property
    def active(self) -> bool:
        return self.is_active is not False

    @property
    def hash(self) -> str:
        """Hash of all eight columns: the file-side hash of a row."""
        # Not dataclasses.astuple: it deep-copies every value, and this is called for every row in every pass.
        return digest(
            [
                self.source_id,
                self.module_name,
                self.source_type,
                self.execution_order,
                self.source_config,
                self.target_config,
                self.transformation_config,
                self.is_active,
            ],
            32,
        )


def rows_hash(rows: Iterable[Row]) -> str:
    """Hash of a module's rows, whatever their order: equal means that nothing has to be done."""
    return digest(sorted(row.hash for row in rows), 32)
