"""The GPU kernel in Triton: RNN, GRU and LSTM of torch's equations, float32, bfloat16, float16 and float64.

Sums are in float32 (float64 for float64), and so is what is carried from step to step: the LSTM's c and the GRU's h.
Nothing is added in an order that varies, so two runs agree to the bit. See `plan` for how a call is run and
`options` for what can be set. Importing this imports no Triton; the first call that runs here does.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Unpack

import torch
from torch import Tensor

from elman.kernels import operators
from elman.kernels.autograd import Passes, RecurrentFunction
from elman.kernels.call import Call, flatten, is_traced, refusal_of_mode, tensors
from elman.kernels.eager import Options, State, Steps
from elman.kernels.triton import backward_pass, forward_pass
from elman.kernels.triton.options import EngineOptions, options, use
from elman.kernels.triton.plan import KINDS
from elman.kernels.weights import Weights

__all__ = ["EngineOptions", "device", "how", "options", "refusal", "unroll", "use"]

PASSES = Passes(forward_pass.forward, backward_pass.backward)

recurrent = operators.register(
    "triton_recurrent",
    options=("int keep", "int? tier"),
    saved=("gates", "past"),
    passes=PASSES,
    outputs=forward_pass.outputs,
    gradients=backward_pass.shapes,
)

# Where it runs. Its tests, under Triton's interpreter, set it to the CPU.
device = "cuda"

_TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


missing: str | None = None if find_spec("triton") else "triton is not installed: pip install 'elman[gpu]'"


def refusal(cell: Steps, x_TBI: Tensor, state: State, weights: Weights, **options: Unpack[Options]) -> str | None:
    """Return why this kernel cannot run the call, in plain words, or None."""
    if x_TBI.device.type != device:
        return "the input is not on a GPU"
    if missing is not None:
        return missing
    if cell.kernel not in KINDS:
        return f"the cell {type(cell).__name__} is not one of those it was written for: {', '.join(KINDS)}"
    if weights.hr is not None:
        return "the LSTM has a projection (proj_size)"
    others = tensors(state, weights)
    for tensor in others:
        if tensor.device != x_TBI.device:
            return f"the input is on {x_TBI.device} and a weight or state on {tensor.device}"
    if not torch.is_autocast_enabled(device):
        if x_TBI.dtype not in _TYPES:
            return f"the input is {x_TBI.dtype}, none of float32, bfloat16, float16 and float64"
        for tensor in others:
            if tensor.dtype != x_TBI.dtype:
                return f"the input is {x_TBI.dtype} and a weight or state {tensor.dtype}"
    return refusal_of_mode(x_TBI, state, weights)


def how(x_TBI: Tensor, cell: Steps, weights: Weights) -> str:
    """Say in which tier a call that `refusal` lets pass would run, for `elman.explain`."""
    from elman.kernels.triton.launch import plan_for

    assert cell.kernel is not None
    B, H = x_TBI.shape[1], weights.hh.shape[1]
    if torch.is_autocast_enabled(device):
        x_TBI = x_TBI.new_empty(0, B, 0, dtype=torch.get_autocast_dtype(device))
    plan = plan_for(cell.kernel, x_TBI, H, options().tier)
    rows, units = plan.grid(B, H)
    return {
        1: f"alone: all of W in each of {rows} programs, which never wait",
        2: f"resident: W spread over {units} programs, times {rows} of rows, a barrier a step",
        3: "steps: a product and a pointwise kernel a step",
    }[plan.tier]


def unroll(
    cell: Steps, x_TBI: Tensor, state: State, weights: Weights, *,
    lengths: Tensor | None = None, resets: Tensor | None = None, reverse: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """Run one layer in one direction over a whole sequence; the contract is `eager.unroll`'s.

    Under autocast everything is cast to its type first, and output and state are of it, as torch.nn's are.
    """
    assert cell.kernel is not None
    call = flatten(x_TBI, state, weights, lengths, resets)
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return _run(cell, Call(*(_cast(t, dtype) for t in call)), reverse)
    return _run(cell, call, reverse)


def _cast(tensor: Tensor | None, dtype: torch.dtype) -> Any:
    return tensor.to(dtype) if tensor is not None and tensor.is_floating_point() else tensor


def _run(cell: Steps, call: Call, reverse: bool) -> tuple[Tensor, State]:
    assert cell.kernel is not None
    differentiate = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call[:9])
    chosen = options()
    keep = forward_pass.NOTHING
    if differentiate:
        keep = forward_pass.PAST if chosen.recompute else forward_pass.GATES
    if is_traced(call.x_TBI):
        y_TBH, hn, cn, _, _ = recurrent(cell.kernel, reverse, keep, chosen.tier, *call)
    elif differentiate:
        y_TBH, hn, cn = RecurrentFunction.apply(PASSES, cell, reverse, (keep, chosen.tier), *call)  # type: ignore[no-untyped-call]
    else:
        y_TBH, hn, cn, _, _ = forward_pass.forward(cell.kernel, call, reverse, keep, chosen.tier)
    return y_TBH, (hn,) if call.c_BH is None else (hn, cn)
