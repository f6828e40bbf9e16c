"""During training: the horizon every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from elman.inspection.capture.recorder import CapturedCall, LayerDirection, record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.isolation import one_thread, untouched_random_state
from elman.inspection.measures import gradient_flow as flow

LAGS = 128  # how far back a probe looks
SEQUENCES = 2  # how many sequences of the batch a probe looks at
PAIRS = 32  # how many error steps, in all of them, it follows back


@dataclass(frozen=True)
class Probe:
    """A cheap measurement on the batch that is about to be trained on.

    It costs a forward and a backward pass, and a walk of at most 128 lags for 32 error steps of two sequences. Weights,
    `.grad` and random states are as before afterwards.
    """

    every: int  # steps between two measurements
    loss: Callable[[nn.Module, Any, Any], Tensor]  # loss(model, batch, state) is the scalar that training descends

    def __call__(self, model: nn.Module, batch: Any, state: Any = None) -> dict[str, float]:
        """Return, for every layer and direction, the horizon and the half-life in steps.

        A horizon that lies beyond the lags that can be followed is reported as the number of those lags.
        """
        with untouched_random_state(model):
            recording = record(model, batch, lambda m, b: self.loss(m, b, state), weights=False)
        with one_thread():
            return _decay(recording.calls)


def _decay(passages: Sequence[CapturedCall]) -> dict[str, float]:
    linears: dict[LayerDirection, list[Linear]] = {}
    for passage in passages:
        if passage.x_TBI.numel():
            linears.setdefault(passage.strand, []).append(Linear(replay(passage, SEQUENCES)))
    found: dict[str, float] = {}
    for strand, each in linears.items():
        lags = min(LAGS, max(linear.trace.T for linear in each) - 1)
        decay = flow.decay(each, lags, PAIRS)
        found[f"horizon, {strand}"] = float(lags if decay.horizon is None else decay.horizon)
        found[f"half-life, {strand}"] = float(lags if decay.half_life is None else decay.half_life)
    return found
