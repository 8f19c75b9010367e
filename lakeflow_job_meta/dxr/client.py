"""The Data X-Ray client: every endpoint that the tasks need, every shape that its answers are known to have.

GET and search are repeated when that may help; a submit is sent once (`submit`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from lakeflow_job_meta.dxr.multipart import MultipartBody, Upload
from lakeflow_job_meta.dxr.responses import (
    Hit,
    JobState,
    Page,
    error_text,
    read_job,
    read_page,
    text,
)
from lakeflow_job_meta.dxr.transport import ATTEMPTS, USER_AGENT, Transport
from lakeflow_job_meta.errors import (
    DxrError,
    DxrNotFound,
    DxrRefused,
    DxrUnavailable,
    DxrUnclear,
    StreamCut,
)

JsonObject = dict[str, Any]
#: The shortest time that a submit's answer is waited for: Data X-Ray stores the body before it answers.
SUBMIT_SECONDS = 600.0
#: Rows of one page of a search.
PAGE = 200
#: No search reads more pages than this.
PAGES = 10_000
#: The index answers no page that ends beyond this many rows, unless it says otherwise.
WINDOW = 10_000
#: A stable order: `_score` shuffles ties between requests.
SORT = ("datasource_id", "ds#file_name.raw")
LINES = "application/x-ndjson, application/jsonlines, application/json"


class DxrClient:
    """Data X-Ray over HTTP.

    Args:
        base_url: `https://host`, with or without the prefix.
        token: the personal access token, or what gives it. It is never shown.
        api_prefix: path before every endpoint.
        verify: check certificates; a path is a CA bundle; False only for test hosts.
        timeout: seconds for connecting, and between bytes.
        sleep: waits for seconds.
        clock: seconds that only grow.

    Raises:
        UsageError: the URL or the CA bundle is wrong.
    """

    def __init__(
        self,
        base_url: str,
        token: Callable[[], str] | str,
        *,
        api_prefix: str = "/api",
        verify: bool | str = True,
        timeout: float = 120,
        user_agent: str = USER_AGENT,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = Transport(
            base_url,
            token,
            api_prefix=api_prefix,
            verify=verify,
            timeout=timeout,
            user_agent=user_agent,
            attempts=attempts,
            sleep=sleep,
        )
        self._timeout = timeout
        self._clock = clock
        self._names: dict[tuple[str, str], str | None] = {}
        self._lock = threading.Lock()
        self._by_id = True

    def __repr__(self) -> str:
        return f"DxrClient({self._transport.base_url!r})"

    def __enter__(self) -> DxrClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    @property
    def base_url(self) -> str:
        """The URL that every path is appended to."""
        return self._transport.base_url

    # ---------------------------------------------------------------- on-demand classifier

    def submit(self, datasource_id: int, files: Iterable[Upload]) -> JobState:
        """Send files as one job, once: a submit is not idempotent, and never repeated here.

        Memory does not grow with the files. What `Upload.open` and `Upload.done` raise comes through.

        Raises:
            FileChanged: a file changed or vanished; the job was not accepted.
            DxrRefused, DxrNotFound, DxrUnauthorized: it was not accepted.
            DxrUnavailable: it was not accepted, and may be sent again.
            DxrUnclear: it may have been accepted; repeat it only under new names.
        """
        what = f"submitting to datasource {datasource_id}"
        body = MultipartBody(list(files))
        headers = {"Content-Type": body.content_type, "Content-Length": str(body.length)}
        try:
            answer = self._transport.send(
                what,
                "POST",
                f"/on-demand-classifiers/{datasource_id}/jobs",
                content=body,
                headers=headers,
                timeout=max(SUBMIT_SECONDS, self._timeout),
            )
        except DxrUnavailable as error:
            # 429: turned away before it was read. A body that was not handed over whole cannot be a job.
            if error.status == 429 or not body.sent:
                raise
            raise DxrUnclear(f"{error}; it may have been accepted", status=error.status) from error
        try:
            job = read_job(answer.json())
        except ValueError:
            job = JobState("")
        if not job.job_id:
            said = error_text(answer.content[:2000].decode("utf-8", "replace"))
            raise DxrUnclear(
                f"{what}: the answer ({answer.status}) has no job id in it: {said}", status=answer.status
            )
        return job

    def job(self, datasource_id: int, job_id: str) -> JobState:
        """The job. Raises DxrNotFound when Data X-Ray does not know it (any more)."""
        path = f"/on-demand-classifiers/{datasource_id}/jobs/{quote(job_id, safe='')}"
        state = read_job(self._transport.call(f"asking for job {job_id}", "GET", path))
        return JobState(job_id, state.state, state.scan_id, state.message)

    def datasource(self, datasource_id: int) -> JsonObject:
        """The datasource. Raises DxrNotFound."""
        found = self._transport.call(
            f"asking for datasource {datasource_id}", "GET", f"/datasources/{datasource_id}"
        )
        return dict(found) if isinstance(found, Mapping) else {}

    # ---------------------------------------------------------------- search

    def search(
        self,
        query: Mapping[str, Any],
        *,
        page_size: int = PAGE,
        descending: bool = False,
    ) -> Iterator[Hit]:
        """The hits of a query, each document once, in a stable order; one page is held at a time.

        Ends at an empty page, at a short one, at the total that the index tells, or at its result window.

        Args:
            query: what the request body has beside paging: `datasourceIds`, `filter`, `excludedFields`, ...
            page_size: rows a page.
            descending: from the other end, for what lies beyond the result window.
        """
        order = "DESCENDING" if descending else "ASCENDING"
        body: JsonObject = {
            "mode": "DXR_JSON_QUERY",
            "datasourceIds": [],
            "sort": [{"property": name, "order": order} for name in SORT],
            "refreshIndex": True,
            **query,
            "pageSize": page_size,
        }
        seen: set[str] = set()
        read = 0
        window = WINDOW
        for number in range(PAGES):
            if number and (number + 1) * page_size > window:
                return
            page = self._page({**body, "pageNumber": number})
            window = page.window or window
            for hit in page.hits:
                if hit.id and hit.id in seen:
                    continue
                seen.add(hit.id)
                yield hit
            read += len(page.hits)
            # a total may be stale: a full page is followed by one more question when it says "no more" too early
            if len(page.hits) < page_size or (page.total is not None and read >= page.total):
                return

    def _page(self, body: JsonObject) -> Page:
        def once() -> Page:
            answer = self._transport.call("searching the index", "POST", "/indexed-files/search", body=body)
            page = read_page(answer)
            if page is None:
                raise DxrUnavailable(
                    "searching the index: the answer has no hits in it; is the base URL right?"
                )
            return page

        return once()

    # ---------------------------------------------------------------- names

    def label(self, label_id: str) -> str | None:
        """The label's name; None when Data X-Ray has none of that id. Names are kept, failures are not."""
        return self._name("tags", label_id)

    def extractor(self, extractor_id: str) -> str | None:
        """The metadata extractor's name, as `label`."""
        return self._name("metadata-extractors", extractor_id)

    def annotator(self, annotator_id: str) -> str | None:
        """The annotator's name, as `label`."""
        return self._name("data-classes", annotator_id)

    def _name(self, kind: str, id: str) -> str | None:
        key = (kind, id)
        with self._lock:
            if key in self._names:
                return self._names[key]
        try:
            found = self._transport.call(
                f"asking for the name of {kind} {id}", "GET", f"/{kind}/{quote(id, safe='')}"
            )
            name = text(found.get("name")) if isinstance(found, Mapping) else None
        except DxrNotFound:
            name = None
        except DxrRefused:
            return None  # a missing permission is no name, and may be granted while we run
        with self._lock:
            self._names[key] = name
        return name

    # ---------------------------------------------------------------- files

    @contextmanager
    def files(self, query: str | None = None, *, seconds: float | None = None) -> Iterator[Iterator[bytes]]:
        """`GET /v1/files`: the raw lines as they come, without their newline, blank ones left out.

        Lines end at newline bytes only. Memory is that of one network block and one line.

        Args:
            query: KQL; None leaves `q` out.
            seconds: the longest that the whole stream may take.

        Raises:
            DxrRefused: the query is wrong, with the server's words.
            StreamCut: (while reading) the stream broke, stalled, or took too long.
        """
        params = None if query is None else {"q": query}
        end = None if seconds is None else self._clock() + seconds
        headers = {"Accept": LINES}
        with self._transport.stream("reading files", "/v1/files", params=params, headers=headers) as response:
            kind = response.headers.get("content-type", "")
            if "html" in kind.lower():
                raise DxrRefused(
                    f"reading files: the answer is {kind}, no lines of JSON; is the base URL right?"
                )
            yield self._lines(response, end)

    def _lines(self, response: httpx.Response, end: float | None) -> Iterator[bytes]:
        rest: list[bytes] = []
        try:
            for block in response.iter_bytes():
                if end is not None and self._clock() > end:
                    raise StreamCut("reading files: the stream took longer than it may; it is not complete")
                first, *more = block.split(b"\n")
                rest.append(first)
                if more:
                    line = b"".join(rest)
                    if line.strip():
                        yield line
                    rest = [more.pop()]
                    for line in more:
                        if line and not line.isspace():
                            yield line
        except httpx.TimeoutException as error:
            raise StreamCut(f"reading files: no byte came for {self._timeout:g} s") from error
        except httpx.HTTPError as error:
            raise StreamCut(
                f"reading files: the stream broke ({str(error) or type(error).__name__})"
            ) from error
        last = b"".join(rest)
        if last.strip():
            yield last

    def file(self, file_id: str) -> JsonObject | None:
        """The metadata of one file; None when there is none. Falls back to a query where the endpoint is missing."""
        if self._by_id:
            try:
                found = self._transport.call(
                    f"asking for file {file_id}", "GET", f"/v1/files/{quote(file_id, safe='')}"
                )
                if isinstance(found, Mapping):
                    data = found.get("data")
                    return dict(data) if isinstance(data, Mapping) else dict(found)
            except DxrRefused as error:
                if error.status not in {404, 405}:
                    raise
        row = next(iter(self.files_where(f"fileId:{kql_text(file_id)}")), None)
        if row is not None:
            self._by_id = False  # the file is there and the endpoint is not: remembered
        return row

    def files_where(self, query: str) -> list[JsonObject]:
        """The rows of a narrow query. Raises StreamCut when the answer is not whole."""
        with self.files(query) as lines:
            rows = []
            for line in lines:
                try:
                    row = orjson.loads(line)
                except ValueError as error:
                    raise StreamCut("reading files: a line is no JSON, so the answer is not whole") from error
                rows.append(row)
        return rows

    @contextmanager
    def content(self, file_id: str) -> Iterator[Iterator[bytes]]:
        """The file's own bytes, block by block. Raises DxrNotFound; StreamCut while reading."""
        path = f"/v1/files/{quote(file_id, safe='')}/content"
        with self._transport.stream(
            f"reading the content of file {file_id}", path, headers={"Accept": "*/*"}
        ) as response:
            yield _blocks(response, f"reading the content of file {file_id}")

    def redacted_text(self, file_id: str, redactor_id: int) -> str:
        """The file's text with what the redactor hides hidden; empty is a normal answer."""
        answer = self._transport.call(
            f"asking for the redacted text of file {file_id}",
            "GET",
            f"/v1/files/{quote(file_id, safe='')}/redacted-text",
            params={"redactor_id": redactor_id},
        )
        found = _data(answer)
        said = found.get("redactedText") if isinstance(found, Mapping) else None
        if not isinstance(said, str):
            raise DxrError(f"asking for the redacted text of file {file_id}: the answer has none in it")
        return said

    def redactors(self) -> list[JsonObject]:
        """All redactors: id (an integer), name."""
        return _objects(_data(self._transport.call("asking for the redactors", "GET", "/v1/redactors")))

    def classifications(self) -> list[JsonObject]:
        """All labels, annotators and extractors of the public API: id (a UUID), name, type."""
        return _objects(
            _data(self._transport.call("asking for the classifications", "GET", "/v1/classifications"))
        )

    def labels(self) -> list[JsonObject]:
        """All labels of the internal API: id (an integer), uuid, name."""
        answer = self._transport.call("asking for the labels", "GET", "/tags")
        return _objects(answer.get("content") if isinstance(answer, Mapping) else answer)


def kql_text(value: str) -> str:
    """`value` as a KQL string; `*` and `?` inside stay wildcards."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _blocks(response: httpx.Response, what: str) -> Iterator[bytes]:
    try:
        yield from response.iter_bytes(1024 * 1024)
    except httpx.HTTPError as error:
        raise StreamCut(f"{what}: the stream broke ({str(error) or type(error).__name__})") from error


def _data(answer: Any) -> Any:
    """What a v1 envelope holds; the answer itself without one."""
    return answer["data"] if isinstance(answer, Mapping) and "data" in answer else answer


def _objects(value: Any) -> list[JsonObject]:
    return [dict(one) for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
