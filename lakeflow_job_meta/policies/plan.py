"""The plan of a remediation: what becomes of each violating file, and why. Pure: no file is looked at here.

A violation becomes a candidate (`read`), which is surveyed elsewhere (what the file is now, and its labels), and then
decided on together with all the others (`decide`): only there can be seen which files have one content.
"""

from __future__ import annotations

import fnmatch
import json
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.names import digest
from lakeflow_job_meta.policies.remediation_settings import (
    DELETE,
    MOVE,
    NEWEST,
    NONE,
    ROOT,
    SHORTEST,
    Keeper,
    Rules,
)
from lakeflow_job_meta.policies.violations import Violation
from lakeflow_job_meta.ports import FileState

JsonObject = dict[str, Any]

#: What becomes of a file: `planned` is acted upon; `keeper` and `held` stay for their reasons; `skipped` stays, as it
#: is not there, changed or excluded; `refused` stays because its row is wrong or dangerous.
PLANNED, KEEPER, HELD, SKIPPED, REFUSED = "planned", "keeper", "held", "skipped", "refused"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATHS = ("file_path", "path")
_HASHES = ("content_sha256", "source_sha256", "sha256")
_SIZES = ("size_bytes", "size", "file_size")
_LABELS = ("labels", "label_names", "label", "labels_json")
_WORDS = re.compile(r"[\W_]+")
_NO = {"", "false", "0", "no", "n", "none", "null", "off"}
#: What the name of a stub ends with, by action.
STUB_ENDS = {
    "archive": ".archived.txt",
    "quarantine": ".quarantined.txt",
    "delete": ".deleted.txt",
    "move": ".moved.txt",
}


@dataclass(frozen=True)
class Candidate:
    """One violating file.

    Args:
        key: the violation's key.
        given_path: as the row has it.
        path: where the file is; empty when it is not reached from here.
        root: the folder that it must not leave; its path below it is its relative path.
        sha256: of its content, from the row or, where the row has none, from the file; empty when not known.
        size: bytes as the row has them; None when it says nothing.
        held: whether the row, or its table, says that it is on hold.
        outcome: (state, reason) when that is clear already.
        file: the file as it is now.
    """

    key: str
    given_path: str
    path: str = ""
    root: str = ""
    sha256: str = ""
    size: int | None = None
    held: bool = False
    outcome: tuple[str, str] | None = None
    file: FileState | None = None

    def out(self, state: str, reason: str) -> Candidate:
        """The same with its outcome."""
        return replace(self, outcome=(state, reason))


@dataclass(frozen=True)
class Item:
    """One row of a plan.

    Args:
        seq: its number in the plan, from 1.
        keeper: path of the file with the same content that stays; empty without one.
        target: where the file goes; empty when it goes nowhere.
        stub: path of the stub; empty for none.
        size: bytes.
        modified_ns: modification time when it was planned, ns since 1970.
    """

    seq: int
    path: str
    given_path: str
    key: str
    state: str
    reason: str = ""
    action: str = ""
    sha256: str = ""
    size: int = 0
    modified_ns: int = 0
    keeper: str = ""
    target: str = ""
    stub: str = ""
    root: str = ""


# ---------------------------------------------------------------- reading violations


def read(violations: Iterable[Violation], rules: Rules) -> list[Candidate]:
    """A candidate for each violating file; a file that two violations name comes once, held when one of them is."""
    found: dict[str, Candidate] = {}
    rest: list[Candidate] = []
    for violation in violations:
        one = _candidate(violation, rules)
        if not one.path:
            rest.append(one)
            continue
        there = found.get(one.path)
        if there is None:
            found[one.path] = one
        elif there.sha256 and one.sha256 and there.sha256 != one.sha256:
            found[one.path] = there.out(REFUSED, "two violations name it with different content hashes")
        else:
            found[one.path] = replace(
                there,
                sha256=there.sha256 or one.sha256,
                held=there.held or one.held,
                outcome=there.outcome or one.outcome,
            )
    return [found[path] for path in sorted(found)] + sorted(rest, key=lambda one: one.given_path)


def _candidate(violation: Violation, rules: Rules) -> Candidate:
    row = violation.row
    given = next((str(row[name]) for name in _PATHS if row.get(name)), "")
    sha256 = next((str(row[name]).strip().lower() for name in _HASHES if row.get(name)), "")
    one = Candidate(
        violation.key,
        given,
        sha256=sha256,
        size=next((_whole(row[name]) for name in _SIZES if row.get(name) is not None), None),
        held=is_held(row, rules),
    )
    if not given.strip():
        return one.out(
            REFUSED, "the violation has no file_path and no path: let the policy's SELECT return one"
        )
    try:
        path, root = place(given, rules)
    except UsageError as error:
        return one.out(REFUSED, str(error))
    one = replace(one, path=path, root=root)
    if sha256 and not _SHA256.fullmatch(sha256):
        return replace(one, sha256="").out(REFUSED, f"its content hash {sha256[:80]!r} is no SHA-256")
    if not path:
        reason = "not reached from here: name its folder in roots, map it with path_map, or use the script for shares"
        return one.out(SKIPPED, reason)
    if not root:
        return one.out(SKIPPED, "outside of the roots")
    return one


def place(given: str, rules: Rules) -> tuple[str, str]:
    """(path, root) of a file; no path when it is not reached from here, no root when it lies outside of the roots.

    Raises:
        UsageError: the path is none, or leaves its root.
    """
    text = given
    for prefix in sorted(rules.path_map, key=len, reverse=True):
        if text == prefix or text.startswith((f"{prefix}/", f"{prefix}\\")):
            text = rules.path_map[prefix] + text[len(prefix) :].replace("\\", "/")
            break
    if text.startswith("dbfs:/Volumes/"):
        text = text.removeprefix("dbfs:")
    is_volume = text.startswith("/Volumes/")
    inside = [root for root in rules.roots if text == root or text.startswith(f"{root}/")]
    if not is_volume and not inside:
        return "", ""
    parts = text.split("/")[1:]
    if any(part in {".", ".."} for part in parts):
        raise UsageError("its path leaves its root: it has . or .. in it")
    if "" in parts or any(ord(character) < 32 for character in text):
        raise UsageError("its path is none: it ends with a slash, or has // or a control character in it")
    if is_volume and len(parts) < 5:
        raise UsageError("its path is no file in a volume")
    if rules.roots:
        return text, max(inside, key=len, default="")
    return text, "/" + "/".join(parts[:4])


def is_held(row: Mapping[str, Any], rules: Rules) -> bool:
    """Whether a violating row says that its file is on hold: by `legal_hold`, or by one of its labels."""
    labels = [label for name in _LABELS for label in _names(row.get(name))]
    return _is_true(row.get("legal_hold")) or on_hold(labels, rules.hold_labels)


def on_hold(labels: Iterable[str], hold_labels: Iterable[str]) -> bool:
    """Whether one of the labels has one of the holding ones in its name, whatever its case and punctuation."""
    wanted = [word for one in hold_labels if (word := _plain(one)) != "  "]
    return any(word in _plain(label) for label in labels for word in wanted)


def names(value: Any) -> tuple[str, ...]:
    """Names of labels in a value: a text, JSON text, or a list of texts or of objects with a name."""
    return tuple(_names(value))


def _plain(text: str) -> str:
    return f" {_WORDS.sub(' ', text.casefold()).strip()} "


def _names(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        if value.lstrip().startswith(("[", "{")):
            try:
                yield from _names(json.loads(value))
            except ValueError:
                yield value
        elif value:
            yield value
    elif isinstance(value, Mapping):
        yield from _names(value.get("name"))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _names(one)


def _is_true(value: Any) -> bool:
    return value.strip().lower() not in _NO if isinstance(value, str) else bool(value)


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


# ---------------------------------------------------------------- deciding


def check_target(candidates: Iterable[Candidate], rules: Rules, ours: Collection[str] = ()) -> None:
    """That the target is outside of where the files are.

    Args:
        ours: folders that remediations have put files into; what is in them is no source.

    Raises:
        UsageError: it is not: what was archived would be found, and remediated, again.
    """
    if not rules.target:
        return
    sources = set(rules.roots)
    if not sources:
        folders: dict[str, list[str]] = {}
        for one in candidates:
            if one.path and one.outcome is None and not any(_is_in(one.path, place) for place in ours):
                folders.setdefault(one.root, []).append(posixpath.dirname(one.path))
        sources = {posixpath.commonpath(paths) for paths in folders.values()}
    for source in sorted(sources):
        if rules.target == source or _is_in(rules.target, source):
            raise UsageError(
                f"the target {rules.target} is inside the source {source}: name a folder outside of it, best in a "
                "volume of its own"
            )


def _nothing_there(_path: str) -> bool:
    return False


def decide(
    candidates: Sequence[Candidate],
    rules: Rules,
    run_id: str,
    *,
    ours: Collection[str] = (),
    stubs: Collection[str] = (),
    is_taken: Callable[[str], bool] = _nothing_there,
) -> list[Item]:
    """The plan, ordered by path.

    Args:
        candidates: surveyed: each has its outcome, or the file that is there and its content's hash.
        ours: folders that remediations have put files into.
        stubs: paths of stubs that remediations have left.
        is_taken: whether something is at this path of the target already.

    Raises:
        UsageError: the target is inside the source; or files have one content, and no keeper rule is given; or delete
            would delete for good without being told so.
    """
    check_target(candidates, rules, ours)
    judged = [_judge(one, rules, ours, stubs) for one in candidates]
    keepers = _keepers(judged, rules)
    items: list[Item] = []
    taken: set[str] = set()
    for seq, one in enumerate(judged, 1):
        item = Item(
            seq,
            one.path,
            one.given_path,
            one.key,
            *(one.outcome or (PLANNED, "")),
            sha256=one.sha256,
            size=one.file.size if one.file else one.size or 0,
            modified_ns=one.file.modified_ns if one.file else 0,
            root=one.root,
        )
        keeper = keepers.get(one.sha256) if one.file is not None else None
        if keeper is not None and one.path == keeper.path:
            if one.outcome is None or one.outcome[0] == HELD:
                reason = one.outcome[1] if one.outcome else ""
                alone = sum(other.sha256 == one.sha256 and other.path != one.path for other in judged) == 0
                item = replace(
                    item, state=KEEPER, reason=reason or ("the only copy that is known" if alone else "")
                )
        elif one.outcome is None:
            if keeper is not None and keeper.file is not None and one.file is not None:
                if keeper.file.identity == one.file.identity:
                    item = replace(item, state=SKIPPED, reason=f"another name of its keeper {keeper.path}")
            if item.state == PLANNED:
                item = _planned(item, rules, run_id, keeper, taken, is_taken)
        items.append(item)
    _check_delete(items, rules)
    return items


def _judge(one: Candidate, rules: Rules, archives: Collection[str], stubs: Collection[str]) -> Candidate:
    """The candidate with its outcome, when that does not depend on other files."""
    if one.outcome is not None:
        # Where it is not reached from here, it is for others to know.
        return one.out(HELD, "legal hold") if one.held and not one.path and one.outcome[0] == SKIPPED else one
    if any(_is_in(one.path, folder) for folder in archives):
        return replace(one.out(SKIPPED, "it lies in the target of a remediation"), file=None)
    if one.path in stubs:
        return replace(one.out(SKIPPED, "it is the stub of a remediation"), file=None)
    if one.file is None:
        return one.out(SKIPPED, "it is not there (any more)")
    if one.size is not None and one.size != one.file.size:
        reason = f"it changed since it was scanned: {one.size} bytes then, {one.file.size} now"
        return replace(one.out(SKIPPED, reason), file=None)
    if one.held:
        return one.out(HELD, "legal hold")
    if one.file.size < rules.min_size:
        return one.out(SKIPPED, f"smaller than {rules.min_size} bytes" if one.file.size else "it is empty")
    for pattern in rules.exclude:
        if fnmatch.fnmatchcase(one.path, pattern):
            return one.out(SKIPPED, f"excluded by {pattern}")
    return one


def _keepers(judged: Sequence[Candidate], rules: Rules) -> dict[str, Candidate]:
    """The keeper of each content. Files that stay anyway, held or excluded, may be keepers."""
    groups: dict[str, list[Candidate]] = {}
    for one in judged:
        if one.sha256 and one.file is not None and (one.outcome is None or one.outcome[0] in {HELD, SKIPPED}):
            groups.setdefault(one.sha256, []).append(one)
    if rules.keeper is None:
        doubles = sum(len([one for one in group if one.outcome is None]) > 1 for group in groups.values())
        if doubles:
            raise UsageError(
                f"{doubles} content{'s' if doubles > 1 else ''} would go with every copy: say which one stays with "
                "keeper (oldest, newest, shortest_path, root:PATH), or keeper none"
            )
        return {}
    if rules.keeper.rule == NONE:
        return {}
    order = _order(rules.keeper)
    return {sha256: min(group, key=order) for sha256, group in groups.items()}


def _order(keeper: Keeper) -> Callable[[Candidate], tuple[Any, ...]]:
    """Sorts the keeper to the front; ties end in the path, so that a plan is the same every time."""

    def key(one: Candidate) -> tuple[Any, ...]:
        assert one.file is not None
        time, last = one.file.modified_ns, (len(one.path), one.path)
        if keeper.rule == NEWEST:
            return (-time, *last)
        if keeper.rule == SHORTEST:
            return last
        if keeper.rule == ROOT:
            far = len(keeper.roots)
            inside = [number for number, root in enumerate(keeper.roots) if _is_in(one.path, root)]
            return (min(inside, default=far), time, *last)
        return (time, *last)

    return key


def _planned(
    item: Item,
    rules: Rules,
    run_id: str,
    keeper: Candidate | None,
    taken: set[str],
    is_taken: Callable[[str], bool],
) -> Item:
    target = ""
    if rules.target and rules.action == MOVE:
        target = f"{rules.target}/{item.path[len(item.root) + 1 :]}"
        if target in taken or is_taken(target):
            stem, end = posixpath.splitext(target)
            target = f"{stem}.{digest([run_id, item.path], 12)}{end}"
        taken.add(target)
    elif rules.target:
        target = f"{run_folder(rules, run_id)}/{item.sha256[:2]}/{item.sha256}"
    return replace(
        item,
        action=rules.action,
        keeper=keeper.path if keeper is not None else "",
        target=target,
        stub=item.path + STUB_ENDS[rules.action] if rules.stub else "",
    )


def _check_delete(items: Iterable[Item], rules: Rules) -> None:
    if rules.action == DELETE and not rules.target and not rules.permanent:
        lost = sum(item.state == PLANNED and not item.keeper for item in items)
        if lost:
            raise UsageError(
                f"delete would delete {lost} file{'s' if lost > 1 else ''} of which no copy stays: name a target that "
                "holds them until you are sure, or say permanent"
            )


def run_folder(rules: Rules, run_id: str) -> str:
    """The folder of one run in the target: its manifests, and what is stored by its content; nobody else's."""
    name = run_id.rpartition(".")[2]
    return f"{rules.target}/.remediation/{name}" if rules.action == MOVE else f"{rules.target}/{name}"


def _is_in(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")
