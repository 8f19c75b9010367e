"""What the Delta log of a table says, and the changes of a table that Sail cannot make.

Reading is done on the log's own files where one file is enough (the newest version and its
commit), with `deltalake` where the log has to be replayed.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from lakeflow_job_meta.local.spark.errors import Refused, table_not_found

if TYPE_CHECKING:
    from deltalake import DeltaTable

Json = dict[str, Any]

_COMMIT = re.compile(r"(\d{20})\.json")
_LOG_ENTRY = re.compile(r"(\d{20})\.(?:json|checkpoint.*\.parquet)")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a Delta table.

    Args:
        type: as Spark writes it: `int`, `decimal(10,2)`, `array<struct<a:int>>`.
        metadata: of the field in the log: `comment`, defaults, generation expressions.
    """

    name: str
    type: str
    nullable: bool
    metadata: Mapping[str, Any]

    @property
    def comment(self) -> str:
        return str(self.metadata.get("comment") or "")


@dataclass(frozen=True, slots=True)
class Details:
    """The state of a table at its newest version. Times are milliseconds since the epoch."""

    version: int
    id: str
    name: str | None
    description: str | None
    columns: tuple[Column, ...]
    partition_columns: tuple[str, ...]
    properties: Mapping[str, str]
    created: int | None
    min_reader: int
    min_writer: int
    features: tuple[str, ...]


def exists(path: Path) -> bool:
    """Whether there is a Delta table with at least one commit."""
    return newest_version(path) is not None


def newest_version(path: Path) -> int | None:
    """The newest version, from the names in `_delta_log`; None when there is no table."""
    newest = -1
    try:
        with os.scandir(path / "_delta_log") as entries:
            for entry in entries:
                match = _LOG_ENTRY.fullmatch(entry.name)
                if match:
                    newest = max(newest, int(match.group(1)))
    except OSError:  # not there, no folder, or a name too long for one
        return None
    return newest if newest >= 0 else None


def commits(path: Path, limit: int | None = None) -> list[Json]:
    """The commit infos, newest first, each with its `version`; reads `limit` files of the log."""
    try:
        entries = [entry.name for entry in (path / "_delta_log").iterdir()]
    except OSError:
        return []
    names = sorted((name for name in entries if _COMMIT.fullmatch(name)), reverse=True)
    found: list[Json] = []
    for name in names[:limit]:
        file = path / "_delta_log" / name
        info: Json = {"timestamp": int(file.stat().st_mtime * 1000)}
        with file.open("rb") as lines:
            for line in lines:
                if b'"commitInfo"' in line:
                    info |= orjson.loads(line).get("commitInfo") or {}
                    break
        found.append(info | {"version": int(name[:20])})
    return found


def table(path: Path) -> DeltaTable:
    """The table, for deltalake's own operations.

    Raises:
        Refused: there is none, or deltalake cannot read it.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    if newest_version(path) is None:
        raise table_not_found(str(path))
    try:
        return DeltaTable(path)
    except (DeltaError, OSError) as e:
        raise Refused(f"the Delta table at {path} cannot be read: {e}") from e


_details: dict[tuple[Path, int, int], Details] = {}


def details(path: Path) -> Details:
    """The newest state of a table; kept per version, so that a second look is one directory listing.

    Raises:
        Refused: there is no table, or deltalake cannot read it.
    """
    version = newest_version(path)
    if version is None:
        raise table_not_found(str(path))
    # A table that was dropped and made again comes back to an old version, in another folder.
    key = (path, version, (path / "_delta_log").stat().st_ino)
    found = _details.get(key)
    if found is None:
        if len(_details) > 5000:
            _details.clear()
        found = _details[key] = _read(path)
    return found


def _read(path: Path) -> Details:
    delta = table(path)
    metadata = delta.metadata()
    protocol = delta.protocol()
    fields = orjson.loads(delta.schema().to_json())["fields"]
    return Details(
        version=delta.version(),
        id=str(metadata.id),
        name=metadata.name,
        description=metadata.description,
        columns=tuple(
            Column(f["name"], type_text(f["type"]), f["nullable"], f.get("metadata") or {}) for f in fields
        ),
        partition_columns=tuple(metadata.partition_columns),
        properties={key: str(value) for key, value in metadata.configuration.items()},
        created=metadata.created_time,
        min_reader=protocol.min_reader_version,
        min_writer=protocol.min_writer_version,
        features=tuple(sorted({*(protocol.reader_features or ()), *(protocol.writer_features or ())})),
    )


_TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}


def type_text(data_type: Any) -> str:
    """A type of a Delta schema as Spark writes it."""
    if isinstance(data_type, str):
        return _TYPES.get(data_type, data_type)
    kind = data_type["type"]
    if kind == "array":
        return f"array<{type_text(data_type['elementType'])}>"
    if kind == "map":
        return f"map<{type_text(data_type['keyType'])},{type_text(data_type['valueType'])}>"
    fields = ",".join(f"{field['name']}:{type_text(field['type'])}" for field in data_type["fields"])
    return f"struct<{fields}>"


def files(path: Path) -> tuple[int, int]:
    """Number and total bytes of a table's current data files."""
    import pyarrow as pa
    import pyarrow.compute as pc

    actions = pa.table(table(path).get_add_actions(flatten=True))
    return actions.num_rows, pc.sum(actions["size_bytes"]).as_py() or 0


def change_metadata(path: Path, operation: str, change: Callable[[Json], object]) -> None:
    """Commits a change of a table's metadata only: columns, comment, properties.

    Args:
        operation: name of the operation in the table's history.
        change: edits the `metaData` action in place; its key `schema` holds the parsed schema.

    Raises:
        Refused: other writers committed at the same time, again and again.
    """
    log = path / "_delta_log"
    for _ in range(5):
        delta = table(path)
        metadata = delta.metadata()
        action: Json = {
            "id": str(metadata.id),
            "name": metadata.name,
            "description": metadata.description,
            "format": {"provider": "parquet", "options": {}},
            "schema": orjson.loads(delta.schema().to_json()),
            "partitionColumns": list(metadata.partition_columns),
            "createdTime": metadata.created_time,
            "configuration": dict(metadata.configuration),
        }
        before = orjson.dumps(action)
        change(action)
        if orjson.dumps(action) == before:
            return
        action["schemaString"] = orjson.dumps(action.pop("schema")).decode()
        info = {"timestamp": time.time_ns() // 1_000_000, "operation": operation, "operationParameters": {}}
        draft = log / f".{secrets.token_hex(8)}.tmp"
        draft.write_bytes(
            orjson.dumps({"commitInfo": info}) + b"\n" + orjson.dumps({"metaData": action}) + b"\n"
        )
        try:
            os.link(draft, log / f"{delta.version() + 1:020d}.json")  # fails when the version is taken
            return
        except FileExistsError:
            continue
        finally:
            draft.unlink()
    raise Refused(f"other writers keep committing to the table at {path}; run the statement again")


def reorder_columns(path: Path, order: Sequence[str]) -> None:
    """Puts the columns in the order given: Sail writes partition columns last, Databricks does not."""
    places = {name: place for place, name in enumerate(order)}

    def change(metadata: Json) -> None:
        metadata["schema"]["fields"].sort(key=lambda field: places.get(field["name"], len(places)))

    change_metadata(path, "CHANGE COLUMN", change)
