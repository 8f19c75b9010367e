"""A short run of `tests.under_fire.kills`: writers killed with -9 leave nothing that the next passes do not mend."""

from __future__ import annotations

import json
import sys

import pytest

from tests.embedded import run

pytestmark = pytest.mark.slow

#: The two rounds of one victim have at most six, so that the seventh is of the other.
KILLS = 7
SEED = 11


def test_kills(capsys: pytest.CaptureFixture[str]) -> None:
    """Seven kills over `apply` and the monitor: nothing is doubled, orphaned or retired by accident, all converges.

    A process of its own: the victims are forks of it, and a process that used gRPC, as this one did,
    cannot be forked. The long run has 200 kills and more on 200 jobs (CONTRIBUTING.md).
    """
    options = {"--kills": KILLS, "--seed": SEED, "--jobs": 12, "--rounds": 2}
    given = [word for name, value in options.items() for word in (name, str(value))]
    done = run(sys.executable, "-m", "tests.under_fire.kills", *given)
    with capsys.disabled():
        print(f"\n{done.stdout}", flush=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert figures["kills"] >= KILLS
    assert {victim.split()[0] for victim in figures["kills by victim"]} == {"apply", "monitor"}
    wrong = ("duplicates", "orphans", "retired by accident", "wrong", "not converged")
    assert {name: figures[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert figures["seed"] == SEED
