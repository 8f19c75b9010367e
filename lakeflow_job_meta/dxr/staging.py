"""The staging folder of a snapshot: what was received, line by line, as compressed Parquet files that the engine reads.

One folder a run (`<staging>/<ingestion_date>/<run>/part-00000.parquet`): a run that dies leaves it behind, the table
untouched, and a later run of the same date removes it.
"""

from __future__ import annotations

import gc
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from typing import IO, TYPE_CHECKING

from lakeflow_job_meta.dxr.snapshot_rows import Projection
from lakeflow_job_meta.errors import TaskError, VolumeError
from lakeflow_job_meta.ports import Volumes

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetWriter

#: Lines that are taken apart at once: few, so that they stay in the processor's cache.
BLOCK = 128
#: Rows that are held as Python objects, of a row group, and of a file.
BATCH_ROWS = 256
GROUP_ROWS = 8_192
PART_ROWS = 500_000
#: A folder of another run whose newest file is older than this has been left behind.
STALE_SECONDS = 3600


class Staging:
    """The staging folder of one run.

    Args:
        folder: below `/Volumes`, or any path that both we and the engine reach.
        name: of the run; any text.
    """

    def __init__(self, volumes: Volumes, folder: str, day: date, name: str) -> None:
        self._volumes = volumes
        self._day_folder = f"{folder.rstrip('/')}/{day.isoformat()}"
        self.folder = f"{self._day_folder}/{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:100]}"
        self.rows = 0
        self.bytes = 0

    def fill(self, lines: Iterator[bytes], projection: Projection, cap: int | None = None) -> bool:
        """Stage the lines; whether the cap ended it before the stream did.

        Raises:
            StreamCut: the stream broke, or a line is no record of a file.
            VolumeError: the folder cannot be written.
        """
        self._volumes.delete_folder(self.folder)
        self.rows = self.bytes = 0
        capped = False
        part = 0
        with _without_collector():
            while not capped:
                before = self.rows
                with tempfile.TemporaryFile() as file:
                    capped = self._part(file, lines, projection, cap)
                    if self.rows > before or not part:  # an empty answer is a file, too
                        file.seek(0)
                        self._volumes.upload(f"{self.folder}/part-{part:05d}.parquet", file)
                part += 1
                if self.rows - before < PART_ROWS:
                    break
        return capped

    def _part(self, file: IO[bytes], lines: Iterator[bytes], projection: Projection, cap: int | None) -> bool:
        from pyarrow.parquet import ParquetWriter

        first = self.rows
        capped = ended = False
        # Dictionaries cost time and gain nothing on what is different in every row.
        few = ["mime_type", "scan_depth", "metadata_extraction_status", "datasource_id", "datasource_name"]
        with (
            ParquetWriter(
                file,
                projection.schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=few,
                write_statistics=False,
            ) as writer,
            ThreadPoolExecutor(1) as beside,  # packing lets the parser go on
        ):
            group: list[RecordBatch] = []
            held = 0
            packed: Future[None] | None = None
            while not (ended or capped) and self.rows - first < PART_ROWS:
                wanted = BLOCK if cap is None else min(BLOCK, cap - self.rows)
                block = list(islice(lines, wanted))
                if block:
                    projection.add(block, self.rows + 1)
                    self.rows += len(block)
                    held += len(block)
                    self.bytes += sum(map(len, block))
                ended = len(block) < wanted
                capped = not ended and cap is not None and self.rows >= cap
                full = held >= GROUP_ROWS
                if projection.held >= BATCH_ROWS or full:
                    group.append(projection.batch())
                if full:
                    if packed is not None:
                        packed.result()
                    packed = beside.submit(_pack, writer, projection, group)
                    group, held = [], 0
            if projection.held:
                group.append(projection.batch())
            if packed is not None:
                packed.result()
            _pack(writer, projection, group)
        return capped

    def remove(self) -> None:
        """Delete the run's own folder; a failure leaves it to a later run."""
        try:
            self._volumes.delete_folder(self.folder)
        except VolumeError:
            return

    def remove_stale(self, now: datetime) -> None:
        """Delete folders of the same date that dead runs have left."""
        newest: dict[str, int] = {}
        try:
            for file in self._volumes.walk(self._day_folder):
                run = file.path[len(self._day_folder) + 1 :].split("/", 1)[0]
                newest[run] = max(newest.get(run, 0), file.modified_at)
        except VolumeError:
            return
        limit = (now.timestamp() - STALE_SECONDS) * 1000
        for run, moment in newest.items():
            if moment < limit:
                try:
                    self._volumes.delete_folder(f"{self._day_folder}/{run}")
                except VolumeError:
                    continue


def _pack(writer: ParquetWriter, projection: Projection, batches: list[RecordBatch]) -> None:
    """Write a row group."""
    if batches:
        writer.write_table(projection.table(batches), row_group_size=2 * GROUP_ROWS)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Without Python's cycle collector: parsing makes millions of objects and no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def check_libraries() -> None:
    """Raises TaskError when pyarrow is not there."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise TaskError(
            "dxr_snapshot needs pyarrow, which Databricks brings along: pip install pyarrow"
        ) from error
