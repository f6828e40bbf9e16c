"""GradientProbe of the gradient horizon during training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from elman.inspection.capture.recorder import LayerDirection, record
from elman.inspection.capture.replay import Linear, replay
from elman.inspection.isolation import preserved_rng_state, single_thread
from elman.inspection.measures import gradient_flow as flow

LAGS = 128  # how far back a probe follows the gradient
SEQUENCES = 2  # of the batch
PAIRS = 32  # error steps, over all sequences, that are followed back


@dataclass(frozen=True)
class GradientProbe:
    """A cheap measurement on the next training batch.

    It costs a forward and a backward pass, and a walk of at most 128 lags for 32 error steps of two sequences. Weights,
    `.grad` and random states are unchanged.

    Attributes:
        every: steps between two measurements.
        loss: `loss(model, batch, state)` is the scalar that training minimises.
    """

    every: int
    loss: Callable[[nn.Module, Any, Any], Tensor]

    def __call__(self, model: nn.Module, batch: Any, state: Any = None) -> dict[str, float]:
        """Return, for every layer and direction, the horizon and the half-life in steps.

        A horizon beyond the lags that can be followed is reported as the number of those lags.
        """
        with preserved_rng_state(model):
            recording = record(model, batch, lambda m, b: self.loss(m, b, state), weights=False)
        linears: dict[LayerDirection, list[Linear]] = {}
        numbers: dict[str, float] = {}
        with single_thread():
            for call in recording.calls:
                if call.x_TBI.numel():
                    linears.setdefault(call.strand, []).append(Linear(replay(call, SEQUENCES)))
            for strand, calls in linears.items():
                lags = min(LAGS, max(linear.trace.T for linear in calls) - 1)
                decay = flow.decay(calls, lags, PAIRS)
                numbers[f"horizon, {strand}"] = float(lags if decay.horizon is None else decay.horizon)
                numbers[f"half-life, {strand}"] = float(lags if decay.half_life is None else decay.half_life)
        return numbers
