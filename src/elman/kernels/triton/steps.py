"""The loop over time of each tier, forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elman.kernels.call import Call
from elman.kernels.triton.tiers import KINDS


def forward(
    kind: str, call: Call, reverse: bool, tier: int | None, keep_gates: bool,
    y_TBH: Tensor, work: Tensor, past: Tensor, carry: Tensor | None,
) -> None:  # fmt: skip
    """Run all steps: writes y, the gates into `work` if they are kept, and c before each step into `past` if given."""
    from elman.kernels.triton import launch

    T, B, H = y_TBH.shape
    plan = launch.plan_for(kind, call.x_TBI, H, tier)
    flags = launch.flags_of(kind, T, reverse, call.lengths, call.resets, y_TBH.dtype)
    flags |= {"KEEP_GATES": keep_gates and KINDS[kind].blocks > 1, "KEEP_PAST": past.numel() > 0}
    b_n = call.b_hh[2 * H :] if kind == "gru" and call.b_hh is not None else None
    rest = (y_TBH, past, carry, call.h_BH, call.hh, b_n, call.h_initial, call.c_initial, call.lengths, call.resets)
    if plan.tier != 3:
        launch.run(launch.forward_kernel, plan, B, H, 0, T, work, None, None, *rest, **flags)
        return
    product = work.new_empty(B, KINDS[kind].gates * H, dtype=launch.accumulates_in(work.dtype))
    state = call.h_BH.clone()
    if call.resets is not None:
        assert call.h_initial is not None
        state = torch.where(call.resets[T - 1 if reverse else 0].bool()[:, None], call.h_initial, state)
    W = call.hh.t()
    for s in range(T):
        multiply(state, W, product)
        launch.run(launch.forward_kernel, plan, B, H, s, s + 1, work, product, state, *rest, **flags)


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
    flags = launch.flags_of(kind, T, reverse, call.lengths, call.resets, y_TBH.dtype)
    d_h, d_h_initial = carries["d_h"], carries["d_h_initial"]
    assert d_h is not None
    product = torch.empty_like(d_h) if plan.tier == 3 else None
    arguments: tuple[Any, ...] = (
        work, d_work, product, y_TBH, past, d_y, d_h, carries["d_c"], d_h_initial, carries["d_c_initial"],
        call.h_BH, call.hh, call.h_initial, call.lengths, call.resets,
    )  # fmt: skip
    d_past = d_work[:, :, -KINDS[kind].gates * H :]  # the past's part of every step
    if product is None:
        launch.run(launch.backward_kernel, plan, B, H, 0, T, *arguments, **flags)
    else:
        for n in range(T):
            launch.run(launch.backward_kernel, plan, B, H, n, n + 1, *arguments, **flags)
            multiply(d_past[n if reverse else T - 1 - n], call.hh, product)
    if plan.tier == 1:
        return
    t = T - 1 if reverse else 0
    if product is None:
        product = torch.empty_like(d_h)
        multiply(d_past[t], call.hh, product)
    d_h += product
    if call.resets is not None:
        assert d_h_initial is not None
        starts = call.resets[t].bool()[:, None]
        d_h_initial += torch.where(starts, d_h, 0)
        d_h.masked_fill_(starts, 0)
