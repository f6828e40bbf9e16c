"""Compare float32 with float64: how far outputs and gradients of elman's layers are off, and torch.nn's.

    python benchmarks/quality/rounding.py [--seeds 3] [--threads 1]

Both get the same weights and inputs, and are compared with torch.nn in float64: the root of the mean square of the
differences, relative to that of the numbers, averaged over the seeds.
"""

from __future__ import annotations

import argparse
import math
import statistics
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import elman


class Sizes(NamedTuple):
    """Steps, sequences, features, units."""

    T: int
    B: int
    I: int
    H: int


SIZES = (Sizes(180, 32, 64, 256), Sizes(180, 8, 256, 256), Sizes(60, 16, 32, 1024), Sizes(100, 32, 64, 64))
RESULTS = ("output", "d_input", "d_weight_ih", "d_weight_hh", "d_bias_ih", "d_bias_hh")


def results(layer: nn.Module, x_TBI: Tensor, d_y_TBH: Tensor) -> list[Tensor]:
    """Return the output and all gradients, in float64."""
    dtype = next(layer.parameters()).dtype
    x_TBI = x_TBI.to(dtype, copy=True).requires_grad_()
    y_TBH = layer(x_TBI)[0]
    gradients = torch.autograd.grad(y_TBH, [x_TBI, *layer.parameters()], d_y_TBH.to(dtype))
    return [t.detach().double() for t in (y_TBH, *gradients)]


def errors(name: str, sizes: Sizes, seed: int) -> dict[str, list[float]]:
    """Return the relative error of each result, of torch's layer and of elman's."""
    torch.manual_seed(seed)
    T, B, I, H = sizes
    theirs: Any = getattr(nn, name)(I, H)
    ours, exact = getattr(elman, name)(I, H), getattr(nn, name)(I, H).double()
    for layer in (ours, exact):
        layer.load_state_dict(theirs.state_dict())
    x_TBI, d_y_TBH = torch.randn(T, B, I), torch.randn(T, B, H) / B
    right = results(exact, x_TBI, d_y_TBH)
    return {
        who: [float((a - b).norm() / b.norm()) for a, b in zip(results(layer, x_TBI, d_y_TBH), right, strict=True)]
        for who, layer in (("torch", theirs), ("elman", ours))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| layer | T, B, I, H | " + " | ".join(f"{name}: torch, elman" for name in RESULTS) + " |")
    print("| --- | --- |" + " --- |" * len(RESULTS))
    ratios: list[list[float]] = [[] for _ in RESULTS]
    for name in ("RNN", "GRU", "LSTM"):
        for sizes in SIZES:
            runs = [errors(name, sizes, seed) for seed in range(options.seeds)]
            means = {
                who: [statistics.fmean(e) for e in zip(*(run[who] for run in runs), strict=True)] for who in runs[0]
            }
            cells = []
            for k, (torchs, elmans) in enumerate(zip(means["torch"], means["elman"], strict=True)):
                ratios[k].append(elmans / torchs)
                cells.append(f"{torchs:.1e}, {elmans:.1e}")
            print(f"| {name} | {', '.join(map(str, sizes))} | " + " | ".join(cells) + " |", flush=True)
    for result, column in zip(RESULTS, ratios, strict=True):
        mean = math.exp(statistics.fmean(map(math.log, column)))
        print(f"{result}: elman's error over torch's, geometric mean {mean:.2f}, largest {max(column):.2f}")


if __name__ == "__main__":
    main()
