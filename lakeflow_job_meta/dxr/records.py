"""Rows of the metadata table: what a hit says, names resolved, sensitive parts left out unless asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import orjson

from lakeflow_job_meta.dxr.ledger import Job, SentFile, to_time
from lakeflow_job_meta.dxr.responses import Hit, boolean, integer, moment, text, texts, values_of

JsonObject = dict[str, Any]
_COUNT, _UNIQUE = "annotation_stats#count.", "annotation_stats#unique_phrase_count."
_EXTRACTED = "extracted_metadata#"
_RAW_TEXT = "dxr#raw_text"
#: What the index is asked to leave out.
PHRASES = ("annotations", "annotation.*")
RAW_TEXT = (_RAW_TEXT,)


class Names(Protocol):
    """Gives names to ids; None when there is none. `DxrClient` does."""

    def label(self, label_id: str) -> str | None: ...
    def extractor(self, extractor_id: str) -> str | None: ...
    def annotator(self, annotator_id: str) -> str | None: ...


@dataclass(frozen=True)
class Recorder:
    """Makes rows.

    Args:
        names: gives names to ids.
        keep_phrases: keep what annotators matched.
        keep_raw_text: keep the documents' text.
    """

    names: Names
    keep_phrases: bool = False
    keep_raw_text: bool = False

    def row(self, job: Job, file: SentFile, hit: Hit, now: datetime) -> JsonObject:
        """The whole row of a file with its hit, but its status."""
        source = hit.source
        ids, labels = self._labels(source)
        annotators = self._annotators(source)
        extracted = self._extracted(source)
        kept = _json(self._kept(source))
        categories = texts(source.get("ai#category"))
        return {
            **place(job, file),
            "file_id": text(source.get("dxr#file_id")) or hit.id or None,
            "datasource_scan_id": _first(integer(source.get("dxr#datasource_scan_id")), job.scan_id),
            "labels_json": _json(labels),
            "tags_json": _json(ids),
            "categories_json": _json(categories),
            "metadata_json": kept,
            "updated_at": now,
            "file_size": file.size,
            "modification_time": to_time(file.modified_at),
            "file_name": hit.name or None,
            "object_id": text(source.get("object_id")),
            "parent_paths": texts(source.get("ds#parent_folder_paths")),
            "mime_type": text(source.get("dxr#mime_type")),
            "indexed_at": moment(source.get("dxr#indexed_date")),
            "sha256": hit.sha256 or None,
            "sha256_file_meta": text(source.get("dxr#sha_256_hash_file_meta")),
            "doc_language": text(source.get("dxr#doc_lang")),
            "composite_type": text(source.get("dxr#composite_type")),
            "is_processed": boolean(source.get("dxr#is_processed")),
            "document_status": text(source.get("dxr#document_status")),
            "text_extraction_status": text(source.get("dxr#text_extraction_status")),
            "metadata_extraction_status": text(source.get("dxr#metadata_extraction_status")),
            "dxr_tags": ids,
            "removed_tags": texts(source.get("dxr#manually_removed_tags")),
            "ocr_used": boolean(source.get("dxr#ocr_used")),
            "categories": categories,
            "annotations": text(source.get("annotations")) if self.keep_phrases else None,
            "folder_id": text(source.get("folder_id")),
            "modified_at": moment(source.get("metadata#MODIFIED_DATE")),
            "binary_hash": text(source.get("metadata#binary_hash")),
            "annotation_stats_json": _json(
                {
                    one["id"]: {"count": one["count"], "unique_phrases": one["unique_phrases"]}
                    for one in annotators
                }
            ),
            "raw_metadata": kept,
            "collected_at": now,
            "labels": labels,
            "tags": ids,
            "annotators": [one["name"] or one["id"] for one in annotators if _found(one)],
            "annotators_json": _json([one for one in annotators if _found(one)]),
            "extracted_metadata_json": _json(extracted),
            "version": file.version,
            "source_sha256": file.sha256 or None,
            "source_deleted_at": None,
        }

    def _labels(self, source: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """(ids, names) of the labels, each once. A text that is no number is a name already."""
        ids: list[str] = []
        names: list[str] = []
        for said in texts(source.get("dxr#tags")):
            if said.strip().isdigit():
                ids.append(said.strip())
                names.append(self.names.label(said.strip()) or said.strip())
            else:
                names.append(said)
        names += texts(source.get("dxr#labels"))
        return ids, list(dict.fromkeys(names))

    def _annotators(self, source: Mapping[str, Any]) -> list[JsonObject]:
        found: dict[str, JsonObject] = {}
        for key, value in source.items():
            for prefix, name in ((_COUNT, "count"), (_UNIQUE, "unique_phrases")):
                if key.startswith(prefix):
                    number = key[len(prefix) :]
                    one = found.setdefault(
                        number, {"id": number, "name": None, "count": None, "unique_phrases": None}
                    )
                    one[name] = integer(value)
        for number, one in found.items():
            one["name"] = self.names.annotator(number) if number.isdigit() else number
        return list(found.values())

    def _extracted(self, source: Mapping[str, Any]) -> list[JsonObject]:
        found = []
        for key, value in source.items():
            if key.startswith(_EXTRACTED):
                number = key[len(_EXTRACTED) :]
                name = self.names.extractor(number) if number.isdigit() else number
                found.append({"id": number, "name": name, "value": value})
        return found

    def _kept(self, source: Mapping[str, Any]) -> JsonObject:
        def stays(key: str) -> bool:
            if key == _RAW_TEXT:
                return self.keep_raw_text
            if key == "annotations" or key.startswith("annotation."):
                return self.keep_phrases
            return True

        return {key: value for key, value in source.items() if stays(key)}


def place(job: Job, file: SentFile) -> JsonObject:
    """What a row says whatever became of the file: where it lies, and how it was sent."""
    _, _, catalog, schema, volume = job.volume_path.split("/", 4)
    return {
        "volume_path": job.volume_path,
        "file_path": file.path,
        "relative_path": file.path[len(job.volume_path) + 1 :],
        "catalog_name": catalog,
        "schema_name": schema,
        "volume_name": volume,
        "datasource_id": job.datasource_id,
        "job_id": job.job_id or None,
        "upload_name": file.upload_name,
        "submission_id": job.submission_id,
    }


def outcome(status: str, reason: str, job_state: str, *, partial: bool = False) -> JsonObject:
    """The columns that say what became of the file."""
    return {
        "status": status,
        "status_reason": reason or None,
        "job_state": job_state or None,
        "is_partial": partial,
    }


def _found(annotator: Mapping[str, Any]) -> bool:
    return bool(annotator["unique_phrases"] or (annotator["unique_phrases"] is None and annotator["count"]))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def excluded(*, keep_phrases: bool, keep_raw_text: bool) -> list[str]:
    """Fields that the index need not send."""
    return values_of([*(() if keep_phrases else PHRASES), *(() if keep_raw_text else RAW_TEXT)])
