"""One setting of the Data X-Ray tasks: its name, its kind, where it comes from, and how its text is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lakeflow_job_meta.errors import UsageError

Kind = Literal["text", "texts", "integer", "integers", "number", "boolean", "mapping"]

ALL = ("dxr_ingest", "dxr_collect", "dxr_organise", "dxr_snapshot")
PIPELINE = ("dxr_ingest", "dxr_collect", "dxr_organise")
_TRUE, _FALSE = {"true", "1", "yes", "y", "on"}, {"false", "0", "no", "n", "off"}


@dataclass(frozen=True, slots=True)
class DxrSetting:
    """One setting.

    Args:
        name: key of a source's settings; the flag is `--name-with-dashes`.
        kind: how its text is read; `texts` and `integers` are lists, or text with commas.
        default: built-in value; None means not set.
        doc: one sentence for the reference.
        environment: environment variables that give it, strongest first.
        tasks: the task types that take it.
        minimum: smallest number allowed.
        maximum: largest number allowed.
        choices: allowed values of a text.
    """

    name: str
    kind: Kind
    default: Any
    doc: str
    environment: tuple[str, ...] = ()
    tasks: tuple[str, ...] = PIPELINE
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def read(self, value: Any, origin: str) -> Any:
        """`value`, text or JSON, as this setting's type. Raises UsageError naming `origin`."""
        try:
            result = self._convert(value)
        except (ValueError, TypeError):
            result = None
        if result is None:
            raise UsageError(f"{origin}: {self.name} must be {_WANTED[self.kind]}, not {value!r}")
        if self.choices and result not in self.choices:
            raise UsageError(f"{origin}: {self.name} must be {' or '.join(self.choices)}, not {value!r}")
        numbers = result if isinstance(result, tuple) else (result,)
        if self.minimum is not None and any(one < self.minimum for one in numbers):
            raise UsageError(f"{origin}: {self.name} must be at least {self.minimum:g}, not {value!r}")
        if self.maximum is not None and any(one > self.maximum for one in numbers):
            raise UsageError(f"{origin}: {self.name} must be at most {self.maximum:g}, not {value!r}")
        return result

    def _convert(self, value: Any) -> Any:
        if self.kind in {"texts", "integers"}:
            given = value.split(",") if isinstance(value, str) else value
            given = given if isinstance(given, (list, tuple)) else [given]
            items = [str(one).strip() for one in given if str(one).strip()]
            return tuple(_whole(one) for one in items) if self.kind == "integers" else tuple(items)
        if self.kind == "boolean":
            if isinstance(value, bool):
                return value
            folded = str(value).strip().lower()
            return True if folded in _TRUE else False if folded in _FALSE else None
        if self.kind == "mapping":
            found = json.loads(value) if isinstance(value, str) else value
            return dict(found) if isinstance(found, Mapping) else None
        if isinstance(value, (bool, Mapping, list, tuple)):
            return None
        if self.kind == "integer":
            return _whole(value)
        if self.kind == "number":
            return float(value)
        return str(value).strip() or None


_WANTED: Mapping[Kind, str] = {
    "text": "a text",
    "texts": "a list of texts",
    "integer": "a whole number",
    "integers": "a list of whole numbers",
    "number": "a number",
    "boolean": "true or false",
    "mapping": "a JSON object",
}


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return int(value)
