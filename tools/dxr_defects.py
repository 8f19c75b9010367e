"""What was wrong in the earlier systems, by number, and the test that holds it out; or why it cannot occur here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
#: Where tests of the Data X-Ray tasks are; other rooms have numbers of their own.
FILES = ("dxr/test_*.py", "tasks/test_notify.py", "cli/test_dxr.py")
_TEST = re.compile(r"^\s*(?:async )?def (test_[abc]\d+_\w+)", re.MULTILINE)
_ANY_TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)
_NUMBERS = re.compile(r"(?:^test|_and)_([abc]\d+)(?=_)")

#: A: the first pipeline; B: its rewrite; C: the snapshot jobs.
DEFECTS = {
    "A1": "the API prefix is added twice",
    "A2": "a file counts as done when it was sent",
    "A3": "collect asks once",
    "A4": "collect needs job ids by hand",
    "A5": "upload names are basenames",
    "A6": "results cannot be joined to files",
    "A7": "each upload adds a row",
    "A8": "only 100 hits are read",
    "A9": "jobs are not bounded by files",
    "A10": "one large file ends the planning",
    "A11": "whole batches in memory",
    "A12": "folders are taken for empty files, edits of equal size are missed",
    "A13": "statements through a call that the SDK has not",
    "A14": "a failed statement is success",
    "A15": "the ledger's rows go to another table",
    "A16": "the checkpoint ends with the process",
    "A17": "values are spliced into SQL",
    "A18": "no retries where they are safe, retries where they are not",
    "A19": "a dry run really submits",
    "A20": "states are kept as Python text",
    "A21": "organise, copies, tags, grants, notify, since: announced, not built",
    "A22": "no checksum",
    "A23": "labels are always empty",
    "A24": "rows of deleted files stay",
    "B1": "everything is uploaded in every run",
    "B2": "one large file ends the run",
    "B3": "an error in one submit loses the jobs before it",
    "B4": "upload names repeat from run to run",
    "B5": "the first file of a basename gets the result",
    "B6": "a run in which all failed is a success",
    "B7": "FAILED is taken for FINISHED",
    "B8": "files without a hit are not noticed",
    "B9": "a nested state ends the collection",
    "B10": "the index is not waited for",
    "B11": "pages in an unstable order",
    "B12": "one failed page starts the search anew",
    "B13": "one failed look ends a job's collection",
    "B14": "jobs are followed one after the other",
    "B15": "whole requests in memory",
    "B16": "equal relative names below two prefixes",
    "B17": "a prefix that is a file",
    "B18": "links, unreadable folders and vanishing files",
    "B19": "rows of deleted files stay",
    "B20": "table names are not quoted",
    "B21": "numbers instead of names",
    "B22": "phrases and text in a widely readable table",
    "B23": "a file that changes while it is sent",
    "B24": "examples with settings of another version",
    "B25": "no local run, secrets from one place only",
    "B26": "a search that never ends",
    "C1": "all rows in memory, three times",
    "C2": "a cut row is skipped in silence",
    "C3": "a partial answer replaces the good partition",
    "C4": "no guard on the number of rows",
    "C5": "lines are split at other characters than newline",
    "C6": "no retry",
    "C7": "no limit on the whole stream",
    "C8": "no row is success",
    "C9": "the schema follows the day's data",
    "C10": "no key, no de-duplication",
    "C11": "columns for policies are missing",
    "C12": "the date is not checked and goes into SQL",
    "C13": "values are taken for names",
    "C14": "wrong values become defaults",
    "C15": "half a secret is told late",
    "C16": "shared sessions are stopped, answers stay open",
    "C17": "append-only and overwrite at once",
    "C18": "no end of growth, phrases every day",
    "C19": "no tests; build products in the repository",
    "C20": "quoted names with dots are split",
    "C21": "a key that an index rebuild changes",
}
#: Those that have no test of their own.
OTHERWISE = {
    "A13": "statements go through one adapter over the Statement Execution API, whose contract tests are `tests/adapters/test_warehouse_tables.py`",
    "B24": "there is no second copy: these pages and the tables of settings are made from the code, and `make lint` says when they are not",
    "C19": "this page has the tests; build products are ignored by git",
}
#: What is done to a run, over real HTTP or by a signal, and the tests that do it.
FAULTS = {
    "500, 502, 503 with JSON, HTML or nothing": (
        "test_a_submit_that_failed_is_sent_again_under_new_names",
        "test_a18_what_is_safe_to_repeat_is_repeated",
        "test_server_errors_are_asked_again",
    ),
    "429 with Retry-After": ("test_retry_after_is_followed", "test_a18_what_is_safe_to_repeat_is_repeated"),
    "a reset in the middle of an upload": ("test_a_submit_that_failed_is_sent_again_under_new_names",),
    "an answer that is lost after the job was taken": ("test_an_unclear_submit_that_was_accepted",),
    "a reset in the middle of a stream": ("test_a_cut_stream_never_replaces_a_good_partition",),
    "a stream that stalls, or trickles for ever": (
        "test_a_stalled_stream_ends",
        "test_c7_the_whole_stream_has_a_limit",
    ),
    "a stream that is cut at the end of a line": (
        "test_a_cut_stream_never_replaces_a_good_partition",
        "test_c4_far_fewer_rows_are_refused",
    ),
    "HTML pages in the place of answers": (
        "test_html_instead_of_an_api",
        "test_an_answer_without_a_job_id_is_unclear",
        "test_an_html_page_is_no_snapshot",
    ),
    "a token that is replaced in the middle": (
        "test_a_replaced_token_stops_and_keeps_what_was_done",
        "test_a_revoked_token_stops_at_once",
    ),
    "a FAILED job with partial results": ("test_b7_partial_results_are_marked",),
    "scan ids that come late, or never": ("test_scan_ids_come_early_or_late", "test_a_job_without_a_scan_id"),
    "an index, labels and extracted values that come late": (
        "test_b10_the_index_is_waited_for",
        "test_b10_values_that_come_late_are_waited_for",
        "test_b10_what_models_extract_is_waited_for",
    ),
    "names that come back cut to their last part": ("test_b5_hits_are_never_given_to_the_first_of_a_name",),
    "equal names in two folders": ("test_a5_equal_names_in_two_folders",),
    "kill -9 in the middle of an ingest": (
        "test_ingest_is_killed_before_a_write",
        "test_ingest_is_killed_in_the_middle_of_an_upload",
        "test_killed_again_and_again",
    ),
    "kill -9 in the middle of a collect": (
        "test_collect_is_killed_before_a_write",
        "test_killed_again_and_again",
    ),
    "kill -9 in the middle of an organise": ("test_organise_is_killed",),
    "kill -9 in the middle of a snapshot": ("test_snapshot_is_killed",),
    "a missing secret": ("test_a_missing_secret", "test_no_token_at_all"),
    "a wrong datasource id": ("test_a_wrong_datasource",),
    "a volume that is not there": ("test_a_volume_that_is_not_there",),
    "unreadable files and folders": (
        "test_an_unreadable_file_and_folder",
        "test_an_unreadable_source_fails_alone",
    ),
    "tables with another schema": (
        "test_a_table_with_another_schema",
        "test_an_older_table_is_refused_by_name",
    ),
    "names with quotes, backticks, newlines, emoji and `..`": (
        "test_names_of_any_kind",
        "test_a17_names_are_never_sql",
        "test_odd_file_names",
        "test_any_label_has_a_legal_place",
        "test_paths_that_would_leave_are_refused",
    ),
}


def table() -> Iterator[str]:
    """The Markdown table. Raises ValueError naming a defect that has neither a test nor a reason."""
    tests = _tests()
    yield "| | what was wrong | held out by |"
    yield "|---|---|---|"
    for number, what in DEFECTS.items():
        found = ", ".join(f"`{name}`" for name in sorted(tests.get(number, ())))
        how = found or OTHERWISE.get(number)
        if not how:
            raise ValueError(
                f"defect {number} has no test that is named after it, and no reason in OTHERWISE"
            )
        yield f"| {number} | {what} | {how} |"


def faults() -> Iterator[str]:
    """The Markdown table of faults. Raises ValueError naming a test that is not there."""
    there = set(_names(_ANY_TEST))
    yield "| what is done to it | tests |"
    yield "|---|---|"
    for what, tests in FAULTS.items():
        missing = [name for name in tests if name not in there]
        if missing:
            raise ValueError(f"{what!r}: there is no test {missing[0]}")
        yield f"| {what} | {', '.join(f'`{name}`' for name in tests)} |"


def _names(pattern: re.Pattern[str]) -> Iterator[str]:
    for files in FILES:
        for path in sorted(TESTS.glob(files)):
            yield from pattern.findall(path.read_text(encoding="utf-8"))


def _tests() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name in _names(_TEST):
        for number in _NUMBERS.findall(name):
            found.setdefault(number.upper(), set()).add(name)
    return found
