"""One step of a cell with gradients: the engine's passes without a sequence around them, on packed weights.

A program that calls a cell in a loop pays for each call, so there are few checks, and the weights are packed once for
all steps between two changes of theirs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elman.kernels.call import Call, GradientMask, eager_gradients, is_batched, refusal_of_negatives, resolved
from elman.kernels.cpu import passes
from elman.kernels.cpu.packing import current_promise, packed_weights
from elman.kernels.cpu.passes import KINDS
from elman.kernels.cpu.stepper import is_plain
from elman.kernels.eager import State, Steps
from elman.kernels.weights import Weights

if passes.missing is None:
    from elman.kernels.cpu import _engine

# From so many weights on a step of a single row goes to torch's operator. The engine reads them twice, to see whether
# they have changed and for the product, and with gradients it packs them for the backward pass; torch reads them once.
MANY_WEIGHTS, MANY_WITH_GRADIENTS = 3 << 19, 1 << 17

# A plain network's step is a product and one function; with so few weights torch's operator is quicker for any batch.
FEW_WEIGHTS = 1 << 17

MODE = "autocast, tracing, a function transform or another mode of torch is active"


def refusal(cell: Steps, x_BI: Tensor, state: State, weights: Weights) -> str | None:
    """Return why the engine cannot run a step, or None."""
    if passes.missing is not None:
        return passes.missing
    if cell.kernel not in KINDS:
        return f"the cell {type(cell).__name__} is not one of those it was written for: {', '.join(KINDS)}"
    if not is_plain():
        return MODE
    if not _engine.alike(x_BI, *state, *weights[:4]):
        return "the tensors are not all float32 or all float64, on the CPU"
    return refusal_of_negatives(x_BI, state, weights)


def is_slower(gates: int, rows: int, numbers: int, differentiate: bool) -> bool:
    """Whether torch's own operator is quicker for a step of `rows` sequences with so many weights."""
    if not differentiate:
        return rows == 1 and numbers >= MANY_WEIGHTS and not current_promise()
    if gates == 1:
        return rows == 1 or numbers < FEW_WEIGHTS
    return rows == 1 and numbers >= MANY_WITH_GRADIENTS


def needs_gradients(x_BI: Tensor, state: State, weights: Weights) -> bool:
    """Whether a call is to be differentiated."""
    if not torch.is_grad_enabled():
        return False
    return any(t is not None and t.requires_grad for t in (*weights[:4], x_BI, *state))


def run(cell: Steps, x_BI: Tensor, state: State, weights: Weights) -> State:
    """Run a step that `refusal` lets pass, and return the state after it."""
    assert cell.kernel is not None
    packed = packed_weights(cell.kernel, weights)
    h_BH, c_BH = state if len(state) == 2 else (state[0], None)
    if needs_gradients(x_BI, state, weights):
        after = StepFunction.apply(cell, packed, x_BI, h_BH, c_BH, *weights[:4])  # type: ignore[no-untyped-call]
        return after if isinstance(after, tuple) else (after,)
    call = _call(x_BI, h_BH, c_BH, *weights[:4])
    _, hn_BH, cn_BH, _ = passes.forward(cell.kernel, call, False, False, packed)
    return (hn_BH,) if c_BH is None else (hn_BH, cn_BH)


def _call(x_BI: Tensor, h_BH: Tensor, c_BH: Tensor | None, *weights: Any) -> Call:
    ih, hh, b_ih, b_hh = weights
    return Call(x_BI.unsqueeze(0), h_BH, c_BH, ih, hh, b_ih, b_hh, None, None, None, None)


class StepFunction(torch.autograd.Function):
    """One step as a node of autograd; asked for a graph of its own or for a batch of gradients it runs eagerly."""

    @staticmethod
    def forward(ctx: Any, cell: Steps, packed: Any, *tensors: Any) -> Any:
        """Run the forward pass, and keep what it saved."""
        assert cell.kernel is not None
        _, hn_BH, cn_BH, saved = passes.forward(cell.kernel, _call(*tensors), False, True, packed)
        ctx.cell = cell
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, saved)
        return hn_BH if tensors[2] is None else (hn_BH, cn_BH)

    @staticmethod
    def backward(ctx: Any, d_h: Tensor | None, d_c: Tensor | None = None) -> tuple[Any, ...]:
        """Run the backward pass."""
        *tensors, saved = ctx.saved_tensors
        need = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or any(d is not None and is_batched(d) for d in (d_h, d_c)):
            with torch.enable_grad():
                call = _call(*tensors)
            every = (*need, False, False, False, False)
            gradients = eager_gradients(ctx.cell, False, call, every, (None, d_h, d_c))[: len(need)]
        else:
            mask = GradientMask(need[0], *need[3:7])
            d_h, d_c = resolved((d_h, d_c))
            results = passes.backward(ctx.cell.kernel, _call(*tensors), False, mask, saved, None, d_h, d_c)
            gradients = [d if n else None for d, n in zip(results, need, strict=False)]
        d_x = gradients[0]
        return (None, None, None if d_x is None else d_x.squeeze(0), *gradients[1:])
