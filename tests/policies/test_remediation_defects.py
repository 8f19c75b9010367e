"""The thirteen defects of the script that remediation replaces (R1 to R13), each shown to be gone."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.errors import PolicyRunFailed, UsageError, VolumeError
from lakeflow_job_meta.policies.remediate import perform
from tests.policies.remediation_world import TARGET, VOLUME, RemediationWorld, now, sha256

pytestmark = pytest.mark.slow


def test_r1_one_of_each_content_stays(remediation: RemediationWorld) -> None:
    """All copies are in the list; a keeper is chosen, and without a rule for one nothing is done."""
    world = remediation
    world.violate(*world.put_many({f"{number}.txt": b"same" for number in range(5)}))
    before = world.facts()
    with pytest.raises(UsageError, match="keeper"):
        world.remediate(keeper=None)
    assert world.facts() == before
    assert world.remediate()["done"] == 4
    left = [path for path in world.facts() if not path.endswith(".archived.txt")]
    assert left == ["4.txt"]


def test_r2_same_content_and_same_name_destroy_nothing(remediation: RemediationWorld) -> None:
    """The copies share one file in the target; each of them comes back."""
    world = remediation
    world.violate(*world.put_many({f"{folder}/report.docx": b"same" for folder in "abc"}))
    before = world.facts()
    run = world.remediate()["run"]
    assert world.stored() == [b"same"]
    world.undo(run)
    assert world.facts() == before


def test_r3_files_without_a_hash_are_hashed(remediation: RemediationWorld) -> None:
    """Blank hashes make no group: same names with other contents are stored side by side."""
    world = remediation
    paths = world.put_many({"a/x.txt": b"first", "b/x.txt": b"second"})
    world.violate_rows([{"path": path, "content_sha256": ""} for path in paths])
    assert world.remediate(keeper="none")["done"] == 2
    assert world.stored() == [b"first", b"second"]


def test_r4_a_second_run_does_nothing(remediation: RemediationWorld) -> None:
    """Stubs are no sources, neither by the old list nor by a new one that has found them."""
    world = remediation
    paths = world.put_many({"a.txt": b"same", "b.txt": b"same"})
    world.violate(*paths)
    run = world.remediate()["run"]
    after = world.facts(), world.stored()
    assert world.remediate()["done"] == 0
    stub = f"{paths[0]}.archived.txt"
    world.violate(stub, policy="rot_files")
    found = world.remediate(policy="rot_files", keeper="none")
    assert (found["planned"], found["skipped"]) == (0, 1)
    assert "stub" in world.plan(found["run"])[stub]["reason"]
    assert (world.facts(), world.stored()) == after
    assert world.undo(run)["done"] == 1


@pytest.mark.parametrize("broken", ["create", "delete_unchanged", "open"])
def test_r5_what_cannot_be_moved_stays_without_a_stub(remediation: RemediationWorld, broken: str) -> None:
    """A full disk, a locked file, missing rights: the file is as it was, the others go on, the run says so."""
    world = remediation
    paths = world.put_many({"a.txt": b"locked", "b.txt": b"fine"})
    world.violate(*paths)
    before = world.facts()
    target = world.remediate(execute=False, keeper="none")
    stored = world.plan(target["run"])[paths[0]]["target"].rpartition("/")[2]

    class Broken(FuseVolumes):
        def create(self, path: str, *args: Any, **more: Any) -> bool:
            return self._call("create", path, *args, **more)

        def delete_unchanged(self, state: Any) -> bool:
            return self._call("delete_unchanged", state)

        def open(self, path: str) -> Any:
            return self._call("open", path)

        def _call(self, name: str, what: Any, *args: Any, **more: Any) -> Any:
            path = getattr(what, "path", what)
            if name == broken and (path == paths[0] or path.endswith(stored)):
                raise VolumeError(f"cannot use {path}: no space left, or locked")
            return getattr(FuseVolumes, name)(self, what, *args, **more)

    world.volumes = Broken(world.root)
    with pytest.raises(PolicyRunFailed, match="no space left") as failed:
        perform(world.session(), world.rules(keeper="none").as_json() | {"execute": True})
    assert (failed.value.summary["done"], failed.value.summary["errors"]) == (1, 1)
    after = world.facts()
    assert after["a.txt"] == before["a.txt"]
    assert set(after) == {"a.txt", "b.txt.archived.txt"}
    world.volumes = FuseVolumes(world.root)
    again = world.remediate(plan_run=failed.value.summary["run"], keeper="none")
    assert (again["done"], again["errors"]) == (2, 0)
    world.undo(again["run"])
    assert world.facts() == before


def test_r6_a_file_that_was_edited_stays(remediation: RemediationWorld) -> None:
    """Every file is hashed before it goes: an edit since the scan, even one of the same size and time, is seen."""
    world = remediation
    paths = world.put_many({"a.txt": b"same", "b.txt": b"same", "keeper.txt": b"same"})
    world.violate(*paths)
    plan = world.remediate(execute=False)
    there = world.folder("a.txt")
    status = there.stat()
    there.write_bytes(b"Same")
    os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = world.remediate(plan_run=plan["run"])
    assert (done["done"], done["skipped"]) == (1, 1)
    assert there.read_bytes() == b"Same"
    assert world.stored() == [b"same"]


def test_r6_without_its_keeper_nothing_goes(remediation: RemediationWorld) -> None:
    """The keeper is hashed, too: when it was edited or removed since, the copies stay."""
    world = remediation
    world.violate(*world.put_many({"a.txt": b"same", "b.txt": b"same", "keeper.txt": b"same"}))
    plan = world.remediate(execute=False)
    world.folder("keeper.txt").write_bytes(b"Same")
    done = world.remediate(plan_run=plan["run"])
    assert (done["done"], done["skipped"]) == (0, 2)
    assert {"a.txt", "b.txt", "keeper.txt"} == set(world.facts())


def test_r6_a_file_edited_between_copy_and_removal_stays(remediation: RemediationWorld) -> None:
    """In the moment after its copy was verified, too."""
    world = remediation
    paths = world.put_many({"a.txt": b"same", "keeper.txt": b"same"})
    world.violate(*paths)

    class Edited(FuseVolumes):
        def create(self, path: str, *args: Any, **more: Any) -> bool:
            made = super().create(path, *args, **more)
            if "manifest-" in path:  # written after the copies, before an original goes
                world.folder("a.txt").write_bytes(b"late")
            return made

    world.volumes = Edited(world.root)
    done = world.remediate()
    assert (done["done"], done["skipped"]) == (0, 1)
    assert world.folder("a.txt").read_bytes() == b"late"
    assert world.undo(done["run"])["errors"] == 0
    assert world.folder("a.txt").read_bytes() == b"late"


def test_r7_dry_run_manifest_log_and_undo(remediation: RemediationWorld) -> None:
    """A dry run is the default; executing leaves a manifest, a log and the way back."""
    world = remediation
    world.violate(*world.put_many({"a.txt": b"same", "b.txt": b"same"}))
    before = world.facts()
    assert perform(world.session(), world.rules().as_json())["dry_run"]
    assert world.facts() == before
    run = world.remediate()["run"]
    [manifest] = [path for path in world.facts(TARGET) if "manifest-" in path]
    assert f"{VOLUME}/a.txt".encode() in world.facts(TARGET)[manifest][0]
    assert {row["step"] for row in world.log(run)} >= {
        "planned",
        "execute",
        "begin",
        "ready",
        "done",
        "executed",
    }
    world.undo(run)
    assert world.facts() == before


def test_r8_neither_hash_nor_path_leads_elsewhere(remediation: RemediationWorld, tmp_path: Path) -> None:
    """What is no hash is refused, and so is a path that leaves its volume, by dots or by links; the rest goes on."""
    world = remediation
    good = world.put("good.txt", b"good")
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"secret")
    world.folder("link.txt").symlink_to(secret)
    (tmp_path / "Volumes" / "main" / "default" / "other").mkdir()
    (tmp_path / "Volumes" / "main" / "default" / "other" / "x.txt").write_bytes(b"x")
    world.folder("folder").symlink_to(tmp_path / "Volumes" / "main" / "default" / "other")
    wrong = [
        {"path": good + "2", "content_sha256": "..\\..\\evil"},
        {"path": f"{VOLUME}/../../../../secret.txt", "content_sha256": sha256(b"secret")},
        {"path": f"{VOLUME}/link.txt", "content_sha256": sha256(b"secret")},
        {"path": f"{VOLUME}/folder/x.txt", "content_sha256": sha256(b"x")},
    ]
    world.violate_rows([{"path": good, "content_sha256": sha256(b"good")}, *wrong])
    with pytest.raises(PolicyRunFailed, match="4 of the files"):
        perform(world.session(), world.rules(keeper="none").as_json() | {"execute": True})
    assert world.stored() == [b"good"]
    assert secret.read_bytes() == b"secret"
    assert (tmp_path / "Volumes/main/default/other/x.txt").read_bytes() == b"x"


@pytest.mark.parametrize(
    "target",
    ["relative", f"{TARGET}/../../x", "/Volumes/main/default", f"{VOLUME}/files/archive", f"{VOLUME}/files"],
)
def test_r8_a_target_that_is_none_is_refused(remediation: RemediationWorld, target: str) -> None:
    """Nor may it be inside the source: what was archived would be found again."""
    world = remediation
    world.violate(*world.put_many({"files/a.txt": b"same", "files/b.txt": b"same"}))
    before = world.facts()
    with pytest.raises(UsageError, match=r"target|folder"):
        world.remediate(target=target)
    assert world.facts() == before


def test_r9_a_folder_is_never_moved(remediation: RemediationWorld) -> None:
    """A folder's path is refused, and all that is in it stays."""
    world = remediation
    world.put("folder/a.txt", b"inside")
    world.violate_rows([{"path": f"{VOLUME}/folder"}, {"path": f"{VOLUME}/folder/"}])
    before = world.facts()
    found = world.remediate(keeper="none")
    assert (found["planned"], found["errors"]) == (0, 2)
    assert world.facts() == before


def test_r10_what_is_not_reached_is_told(remediation: RemediationWorld) -> None:
    """Shares go into the script's CSV; a path of the datasource can be mapped to a volume; others are skipped."""
    world = remediation
    data = world.put("mapped/a.txt", b"mapped")
    rows = [
        {"path": "\\\\server\\share\\x.txt", "content_sha256": sha256(b"x")},
        {"path": "https://tenant.sharepoint.com/sites/hr/y.docx", "content_sha256": sha256(b"y")},
        {"path": "s3://bucket/z.txt", "content_sha256": sha256(b"z")},
        {"path": "/mnt/nas/mapped/a.txt", "content_sha256": sha256(b"mapped")},
        {"path": "\\\\server\\share\\held.txt", "content_sha256": sha256(b"x"), "labels": ["Legal hold"]},
        {"path": "\\\\server\\share\\in_table.txt", "content_sha256": sha256(b"x")},
    ]
    world.label(rows[-1]["path"], "Legal hold")
    world.violate_rows(rows)
    place = "/Volumes/main/default/archive/script"
    found = perform(
        world.session(),
        world.rules(keeper="none", path_map={"/mnt/nas": VOLUME}).as_json() | {"script": place},
    )
    assert (found["planned"], found["skipped"], found["errors"]) == (1, 5, 0)
    assert data in world.plan(found["run"])
    assert (found["script"]["files"], found["script"]["omitted"]) == (3, 2)
    text = world.volumes.read(f"{place}/plan.csv").decode("utf-8-sig")
    written = {row["path"].rpartition("\\")[2]: row for row in csv.DictReader(io.StringIO(text))}
    assert written["x.txt"]["content_sha256"] == sha256(b"x")
    assert {name: row["legal_hold"] for name, row in written.items()} == {
        "x.txt": "",
        "held.txt": "true",
        "in_table.txt": "true",
    }


def test_r11_a_stub_is_a_text_file_and_times_come_back(remediation: RemediationWorld) -> None:
    """It has a name of its own and no other stub's content; modification time and mode are kept, and brought back."""
    world = remediation
    paths = world.put_many({"a.docx": b"same", "b.docx": b"same", "c.docx": b"same"})
    world.violate(*paths)
    before = world.facts()
    run = world.remediate()["run"]
    stubs = {path: data for path, (data, _, _) in world.facts().items() if path.endswith(".archived.txt")}
    assert set(stubs) == {"a.docx.archived.txt", "b.docx.archived.txt"}
    assert len({sha256(data) for data in stubs.values()}) == 2
    world.undo(run)
    assert world.facts() == before


def test_r12_what_must_stay_is_left_alone(remediation: RemediationWorld) -> None:
    """Empty and small files, other names of the keeper, files on hold by their row or by the checked table."""
    world = remediation
    paths = world.put_many(
        {
            "keeper.txt": b"same content",
            "copy.txt": b"same content",
            "held.txt": b"same content",
            "labelled.txt": b"same content",
            "in_table.txt": b"same content",
            "small.txt": b"sm",
            "small2.txt": b"sm",
            "empty.txt": b"",
            "empty2.txt": b"",
        }
    )
    linked = world.folder("linked.txt")
    os.link(world.folder("keeper.txt"), linked)
    os.utime(linked, ns=(0, 1))  # the oldest now, under both names
    keeper, copied, held, labelled, in_table, *others = paths
    world.violate(keeper, copied, in_table, f"{VOLUME}/linked.txt", *others)
    world.violate(held, legal_hold=True)
    world.violate(labelled, labels=["HR", "LEGAL_HOLD: Smith v. Jones"])
    world.label(in_table, "Legal hold")
    before = world.facts()
    found = world.remediate(min_size=3)
    plan = world.plan(found["run"])
    assert {path: row["state"] for path, row in plan.items() if row["state"] == "planned"} == {
        copied: "planned"
    }
    assert {plan[path]["state"] for path in (held, labelled, in_table)} == {"held"}
    assert found["held"] == 3
    after = world.facts()
    assert {path for path in before if path not in after} == {"copy.txt"}


def test_r12_a_hold_that_was_set_since_counts(remediation: RemediationWorld) -> None:
    """The table is asked again when the plan is executed."""
    world = remediation
    paths = world.put_many({"a.txt": b"same", "b.txt": b"same"})
    world.violate(*paths)
    plan = world.remediate(execute=False)
    world.label(paths[0], "Legal hold")
    done = world.remediate(plan_run=plan["run"])
    assert (done["done"], done["skipped"]) == (0, 1)
    assert set(world.facts()) == {"a.txt", "b.txt"}


def test_a_violation_that_was_resolved_since_is_left_alone(remediation: RemediationWorld) -> None:
    """A plan that was reviewed for a day touches nothing that the policy no longer finds."""
    world = remediation
    paths = world.put_many({"a.txt": b"one", "b.txt": b"two"})
    world.violate(*paths)
    plan = world.remediate(execute=False, keeper=None)
    key = world.plan(plan["run"])[paths[0]]["violation_key"]
    row = {
        "policy": "duplicate_files",
        "table_name": str(world.table),
        "violation_key": key,
        "resolved_at": now(),
    }
    world.tables.merge(world.violations, [row], keys=["policy", "table_name", "violation_key"], insert=False)
    done = world.remediate(plan_run=plan["run"], keeper=None)
    assert (done["done"], done["skipped"]) == (1, 1)
    assert "a.txt" in world.facts()


def test_r13_failures_are_told(remediation: RemediationWorld) -> None:
    """The counts say what became of every row, and a run in which one failed ends with an error."""
    world = remediation
    world.violate(world.put("a.txt", b"a"))
    world.violate_rows([{"path": f"{VOLUME}/../x"}, {"no": "path"}])
    with pytest.raises(PolicyRunFailed) as failed:
        perform(world.session(), world.rules(keeper="none").as_json() | {"execute": True})
    summary = failed.value.summary
    assert (summary["planned"], summary["done"], summary["errors"]) == (1, 1, 2)
    assert len(summary["reasons"]) == 2
