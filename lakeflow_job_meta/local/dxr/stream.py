"""`GET /v1/files`: every visible file as a line of JSON, chunked, with the faults of streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import anyio.to_thread
import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lakeflow_job_meta.local.dxr import kql
from lakeflow_job_meta.local.dxr.answers import Json, Refusal
from lakeflow_job_meta.local.dxr.documents import Indexed
from lakeflow_job_meta.local.dxr.fleet import Fleet
from lakeflow_job_meta.local.dxr.knobs import Knobs
from lakeflow_job_meta.local.dxr.rules import Rules
from lakeflow_job_meta.local.dxr.store import Store
from lakeflow_job_meta.local.faults import TRANSPORT, abort, until_gone

MEDIA_TYPE = "application/jsonlines"
PIECE = 256 * 1024
HUGE_ROW = 8 * 1024 * 1024
_ENDING = ("cut_mid_record", "cut_at_line_end", "premature_eof", "reset")


class Cut(Exception):
    """The stream ends here, without the end that HTTP wants."""


class StreamFaults:
    """The stream's faults in force; each strikes `count` streams (all, when not said)."""

    def __init__(self, specs: Sequence[Json]) -> None:
        self._lock = threading.Lock()
        self._left = [[spec, spec.get("count", -1)] for spec in specs]

    def replace(self, specs: Sequence[Json]) -> None:
        with self._lock:
            self._left = [[spec, spec.get("count", -1)] for spec in specs]

    def take(self) -> list[Json]:
        """The faults of one stream, in order of the row after which they strike."""
        with self._lock:
            taken = []
            for entry in self._left:
                if entry[1] != 0:
                    entry[1] -= 1
                    taken.append(entry[0])
        return sorted(taken, key=lambda spec: spec.get("after_rows", 0))


def lines_of(
    store: Store, rules: Rules, knobs: Knobs, query: str | None, hidden: Sequence[int]
) -> Iterator[list[bytes]]:
    """The lines that a query gives, without their ends, in batches.

    Raises:
        Refusal: 400 no query where one is required, or one that is not KQL.
    """
    if query is None and knobs.require_q:
        raise Refusal(400, "Required request parameter 'q' is not present")
    keep = None if query is None or kql.matches_all(query) else kql.parse(query, store.clock())
    store.reveal(knobs)
    return _lines(store, rules, knobs, keep, hidden)


def _lines(
    store: Store, rules: Rules, knobs: Knobs, keep: kql.Predicate | None, hidden: Sequence[int]
) -> Iterator[list[bytes]]:
    now = store.clock()
    for rows in store.walk(hidden):
        shown = [Indexed(row, rules, knobs, now).metadata() for row in rows]
        yield [orjson.dumps(each) for each in shown if keep is None or keep(each)]
    store.searched(knobs)
    for piece in Fleet(rules, knobs.fleet).pieces():
        yield piece if keep is None else [line for line in piece if keep(orjson.loads(line))]


class JsonLines(StreamingResponse):
    """The stream as a response.

    Args:
        batches: lines without their ends.
        faults: of this stream.
    """

    def __init__(self, batches: Iterator[list[bytes]], faults: Sequence[Json]) -> None:
        self._faults = list(faults)
        self._batches = batches
        self._scope: Scope = {}
        self._receive: Receive | None = None
        super().__init__(self._body(), media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive = scope, receive
        try:
            if self._faults:
                await self.stream_response(send)
            else:
                await super().__call__(scope, receive, send)
        except Cut:
            return

    async def _body(self) -> AsyncIterator[bytes]:
        if not self._faults:
            async for lines in self._next_lines():
                yield b"\n".join(lines) + b"\n" if lines else b""
            return
        async for piece in self._with_faults():
            yield piece

    async def _next_lines(self) -> AsyncIterator[list[bytes]]:
        while True:
            lines = await anyio.to_thread.run_sync(next, self._batches, None)
            if lines is None:
                return
            yield lines

    async def _with_faults(self) -> AsyncIterator[bytes]:
        """Line by line, each fault once its row is reached."""
        faults = list(self._faults)
        number = 0
        held = bytearray()
        open_end = any(fault["kind"] == "no_final_newline" for fault in faults)
        faults = [fault for fault in faults if fault["kind"] != "no_final_newline"]
        blank = any(fault["kind"] == "blank_lines" for fault in faults)
        async for lines in self._next_lines():
            for line in lines:
                while faults and number >= faults[0].get("after_rows", 0):
                    fault = faults.pop(0)
                    held += _harmed(fault, line)
                    if fault["kind"] in _ENDING or fault["kind"] == "stall":
                        yield bytes(held)
                        held.clear()
                        if await self._struck(fault):
                            return
                if held and open_end:
                    held += b"\n"
                held += line if open_end else line + b"\n"
                if blank and number % 3 == 0:
                    held += b"\n" if not open_end else b"\n "
                number += 1
            if len(held) > PIECE and not open_end:
                yield bytes(held)
                held.clear()
        if faults and faults[0]["kind"] in _ENDING:
            # Fewer rows than asked for: it strikes at the end.
            yield bytes(held)
            held.clear()
            if await self._struck(faults[0]):
                return
        yield bytes(held)

    async def _struck(self, fault: Json) -> bool:
        """Carries out a fault of the connection. True when the stream ends here as if it were complete."""
        kind = fault["kind"]
        if kind == "stall":
            assert self._receive is not None
            await until_gone(self._receive, float(fault.get("seconds", 3600)))
            return False
        if kind.startswith("cut"):
            return True
        # What was written must leave first.
        await asyncio.sleep(0.05)
        if kind == "reset":
            await abort(self._scope)
        else:
            transport: Any = self._scope.get(TRANSPORT)
            if transport is not None:
                transport.close()
            await asyncio.sleep(0.01)
        raise Cut


def _harmed(fault: Json, line: bytes) -> bytes:
    """What a fault puts before a line."""
    kind = fault["kind"]
    if kind == "cut_mid_record":
        return line[: len(line) // 2]
    if kind == "bad_line":
        return b'{"fileId": "broken", "fileName": \n'
    if kind == "duplicate_row":
        return line + b"\n"
    if kind not in ("huge_row", "line_separators", "missing_file_id"):
        return b""
    row = orjson.loads(line)
    if kind == "huge_row":
        row["fileId"] += "-huge"
        filler = {"name": "huge", "value": "x" * fault.get("bytes", HUGE_ROW), "type": "TEXT"}
        row["externalMetadata"] = [filler]
    elif kind == "line_separators":
        # JSON has U+2028 and U+0085 as they are; the vertical tab is escaped.
        row["fileId"] += "-separators"
        row["fileName"] = "line\u2028separator\u0085next\u000bvertical.txt"
    else:
        del row["fileId"]
    return orjson.dumps(row) + b"\n"
