"""Synthetic files, as many as a benchmark wants: rows of about 1 kB that are made as fast as they are sent."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from lakeflow_job_meta.local.dxr.answers import Json
from lakeflow_job_meta.local.dxr.rules import Rules, stable_uuid

ROWS = 1000
"""Rows of one piece. Pieces differ only in the number that all of its rows share."""
_KINDS = 16
_PIECE = "@piece@"
_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95
"""Odd, so that no two rows of a piece have one hash."""


class Fleet:
    """Rows 0 to `count` of a share that was never uploaded; the same number is always the same row.

    Args:
        rules: whose labels and annotators the rows name.
        count: how many.
    """

    def __init__(self, rules: Rules, count: int) -> None:
        self._count = count
        self._rules = rules

    def pieces(self) -> Iterator[list[bytes]]:
        """All rows as JSON lines without their ends, so many at a time."""
        templates: dict[int, bytes] = {}
        for start in range(0, self._count, ROWS):
            first = start % _KINDS
            if first not in templates:
                templates[first] = b"\n".join(
                    self._template(row, (first + row) % _KINDS) for row in range(ROWS)
                )
            rows = templates[first].replace(_PIECE.encode(), b"%06d" % (start // ROWS)).split(b"\n")
            yield rows[: self._count - start]

    def _template(self, row: int, kind: int) -> bytes:
        """A row of a piece, without the piece's number."""
        rules, number = self._rules, f"{_PIECE}{row:03d}"
        labels = [{"id": label.uuid, "name": label.name} for label in rules.labels[: kind % 4]]
        annotators = [
            {
                "id": each.uuid,
                "name": each.name,
                "domain": {"id": stable_uuid("domain", each.domain), "name": each.domain},
                "uniquePhrases": 1,
                "annotations": [{"phrase": f"phrase {number}", "locations": [{"start": 12, "end": 28}]}],
            }
            for each in rules.annotators[: kind % 3]
        ]
        account = {
            "id": f"ac-{kind}",
            "accountType": "USER",
            "realmAccountId": f"u-{kind}",
            "realmKey": "AD_EX",
            "accountSubType": "USER",
            "name": f"User {kind}",
            "email": f"user{kind}@example.org",
        }
        file: Json = {
            "fileId": f"flt{number}-{kind:02d}AbCd",
            "fileName": f"report-{number}.pdf",
            "path": f"/finance/department-{kind}/2026/report-{number}.pdf",
            "size": 1000 + row * 7919 % 5_000_000,
            "mimeType": "application/pdf",
            "createdAt": f"2026-01-{1 + row % 28:02d}T08:00:00.000Z",
            "lastModifiedAt": f"2026-02-{1 + row % 28:02d}T09:30:00.000Z",
            "contentSha256": f"{(row + 1) * _SPREAD % 2**232:058x}{_PIECE}",
            "scanDepth": "DISCOVERY_AND_CLASSIFICATION",
            "datasource": {
                "id": stable_uuid("datasource", "fleet"),
                "name": "Finance share",
                "connector": {"type": "NETWORK_DRIVE_SMB"},
            },
            "labels": labels,
            "annotators": annotators,
            "extractedMetadata": [
                {"id": each.uuid, "name": each.name, "value": f"Value {kind}", "type": "TEXT"}
                for each in rules.extractors[:1]
            ],
            "metadataExtractionStatus": "SUCCESS",
            "entitlements": {
                "whoCanAccess": [{**account, "id": "ac-all", "accountType": "GROUP", "name": "Everyone"}]
            },
            "owner": account,
        }
        if kind == _KINDS - 1:
            # Discovered, never classified: fields are absent, not empty.
            file = {name: file[name] for name in file if name not in ("annotators", "extractedMetadata")}
            file["scanDepth"] = "DISCOVERY"
            del file["contentSha256"]
        return orjson.dumps(file)
