"""Remediation: from open violations to a plan, to files in their places, and back."""

from __future__ import annotations

import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest

from lakeflow_job_meta.errors import PolicyRunFailed, TaskError, UsageError
from lakeflow_job_meta.metadata.definition import ModuleDefinition, SourceDefinition
from lakeflow_job_meta.names import TableName
from lakeflow_job_meta.policies import remediation_tables
from lakeflow_job_meta.policies.remediate import remediate, run_remediate
from lakeflow_job_meta.policies.remediation_lock import RemediationLock
from lakeflow_job_meta.task_context import TaskContext
from tests.policies.killed import deadly
from tests.policies.remediation_world import TARGET, VOLUME, RemediationWorld, sha256

pytestmark = pytest.mark.slow


def test_a_dry_run_names_the_keeper_and_touches_nothing(remediation: RemediationWorld) -> None:
    """The plan is a table; the files and the target are as they were."""
    world = remediation
    paths = world.put_many({"a.txt": b"same", "b.txt": b"same", "sub/c.txt": b"same", "d.txt": b"other"})
    world.violate(*paths[:3])
    before = world.facts()
    found = world.remediate(execute=False)
    assert (found["planned"], found["done"], found["skipped"], found["errors"]) == (2, 0, 0, 0)
    plan = world.plan(found["run"])
    oldest = paths[2]
    assert plan[oldest]["state"] == "keeper"
    assert {plan[path]["keeper"] for path in paths[:2]} == {oldest}
    assert world.facts() == before
    assert world.facts(TARGET) == {}
    assert [row["step"] for row in world.log(found["run"])] == ["planned"]


def test_archive_and_undo(remediation: RemediationWorld) -> None:
    """All but the keeper are archived once by their content, with stubs; undo leaves the folder byte for byte."""
    world = remediation
    paths = world.put_many({"a.txt": b"same", "b.txt": b"same", "sub/c.txt": b"same", "d.txt": b"other"})
    world.violate(*paths[:3])
    before = world.facts()
    done = world.remediate()
    assert (done["planned"], done["done"], done["skipped"], done["errors"]) == (2, 2, 0, 0)
    after = world.facts()
    assert set(after) == {"a.txt.archived.txt", "b.txt.archived.txt", "sub/c.txt", "d.txt"}
    assert after["sub/c.txt"] == before["sub/c.txt"]
    assert world.stored() == [b"same"]
    assert f"{done['run']}".encode() in after["a.txt.archived.txt"][0]
    again = world.remediate()
    assert (again["planned"], again["done"], again["skipped"], again["errors"]) == (0, 0, 2, 0)
    assert world.facts() == after
    undone = world.undo(done["run"])
    assert (undone["planned"], undone["done"], undone["errors"]) == (2, 2, 0)
    assert world.facts() == before
    assert world.facts(TARGET) == {}
    steps = [row["step"] for row in world.log(done["run"]) if row["path"] == paths[0]]
    assert steps == ["begin", "ready", "done", "undo_begin", "undone"]
    assert world.undo(done["run"])["done"] == 2


def test_where_the_log_says(remediation: RemediationWorld) -> None:
    """`ready` says where the bytes are, before the original is gone."""
    world = remediation
    paths = world.put_many({"a.txt": b"one", "b.txt": b"one"})
    world.violate(*paths)
    run = world.remediate()["run"]
    [ready] = [row for row in world.log(run) if row["step"] == "ready"]
    assert ready["path"] == paths[0]
    assert world.volumes.read(ready["target"]) == b"one"
    assert ready["content_sha256"] == sha256(b"one")
    assert ready["target"].startswith(f"{TARGET}/")
    assert VOLUME not in ready["target"]


@pytest.mark.parametrize("action", ["quarantine", "move", "delete"])
def test_every_action_can_be_undone(remediation: RemediationWorld, action: str) -> None:
    """With a target, all are byte for byte undone, modification times and modes included."""
    world = remediation
    world.violate(*world.put_many({"x/a.txt": b"one", "x/b.txt": b"one", "y/a.txt": b"two"}))
    before = world.facts()
    done = world.remediate(action=action, keeper="none")
    assert (done["done"], done["errors"]) == (3, 0)
    after = set(world.facts())
    assert after == ({f"{path}.quarantined.txt" for path in before} if action == "quarantine" else set())
    if action == "move":
        assert {"x/a.txt", "x/b.txt", "y/a.txt"} < set(world.facts(TARGET))
    else:
        assert world.stored() == [b"one", b"two"]
    assert world.undo(done["run"])["done"] == 3
    assert world.facts() == before
    assert world.facts(TARGET) == {}


def test_a_move_never_overwrites(remediation: RemediationWorld) -> None:
    """What is in the label volume already stays; the file goes beside it, and undo takes only that back."""
    world = remediation
    world.violate(world.put("a.txt", b"mine"))
    theirs = world.folder("a.txt", TARGET)
    theirs.write_bytes(b"theirs")
    plan = world.remediate(execute=False, action="move", keeper=None)
    [row] = world.plan(plan["run"]).values()
    late = world.folder(row["target"].removeprefix(f"{TARGET}/"), TARGET)
    late.write_bytes(b"mine")  # somebody else's, of the same content, since it was planned
    blocked = world.remediate(plan_run=plan["run"], action="move", keeper=None)
    assert (blocked["done"], blocked["errors"]) == (0, 1)
    assert "not overwritten" in blocked["reasons"][0]["reason"]
    late.unlink()
    done = world.remediate(action="move", keeper=None)
    assert done["done"] == 1
    assert theirs.read_bytes() == b"theirs"
    assert len(world.stored()) == 2
    world.undo(done["run"])
    assert world.stored() == [b"theirs"]
    assert world.folder("a.txt").read_bytes() == b"mine"


def test_deleted_copies_come_back_from_their_keeper(remediation: RemediationWorld) -> None:
    """Without a target, too; when the keeper is gone by then, the run says which file is lost."""
    world = remediation
    world.violate(*world.put_many({"a.txt": b"one", "b.txt": b"one", "c.txt": b"two", "d.txt": b"two"}))
    before = world.facts()
    done = world.remediate(action="delete", target=None)
    assert done["done"] == 2
    assert set(world.facts()) == {"b.txt", "d.txt"}
    world.folder("d.txt").unlink()
    undone = world.undo(done["run"])
    assert (undone["done"], undone["errors"]) == (1, 1)
    assert "cannot be brought back" in undone["reasons"][0]["reason"]
    assert world.facts() == {name: before[name] for name in ("a.txt", "b.txt")}


def test_deleted_for_good_is_told(remediation: RemediationWorld) -> None:
    """Only when it was said; and undo says that it cannot."""
    world = remediation
    world.violate(world.put("a.txt", b"one"))
    with pytest.raises(UsageError, match="permanent"):
        world.remediate(action="delete", target=None, keeper="none")
    done = world.remediate(action="delete", target=None, keeper="none", permanent=True)
    assert (done["done"], world.facts()) == (1, {})
    undone = world.undo(done["run"])
    assert undone["errors"] == 1
    assert "for good" in undone["reasons"][0]["reason"]


def test_undo_overwrites_nothing(remediation: RemediationWorld) -> None:
    """A new file in the place of the old one stays, and so does the archived one; a changed stub stays."""
    world = remediation
    world.violate(*world.put_many({"a.txt": b"one", "b.txt": b"two"}))
    before = world.facts()
    run = world.remediate(keeper="none")["run"]
    world.folder("a.txt").write_bytes(b"new work")
    world.folder("b.txt.archived.txt").write_bytes(b"my notes")
    undone = world.undo(run)
    assert (undone["done"], undone["errors"]) == (1, 1)
    assert "another file" in undone["reasons"][0]["reason"]
    assert world.folder("a.txt").read_bytes() == b"new work"
    assert world.folder("b.txt.archived.txt").read_bytes() == b"my notes"
    assert world.facts()["b.txt"] == before["b.txt"]
    assert world.stored() == [b"one"]
    world.folder("a.txt").unlink()
    assert world.undo(run)["errors"] == 0
    assert world.facts()["a.txt"] == before["a.txt"]
    assert world.stored() == []


def test_a_damaged_archive_is_never_brought_back(remediation: RemediationWorld) -> None:
    """Its hash is checked first."""
    world = remediation
    world.violate(world.put("a.txt", b"one"))
    run = world.remediate(keeper="none")["run"]
    [stored] = [path for path in world.facts(TARGET) if "manifest-" not in path]
    world.folder(stored, TARGET).write_bytes(b"0ne")
    undone = world.undo(run)
    assert undone["errors"] == 1
    assert "a.txt" not in world.facts()
    assert world.stored() == [b"0ne"]


def test_an_unfinished_run_comes_first(remediation: RemediationWorld) -> None:
    """Other rules wait until it is finished or undone; a run that was undone is not executed again."""
    world = remediation
    world.violate(*world.put_many({"a.txt": b"one", "b.txt": b"one"}))
    died = deadly(world.tables, world.volumes, 6, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        remediate(died, world.rules(), execute=True)
    with pytest.raises(TaskError, match="was not finished"):
        world.remediate(keeper="newest")
    done = world.remediate()
    assert done["resumed"]
    world.undo(done["run"])
    with pytest.raises(TaskError, match="was undone"):
        world.remediate(plan_run=done["run"])


def test_what_is_wrong_is_told(remediation: RemediationWorld) -> None:
    """A policy that was never run, a plan that is none, of another policy, or of a dry run."""
    world = remediation
    with pytest.raises(TaskError, match="was not run over"):
        world.remediate(policy="nothing")
    with pytest.raises(UsageError, match="no plan"):
        world.remediate(plan_run="main.x.y")
    with pytest.raises(UsageError, match="no run"):
        world.undo(f"main.{world.schema[1]}.20260131-235959-1a2b3c4d")
    with pytest.raises(UsageError, match="no run of a remediation"):
        world.undo("latest")
    world.violate(world.put("a.txt", b"one"))
    plan = world.remediate(execute=False, keeper=None)
    with pytest.raises(UsageError, match="dry run"):
        world.undo(plan["run"])
    with pytest.raises(UsageError, match="is of policy"):
        world.remediate(policy="other", plan_run=plan["run"])
    for other in ({"action": "delete"}, {"keeper": "newest"}, {"target": f"{TARGET}/x"}):
        with pytest.raises(UsageError, match="give the same, or plan anew"):
            world.remediate(plan_run=plan["run"], **{"keeper": None, **other})
    with pytest.raises(TaskError, match="there is no table"):
        world.remediate(table=f"main.{world.schema[1]}.nothing")


def test_the_lock_of_a_dead_process_is_free(remediation: RemediationWorld) -> None:
    """At once on this machine, elsewhere when it has run out; a lost lock stops the loser."""
    world = remediation
    table = world.session().records(world.schema).lock
    clock = Clock()
    with RemediationLock(world.tables, table, "one", clock) as first:
        row = {"name": "remediation", "owner": f"{socket.gethostname()}:{dead_process()}"}
        world.tables.merge(remediation_tables.lock(table), [row], keys=["name"])
        with RemediationLock(world.tables, table, "two", clock) as second:
            clock.now += timedelta(minutes=2)
            second.hold()
            with pytest.raises(TaskError, match="was lost"):
                first.hold()
            row = {"name": "remediation", "owner": "elsewhere:1"}
            world.tables.merge(remediation_tables.lock(table), [row], keys=["name"])
            with (
                pytest.raises(TaskError, match="another remediation"),
                RemediationLock(world.tables, table, "three", clock),
            ):
                pass
            clock.now += timedelta(minutes=6)
            with RemediationLock(world.tables, table, "four", clock) as fourth:
                fourth.hold()


class Clock:
    """A clock that is set by hand."""

    now = datetime(2026, 1, 31, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now


def dead_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_as_a_task(remediation: RemediationWorld) -> None:
    """The settings come from the source, a dry run unless it says otherwise; failures end the task with the summary."""
    world = remediation
    world.violate(*world.put_many({"a.txt": b"one", "b.txt": b"one"}))
    settings = world.rules().as_json()
    assert task(world, settings)["dry_run"]
    done = task(world, settings, {"execute": True})
    assert (done["planned"], done["done"]) == (1, 1)
    world.violate_rows([{"path": f"{VOLUME}/../x"}])
    with pytest.raises(PolicyRunFailed, match="1 of the files"):
        task(world, settings)


def task(
    world: RemediationWorld, settings: dict[str, object], target_config: dict[str, object] | None = None
) -> dict[str, object]:
    """Run a `remediate` source."""
    source = SourceDefinition(
        "copies", "policy", 1, "remediate", dict(settings), target_config=target_config or {}
    )
    context = TaskContext(
        control_table=TableName("main", "t", "etl_control"),
        module=ModuleDefinition("clean_up", {}, (source,)),
        source=source,
        run_id="7",
        tables=world.tables,
        volumes=world.volumes,
        spark=lambda: None,
        workspace=lambda: pytest.fail("no workspace is needed"),
        clock=lambda: datetime.now(timezone.utc),
        log=lambda event, **facts: None,
    )
    return run_remediate(context)
