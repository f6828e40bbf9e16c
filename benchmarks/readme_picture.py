"""Draw the picture at the top of README.md: a forecast, and a gradient before and after a remedy.

python benchmarks/readme_picture.py --out docs/images/elman.png      (three minutes on one core)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

FORECAST = ["forecast"]
PLAIN = ["classify", "--cell", "rnn", "--set", "nonlinearity=sigmoid", "--steps", "1000"]
CURED = ["classify", "--cell", "rnn", "--set", "nonlinearity=tanh", "--set", "init=rotation=2.6"]
CURED += ["--set", "learning_rate=0.001", "--set", "clip=1", "--steps", "1000"]
PAST = 70  # years that are drawn before the forecast


def elman(*arguments: str) -> Any:
    """Return what a command prints with --json."""
    command = [sys.executable, "-m", "elman", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def trained(folder: Path, name: str, arguments: list[str]) -> str:
    """Train a run, or use the one that is there, and return its name."""
    run = folder / name
    if not run.exists():
        elman("train", *arguments, "--out", str(run))
    return str(run)


def draw_forecast(axes: Axes, run: str) -> None:
    """Draw the last years of the sunspots and their forecast with its quantiles."""
    table = files("elman.data.series").joinpath("sunspots.csv").read_text()
    rows = [line.split(",") for line in table.splitlines()[1:]]
    years, counts = [int(row[0]) for row in rows][-PAST:], [float(row[1]) for row in rows][-PAST:]
    (forecast,) = elman("predict", run)["predictions"]
    ahead = [int(time) for time in forecast["times"]]
    axes.plot(years, counts, color="0.3", linewidth=1.2, label="yearly sunspots")
    levels = [*forecast["quantiles"].items()]
    for (low, lower), (high, upper) in zip(levels[: len(levels) // 2], reversed(levels), strict=False):
        label = f"quantiles {low} to {high}" if low == levels[0][0] else None
        axes.fill_between(ahead, lower, upper, color="C0", alpha=0.2, linewidth=0, label=label)
    axes.plot(ahead, forecast["forecast"], color="C0", linewidth=2, label="forecast, median")
    axes.set_title("elman train forecast", family="monospace", fontsize=11)
    axes.set_xlabel("year")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    axes.set_ylim(0, 1.35 * max(counts))


def draw_gradient(axes: Axes, runs: dict[str, str]) -> None:
    """Draw for each run the gradient norm by lag, and its accuracy."""
    for color, (name, run) in zip(("C3", "C2"), runs.items(), strict=True):
        (layer,) = elman("diagnose", run)["layers"]
        flow = layer["measurements"]["flow"]
        accuracy = elman("evaluate", run)["accuracy"]
        label = f"{name}: {layer['verdict']}, accuracy {accuracy:.0%}"
        axes.semilogy(flow["median"], color=color, linewidth=2, label=label)
    axes.axhline(0.01, color="0.6", linewidth=0.8, linestyle="--")
    axes.set_title("elman diagnose", family="monospace", fontsize=11)
    axes.set_xlabel("steps back")
    axes.set_ylabel("relative gradient norm")
    axes.set_ylim(1e-6, 300)
    axes.legend(loc="upper left", fontsize=8, frameon=False)


def main() -> None:
    """Train what is missing, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/elman.png"))
    parser.add_argument("--runs", type=Path, help="where the runs are, or will be; by default a temporary folder")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = options.runs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figure = Figure(figsize=(10, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        draw_forecast(left, trained(folder, "sunspots", FORECAST))
        runs = {
            "sigmoid RNN": trained(folder, "plain", PLAIN),
            "after the first remedy": trained(folder, "cured", CURED),
        }
        draw_gradient(right, runs)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
