"""The loop over time of each tier, forward and backward.

The first two tiers are one launch. The third goes over the sequence in pieces, which a graph of the GPU can replay (see
`cuda_graphs`): a piece is the call of a shorter sequence, from the state before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from elman.kernels.call import Call
from elman.kernels.triton import cuda_graphs
from elman.kernels.triton.plan import KINDS, pointwise

Tensors = dict[str, Tensor | None]


def forward(
    kind: str, call: Call, reverse: bool, tier: int | None, keep_gates: bool,
    y_TBH: Tensor, work: Tensor, past: Tensor, carry: Tensor | None,
) -> None:  # fmt: skip
    """Run all steps: writes y, the gates into `work` if they are kept, and c before each step into `past` if given."""
    from elman.kernels.triton import launch

    T, B, H = y_TBH.shape
    plan = launch.plan_for(kind, call.x_TBI, H, tier)
    keeps = {"KEEP_GATES": keep_gates and KINDS[kind].blocks > 1, "KEEP_PAST": past.numel() > 0}
    b_n = call.b_hh[2 * H :] if kind == "gru" and call.b_hh is not None else None

    def run(piece: Tensors) -> None:
        """Run the steps of a piece; the names are the kernel's."""
        y, lengths, fresh = _there(piece["y"]), piece["lengths"], piece["fresh"]
        T = len(y)
        flags = launch.flags_of(kind, T, reverse, lengths, fresh, y.dtype) | keeps
        names = ("y", "past", "carry", "h0", "hh", "b_n", "h_initial", "c_initial", "lengths", "fresh")
        rest = [piece[name] for name in names]
        if plan.tier != 3:
            launch.run(launch.forward_kernel, plan, B, H, 0, T, piece["work"], None, None, *rest, **flags)
            return
        state, W = _there(piece["h0"]).clone(), _there(piece["hh"]).t()
        product = state.new_empty(B, len(W.t()), dtype=launch.accumulates_in(state.dtype))
        if fresh is not None:
            state = torch.where(fresh[T - 1 if reverse else 0].bool()[:, None], _there(piece["h_initial"]), state)
        for s in range(T):
            multiply(state, W, product)
            arguments = (piece["work"], product, state, *rest)
            launch.run(launch.forward_kernel, plan, B, H, s, s + 1, *arguments, **flags)

    whole: Tensors = {
        "work": work, "y": y_TBH, "past": past, "carry": carry, "h0": call.h_BH, "hh": call.hh, "b_n": b_n,
        "h_initial": call.h_initial, "c_initial": call.c_initial, "lengths": call.lengths, "fresh": call.resets,
    }  # fmt: skip
    if plan.tier != 3:
        try:
            run(whole)
            return
        except launch.TooLargeError:
            plan = pointwise(H)
    written = {"y", "carry", "past"} | ({"work"} if keep_gates else set())
    key = ("forward", kind, reverse, plan, *keeps.values())
    for start, stop in cuts(T, reverse):
        piece = _cut(whole, ("work", "y", "past"), start, stop, call, y_TBH, reverse)
        cuda_graphs.run(run, piece, written, key, stop - start)


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write a b with sums in the type of `out`."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    elif a.is_cuda:
        torch.mm(a, b, out.dtype, out=out)
    else:
        torch.mm(a.to(out.dtype), b.to(out.dtype), out=out)


def backward(
    kind: str, call: Call, reverse: bool, tier: int | None,
    y_TBH: Tensor, work: Tensor, past: Tensor, d_y: Tensor | None, d_work: Tensor, carries: dict[str, Tensor | None],
) -> None:  # fmt: skip
    """Run all steps backwards: writes d_work, and carries d_h, d_c and those of the initial states to the beginning."""
    from elman.kernels.triton import launch

    T, B, H = y_TBH.shape
    plan = launch.plan_for(kind, call.x_TBI, H, tier)
    names = (
        "y", "past", "d_y", "d_h", "d_c", "d_h_initial", "d_c_initial", "h0", "hh", "h_initial", "lengths", "fresh",
    )  # fmt: skip

    def run(piece: Tensors) -> None:
        y, d_work, hh, fresh = _there(piece["y"]), _there(piece["d_work"]), _there(piece["hh"]), piece["fresh"]
        T = len(y)
        flags = launch.flags_of(kind, T, reverse, piece["lengths"], fresh, y.dtype)
        d_h = _there(piece["d_h"])
        d_past = d_work[:, :, -KINDS[kind].gates * H :]  # the past's part of every step
        product = torch.empty_like(d_h) if plan.tier != 1 else None
        arguments = (piece["work"], d_work, product if plan.tier == 3 else None, *(piece[name] for name in names))
        if product is None or plan.tier == 2:
            launch.run(launch.backward_kernel, plan, B, H, 0, T, *arguments, **flags)
        else:
            for n in range(T):
                launch.run(launch.backward_kernel, plan, B, H, n, n + 1, *arguments, **flags)
                multiply(d_past[n if reverse else T - 1 - n], hh, product)
        if product is None:
            return
        first = T - 1 if reverse else 0
        if plan.tier == 2:
            multiply(d_past[first], hh, product)
        d_h += product
        if fresh is not None:
            starts = fresh[first].bool()[:, None]
            _there(piece["d_h_initial"]).add_(torch.where(starts, d_h, 0))
            d_h.masked_fill_(starts, 0)

    whole: Tensors = {
        "work": work, "d_work": d_work, "y": y_TBH, "past": past, "d_y": d_y, **carries, "h0": call.h_BH,
        "hh": call.hh, "h_initial": call.h_initial, "lengths": call.lengths, "fresh": call.resets,
    }  # fmt: skip
    if plan.tier != 3:
        try:
            run(whole)
            return
        except launch.TooLargeError:
            plan = pointwise(H)
    key = ("backward", kind, reverse, plan, d_y is None)
    for start, stop in reversed(list(cuts(T, reverse))):
        piece = _cut(whole, ("work", "d_work", "y", "past", "d_y"), start, stop, call, y_TBH, reverse)
        cuda_graphs.run(run, piece, {"d_work", *carries}, key, stop - start)


def cuts(T: int, reverse: bool) -> Iterator[tuple[int, int]]:
    """Yield the pieces of a sequence in the order in which they are run."""
    starts = range(0, T, cuda_graphs.STEPS)
    for start in reversed(starts) if reverse else starts:
        yield start, min(start + cuda_graphs.STEPS, T)


def _cut(
    whole: Tensors, over_time: tuple[str, ...], start: int, stop: int, call: Call, y_TBH: Tensor, reverse: bool
) -> Tensors:
    """Return the call for the steps start to stop of the time axis, from the state before them."""
    piece = dict(whole)
    for name in (*over_time, "fresh"):
        tensor = whole[name]
        piece[name] = tensor[start:stop] if tensor is not None and tensor.numel() else tensor
    if call.lengths is not None:
        piece["lengths"] = (call.lengths - start).clamp(0, stop - start)
    if reverse and stop < len(y_TBH):
        begun = True if call.lengths is None else (call.lengths > stop)[:, None]
        piece["h0"] = torch.where(torch.as_tensor(begun, device=y_TBH.device), y_TBH[stop], call.h_BH)
    elif not reverse and start > 0:
        piece["h0"] = y_TBH[start - 1]
    return piece


def _there(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
