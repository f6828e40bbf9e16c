"""The CPU kernel in C++: RNN, GRU and LSTM of torch's equations, float32 and float64.

In inference a row's numbers do not depend on the batch, the number of threads or where the sequence is cut, to the last
bit: every sum is added up in one order (see microkernel.h). Training is free to differ between
numbers of threads in the gradients of the weights, which add up tokens.

`ELMAN_CPU_ISA` set to avx512, avx2 or portable forces an instruction set; another value is an error at the first call.
"""

from __future__ import annotations

from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from elman.errors import SettingError
from elman.kernels import operators
from elman.kernels.autograd import Passes, RecurrentFunction
from elman.kernels.call import flatten, is_traced, refusal_of_mode, tensors
from elman.kernels.cpu import passes
from elman.kernels.cpu.packing import packed_weights
from elman.kernels.cpu.passes import KINDS
from elman.kernels.eager import Options, State, Steps
from elman.kernels.weights import Weights

if passes.missing is None:
    from elman.kernels.cpu import _engine

PASSES = Passes(passes.forward, passes.backward, reads_output=False)

recurrent = operators.register(
    "recurrent",
    options=("bool save",),
    saved=("saved",),
    passes=Passes(partial(passes.forward, traced=True), partial(passes.backward, traced=True), reads_output=False),
    outputs=partial(passes.outputs, traced=True),
    gradients=partial(passes.gradients, traced=True),
)

device = "cpu"

# Calls of fewer tokens reuse packed weights: to see that they have not changed costs less than to pack them again.
REUSE_BELOW = 16


def refusal(cell: Steps, x_TBI: Tensor, state: State, weights: Weights, **options: Unpack[Options]) -> str | None:
    """Return why this kernel cannot run the call, in plain words, or None."""
    why = refusal_of_engine()
    if why is not None:
        return why
    if cell.kernel not in KINDS:
        return f"the cell {type(cell).__name__} is not one of those it was written for: {', '.join(KINDS)}"
    if weights.hr is not None:
        return "the LSTM has a projection (proj_size)"
    traced = is_traced(x_TBI)
    if traced or not _engine.alike(x_TBI, *state, *weights[:4], *(weights.initial or ())):
        why = _refusal_of_type(x_TBI, tensors(state, weights))
        if why is None and not traced:
            why = "the input, a weight or a state wraps another tensor, or has no memory of its own"
        if why is not None:
            return why
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and asks for another number type than the tensors have"
    return refusal_of_mode(x_TBI, state, weights)


def refusal_of_engine() -> str | None:
    """Return why there is no engine, or None.

    Raises:
        SettingError: ELMAN_CPU_ISA names no instruction set of this machine.
    """
    if passes.unknown_isa is not None:
        raise SettingError(
            "ELMAN_CPU_ISA names no instruction set of this machine",
            should=f"one of {', '.join(_engine.isas())}, or unset",
            found=repr(passes.unknown_isa),
            hint="unset ELMAN_CPU_ISA to use the fastest",
        )
    return passes.missing


def _refusal_of_type(x_TBI: Tensor, others: list[Tensor]) -> str | None:
    if x_TBI.device.type != "cpu":
        return f"the input is on {x_TBI.device}, not on the CPU"
    if x_TBI.dtype not in (torch.float32, torch.float64):
        return f"the input is {x_TBI.dtype}, neither float32 nor float64"
    for tensor in others:
        if tensor.dtype != x_TBI.dtype:
            return f"the input is {x_TBI.dtype} and a weight or state {tensor.dtype}"
        if tensor.device != x_TBI.device:
            return f"a weight or state is on {tensor.device}, not on the CPU"
    return None


def unroll(
    cell: Steps, x_TBI: Tensor, state: State, weights: Weights, *,
    lengths: Tensor | None = None, resets: Tensor | None = None, reverse: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """Run one layer in one direction over a whole sequence; the contract is `eager.unroll`'s."""
    assert cell.kernel is not None
    call = flatten(x_TBI, state, weights, lengths, resets)
    differentiate = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call[:9])
    if is_traced(x_TBI):
        y_TBH, hn, cn, _ = recurrent(cell.kernel, reverse, differentiate, *call)
    elif differentiate:
        y_TBH, hn, cn = RecurrentFunction.apply(PASSES, cell, reverse, (True,), *call)  # type: ignore[no-untyped-call]
    else:
        few = x_TBI.shape[0] * x_TBI.shape[1] < REUSE_BELOW
        packed = packed_weights(cell.kernel, weights) if few else None
        y_TBH, hn, cn, _ = passes.forward(cell.kernel, call, reverse, False, packed)
    return y_TBH, (hn,) if len(state) == 1 else (hn, cn)


def step(cell: Steps, x_BI: Tensor, state: State, weights: Weights, out: State | None = None) -> State:
    """Run one step without gradients, with one call and no memory beyond the result: the same bits as `unroll`.

    The call is one that `refusal` lets pass. The state after the step goes to `out`, one (B, H) tensor for each state,
    which may be `state` itself; to fresh memory if it is None.
    """
    assert cell.kernel is not None
    packed = packed_weights(cell.kernel, weights)
    x_BI, state = x_BI.contiguous(), tuple(s.contiguous() for s in state)
    if out is None:
        out = tuple(torch.empty_like(s) for s in state)
    c, c_out = (state[1], out[1]) if len(state) > 1 else (None, None)
    _engine.step(packed, x_BI, state[0], c, out[0], c_out, torch.get_num_threads())
    return out
