"""How long the doctor takes: a diagnosis of a large layer, and a probe counted in training steps.

    python benchmarks/diagnosis.py

The limits: 10 seconds for T 512, B 16, H 256 on two cores; five training steps for a probe, so that `--diagnose 100`
costs 5 %. Best of three runs each, since other work on the machine only adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import elman
from elman.inspection import Probe, diagnose


def seconds(run: Callable[[], object]) -> float:
    """Return the time of the quickest of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def loss(model: nn.Module, x_TBI: Tensor) -> Tensor:
    """Return the mean square of the outputs."""
    return (model(x_TBI)[0] ** 2).mean()


for kind in ("RNN", "GRU", "LSTM"):
    torch.manual_seed(0)
    layer = getattr(elman, kind)(64, 256)
    large = torch.randn(512, 16, 64)
    whole = seconds(lambda layer=layer, large=large: diagnose(layer, [large], loss))

    small, batch = getattr(elman, kind)(16, 128), torch.randn(200, 16, 16)
    optimiser = torch.optim.AdamW(small.parameters())

    def step(small: nn.Module = small, batch: Tensor = batch, optimiser: torch.optim.Optimizer = optimiser) -> None:
        optimiser.zero_grad()
        loss(small, batch).backward()
        optimiser.step()

    probe = Probe(every=100, loss=lambda model, batch, state: loss(model, batch))
    steps = seconds(lambda small=small, batch=batch, probe=probe: probe(small, batch)) / seconds(step)
    print(f"{kind:4}  diagnosis {whole:5.2f} s (limit 10)   probe {steps:5.1f} training steps (limit 5)")
