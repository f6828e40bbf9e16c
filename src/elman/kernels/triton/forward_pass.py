"""The forward pass as a call on tensors: what goes around the kernels, and the memory that they need.

The input's product before the loop and all gradients of weights, input and biases after it are single large products.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from elman.kernels.call import Call
from elman.kernels.triton import drivers
from elman.kernels.triton.plan import KINDS

# What is kept for the backward pass: nothing; gates and c; or c alone, from which the gates are computed again.
NOTHING, GATES, PAST = 0, 1, 2

# Set by tests: fresh memory is filled with NaN, so that a number which nobody writes is seen.
poison = False


class Outputs(NamedTuple):
    """What the forward pass returns; the last three are empty where there is nothing to return.

    Attributes:
        y_TBH: the output.
        hn_BH: the state after the last step.
        cn_BH: the LSTM's second state.
        gates: (T, B, blocks * H).
        past: (T, B, H), c before each step.
    """

    y_TBH: Tensor
    hn_BH: Tensor
    cn_BH: Tensor
    gates: Tensor
    past: Tensor


def fresh(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return uninitialised memory, NaN under `poison`."""
    if poison:
        return like.new_full(shape, float("nan"), dtype=dtype)
    return like.new_empty(shape, dtype=dtype)


def normalised(call: Call, reverse: bool) -> Call:
    """Return the call as the kernels read it.

    Every tensor is contiguous and on the input's device, the input is zero beyond a row's end, and the resets are
    integers that say before which step, in the order of running, the state is put back (see `eager.unroll`).
    """
    call = Call(*(None if t is None else t.contiguous() for t in call))  # type: ignore[arg-type]
    x, lengths, resets = call.x_TBI, call.lengths, call.resets
    if lengths is not None:
        lengths = lengths.to(x.device)
        exists_TB = torch.arange(len(x), device=x.device)[:, None] < lengths[None, :]
        x = x.masked_fill(~exists_TB[:, :, None], 0)
        resets = None if resets is None else resets & exists_TB
    if resets is not None:
        if reverse:
            resets = torch.cat([resets[1:], torch.zeros_like(resets[:1])])
        resets = resets.to(torch.int8).contiguous()
    return call._replace(x_TBI=x, lengths=lengths, resets=resets)


def outputs(kind: str, call: Call, keep: int) -> Outputs:
    """Allocate what the forward pass returns."""
    T, B = call.x_TBI.shape[:2]
    H = call.hh.shape[1]

    def room(needed: bool, *shape: int) -> Tensor:
        return fresh(call.x_TBI, *shape) if needed else call.x_TBI.new_empty(0)

    blocks, has_c = KINDS[kind].blocks, call.c_BH is not None
    return Outputs(
        room(True, T, B, H),
        room(True, B, H),
        room(has_c, B, H),
        room(keep == GATES and blocks > 1, T, B, blocks * H),
        room(keep != NOTHING and has_c, T, B, H),
    )


def forward(kind: str, call: Call, reverse: bool, keep: int, tier: int | None) -> Outputs:
    """Run the forward pass; `keep` is what the backward pass will need."""
    call = normalised(call, reverse)
    results = outputs(kind, call, keep)
    T, B = call.x_TBI.shape[:2]
    H = call.hh.shape[1]
    work = results.gates if results.gates.numel() else fresh(call.x_TBI, T, B, KINDS[kind].blocks * H)
    carry = carried(kind, call)
    if T and B:
        project(kind, call, work)
        drivers.forward(kind, call, reverse, tier, keep == GATES, results.y_TBH, work, results.past, carry)
    last_state(results.y_TBH, call, reverse, results.hn_BH)
    if call.c_BH is not None and carry is not None:
        results.cn_BH.copy_(carry)
    return results


def carried(kind: str, call: Call) -> Tensor | None:
    """Return what is carried from step to step beside the output, in the type of sums: c, or the GRU's h unrounded."""
    from elman.kernels.triton.launch import accumulates_in

    if not KINDS[kind].carries:
        return None
    first = call.h_BH if call.c_BH is None else call.c_BH
    return first.to(accumulates_in(first.dtype), copy=True)


def split_bias(kind: str, call: Call) -> tuple[Tensor | None, Tensor | None]:
    """Return the bias of the input's part, and the one that stays inside the GRU's product with r."""
    if call.b_ih is None or call.b_hh is None:
        return None, None
    if kind != "gru":
        return call.b_ih + call.b_hh, None
    H = call.hh.shape[1]
    return call.b_ih + functional.pad(call.b_hh[: 2 * H], (0, H)), call.b_hh[2 * H :].contiguous()


def project(kind: str, call: Call, work_TBW: Tensor) -> None:
    """Write the input's part of the pre-activations of all steps, with the biases: one product."""
    rows = call.ih.shape[0]
    x, out = call.x_TBI.flatten(0, 1), work_TBW.flatten(0, 1)[:, :rows]
    bias, _ = split_bias(kind, call)
    if bias is None:
        torch.mm(x, call.ih.t(), out=out)
    else:
        torch.addmm(bias, x, call.ih.t(), out=out)


def last_state(y_TBH: Tensor, call: Call, reverse: bool, hn_BH: Tensor) -> None:
    """Write the output of each row's last step, or the state that it came with where there was none."""
    if not len(y_TBH):
        hn_BH.copy_(call.h_BH)
    elif call.lengths is None:
        hn_BH.copy_(y_TBH[0 if reverse else -1])
    else:
        place = torch.zeros_like(call.lengths) if reverse else (call.lengths - 1).clamp_min(0)
        last = y_TBH.gather(0, place[None, :, None].expand(1, *hn_BH.shape))[0]
        hn_BH.copy_(torch.where((call.lengths > 0)[:, None], last, call.h_BH))


def state_before(y_TBH: Tensor, call: Call, reverse: bool) -> Tensor:
    """Return h before every step, (T, B, H); `call` as `normalised` makes it."""
    first = call.h_BH[None]
    before = torch.cat([y_TBH[1:], first] if reverse else [first, y_TBH[:-1]])[: len(y_TBH)]
    if reverse and call.lengths is not None:
        begun_TB = torch.arange(1, len(y_TBH) + 1, device=y_TBH.device)[:, None] < call.lengths[None, :]
        before = torch.where(begun_TB[:, :, None], before, first)
    if call.resets is not None:
        assert call.h_initial is not None
        before = torch.where(call.resets.bool()[:, :, None], call.h_initial, before)
    return before
