"""An indexed file as the two APIs show it: `_source` of the index, and FileMetadata of the public one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

import orjson

from lakeflow_job_meta.local.dxr.answers import Json
from lakeflow_job_meta.local.dxr.datasources import CONNECTOR, datasource_name, datasource_uuid
from lakeflow_job_meta.local.dxr.knobs import Knobs, Wait
from lakeflow_job_meta.local.dxr.rules import Rules, stable_uuid


class Indexed:
    """One visible file.

    Args:
        row: as the store gives it.
        rules: what ids mean.
        knobs: how it is shown.
        now: seconds since the epoch.
    """

    def __init__(self, row: Mapping[str, Any], rules: Rules, knobs: Knobs, now: float) -> None:
        self.row = row
        self._rules = rules
        self._knobs = knobs
        self._now = now

    @cached_property
    def document(self) -> Json:
        found: Json = orjson.loads(self.row["document"])
        return found

    @property
    def labels(self) -> list[int]:
        """Label ids, empty while they lag."""
        return [] if self._lags(self._knobs.label_lag) else self.document["labels"]

    @property
    def extracted(self) -> Json:
        """Extractor id to value, empty while they lag."""
        return {} if self._lags(self._knobs.extraction_lag) else self.document["extracted"]

    def source(self, text: str | None) -> Json:
        """`_source` of a hit; `text` is the raw text, None to leave it out."""
        row, document, knobs = self.row, self.document, self._knobs
        lagging = self._lags(knobs.extraction_lag)
        source: Json = {
            "datasource_id": self._number(row["datasource_id"]),
            "object_id": row["object_id"],
            "ds#file_name": self._echo(row["name"]),
            "ds#file_size": row["size"],
            "ds#parent_folder_paths": _parents(row["name"]),
            "dxr#file_id": row["file_id"],
            "dxr#datasource_scan_id": self._number(row["scan_id"]),
            "dxr#mime_type": document["mime_type"],
            "dxr#indexed_date": instant(row["indexed_at"], nanoseconds=True),
            "dxr#sha_256_hash": row["sha256"],
            "dxr#composite_type": "SIMPLE",
            "dxr#is_processed": True,
            "dxr#document_status": "INDEXED",
            "dxr#text_extraction_status": document["text_status"],
            "dxr#ocr_used": False,
            "dxr#tags": self._tags(),
            "dxr#manually_removed_tags": [],
            "metadata#CREATION_DATE": instant(row["received_at"]),
            "metadata#MODIFIED_DATE": instant(row["received_at"]),
            "metadata#binary_hash": row["sha256"],
        }
        if not lagging:
            source["dxr#metadata_extraction_status"] = document["metadata_status"]
            source.update(
                {f"extracted_metadata#{number}": value for number, value in document["extracted"].items()}
            )
        if document["language"]:
            source["dxr#doc_lang"] = document["language"]
        if document["category"] and knobs.category_field != "absent":
            category = document["category"]
            source["ai#category"] = [category] if knobs.category_field == "list" else category
            source["ai#category_last_updated"] = instant(row["indexed_at"])
        if text is not None:
            source["dxr#raw_text"] = text
        source.update(self._annotations())
        return source

    def _annotations(self) -> Json:
        found: dict[int, list[str]] = {}
        joined = []
        for value, start, end, annotator in self.document["annotations"]:
            found.setdefault(annotator, []).append(value)
            joined.append(f"[{value}, {start}, {end}, {annotator}]")
        shown: Json = {"annotations": "".join(joined)}
        for annotator in self._rules.annotators:
            phrases = found.get(annotator.id, [])
            count: int | str = len(phrases)
            shown[f"annotation_stats#count.{annotator.id}"] = (
                str(count) if self._knobs.count_type == "str" else count
            )
            if phrases:
                different = list(dict.fromkeys(phrases))
                shown[f"annotation.{annotator.id}"] = different
                shown[f"annotation_stats#unique_phrase_count.{annotator.id}"] = len(different)
        return shown

    def metadata(self) -> Json:
        """One line of `/v1/files`."""
        row, document = self.row, self.document
        shown: Json = {
            "fileId": row["file_id"],
            "fileName": posixpath.basename(row["name"]) or row["name"],
            "path": row["name"] if row["name"].startswith("/") else "/" + row["name"],
            "size": row["size"],
            "mimeType": document["mime_type"],
            "createdAt": instant(row["received_at"]),
            "lastModifiedAt": instant(row["received_at"]),
            "contentSha256": row["sha256"],
            "scanDepth": "DISCOVERY_AND_CLASSIFICATION",
            "datasource": {
                "id": datasource_uuid(row["datasource_id"]),
                "name": datasource_name(row["datasource_id"]),
                "connector": {"type": CONNECTOR},
            },
            "labels": [
                {"id": label.uuid, "name": label.name}
                for label in map(self._rules.label_by_id.get, self.labels)
                if label is not None
            ],
            "annotators": self._annotators(),
            "entitlements": {"whoCanAccess": []},
        }
        if not self._lags(self._knobs.extraction_lag):
            shown["metadataExtractionStatus"] = document["metadata_status"]
            shown["extractedMetadata"] = [
                {
                    "id": extractor.uuid,
                    "name": extractor.name,
                    "value": document["extracted"][str(extractor.id)],
                    "type": extractor.type,
                }
                for extractor in self._rules.extractors
                if str(extractor.id) in document["extracted"]
            ]
        return shown

    def _annotators(self) -> list[Json]:
        places: dict[int, dict[str, list[Json]]] = {}
        for value, start, end, number in self.document["annotations"]:
            places.setdefault(number, {}).setdefault(value, []).append({"start": start, "end": end})
        shown = []
        for number, phrases in places.items():
            annotator = self._rules.annotator_by_id.get(number)
            if annotator is None:
                continue
            shown.append(
                {
                    "id": annotator.uuid,
                    "name": annotator.name,
                    "domain": {"id": stable_uuid("domain", annotator.domain), "name": annotator.domain},
                    "uniquePhrases": len(phrases),
                    "annotations": [
                        {"phrase": phrase, "locations": locations} for phrase, locations in phrases.items()
                    ],
                }
            )
        return shown

    def _tags(self) -> list[Any]:
        kind = self._knobs.tag_type
        labels: list[Any] = self.labels
        if kind == "str":
            return [str(label) for label in labels]
        if kind == "name":
            known = self._rules.label_by_id
            return [known[label].name if label in known else str(label) for label in labels]
        return [*labels, *labels] if kind == "repeated" else labels

    def _echo(self, name: str) -> str:
        if self._knobs.file_name_echo == "basename":
            return posixpath.basename(name)
        return "/" + name.lstrip("/") if self._knobs.file_name_echo == "leading_slash" else name

    def _number(self, value: int | None) -> Any:
        return str(value) if self._knobs.scan_id_type == "str" and value is not None else value

    def _lags(self, wait: Any) -> bool:
        return not Wait.of(wait).is_over(self._now - self.row["ended_at"], self.row["searches"])


def instant(seconds: float, *, nanoseconds: bool = False) -> str:
    """RFC 3339 in UTC, with milliseconds, or with the nanoseconds that the index shows."""
    at = datetime.fromtimestamp(seconds, tz=timezone.utc)
    if nanoseconds:
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}000Z"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _parents(name: str) -> list[str]:
    parent = posixpath.dirname(name.strip("/"))
    return [f"/{parent}"] if parent else []
