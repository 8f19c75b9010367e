"""Landing: Parquet files into a volume and back, streamed, with their checksums."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lakeflow_job_meta.datasets.model import Dataset
from lakeflow_job_meta.datasets.paths import check_path
from lakeflow_job_meta.errors import DatasetError, VolumeError
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.ports import Catalog, Volumes, sha256_of

_MOUNT = "/Volumes/"
_BLOCK = 1024 * 1024


class Landing:
    """The folder that datasets are landed in.

    Args:
        folder: below `/Volumes`, or a plain path.
        catalog: gives Unity Catalog, to make the volume when it is not there; None: it is not made.
        make_schema: makes the volume's schema unless it is there; takes catalog and schema.
    """

    def __init__(
        self,
        volumes: Volumes,
        folder: str,
        catalog: Callable[[], Catalog] | None = None,
        make_schema: Callable[[str, str], None] | None = None,
    ) -> None:
        self._volumes = volumes
        self.folder = folder.rstrip("/")
        self._catalog = catalog
        self._make_schema = make_schema
        self._kept: Path | None = None
        self._checked = False

    def store(self, path: str, source: Path, sha256: str) -> bool:
        """Write the file; it appears when its bytes, read back, are the right ones. False: the path is taken.

        Raises:
            VolumeError: it cannot be written; nothing appeared. WorkspaceError: the volume cannot be made.
        """
        self._ensure_volume()
        with source.open("rb") as file:
            return self._volumes.create(path, file, sha256)

    def remove(self, path: str) -> None:
        """Remove the file if it is there."""
        self._volumes.delete(path)

    def remove_all(self, dataset: Dataset) -> None:
        """Remove every version of the dataset."""
        self._volumes.delete_folder(
            check_path(dataset.path, self.folder, dataset.tenant_id).rpartition("/")[0]
        )

    def is_there(self, dataset: Dataset) -> str:
        """Empty when the landed file is there, with its size; else what is wrong."""
        try:
            path = check_path(dataset.path, self.folder, dataset.tenant_id, dataset.dataset_id)
            size = self._volumes.stat(path).size
        except (VolumeError, DatasetError) as error:
            return str(error)
        return (
            "" if size == dataset.bytes else f"it has {size} bytes, not {dataset.bytes} as when it was landed"
        )

    def fetch(self, dataset: Dataset) -> Path:
        """A copy of the landed file on this machine; kept for the next query of the same version.

        Raises:
            DatasetError: the path is not the dataset's, or the bytes are not those that were landed.
            VolumeError: the file cannot be read.
        """
        path = check_path(dataset.path, self.folder, dataset.tenant_id, dataset.dataset_id)
        kept = self._folder() / f"{dataset.sha256}.parquet"
        if kept.exists():
            return kept
        part = kept.with_suffix(".part")
        with self._volumes.open(path) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
        with part.open("rb") as landed:
            found = sha256_of(landed)
        if found != dataset.sha256:
            part.unlink()
            raise DatasetError(
                f"{path} is not the file that was landed (SHA-256 {found[:12]}..., not {dataset.sha256[:12]}...): "
                "upload the dataset again"
            )
        return part.replace(kept)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """A file that somebody names, as a file of this machine: one of a volume is copied for the while."""
        if not path.startswith(_MOUNT):
            yield Path(path)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "file"
            with self._volumes.open(path) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
            yield copy

    def _folder(self) -> Path:
        if self._kept is None:
            self._kept = Path(tempfile.mkdtemp(prefix="lakeflow-job-meta-"))
            weakref.finalize(self, shutil.rmtree, self._kept, ignore_errors=True)
        return self._kept

    def _ensure_volume(self) -> None:
        if self._checked or self._catalog is None or not self.folder.startswith(_MOUNT):
            return
        parts = self.folder[len(_MOUNT) :].split("/")
        if len(parts) < 3:
            raise DatasetError(
                f"{self.folder} is no folder of a volume: write /Volumes/catalog/schema/volume"
            )
        name = TableName(*(part.lower() for part in parts[:3]))
        catalog = self._catalog()
        if not catalog.volume_exists(name):
            if self._make_schema is not None:
                self._make_schema(name.catalog, name.schema)
            catalog.create_volume(name, "Landed files of datasets (lakeflow_job_meta)")
        self._checked = True
