"""What `elman train --diagnose 100` costs: real runs with and without it, in turn, and the median of the ratios.

    python benchmarks/diagnosis/watching.py [--pairs 3] [--steps 200]

Two runs: the language model of `make demo` (its default settings) and the default of `classify`. Each is trained on the
same seed without and with the probe, one after the other, the order changed from pair to pair; what is timed are the
steps after a warm-up that holds the first probe and its imports. The limit is 5 %. Beside it stands what the probes
themselves took of the watched run's time, which other work on the machine sways less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from elman import inspection
from elman.inspection import GradientProbe
from elman.recipes.registry import find
from elman.recipes.run import start

EVERY, WARM_UP = 100, 110  # the probes at steps 0 and 100 are part of the warm-up


class Timed(GradientProbe):
    """A probe that adds up the time it takes."""

    seconds = 0.0  # of all of them

    def __call__(self, model: Any, batch: Any, state: Any = None) -> dict[str, float]:
        began = time.perf_counter()
        measured = super().__call__(model, batch, state)
        Timed.seconds += time.perf_counter() - began
        return measured


def run(recipe: str, steps: int, watched: bool) -> tuple[float, float]:
    """Return the seconds of `steps` steps after the warm-up, and of the probes among them."""
    marks: dict[int, tuple[float, float]] = {}

    def watch(moment: Any) -> None:
        if moment.step in (WARM_UP, WARM_UP + steps):
            marks.setdefault(moment.step, (time.perf_counter(), Timed.seconds))

    settings = {"steps": WARM_UP + steps, "evaluate_every": WARM_UP + steps + 1}
    with tempfile.TemporaryDirectory() as folder, patch.object(inspection, "GradientProbe", Timed):
        start(find(recipe), [], settings, Path(folder) / "run", watch=watch, diagnose=EVERY if watched else 0)
    (began, before), (ended, after) = marks[WARM_UP], marks[WARM_UP + steps]
    return ended - began, after - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["language-model", "classify"], metavar="RECIPE")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="timed in each run; a multiple of 100")
    options = parser.parse_args()
    for recipe in options.recipes:
        ratios, shares = [], []
        for pair in range(options.pairs):
            took = {watched: run(recipe, options.steps, watched) for watched in (pair % 2 == 0, pair % 2 == 1)}
            (plain, _), (watched, probes) = took[False], took[True]
            ratios.append(watched / plain - 1)
            shares.append(probes / (watched - probes))
        print(
            f"{recipe:15} --diagnose {EVERY} costs {statistics.median(ratios):+.1%} (median of {options.pairs} pairs: "
            f"{', '.join(f'{ratio:+.1%}' for ratio in ratios)}); the probes themselves {statistics.median(shares):.1%} "
            f"(limit 5 %; {torch.get_num_threads()} threads)",
            flush=True,
        )


if __name__ == "__main__":
    main()
