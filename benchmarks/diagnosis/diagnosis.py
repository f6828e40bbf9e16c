"""How long the doctor takes: a diagnosis of a large layer, and a probe counted in training steps.

    python benchmarks/diagnosis/diagnosis.py

The limits: 10 seconds for T 512, B 16, H 256 on two cores; five training steps for a probe, so that `--diagnose 100`
costs 5 %. A probe follows the gradient as far as it goes: it is timed where that is short (torch's initialisation) and
where it is longest (all of its 128 lags). Best of five runs each, since other work on the machine only adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import elman
from elman.inspection import GradientProbe, diagnose


def seconds(run: Callable[[], object]) -> float:
    """Return the time of the quickest of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def loss(model: nn.Module, x_TBI: Tensor) -> Tensor:
    """Return the mean square of the outputs."""
    return (model(x_TBI)[0] ** 2).mean()


for kind, far in {"RNN": "orthogonal", "GRU": "chrono=1000", "LSTM": "chrono=1000"}.items():
    torch.manual_seed(0)
    layer = getattr(elman, kind)(64, 256)
    large = torch.randn(512, 16, 64)
    whole = seconds(lambda layer=layer, large=large: diagnose(layer, [large], loss))

    steps, horizons = [], []
    for init in ("torch", far):
        small, batch = getattr(elman, kind)(16, 128, init=init), 0.01 * torch.randn(200, 16, 16)
        optimiser = torch.optim.AdamW(small.parameters())

        def step(small: nn.Module = small, batch: Tensor = batch, by: torch.optim.Optimizer = optimiser) -> None:
            by.zero_grad()
            loss(small, batch).backward()
            by.step()

        probe = GradientProbe(every=100, loss=lambda model, batch, state: loss(model, batch))
        horizons.append(probe(small, batch)["horizon, model layer 0"])
        steps.append(seconds(lambda small=small, batch=batch, probe=probe: probe(small, batch)) / seconds(step))
    print(
        f"{kind:4}  diagnosis {whole:5.2f} s (limit 10)   probe {steps[0]:4.1f} training steps at a horizon of "
        f"{horizons[0]:.0f}, {steps[1]:4.1f} at {horizons[1]:.0f} (limit 5)"
    )
