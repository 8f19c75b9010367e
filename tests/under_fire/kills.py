"""Writers killed with -9 at random points, and what the passes after that make of it.

    python -m tests.under_fire.kills --kills 200 --seed 7

An embedded workspace, Sail behind its gateway, and the command line as a user calls it: `apply --yaml` of 200
modules, or `monitor` on a volume, on metadata that changes all the time (modules are made, changed, retired and
revived; inline SQL comes, changes and goes). A victim is killed at a random moment of its life, which an
undisturbed run measured before; sometimes the next one too, with the metadata edited in between, and sometimes
while another writer is at work on the same table. Then passes run until one finds nothing to do.

After each kill: is every job of a module that was wanted before and after still there, and live? At the end of
a round: one job a module, one saved query a source, none that nobody knows, everything as the metadata say.
Exit code 1 if anything was doubled, orphaned or retired by accident, or a round needed too many passes.

The victim is a fork of this process with everything imported, so that its life is the work itself. This
process speaks to the workspace over HTTP only: a process that used gRPC cannot be forked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lakeflow_job_meta.jobs.queries import QueryOwner, query_owner
from lakeflow_job_meta.local import process
from lakeflow_job_meta.local.connection import Connection
from lakeflow_job_meta.names import MODULE_TAG, TableName, module_tag, read_module_tag
from tests.under_fire.inventory import Inventory, query_ids

JsonObject = dict[str, Any]

KINDS = ("apply", "monitor")
FILES = 4
#: Kills between two convergences, at most.
IN_A_ROW = 3
#: More passes than this until nothing is left to do are a failure.
MOST_PASSES = 4
#: A killed writer's claims expire after so long.
CLAIM_SECONDS = 2


@dataclass
class Module:
    """What the metadata say of one module."""

    revision: int = 0
    query: int = 0
    wanted: bool = True

    def as_yaml(self, name: str) -> JsonObject:
        notebook = {
            "task_type": "notebook",
            "notebook_path": "/Workspace/a",
            "timeout_seconds": self.revision + 1,
        }
        sources = [
            {"source_id": "a", "source_type": "n", "execution_order": 1, "transformation_config": notebook}
        ]
        if self.query:
            sql = {
                "task_type": "sql_query",
                "sql_task": {"warehouse_id": "w", "sql_query": f"SELECT {self.query}"},
            }
            sources.append(
                {"source_id": "q", "source_type": "sql", "execution_order": 2, "transformation_config": sql}
            )
        return {"module_name": name, "sources": sources}


@dataclass
class Figures:
    """What came of it all."""

    kills: Counter[str] = field(default_factory=Counter)
    beside: int = 0
    too_late: int = 0
    passes: list[int] = field(default_factory=list)
    duplicates: int = 0
    orphans: int = 0
    accidents: int = 0
    wrong: int = 0
    unconverged: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        self.told.append(text)
        if len(self.told) <= 20:
            print(f"  ! {text}", flush=True)

    @property
    def sound(self) -> bool:
        return not (self.duplicates or self.orphans or self.accidents or self.wrong or self.unconverged)


@dataclass(frozen=True)
class Ended:
    """A process that ended: code -9 when it was killed."""

    code: int
    seconds: float
    out: str
    err: str


class Worker:
    """`lakeflow-job-meta ARGUMENTS` in a fork of this process."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        for name in ("out", "err"):
            (self._folder / name).touch()
        self._began = time.monotonic()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            self._become(environment, arguments)

    def _become(self, environment: dict[str, str], arguments: tuple[str, ...]) -> None:
        code = 70
        try:
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self._folder / name, os.O_WRONLY), number)
            os.environ.update(environment)
            from lakeflow_job_meta.cli.program import run

            try:
                run(list(arguments))
            except SystemExit as end:
                code = int(end.code or 0)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def end(self, after: float | None = None, most: float = 120) -> Ended:
        """Its end; after so many seconds of its life with a kill -9."""
        deadline = self._began + (most if after is None else after)
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() >= deadline:
                os.kill(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
                break
            time.sleep(0.002)
        seconds = time.monotonic() - self._began
        code = os.waitstatus_to_exitcode(status)
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        shutil.rmtree(self._folder)
        if after is None and code == -signal.SIGKILL:
            raise AssertionError(f"a pass did not end within {most:.0f} seconds:\n{out}\n{err}")
        return Ended(code, seconds, out, err)


class World:
    """One control table, its metadata files, and what they say."""

    def __init__(
        self, number: int, kind: str, retire: str, jobs: int, connection: Connection, chance: random.Random
    ) -> None:
        self.kind = kind
        self.retire = retire
        self.table = TableName("main", f"world_{number}", "etl_control")
        self.there = Inventory(connection, self.table)
        self.chance = chance
        self.modules = {f"m{n:03}": Module(query=n if n % 12 == 1 else 0) for n in range(jobs)}
        #: Modules that were not wanted at some time since all was well last.
        self.unwanted: set[str] = set()
        self.volume = f"/Volumes/main/landing/world_{number}"
        self.folder = Path(connection.directory) / self.volume[1:]
        self.folder.mkdir(parents=True)
        self.write()

    def command(self, kind: str = "") -> list[str]:
        local = self.there.connection.directory
        shared = ["--control-table", str(self.table), "--local", local, "--format", "json"]
        shared += ["--claim-seconds", str(CLAIM_SECONDS), "--retire", self.retire]
        if (kind or self.kind) == "apply":
            yaml = ["--yaml", str(self.folder)] if self.kind == "apply" else []
            return ["apply", *yaml, *shared]
        watch = ["--volume-path", self.volume] if self.kind == "monitor" else []
        return ["monitor", *watch, "--max-iterations", "1", "--check-interval-seconds", "1", *shared]

    def write(self) -> None:
        """The metadata files, each put in place whole."""
        names = sorted(self.modules)
        for number in range(FILES):
            entries = [
                self.modules[name].as_yaml(name) for name in names[number::FILES] if self.modules[name].wanted
            ]
            path = self.folder / f"part{number}.yaml"
            text = json.dumps({"metadata_version": "1.0", "modules": entries})
            if not path.exists() or path.read_text() != text:
                draft = path.with_suffix(".tmp")
                draft.write_text(text)
                draft.replace(path)

    def edit(self) -> None:
        """Some modules change, some come, some go, some come back; inline SQL too."""
        names = list(self.modules)
        some = lambda share: self.chance.sample(names, max(1, int(len(names) * share)))  # noqa: E731
        for name in some(0.15):
            self.modules[name].revision += 1
        for name in some(0.04):
            module = self.modules[name]
            module.query = (
                0 if module.query and self.chance.random() < 0.5 else self.chance.randrange(1, 10**6)
            )
        for name in some(0.03):
            self.modules[name].wanted = not self.modules[name].wanted
            self.unwanted.add(name)
        self.modules[f"n{len(self.modules):03}"] = Module(query=self.chance.choice((0, 1)))
        self.write()

    # ------------------------------------------------------------ what must hold

    def check_safe(self, before: dict[str, int], figures: Figures) -> None:
        """No job of a module that is wanted, and was, is gone or retired.

        Args:
            before: job ids by module when all was well last.
        """
        jobs = self.there.jobs()
        for module in sorted(set(before) - self.unwanted):
            kept = [job for job in jobs.get(module_tag(module), []) if job["job_id"] == before[module]]
            tag = read_module_tag(kept[0]["settings"]["tags"][MODULE_TAG]) if kept else None
            if tag is None or tag.retired:
                figures.accidents += 1
                figures.tell(
                    f"{self.table}: job {before[module]} of {module} was {'retired' if tag else 'deleted'}"
                )

    def check_converged(self, figures: Figures) -> dict[str, int]:
        """One of each, nothing unknown, everything as wanted; returns job ids of live modules."""
        jobs, queries, recorded = self.there.jobs(), self.there.queries(), self.there.recorded()
        live: dict[str, int] = {}
        used: set[str] = set()
        self.unwanted.clear()
        names = {module_tag(name): name for name in self.modules}
        for tag, held in jobs.items():
            if len(held) > 1:
                figures.duplicates += len(held) - 1
                figures.tell(
                    f"{self.table}: jobs {[job['job_id'] for job in held]} are all {names.get(tag, tag)}"
                )
            for job in held:
                if recorded.get(names.get(tag, "")) != job["job_id"]:
                    figures.orphans += 1
                    history = self.there.history(names.get(tag, ""))
                    figures.tell(
                        f"{self.table}: job {job['job_id']} of {names.get(tag, tag)} is in no record{history}"
                    )
                used |= query_ids(job)
        for owner, found in queries.items():
            if len(found) > 1:
                figures.duplicates += len(found) - 1
                figures.tell(
                    f"{self.table}: queries {[query['id'] for query in found]} are all of {owner.module}"
                )
            unused = [query["id"] for query in found if query["id"] not in used]
            if unused and len(found) == 1:
                figures.orphans += 1
                history = self.there.history(names.get(owner.module, ""))
                figures.tell(f"{self.table}: no job uses query {unused[0]} of {owner.module}{history}")
        for name, module in self.modules.items():
            held = jobs.get(module_tag(name), [])
            wrong = self._wrong(name, module, held[0] if held else None, queries)
            if wrong:
                figures.wrong += 1
                figures.tell(f"{self.table}: {name}: {wrong}{self.there.history(name)}")
            if module.wanted and held:
                live[name] = held[0]["job_id"]
        return live

    def _wrong(
        self, name: str, module: Module, job: JsonObject | None, queries: dict[QueryOwner, list[JsonObject]]
    ) -> str:
        if job is None:
            return "there is no job" if module.wanted else ""
        tag = read_module_tag(job["settings"]["tags"][MODULE_TAG])
        if tag is None or tag.retired is module.wanted:
            return "it is retired" if module.wanted else "it is live"
        if not module.wanted:
            return "it should be deleted" if self.retire == "delete" else ""
        tasks = {task["task_key"]: task for task in job["settings"]["tasks"]}
        if set(tasks) != ({"a", "q"} if module.query else {"a"}):
            return f"its tasks are {sorted(tasks)}"
        if tasks["a"].get("timeout_seconds") != module.revision + 1:
            return f"it is of another revision than {module.revision}"
        if module.query:
            held = queries.get(query_owner(self.table, name, "q")) or [{}]
            if tasks["q"]["sql_task"]["query"]["query_id"] != held[0].get("id"):
                return "its task has another query"
            if held[0].get("query_text") != f"SELECT {module.query}":
                return f"its query is {held[0].get('query_text')!r}"
        return ""


class Drive:
    """The whole run.

    Args:
        kills: at least so many, unless something is found to be wrong before.
        jobs: modules of each control table.
        rounds: convergences on one control table before the next world begins.
        folder: an empty one.
    """

    def __init__(self, kills: int, seed: int, jobs: int, rounds: int, folder: Path) -> None:
        self.kills = kills
        self.rounds = rounds
        self.seed = seed
        self.jobs = jobs
        self.chance = random.Random(seed)
        self.figures = Figures()
        self.temporary = folder / "workers"
        self.temporary.mkdir()
        self.connection = process.ensure_up(folder / "workspace", idle_seconds=600)
        #: Seconds that undisturbed passes took, by what they were.
        self.lives: dict[tuple[str, str], float] = {}
        self.worlds = 0

    def run(self) -> Figures:
        _imports()
        for kind in KINDS:
            self._measure(kind)
        while self.figures.sound and self.figures.kills.total() < self.kills:
            world = self._world(KINDS[self.worlds % 2])
            self._live(world)
            world.there.forget()
        return self.figures

    def _world(self, kind: str) -> World:
        self.worlds += 1
        retire = ("pause", "delete")[self.worlds // 2 % 2]
        return World(self.worlds, kind, retire, self.jobs, self.connection, self.chance)

    def _measure(self, kind: str) -> None:
        """How long an undisturbed pass takes that makes everything, and one that changes some."""
        world = self._world(kind)
        for stage in ("create", "change"):
            ended = self._pass(world)
            if ended.code:
                raise AssertionError(f"an undisturbed pass failed:\n{ended.out[-2000:]}\n{ended.err[-2000:]}")
            self.lives[kind, stage] = ended.seconds
            world.check_converged(self.figures)
            world.edit()
        world.there.forget()

    def _live(self, world: World) -> None:
        """A world from its first row on: killed, converged, edited, killed, ..."""
        live: dict[str, int] = {}
        for number in range(self.rounds):
            self._kill_in_a_row(world, "change" if number else "create", live)
            self._converge(world)
            live = world.check_converged(self.figures)
            if self.figures.kills.total() >= self.kills or not self.figures.sound:
                return
            world.edit()

    def _kill_in_a_row(self, world: World, stage: str, live: dict[str, int]) -> None:
        for _ in range(self.chance.randint(1, IN_A_ROW)):
            after = self.chance.uniform(0, self.lives[world.kind, stage])
            other = None
            if live and self.chance.random() < 0.2:  # a bystander at work on the same table
                other = self._start(world, "apply" if world.kind == "monitor" else "monitor")
            ended = self._start(world).end(after)
            if ended.code == -signal.SIGKILL:
                self.figures.kills[f"{world.kind} ({stage})"] += 1
                self.figures.beside += other is not None
            else:
                self.figures.too_late += 1
            if other is not None:
                other.end()
            world.check_safe(live, self.figures)
            if self.chance.random() < 0.4:
                world.edit()

    def _converge(self, world: World) -> None:
        for count in range(1, MOST_PASSES + 1):
            ended = self._pass(world)
            if _idle(ended, world.kind):
                self.figures.passes.append(count)
                print(
                    f"{self.figures.kills.total():4} kills; {world.table.schema} ({world.kind}): idle after {count}",
                    flush=True,
                )
                return
        self.figures.unconverged += 1
        self.figures.tell(
            f"{world.table}: still not idle after {MOST_PASSES} passes: {ended.out[-2000:]} {ended.err}"
        )

    def _pass(self, world: World) -> Ended:
        return self._start(world).end()

    def _start(self, world: World, kind: str = "") -> Worker:
        return Worker(self.temporary, {}, *world.command(kind))


def _idle(ended: Ended, kind: str) -> bool:
    """Whether a pass found nothing to do, and nothing wrong."""
    try:
        result = json.loads(ended.out)
    except ValueError:
        return False
    if ended.code != 0:
        return False
    if kind == "apply":
        return not result["writes"] and not result["rows_loaded"] and not result["errors"]
    return not (result["errors"] or result["jobs_updated"] or result["rows_loaded"])


def _imports() -> None:
    """All that a worker needs, loaded before the first fork."""
    import databricks.sdk  # noqa: F401
    import pyspark.sql.connect.session  # noqa: F401

    import lakeflow_job_meta.adapters.databricks
    import lakeflow_job_meta.adapters.spark_tables
    import lakeflow_job_meta.cli.monitor
    import lakeflow_job_meta.cli.plan
    import lakeflow_job_meta.main
    import lakeflow_job_meta.metadata.files
    import lakeflow_job_meta.monitor
    import lakeflow_job_meta.orchestrator  # noqa: F401


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.under_fire.kills", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=200, help="modules of each control table")
    parser.add_argument("--rounds", type=int, default=5, help="convergences on one control table")
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        try:
            drive = Drive(given.kills, given.seed, given.jobs, given.rounds, Path(folder))
            figures = drive.run()
        finally:
            with contextlib.suppress(Exception):
                process.stop(Path(folder) / "workspace")
    shown = {
        "seed": given.seed,
        "jobs": given.jobs,
        "kills": figures.kills.total(),
        "kills by victim": dict(figures.kills),
        "kills beside another writer": figures.beside,
        "ended before the kill": figures.too_late,
        "worlds": drive.worlds,
        "rounds": len(figures.passes),
        "passes until converged, max": max(figures.passes, default=0),
        "passes until converged, median": statistics.median(figures.passes or [0]),
        "duplicates": figures.duplicates,
        "orphans": figures.orphans,
        "retired by accident": figures.accidents,
        "wrong": figures.wrong,
        "not converged": figures.unconverged,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(shown, indent=2))
    return 0 if figures.sound else 1


if __name__ == "__main__":
    sys.exit(main())
