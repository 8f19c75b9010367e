"""What an SQL engine's error means for us, told in one place.

Databricks names error conditions (`DELTA_CONCURRENT_APPEND`); Sail has none, so there the
exception's type and then the message decide. Knows no Spark and no SDK: it reads names and texts.
"""

from __future__ import annotations

import re

from lakeflow_job_meta.errors import CommitConflict, TableNotFound, TablesError, TablesUnavailable

# Delta Lake's exception classes for a lost optimistic commit (delta.exceptions, delta-spark 2 to 4).
_CONFLICT_TYPES = frozenset(
    {
        "CommitFailedError",
        "ConcurrentAppendException",
        "ConcurrentDeleteDeleteException",
        "ConcurrentDeleteReadException",
        "ConcurrentModificationException",
        "ConcurrentTransactionException",
        "ConcurrentWriteException",
        "DeltaConcurrentModificationException",
        "MetadataChangedException",
        "ProtocolChangedException",
    }
)
# The engine or the way to it is gone: py4j, gRPC and pyspark's session errors.
_UNAVAILABLE_TYPES = frozenset(
    {"ConnectionError", "Py4JNetworkError", "SessionNotSameException", "RpcError", "RetriesExceeded"}
)
# Two CREATE ... IF NOT EXISTS at once: repeating the loser is right, it finds the winner's table.
_CONFLICT_CONDITIONS = (
    "TABLE_OR_VIEW_ALREADY_EXISTS",
    "SCHEMA_ALREADY_EXISTS",
    "DELTA_TABLE_ALREADY_EXISTS",
    "DELTA_CONCURRENT_",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
    "CONCURRENT_",
)
_NOT_FOUND_CONDITIONS = (
    "TABLE_OR_VIEW_NOT_FOUND",
    "SCHEMA_NOT_FOUND",
    "CATALOG_NOT_FOUND",
    "NO_SUCH_CATALOG",
    "TABLE_DOES_NOT_EXIST",
    "SCHEMA_DOES_NOT_EXIST",
    "CATALOG_DOES_NOT_EXIST",
    "DELTA_TABLE_NOT_FOUND",
    "DELTA_MISSING_DELTA_TABLE",
    "DELTA_PATH_DOES_NOT_EXIST",
    "NO_SUCH_TABLE",
    "PATH_NOT_FOUND",
    "NO_SUCH_SCHEMA",
)
_UNAVAILABLE_CONDITIONS = (
    "NO_ACTIVE_SESSION",
    "INVALID_HANDLE.SESSION",
    "SESSION_CLOSED",
    "SESSION_NOT_FOUND",
    "SESSION_CHANGED",
    "SESSION_NOT_SAME",
    "RETRIES_EXCEEDED",
)
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\]")
# Sail 0.7: a lost commit, a table that is not there, a database or catalog that is not there.
_CONFLICT_TEXT = re.compile(
    # Sail lists a log while others commit to it, and finds its end without its beginning.
    r"failed to commit transaction|missing commit file|concurrent(ly)? (append|modif|updat|delet|transaction)",
    re.IGNORECASE,
)
_NOT_FOUND_TEXT = re.compile(
    r"^(table|view|database|schema|catalog|namespace)( or view)? not found|"
    r"\b(table|schema|database|catalog)\b[^\n]{0,300}\b(does not exist|cannot be found|not found)|"
    r"no commit files found in _delta_log",
    re.IGNORECASE,
)
_UNAVAILABLE_TEXT = re.compile(
    r"failed to connect|connection (refused|reset|closed|error)|socket closed|statuscode\.unavailable|"
    r"session (is )?(closed|not found|stopped)|sparkcontext (was|has been)? ?(stopped|shut ?down)|"
    r"stopped sparkcontext|channel (is )?closed|broken pipe|no active spark session",
    re.IGNORECASE,
)


_GRPC_DETAILS = re.compile(
    r'status = StatusCode\.(\w+)\s+details = "(.*?)"\s*(?:debug_error_string|>|$)', re.DOTALL
)


def first_line(text: str, limit: int = 400) -> str:
    """The first line of an engine's message that says something, cut to `limit` characters.

    gRPC's own text begins with its type; what says something there is in `details`.
    """
    told = _GRPC_DETAILS.search(text) if "RpcError of RPC" in text else None
    text = f"{told[2]} ({told[1]})" if told is not None else text
    for line in text.splitlines():
        said = line.strip()
        if said:
            return said if len(said) <= limit else said[: limit - 3] + "..."
    return "no message"


def classify(what: str, message: str, *, types: tuple[str, ...] = (), condition: str = "") -> TablesError:
    """Our error for an engine's: by exception type, then error condition, then message.

    Args:
        what: what was tried, for the message (`MERGE into main.etl.control`).
        message: the engine's text.
        types: names of the exception's classes, most derived first.
        condition: the engine's error condition, empty when it gave none.

    Returns:
        CommitConflict, TableNotFound, TablesUnavailable, or else TablesError; the caller raises it
        from the engine's exception.
    """
    cause = first_line(message)
    names = set(types)
    if names & _CONFLICT_TYPES:
        return _conflict(what, cause)
    if names & _UNAVAILABLE_TYPES:
        return _unavailable(what, cause)
    if not condition:
        found = _CONDITION.search(message)
        condition = found.group(1) if found else ""
    if condition:
        if condition.startswith(_CONFLICT_CONDITIONS):
            return _conflict(what, cause)
        if condition.startswith(_NOT_FOUND_CONDITIONS):
            return _not_found(what, cause)
        if condition.startswith(_UNAVAILABLE_CONDITIONS):
            return _unavailable(what, cause)
        return TablesError(f"{what} failed: {cause}")
    if _CONFLICT_TEXT.search(message):
        return _conflict(what, cause)
    if _UNAVAILABLE_TEXT.search(message):
        return _unavailable(what, cause)
    if _NOT_FOUND_TEXT.search(cause):
        return _not_found(what, cause)
    return TablesError(f"{what} failed: {cause}")


def _conflict(what: str, cause: str) -> CommitConflict:
    return CommitConflict(f"{what} lost against another writer, nothing was written; repeat it ({cause})")


def _not_found(what: str, cause: str) -> TableNotFound:
    return TableNotFound(
        f"{what}: there is no such table, schema or catalog; check the name and your rights ({cause})"
    )


def _unavailable(what: str, cause: str) -> TablesUnavailable:
    return TablesUnavailable(
        f"{what}: the SQL engine does not answer; start the session or warehouse anew ({cause})"
    )
