"""`python -m bench [SECTION...]` (`make bench`): measure, print, and write RESULTS.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import machine, report
from bench.report import Section

SECTIONS = (
    "startup",
    "validate",
    "stages",
    "idle",
    "growth",
    "rates",
    "peer",
    "dxr_ingest",
    "dxr_collect",
    "dxr_snapshot",
    "policies",
    "remediation",
    "datasets",
)


def section(name: str, size: int | None, folder: Path) -> Section:
    """Measure one section; the largest size can be made smaller. A picture goes to `folder`."""
    if name == "startup":
        from bench import startup

        return startup.measure()
    if name == "validate":
        from bench import validation

        return validation.measure() if size is None else validation.measure(sources=size)
    if name == "stages":
        from bench import stages

        return stages.measure()
    if name == "idle":
        from bench import idle

        return idle.measure() if size is None else idle.measure(many=size)
    if name == "growth":
        from bench import growth

        return growth.measure(_up_to(growth.SIZES, size), folder / growth.PICTURE)
    if name == "rates":
        from bench import rates

        return rates.measure() if size is None else rates.measure(jobs=size)
    if name == "dxr_ingest":
        from bench import dxr_ingest

        return dxr_ingest.measure() if size is None else dxr_ingest.measure(large=size * 1000, small=size)
    if name == "dxr_collect":
        from bench import dxr_collect

        return dxr_collect.measure() if size is None else dxr_collect.measure(hits=size)
    if name == "dxr_snapshot":
        from bench import dxr_snapshot

        return dxr_snapshot.measure() if size is None else dxr_snapshot.measure(rows=size)
    if name == "policies":
        from bench import policies

        return policies.measure() if size is None else policies.measure(rows=size)
    if name == "datasets":
        from bench import datasets

        return datasets.measure() if size is None else datasets.measure(rows=size)
    if name == "remediation":
        from bench import remediation

        return remediation.measure() if size is None else remediation.measure(files=size)
    from bench import peer

    return peer.measure(_up_to(peer.SIZES, size))


def _up_to(sizes: tuple[int, ...], size: int | None) -> tuple[int, ...]:
    return sizes if size is None else (*(one for one in sizes if one < size), size)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)"
    )
    parser.add_argument(
        "--size",
        type=int,
        help="largest number of jobs (sources, for validate; files, hits, rows for dxr_*, policies, datasets)",
    )
    parser.add_argument(
        "--results", type=Path, help="folder for results.json and RESULTS.md (default: bench/)"
    )
    given = parser.parse_args(arguments)
    unknown = set(given.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    folder: Path = given.results or report.HERE
    folder.mkdir(parents=True, exist_ok=True)
    described = machine.describe()
    good = True
    for name in given.sections or SECTIONS:
        print(f"-- {name}", flush=True)
        found = section(name, given.size, folder)
        good = good and found.kept
        report.show(found)
        report.keep(found, described, folder / report.KEPT.name)
        report.write_page(SECTIONS, folder / report.KEPT.name, folder / report.PAGE.name)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
