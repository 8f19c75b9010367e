"""Ingest of one large file and of many small ones, beside a plain httpx upload of the same files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import Claim, Section, Table
from bench.services import HERE, Worker, sail

JsonObject = dict[str, Any]
MEMORY_MB = 64
SHARE = 0.8
LARGE = 2_000_000_000
SMALL = 10_000
SMALL_BYTES = 2_000
PER_JOB = 1_000
#: The growth of the peak from a tenth of the file to the whole that counts as flat, in MB.
FLAT_MB = 16


@contextmanager
def simulator(folder: Path, **knobs: Any) -> Iterator[dict[str, str]]:
    """Data X-Ray as a process: the variables that tell where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f"{folder.name}.json"
    path.write_text(json.dumps(knobs))
    command = [sys.executable, str(HERE / "dxr_simulator.py"), str(folder), str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(HERE.parent)}
    ) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.terminate()


@contextmanager
def subject(remote: str, place: Path, variables: dict[str, str]) -> Iterator[Worker]:
    with Worker("dxr_worker.py") as worker:
        worker.ask(
            "start",
            remote=remote,
            warehouse=str(place / "warehouse"),
            url=variables["DXR_BASE_URL"],
            token=variables["DXR_API_KEY"],
        )
        yield worker


#: A file system in memory, on Linux.
MEMORY = Path("/dev/shm")


def measure(large: int = LARGE, small: int = SMALL, turns: int = 2) -> Section:
    found: JsonObject = {}
    shapes = {
        "tenth": ([("large.bin", large // 10)], 1),
        "large": ([("large.bin", large)], 1),
        "small": ([(f"{n % 100:02}/{n:05}.txt", SMALL_BYTES) for n in range(small)], 4),
    }
    with sail() as (remote, scratch):
        for name, (files, at_once) in shapes.items():
            place = scratch / name
            root = place / "Volumes"
            make(root / "main" / "bench" / "inbox", files)
            found[name] = one(remote, place, root, at_once, turns)
            shutil.rmtree(place)
            print(f"   {name}: {found[name]}", flush=True)
    return judged(found, large, small)


def one(remote: str, place: Path, root: Path, at_once: int, turns: int) -> JsonObject:
    """Ours and httpx's upload of the same files to the same server, each in a fresh process; the best of all turns."""
    settings = {
        "max_bytes_per_job": 10**12,
        "max_files_per_job": PER_JOB,
        "parallel_jobs": at_once,
    }
    found: JsonObject = {}
    for turn in range(turns):
        # Jobs that never begin to be crawled: the server only receives, and into memory where it can, since
        # it is not its disk that is measured.
        with (
            tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else place) as received,
            simulator(
                Path(received) / "dxr", state_script=[["UPLOADING_FILES", None]], keep_content=False
            ) as variables,
        ):
            schema = f"s{os.getpid()}_{place.name}_{turn}"
            asked: list[tuple[str, str, JsonObject]] = [
                ("httpx", "upload", {"root": str(root), "files_per_job": PER_JOB, "at_once": at_once}),
                ("ours", "ingest", {"schema": schema, "root": str(root), "settings": settings}),
            ]
            # Each is first in turn, and none pays for what the one before has left to be written to disk.
            for name, command, given in (*asked[:: 1 if turn % 2 else -1], ("again", *asked[1][1:])):
                os.sync()
                with subject(remote, place, variables) as worker:
                    result = worker.ask(command, **given)
                best = found.get(name)
                if best is None or result["took"] < best["took"]:
                    found[name] = {
                        **result,
                        "above_idle_mb": max(result["above_idle_mb"], best["above_idle_mb"] if best else 0),
                    }
    kept = ("took", "above_idle_mb", "uploaded", "checkpoint_reads", "table_writes")
    return {name: {key: found[name][key] for key in kept if key in found[name]} for name in found}


def make(folder: Path, files: list[tuple[str, int]]) -> None:
    """Files of random bytes."""
    block = os.urandom(1_000_000)
    for number, (name, size) in enumerate(files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(f"{number:08}".encode()[:size])
            left = size - 8
            while left > 0:
                left -= file.write(block[: min(left, len(block))])


def judged(found: JsonObject, large: int, small: int) -> Section:
    flat = found["large"]["ours"]["above_idle_mb"] - found["tenth"]["ours"]["above_idle_mb"]
    claims = [
        Claim(
            "memory of an ingest is flat in the file's size",
            f"{large / 1e9:g} GB at most {FLAT_MB} MB above a tenth of it",
            f"{flat:+.1f} MB",
            flat <= FLAT_MB,
        )
    ]
    rows = []
    for name, what in (
        ("large", f"one file of {large / 1e9:g} GB"),
        ("small", f"{small:,} files of {SMALL_BYTES} bytes"),
    ):
        ours, plain = found[name]["ours"], found[name]["httpx"]
        share = plain["took"] / ours["took"]
        claims += [
            Claim(
                f"ingest of {what}: peak memory above idle",
                f"at most {MEMORY_MB} MB",
                f"{ours['above_idle_mb']:.0f} MB",
                ours["above_idle_mb"] <= MEMORY_MB,
            ),
            Claim(
                f"ingest of {what}: speed beside an httpx upload that hashes",
                f"at least {SHARE:.0%}",
                f"{share:.0%}",
                share >= SHARE,
            ),
        ]
        for who, figures in (("dxr_ingest", ours), ("httpx, hashing", plain)):
            rows.append(
                [
                    what,
                    who,
                    f"{figures['took']:.1f}",
                    f"{figures['uploaded']:,}",
                    f"{figures['above_idle_mb']:.0f}",
                ]
            )
    again = found["small"]["again"]
    claims.append(
        Claim(
            f"a run over {small:,} files with nothing new",
            "0 uploads, the checkpoints read once",
            f"{again['uploaded']} uploads, {again['checkpoint_reads']} read, {again['table_writes']} writes",
            (again["uploaded"], again["checkpoint_reads"], again["table_writes"]) == (0, 1, 0),
        )
    )
    rows.append(
        [
            f"{small:,} files, nothing new",
            "dxr_ingest",
            f"{again['took']:.1f}",
            "0",
            f"{again['above_idle_mb']:.0f}",
        ]
    )
    return Section(
        "dxr_ingest",
        "Data X-Ray: ingest",
        claims=claims,
        tables=[Table(["files", "by", "seconds", "uploaded", "MB above idle"], rows)],
        notes=[
            (
                "The simulator is a process of its own and only receives (its jobs never begin to be crawled), Sail is another. "
                f"Jobs of {PER_JOB:,} files; httpx sends the same files in jobs of the same size, as many at once, and hashes the "
                "bytes; it keeps no ledger and no checkpoints. The best of several turns for each, each in a fresh process."
            )
        ],
        figures=found,
    )
