"""Inputs that an exported layer is compared on, and what the original gives for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.exporters.stack import Array, LayerStack, as_recurrent

SEED = 1

LARGEST_BOUND = 0.1
"""The largest bound that a case may have: a sequence of zeros, or of the other sign, does not pass it."""

SMALL = 0.1
"""The least size of the outputs for inputs of 1e-30: gates around 1/2, whose rounding is far above such outputs."""


@dataclass(frozen=True)
class LayerCase:
    """An input of a layer.

    Attributes:
        title: which kind of input, and its sizes.
        x: (T, B, I), in the layer's dtype.
        state: the state before the first step, one (L*D, B, P or H) array each; None for the layer's initial state.
        lengths: (B,) int32, or None where all sequences have T steps.
        resets: (T, B) booleans, or None.
        rounding: the factor by which rounding differs more than for inputs around 1: sums of large numbers that happen
            to be near 0 are where a gate is steep.
        least_size: see `elman.exporters.parity.compare`.
    """

    title: str
    x: Array
    state: tuple[Array, ...] | None = None
    lengths: Array | None = None
    resets: Array | None = None
    rounding: float = 1.0
    least_size: float = 0.0

    def states(self, stack: LayerStack) -> tuple[Array, ...]:
        """Return the state before the first step."""
        return stack.initial_states(self.x.shape[1]) if self.state is None else self.state


def widened(bound: float, rounding: float) -> float:
    """Return the bound of a case whose rounding differs more: at most `LARGEST_BOUND`, where it was not more before."""
    return max(bound, min(bound * rounding, LARGEST_BOUND))


def layer_cases(
    stack: LayerStack, *, lengths: bool = False, resets: bool = False, precision: str = "float32"
) -> list[LayerCase]:
    """Return random and extreme inputs: one step and none, one sequence and several, zeros, and very large numbers.

    Args:
        stack: the layer.
        lengths: whether there are inputs with lengths, 0, 1 and T among them.
        resets: whether there are inputs with resets.
        precision: of the weights. With rounded ones, inputs of 1000 turn gates over whose sums are near 0: the large
            inputs are 10 then.
    """
    rng = np.random.default_rng(SEED)

    def normal(*shape: int, scale: float = 1.0) -> Array:
        return (scale * rng.standard_normal(shape)).astype(stack.dtype)

    def state(batch: int, scale: float = 1.0) -> tuple[Array, ...]:
        count = len(stack.layers) * stack.num_directions
        return tuple(normal(count, batch, size, scale=scale) for size in stack.state_sizes)

    I, large = stack.input_size, 1000 if precision == "float32" else 10
    cases = [
        LayerCase("random, T = 9, B = 4", normal(9, 4, I), state(4)),
        LayerCase("random from the initial state, T = 33, B = 1", normal(33, 1, I)),
        LayerCase("random, T = 1, B = 2", normal(1, 2, I), state(2)),
        LayerCase("zeros, T = 5, B = 3", np.zeros((5, 3, I), stack.dtype)),
        LayerCase(f"large ({large}), T = 6, B = 2", normal(6, 2, I, scale=large), state(2, 3.0), rounding=100.0),
        LayerCase("small (1e-30), T = 6, B = 2", normal(6, 2, I, scale=1e-30), state(2, 1e-30), least_size=SMALL),
    ]
    if lengths:
        sizes = np.array([7, 0, 1, 4, 7], np.int32)
        cases += [
            LayerCase("lengths 7, 0, 1, 4, 7, T = 7", normal(7, 5, I), state(5), sizes),
            LayerCase("lengths 0 and 0, T = 3", normal(3, 2, I), state(2), np.zeros(2, np.int32)),
            LayerCase("lengths 1 and 0, T = 1", normal(1, 2, I), None, np.array([1, 0], np.int32)),
        ]
    if resets:
        begins = rng.random((11, 3)) < 0.3
        cases.append(LayerCase("resets, T = 11, B = 3", normal(11, 3, I), state(3), None, begins))
        if lengths:
            sizes = np.array([11, 0, 6], np.int32)
            cases.append(LayerCase("resets and lengths, T = 11", normal(11, 3, I), state(3), sizes, begins))
    return cases


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode without gradients, and back."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for each, training in modes:
            each.training = training


def original_outputs(layer: nn.Module, stack: LayerStack, case: LayerCase) -> tuple[Array, tuple[Array, ...]]:
    """Return what the original gives: y (T, B, D*P) and the states after the last step, (L*D, B, P or H) each."""
    device = next(iter(layer.parameters())).device
    x_TBI = torch.from_numpy(case.x).to(device)
    with evaluation_mode(layer):
        if isinstance(layer, nn.RNNCellBase):
            y, state = _cell_outputs(layer, x_TBI, [torch.from_numpy(s[0]).to(device) for s in case.states(stack)])
        else:
            y, state = _layer_outputs(layer, stack, x_TBI, case)
    return y.cpu().numpy(), tuple(part.cpu().numpy() for part in state)


def _layer_outputs(layer: Any, stack: LayerStack, x: Tensor, case: LayerCase) -> tuple[Tensor, tuple[Tensor, ...]]:
    options: dict[str, Tensor] = {}
    if case.lengths is not None:
        options["lengths"] = torch.from_numpy(case.lengths)
    if case.resets is not None:
        options["resets"] = torch.from_numpy(case.resets).to(x.device)
    runner = as_recurrent(layer) if options or 0 in x.shape else layer
    hx: Any = None
    if case.state is not None:
        parts = tuple(torch.from_numpy(part).to(x.device) for part in case.state)
        hx = parts if len(parts) > 1 else parts[0]
    if stack.batch_first:
        x = x.transpose(0, 1)
        options = {name: value.T if name == "resets" else value for name, value in options.items()}
    with warnings.catch_warnings():  # that oneDNN has no projections, where nobody asked for oneDNN
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported")
        y, state = runner(x, hx, **options)
    return y.transpose(0, 1) if stack.batch_first else y, (state,) if isinstance(state, Tensor) else tuple(state)


def _cell_outputs(cell: nn.Module, x_TBI: Tensor, state: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    y, hx = [], state
    for x_BI in x_TBI:
        after = cell(x_BI, tuple(hx) if len(hx) > 1 else hx[0])
        hx = list(after) if isinstance(after, tuple) else [after]
        y.append(hx[0])
    y_TBH = torch.stack(y) if y else x_TBI.new_zeros(0, *state[0].shape)
    return y_TBH, tuple(part[None] for part in hx)
