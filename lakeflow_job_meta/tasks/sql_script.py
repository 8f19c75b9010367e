"""`sql_script`: runs the statements of a `.sql` file on the task's own Spark, one after the other."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.errors import TablesError, TaskError, VolumeError
from lakeflow_job_meta.names import quote_identifier

if TYPE_CHECKING:
    from lakeflow_job_meta.task_context import TaskContext

JsonObject = dict[str, Any]
#: Columns in which Databricks tells how many rows a statement changed.
AFFECTED = "num_affected_rows"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Last character of a word that can have a field: a name, a quoted name, an index, a call, a text.
_PATH_BEFORE = re.compile(r"""[\w`\])"']""")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script.

    Args:
        text: without the semicolon and the comments around it.
        line: of its first word, 1-based.
        parameters: names of its parameter markers (`:name`), with the line of the first use.
    """

    text: str
    line: int
    parameters: tuple[tuple[str, int], ...] = ()


def run(context: TaskContext, timer: Callable[[], float] = time.monotonic) -> JsonObject:
    """Run the file of `settings.sql_file_path`.

    Args:
        timer: seconds that only grow.

    Returns:
        `{"file", "statements": [{"line", "rows", "seconds"}]}`; rows that a query returned, or that a
        statement changed where the engine tells it.

    Raises:
        TaskError: the file is missing or no SQL, a parameter has no value, or a statement failed;
            naming file and line.
    """
    settings = context.settings
    path: str = settings["sql_file_path"]
    values = {**_texts(settings.get("parameters")), **context.parameters}
    statements = split(_read(context, path), path)
    if not statements:
        raise TaskError(f"{path}: there is no statement in it")
    check_parameters(statements, values, path)
    _enter(context, path)
    done: list[JsonObject] = []
    for statement in statements:
        started = timer()
        used = {name: values[name] for name, _ in statement.parameters}
        try:
            rows = context.tables.query(statement.text, used or None)
        except TablesError as e:
            raise TaskError(f"{path}:{statement.line}: {e}") from e
        result = {
            "line": statement.line,
            "rows": _count(rows),
            "seconds": round(timer() - started, 3),
        }
        context.log(_first_words(statement.text), **result)
        done.append(result)
    return {"file": path, "statements": done}


def check_parameters(statements: Sequence[Statement], values: JsonObject, path: str) -> None:
    """Raises TaskError listing every parameter marker that has no value."""
    missing: dict[str, int] = {}
    for statement in statements:
        for name, line in statement.parameters:
            if name not in values:
                missing.setdefault(name, line)
    if missing:
        uses = "; ".join(f"{path}:{line}: parameter :{name} has no value" for name, line in missing.items())
        known = ", ".join(sorted(values)) or "none"
        raise TaskError(f"{uses} (given: {known}); add it to `parameters` of the source")


def split(script: str, path: str) -> list[Statement]:
    """The statements of a script in Spark SQL.

    A compound statement (`BEGIN ... END`) keeps its semicolons, and takes the rest of the script.

    Args:
        path: names the script in errors.

    Raises:
        TaskError: a string, a name or a comment is not closed.
    """
    from sqlglot.dialects.databricks import Databricks
    from sqlglot.errors import TokenError

    try:
        words = [_Word(script, token.start, token.end + 1) for token in Databricks().tokenize(script)]
    except TokenError as e:
        line = _unclosed_line(script)
        raise TaskError(f"{path}:{line}: a string, a quoted name or a comment is not closed") from e
    return [_statement(script, group) for group in _groups(words)]


@dataclass(frozen=True, slots=True)
class _Word:
    """A token of a script: where it starts and ends."""

    script: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.script[self.start : self.end]

    @property
    def line(self) -> int:
        return self.script.count("\n", 0, self.start) + 1


def _groups(words: Sequence[_Word]) -> Iterator[list[_Word]]:
    """The words of each statement."""
    group: list[_Word] = []
    for word in words:
        compound = bool(group) and group[0].text.upper() == "BEGIN"
        if word.text == ";" and not compound:
            if group:
                yield group
            group = []
        else:
            group.append(word)
    while group and group[-1].text == ";":
        group.pop()
    if group:
        yield group


def _statement(script: str, words: Sequence[_Word]) -> Statement:
    names: dict[str, int] = {}
    for before, colon, name in zip([None, *words], words, words[1:], strict=False):
        if _is_marker(before, colon, name):
            names.setdefault(name.text, name.line)
    return Statement(script[words[0].start : words[-1].end], words[0].line, tuple(names.items()))


def _is_marker(before: _Word | None, colon: _Word, name: _Word) -> bool:
    """Whether the two words are `:name`; `column:path` (a field of a VARIANT or JSON text) is not."""
    if colon.text != ":" or name.start != colon.end or not _NAME.fullmatch(name.text):
        return False
    return before is None or before.end != colon.start or not _PATH_BEFORE.fullmatch(before.text[-1])


def _unclosed_line(script: str) -> int:
    """The line of the last piece that still reads as SQL: where what is not closed begins, or after it."""
    from sqlglot.dialects.databricks import Databricks
    from sqlglot.errors import TokenError

    lines = script.splitlines()
    for count in range(len(lines), 0, -1):
        try:
            Databricks().tokenize("\n".join(lines[: count - 1]))
        except TokenError:
            continue
        return count
    return 1


def _read(context: TaskContext, path: str) -> str:
    try:
        return context.volumes.read(path).decode("utf-8-sig")
    except VolumeError as e:
        raise TaskError(f"{e}; put {path} there, or correct sql_file_path") from e
    except UnicodeDecodeError as e:
        raise TaskError(f"{path}: not UTF-8 text ({e.reason} at byte {e.start})") from e


def _enter(context: TaskContext, path: str) -> None:
    """Use the catalog and the schema that the source names."""
    for word, name in (("CATALOG", "catalog"), ("SCHEMA", "schema")):
        value = context.settings.get(name)
        if not value:
            continue
        try:
            context.tables.query(f"USE {word} {quote_identifier(value)}")
        except TablesError as e:
            raise TaskError(f"{path}: cannot use the {name} {value!r}: {e}") from e


def _texts(values: JsonObject | None) -> JsonObject:
    """Parameter values as the SQL engine binds them: texts, numbers, truth values."""
    return dict(values or {})


def _count(rows: Sequence[JsonObject]) -> int:
    if len(rows) == 1 and isinstance(rows[0].get(AFFECTED), int):
        return int(rows[0][AFFECTED])
    return len(rows)


def _first_words(text: str) -> str:
    words = text.split()
    return " ".join(words[:3])
