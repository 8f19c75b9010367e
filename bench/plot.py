"""The picture of growth (matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from bench.growth import Figures

PANELS = (
    ("seconds", "seconds", True),
    ("calls", "REST calls", True),
    ("statements", "SQL statements", False),
    ("peak_mb", "peak memory, MB", False),
)
#: Told apart without colour, too (Okabe and Ito's palette).
MARKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))


def growth(found: Figures, path: Path) -> None:
    """Four panels over the number of modules, a line for each kind of pass."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), constrained_layout=True)
    for (name, label, logarithmic), axis in zip(PANELS, axes.flat, strict=True):
        for (kind, by_size), (colour, mark) in zip(found.items(), MARKS, strict=True):
            sizes = sorted(by_size)
            axis.plot(
                sizes,
                [by_size[size][name] for size in sizes],
                color=colour,
                marker=mark,
                label=kind,
                alpha=0.85,
                clip_on=False,
            )
        axis.set_xscale("log")
        if logarithmic:
            axis.set_yscale("symlog", linthresh=1 if name == "calls" else 0.01)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("modules")
        axis.set_title(label)
        axis.grid(visible=True, alpha=0.3)
        ticks = sorted({size for by_size in found.values() for size in by_size})
        axis.set_xticks(ticks, [f"{size:,}" for size in ticks])
        axis.minorticks_off()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
