"""sql_script: scripts split, parameters bound, statements run on Sail, errors with file and line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.errors import TaskError
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.task_context import TaskContext
from lakeflow_job_meta.tasks.sql_script import run, split

Start = Callable[..., dict[str, Any]]


@pytest.fixture
def start(tmp_path: Path, tables: Any, spark: Any) -> Start:
    """Runs a script as a task would: `start("SELECT 1", parameters={...})`."""

    def run_script(script: str | bytes, **settings: Any) -> dict[str, Any]:
        path = tmp_path / "script.sql"
        path.write_bytes(script.encode() if isinstance(script, str) else script)
        further = settings.pop("further", {})
        source = SourceDefinition("s", "sql", 1, "sql_script", {"sql_file_path": str(path), **settings})
        context = TaskContext(
            control_table=TableName("main", "t", "etl_control"),
            module=ModuleDefinition("m", {}, (source,)),
            source=source,
            run_id="1",
            tables=tables,
            volumes=FuseVolumes(None),
            spark=lambda: spark,
            workspace=lambda: pytest.fail("a script needs no workspace"),
            clock=lambda: datetime(2025, 1, 1, tzinfo=timezone.utc),
            log=lambda event, **facts: None,
            parameters=further,
        )
        return run(context)

    return run_script


class TestSplit:
    def test_statements_have_their_lines(self) -> None:
        """Each statement starts at the line of its first word; comments and empty ones are no statements."""
        script = "-- top\nSELECT 1;\n\n/* a ; b */\nSELECT\n 2 ; ;\nSELECT 3"
        assert [(s.text, s.line) for s in split(script, "f")] == [
            ("SELECT 1", 2), ("SELECT\n 2", 5), ("SELECT 3", 7)
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "text", ["SELECT ';'", 'SELECT ";" AS `a;b`', "SELECT 1 /* ; */ + 1", "SELECT 1 -- ;\n+ 1"]
    )
    def test_a_semicolon_inside_a_text_or_comment_splits_nothing(self, text: str) -> None:
        """Strings, quoted names and comments may hold semicolons."""
        assert [s.text for s in split(text + ";", "f")] == [text]

    def test_a_compound_statement_stays_whole(self) -> None:
        """BEGIN ... END keeps its semicolons."""
        script = "SELECT 1;\nBEGIN\n DECLARE x INT;\n SET x = 1;\nEND;"
        assert [s.text for s in split(script, "f")] == [
            "SELECT 1", "BEGIN\n DECLARE x INT;\n SET x = 1;\nEND"
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("SELECT :a, :b_2 WHERE x=:a", ["a", "b_2"]),
            ("SELECT col:path, `c`:p, f(x):p, x[0]:p", []),
            ("SELECT x::int, ':no', 'a' AS `:b`", []),
            ("SELECT CAST(:a AS INT)::string -- :no", ["a"]),
            ("SELECT IF(:date > 1, :end, 2)", ["date", "end"]),
        ],
    )
    def test_parameter_markers(self, text: str, names: list[str]) -> None:
        """`:name` is a parameter; a path into a VARIANT, a cast, a text and a comment are not."""
        [statement] = split(text, "f")
        assert [name for name, _ in statement.parameters] == names

    @pytest.mark.parametrize(
        ("text", "line"),
        [("SELECT 1;\nSELECT 'open", 2), ("SELECT 1;\n\nSELECT `open;\nSELECT 2", 3), ("SELECT /* open", 1)],
    )
    def test_what_is_not_closed_is_named_with_its_line(self, text: str, line: int) -> None:
        """An unclosed string, name or comment is an error at the line where it begins."""
        with pytest.raises(TaskError, match=rf"^f\.sql:{line}: .*not closed"):
            split(text, "f.sql")


class TestRun:
    def test_statements_run_in_order_and_are_reported(self, start: Start, schema: tuple[str, str]) -> None:
        """Each statement's line, rows and seconds are in the summary; the work is done."""
        table = ".".join((*schema, "t"))
        done = start(
            f"CREATE TABLE {table} (a INT) USING delta;\nINSERT INTO {table} VALUES (1), (2);\nSELECT * FROM {table}"
        )
        assert [one["line"] for one in done["statements"]] == [1, 2, 3]
        assert done["statements"][2]["rows"] == 2
        assert all(one["seconds"] >= 0 for one in done["statements"])

    def test_parameters_are_bound(self, start: Start, tables: Any) -> None:
        """A value is a value: quotes in it change nothing. Those of the run win over the source's."""
        done = start(
            "SELECT 1 WHERE :a = CONCAT('it', CHR(39), 's; --') AND CAST(:n AS INT) = 3",
            parameters={"a": "other", "n": 3, "unused": "x"},
            further={"a": "it's; --"},
        )
        assert done["statements"][0]["rows"] == 1

    def test_catalog_and_schema_are_used(
        self, start: Start, schema: tuple[str, str], tables: Any, spark: Any
    ) -> None:
        """Names without a catalog mean the given catalog and schema."""
        before = (spark.catalog.currentCatalog(), spark.catalog.currentDatabase())
        try:
            done = start(
                "SELECT current_schema() = '" + schema[1] + "' AS ok", catalog=schema[0], schema=schema[1]
            )
        finally:
            spark.catalog.setCurrentCatalog(before[0])
            spark.catalog.setCurrentDatabase(before[1])
        assert done["statements"][0]["rows"] == 1

    def test_a_failing_statement_names_file_and_line(self, start: Start) -> None:
        """The error says where, and those after it do not run."""
        with pytest.raises(TaskError, match=r"script\.sql:3: .*no_such_table"):
            start("SELECT 1;\n\nSELECT * FROM no_such_table")

    def test_parameters_without_a_value_are_all_named(self, start: Start, tables: Any) -> None:
        """Before anything runs, every missing value is listed with its line."""
        before = tables.statements
        with pytest.raises(
            TaskError, match=r"script\.sql:1: parameter :a .*script\.sql:2: parameter :b .*given: c"
        ):
            start("SELECT :a;\nSELECT :b, :c, :a", parameters={"c": "1"})
        assert tables.statements == before

    def test_a_missing_file(self, start: Start) -> None:
        """A file that is not there is said in one sentence."""
        with pytest.raises(TaskError, match=r"absent\.sql"):
            start("", sql_file_path="/Volumes/no/such/volume/absent.sql")

    @pytest.mark.parametrize(
        ("script", "says"), [("-- nothing\n;", "no statement"), (b"SELECT '\xff'", "not UTF-8")]
    )
    def test_a_file_that_is_no_script(self, start: Start, script: str | bytes, says: str) -> None:
        """An empty file and bytes that are no text are errors with the file's name."""
        with pytest.raises(TaskError, match=rf"script\.sql: .*{says}"):
            start(script)
