"""Synthetic files, as many as a benchmark wants: rows of about 1 kB that are made as fast as they are sent."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from lakeflow_job_meta.local.dxr.answers import Json
from lakeflow_job_meta.local.dxr.rules import Rules, stable_uuid

ROWS = 256
"""Rows of one piece."""
_KINDS = 16
_NUMBER, _HASH, _SIZE, _DAY = "%(number)09d", "%(hash)064x", "%(size)d", "%(day)02d"
_HASHES = 2**256
_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95
"""Odd, so that no two numbers below 2**256 have one hash."""


class Fleet:
    """Rows 0 to `count` of a share that was never uploaded.

    Args:
        rules: whose labels and annotators the rows name.
        count: how many.
    """

    def __init__(self, rules: Rules, count: int) -> None:
        self._count = count
        self._templates = [self._template(rules, kind) for kind in range(_KINDS)]

    def pieces(self, rows: int = ROWS) -> Iterator[list[bytes]]:
        """All rows as JSON lines without their ends, so many at a time."""
        for start in range(0, self._count, rows):
            yield [self.line(number) for number in range(start, min(start + rows, self._count))]

    def line(self, number: int) -> bytes:
        """A row; the same number always gives the same."""
        values = {
            b"number": number,
            b"hash": (number + 1) * _SPREAD % _HASHES,
            b"size": 1000 + number * 7919 % 5_000_000,
            b"day": 1 + number % 28,
        }
        return self._templates[number % _KINDS] % values

    def _template(self, rules: Rules, kind: int) -> bytes:
        labels = [{"id": label.uuid, "name": label.name} for label in rules.labels[: kind % 4]]
        annotators = [
            {
                "id": each.uuid,
                "name": each.name,
                "domain": {"id": stable_uuid("domain", each.domain), "name": each.domain},
                "uniquePhrases": 1,
                "annotations": [{"phrase": f"phrase {_NUMBER}", "locations": [{"start": 12, "end": 28}]}],
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
        row: Json = {
            "fileId": f"flt{_NUMBER}-{kind:02d}AbCd",
            "fileName": f"report-{_NUMBER}.pdf",
            "path": f"/finance/department-{kind}/2026/report-{_NUMBER}.pdf",
            "size": "@size@",
            "mimeType": "application/pdf",
            "createdAt": f"2026-01-{_DAY}T08:00:00.000Z",
            "lastModifiedAt": f"2026-02-{_DAY}T09:30:00.000Z",
            "contentSha256": _HASH,
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
            row = {name: row[name] for name in row if name not in ("annotators", "extractedMetadata")}
            row["scanDepth"] = "DISCOVERY"
            del row["contentSha256"]
        text = orjson.dumps(row).decode()
        return text.replace('"@size@"', _SIZE).encode()
