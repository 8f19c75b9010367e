"""The PowerShell script for shares: its text keeps the rules that remediation keeps, since nothing here can run it."""

from __future__ import annotations

import csv
import io
import re

import pytest

from lakeflow_job_meta.policies.share_script import COLUMNS, command, is_reachable, plan_csv, script
from tests.policies.test_remediation_plan import rules

TEXT = script().replace("\r\n", "\n")
#: Without comments, so that no rule is kept in words alone.
CODE = re.sub(r"(?m)^\s*#.*$", "", re.sub(r"<#.*?#>", "", TEXT, flags=re.DOTALL))


def function(name: str) -> str:
    """The body of a function."""
    found = re.search(rf"(?ms)^function {re.escape(name)}\b.*?^}}", CODE)
    assert found is not None, name
    return found.group()


def in_order(text: str, *parts: str) -> None:
    """The parts stand in the text in this order."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        assert found >= 0, f"{part!r} does not stand behind {text[:place][-60:]!r}"
        place = found + len(part)


def test_it_parses() -> None:
    """As PowerShell, where its grammar is installed."""
    tree_sitter = pytest.importorskip("tree_sitter")
    grammar = pytest.importorskip("tree_sitter_powershell")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    assert not parser.parse(TEXT.encode()).root_node.has_error


def test_brackets_are_closed() -> None:
    """Outside of strings."""
    bare = re.sub(r"'[^'\n]*'|\"(?:`.|[^\"`])*\"", "''", CODE)
    closing = {")": "(", "]": "[", "}": "{"}
    open_now: list[str] = []
    for character in bare:
        if character in "([{":
            open_now.append(character)
        elif character in closing:
            assert open_now
            assert open_now.pop() == closing[character]
    assert not open_now


def test_every_function_is_there_and_used() -> None:
    """Nothing is called that is not defined, and nothing is left over."""
    defined = set(re.findall(r"(?m)^function ([A-Z]\w+-\w+)", CODE))
    cmdlets = {
        "Set-StrictMode",
        "New-Object",
        "Get-Acl",
        "Set-Acl",
        "ConvertTo-Json",
        "ConvertFrom-Json",
        "Write-Output",
        "Write-Warning",
        "Import-Csv",
        "Where-Object",
        "ForEach-Object",
        "Group-Object",
        "Sort-Object",
        "Select-Object",
        "Resolve-Path",
    }
    bare = re.sub(r"'[^'\n]*'", "''", CODE)
    called = set(re.findall(r"(?<![\w.$-])([A-Z]\w+-[A-Z]\w+)", bare))
    assert called == defined | cmdlets


def test_r1_a_keeper_is_chosen() -> None:
    assert "Group-Object -Property Sha256" in function("Get-Plan")
    assert "$item.State = 'keeper'" in function("Get-Plan")
    assert "[string] $Keeper = 'Oldest'" in CODE


def test_r2_r3_nothing_is_overwritten() -> None:
    """Targets are named by the content, files are made new, moves fail where something is."""
    assert "Substring(0, 2), $Sha256)" in function("Get-Target")
    assert "-Force" not in CODE
    assert "Move-Item" not in CODE
    assert "Set-Content" not in CODE
    assert set(re.findall(r"FileMode\]::(\w+)", CODE)) == {"Open", "CreateNew", "Append", "OpenOrCreate"}
    assert "$item.Sha256 = Get-Sha256 $item.Path" in function("Get-Planned")
    assert "unhashed" not in CODE


def test_r4_stubs_are_no_sources() -> None:
    assert "Get-KnownStub" in function("Get-Plan")
    assert "$Stubs.Contains($item.Path)" in function("Get-Planned")


def test_r5_a_stub_comes_last() -> None:
    """Keeper, copy, manifest, removal, stub; an error anywhere leaves the rest undone, and the others go on."""
    assert "$ErrorActionPreference = 'Stop'" in CODE
    in_order(function("Invoke-Remediation"), "Get-StreamSha256 $kept", "Move-Verified $Item")
    in_order(
        function("Move-Verified"),
        "Copy-Verified $Item.Path $target",
        "Add-Line $Manifest",
        "step = 'ready'",
        "Remove-Verified $Item.Path",
        "step = 'done'",
        "New-TextFile $stub",
    )
    in_order(function("Invoke-Plan"), "try {", "Invoke-Remediation", "catch {", "'failed'")


def test_r6_contents_are_hashed_before_they_go() -> None:
    """The copy, and the original once more while nobody can write to it."""
    in_order(
        function("Copy-Verified"), "CopyTo", "Flush($true)", "Get-Sha256 $partial", "throw", "::Move($partial"
    )
    in_order(
        function("Remove-Verified"),
        "FileShare]::Delete",
        "Get-StreamSha256 $handle",
        "throw",
        "::Delete($Path)",
    )
    assert CODE.count("::Delete(") == 3  # an original, a partial copy, a stub of ours


def test_r7_a_dry_run_is_the_default_and_there_is_a_way_back() -> None:
    assert "[switch] $Execute" in CODE
    assert "if ($Execute) { Invoke-Plan $items $run }" in CODE
    in_order(
        function("Restore-Item"), "throw", "Copy-Verified $Line.target $Line.path", "SetLastWriteTimeUtc"
    )
    in_order(function("Invoke-Undo"), "Restore-Item", "$needed[", "Remove-Verified $line.target")


def test_r8_r9_paths_and_hashes_are_checked() -> None:
    body = function("Get-Planned")
    in_order(
        body,
        "Test-PlainPath",
        "^[0-9a-f]{64}$",
        "Test-Inside $item.Path $_",
        "Directory]::Exists",
        "Test-Link",
    )
    assert "-LiteralPath" in CODE
    assert "Invoke-Expression" not in CODE


def test_r11_rights_and_times_are_kept() -> None:
    assert "security = (Get-Security $Item.Path)" in function("Move-Verified")
    assert "SetSecurityDescriptorSddlForm" in function("Restore-Item")
    assert "'.archived.txt'" in CODE


def test_r12_exclusions() -> None:
    in_order(function("Get-Planned"), "Test-Hold $Row", "$item.Length -lt $MinSize")


def test_r13_the_exit_code_tells() -> None:
    assert "@('failed', 'refused') -contains $_.State }).Count) { $code = 1 }" in CODE
    assert TEXT.rstrip().endswith("exit $code")


def test_the_csv_comes_back_and_is_no_formula() -> None:
    """What a spreadsheet takes for a formula is not in it; Windows reads it."""
    row = dict.fromkeys(COLUMNS, "") | {
        "path": '\\\\server\\share\\a, "b".txt',
        "content_sha256": "=cmd|' /C calc'!A0",
        "reason": "=1+1",
    }
    [found] = csv.DictReader(io.StringIO(plan_csv([row])))
    assert found["path"] == row["path"]
    assert found["content_sha256"] == ""
    assert found["reason"] == "'=1+1"
    assert script().count("\r\n") == script().count("\n")


@pytest.mark.parametrize(
    ("path", "reachable"),
    [
        ("\\\\server\\share\\x", True),
        ("C:\\data\\x", True),
        ("/mnt/share/x", True),
        ("https://x.sharepoint.com/y", False),
        ("s3://bucket/x", False),
        ("=cmd", False),
        ("/Volumes/main/default/x/y", False),
        ("\\\\?\\C:\\x", False),
        ("/mnt/a\nb", False),
    ],
)
def test_paths_of_shares(path: str, reachable: bool) -> None:
    assert is_reachable(path) is reachable


def test_the_command_has_the_rules() -> None:
    assert "-Action Quarantine -Keeper ShortestPath" in command(
        rules(action="quarantine", keeper="shortest_path")
    )
    assert "-PreferredRoot" in command(rules(keeper="root:/Volumes/a/b/c"))
    assert "-Execute" not in command(rules())
