"""A stream of a million steps: the memory stays flat, and the numbers are those of the whole run to the last bit.

    python benchmarks/speed/streaming.py [--steps 1000000] [--cell LSTM] [--hidden 64] [--layers 1] [--batch 1]
        [--compare-weights] [--json]

Two runs go over the same input, each with a state of its own from the beginning on: one by `layer.step`, one by the
layer over pieces of ten thousand steps. The steps run under `elman.frozen_weights`, or with `--compare-weights` without
it, so that each reads all weights. Outputs and states are compared after every piece. The memory of the process is
printed at several marks; it may not grow from the hundred thousandth step on.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from speed import machine
from torch import Tensor

import elman

PIECE = 10_000
SETTLED = 100_000  # steps after which everything that is kept is there
LIMIT = 4.0  # MB that the memory may grow from then on: the allocator may keep another piece, a state a step is 250 MB


def resident() -> float:
    """Return the memory of the process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def states(hx: Any) -> tuple[Tensor, ...]:
    return (hx,) if isinstance(hx, Tensor) else tuple(hx)


def pieces(steps: int, batch: int, features: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for start in range(0, steps, PIECE):
        yield torch.randn(min(PIECE, steps - start), batch, features, generator=generator)


@torch.no_grad()
def run(layer: Any, steps: int, batch: int, compare_weights: bool) -> Iterator[dict[str, Any]]:
    """Yield a line at each mark; stop the program where a number differs."""
    marks = {n * 10**k for k in range(4, 10) for n in (1, 2, 5)} | {steps}
    stepwise, whole, done, seconds = None, None, 0, 0.0
    for x_TBI in pieces(steps, batch, layer.input_size):
        outputs = []
        start = time.perf_counter()
        with nullcontext() if compare_weights else elman.frozen_weights():
            for x_BI in x_TBI:
                y_BH, stepwise = layer.step(x_BI, stepwise)
                outputs.append(y_BH)
        seconds += time.perf_counter() - start
        done += len(x_TBI)
        y_TBH, whole = layer(x_TBI, whole)
        same = torch.equal(torch.stack(outputs), y_TBH)
        if not same or not all(torch.equal(a, b) for a, b in zip(states(stepwise), states(whole), strict=True)):
            sys.exit(f"the stream differs from the whole run in the {PIECE} steps before step {done}")
        del outputs, y_BH, y_TBH
        if done in marks:
            yield {"steps": done, "megabytes": round(resident(), 2), "microseconds": round(seconds / done * 1e6, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a layer on a long stream, and watch memory and numbers.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--cell", default="LSTM", choices=("RNN", "GRU", "LSTM"))
    parser.add_argument("--hidden", type=int, default=64, help="units, and features of the input")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--compare-weights", action="store_true", help="read all weights at every step")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    torch.manual_seed(0)
    layer = getattr(elman, given.cell)(given.hidden, given.hidden, num_layers=given.layers)
    lines = []
    for line in run(layer, given.steps, given.batch, given.compare_weights):
        lines.append(line)
        if not given.json:
            print("  ".join(f"{name} {value}" for name, value in line.items()), flush=True)
    settled = [line["megabytes"] for line in lines if line["steps"] >= SETTLED]
    growth = round(settled[-1] - settled[0], 2) if settled else None
    if given.json:
        print(json.dumps({"machine": machine(), "layer": repr(layer), "lines": lines, "growth_megabytes": growth}))
    else:
        print(f"{layer!r}: every output and state as in the whole run; {growth} MB more since step {SETTLED}")
    sys.exit(growth is not None and growth > LIMIT)


if __name__ == "__main__":
    main()
