"""What the benchmarks found, as a table and as a plot."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from peers import GATES


def table(lines: list[dict[str, Any]]) -> str:
    """Return the result as a Markdown table, with the geometric means."""
    names = sorted({name for line in lines for name in line["ratios"]})
    rows = [["cell", "T, B, I, H", "what", "ms", "GFLOP/s", "of SGEMM", *(f"{n} / elman" for n in names), "notes"]]
    rows.append(["---"] * len(rows[0]))
    for line in lines:
        shown = [f"{line['ratios'][n]:.2f}" if n in line["ratios"] else "" for n in names]
        notes = ", ".join(f"{k} {line[k]}" for k in line if k.startswith(("micro", "time_")))
        sizes = ", ".join(map(str, line["case"]))
        rate = [f"{line['milliseconds']:.3g}", f"{line['gflops']:.0f}", f"{line['share_of_sgemm']:.0%}"]
        rows.append([line["cell"], sizes, line["what"], *rate, *shown, notes])
    for what in ("train", "infer", "ragged"):
        for cell in GATES:
            chosen = [line for line in lines if line["cell"] == cell and line["what"] == what]
            if not chosen:
                continue
            means = [geometric_mean([c["ratios"][n] for c in chosen if n in c["ratios"]]) for n in names]
            rows.append([cell, "geometric mean", what, "", "", "", *means, ""])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def geometric_mean(values: list[float]) -> str:
    return f"{math.exp(statistics.fmean(map(math.log, values))):.2f}" if values else ""


KINDS = {"train": "training step", "infer": "forward pass", "ragged": "ragged batch, training step", "step": "one step"}


def plot(lines: list[dict[str, Any]], path: Path) -> bool:
    """Draw how many times longer each other takes, a panel for each kind of run; False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    panels = {what: chosen for what in KINDS if (chosen := [line for line in lines if line["what"] == what])}
    peers = sorted({name for line in lines for name in line["ratios"]})
    heights = [len(chosen) + 3 for chosen in panels.values()]
    figure = Figure(figsize=(9, 0.28 * sum(heights) + 1), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, (what, chosen) in zip(grid[:, 0], panels.items(), strict=True):
        places = range(len(chosen), 0, -1)
        for name in peers:
            found = [
                (line["ratios"][name], y) for line, y in zip(chosen, places, strict=True) if name in line["ratios"]
            ]
            if found:
                axes.plot(*zip(*found, strict=True), "o", label=name)
        axes.set_yticks(
            list(places), [f"{line['cell']} {tuple(line['case'])}  {line['share_of_sgemm']:.0%}" for line in chosen]
        )
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(f"{KINDS[what]}: time over elman's", loc="left", fontsize="medium")
        axes.grid(axis="x", alpha=0.3)
        axes.legend(fontsize="small")
    figure.supylabel("cell (T, B, I, H), and elman's share of the rate of a matrix product", fontsize="small")
    figure.savefig(path)
    return True
