"""The backward pass as a call on tensors: the loop over time, then one product for each gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.kernels.call import Call, GradientMask, Gradients
from elman.kernels.triton import drivers
from elman.kernels.triton.forward_pass import carried, fresh, normalised, project, split_bias, state_before
from elman.kernels.triton.plan import KINDS, pointwise


def shapes(call: Call, mask: GradientMask) -> Gradients:
    """Return tensors of the shapes that `backward` returns, for tracing."""
    masks = (mask.x, True, True, *mask[1:], True, True)
    return Gradients(*(fresh(t, *t.shape) if w and t is not None else None for t, w in zip(call, masks, strict=False)))


def backward(
    kind: str, call: Call, reverse: bool, mask: GradientMask, tier: int | None,
    y_TBH: Tensor, gates: Tensor, past: Tensor, d_y: Tensor | None, d_hn: Tensor | None, d_cn: Tensor | None,
) -> Gradients:  # fmt: skip
    """Run the backward pass of a forward pass that kept something; a gradient that is None stands for zeros.

    Where the gates were not kept they are computed again, for all steps at once.
    """
    call = normalised(call, reverse)
    T, B, H = y_TBH.shape
    y_TBH = y_TBH.contiguous()
    if KINDS[kind].blocks > 1 and not gates.numel() and T * B:
        gates = gates_again(kind, call, reverse, y_TBH, past)
    carries = _carries(call, d_hn, d_cn)
    d_work = fresh(call.x_TBI, T, B, KINDS[kind].blocks * H)
    if T and B:
        d_y = None if d_y is None else d_y.contiguous()
        drivers.backward(kind, call, reverse, tier, y_TBH, gates, past, d_y, d_work, carries)
    return _products(kind, call, reverse, mask, y_TBH, d_work, carries)


def _carries(call: Call, d_hn: Tensor | None, d_cn: Tensor | None) -> dict[str, Tensor | None]:
    from elman.kernels.triton.launch import accumulates_in

    def start(d: Tensor | None, like: Tensor | None) -> Tensor | None:
        if like is None:
            return None
        wide = accumulates_in(like.dtype)
        return torch.zeros_like(like, dtype=wide) if d is None else d.to(wide, copy=True).contiguous()

    reset = call.resets is not None
    return {
        "d_h": start(d_hn, call.h_BH),
        "d_c": start(d_cn, call.c_BH),
        "d_h_initial": start(None, call.h_BH) if reset else None,
        "d_c_initial": start(None, call.c_BH) if reset else None,
    }


def _products(
    kind: str, call: Call, reverse: bool, mask: GradientMask,
    y_TBH: Tensor, d_work: Tensor, carries: dict[str, Tensor | None],
) -> Gradients:  # fmt: skip
    dtype, H = y_TBH.dtype, y_TBH.shape[2]
    rows = KINDS[kind].gates * H
    d_input, d_past = d_work[:, :, :rows], d_work[:, :, -rows:]
    d_input_NG, x_NI = d_input.flatten(0, 1), call.x_TBI.flatten(0, 1)
    # The input's part of the GRU stands as (n, r, z), its weights as (r, z, n).
    turn = H if kind == "gru" else 0
    d_x = d_ih = d_hh = d_b_ih = d_b_hh = None
    if mask.x:
        d_x = (d_input_NG @ call.ih.roll(turn, 0)).view_as(call.x_TBI)
    if mask.ih:
        d_ih = (d_input_NG.t() @ x_NI).roll(-turn, 0)
    if mask.hh:
        d_hh = _of_w(call, reverse, y_TBH, d_past)
    if mask.b_ih and call.b_ih is not None:
        d_b_ih = d_input_NG.sum(0).roll(-turn, 0)
    if mask.b_hh and call.b_hh is not None:
        d_b_hh = d_past.flatten(0, 1).sum(0)

    def narrow(d: Tensor | None) -> Tensor | None:
        return None if d is None else d.to(dtype)

    def over_rows(d: Tensor | None) -> Tensor | None:
        return None if d is None else d.sum(0).to(dtype)

    return Gradients(
        d_x, narrow(carries["d_h"]), narrow(carries["d_c"]), d_ih, d_hh, d_b_ih, d_b_hh,
        over_rows(carries["d_h_initial"]), over_rows(carries["d_c_initial"]),
    )  # fmt: skip


def _of_w(call: Call, reverse: bool, y_TBH: Tensor, d_past: Tensor) -> Tensor:
    """Return the gradient of W: one product, on the outputs themselves if every state before is one of them."""
    T = len(y_TBH)
    if T < 2 or call.resets is not None or (reverse and call.lengths is not None):
        return d_past.flatten(0, 1).t() @ state_before(y_TBH, call, reverse).flatten(0, 1)
    first, after, before = (T - 1, slice(0, T - 1), slice(1, T)) if reverse else (0, slice(1, T), slice(0, T - 1))
    start = d_past[first].t() @ call.h_BH
    return torch.addmm(start, d_past[after].flatten(0, 1).t(), y_TBH[before].flatten(0, 1))


def gates_again(kind: str, call: Call, reverse: bool, y_TBH: Tensor, past: Tensor) -> Tensor:
    """Return the gates of all steps from input, output and c before each step: two products and one launch.

    To the kernel every token is a row of a batch that runs a single step.
    """
    from elman.kernels.triton import launch

    T, B, H = y_TBH.shape
    N = T * B
    work = fresh(y_TBH, T, B, KINDS[kind].blocks * H)
    project(kind, call, work)
    before = state_before(y_TBH, call, reverse).flatten(0, 1)
    product = work.new_empty(N, KINDS[kind].gates * H, dtype=launch.accumulates_in(work.dtype))
    drivers.multiply(before, call.hh.t(), product)
    one_step = call._replace(h_BH=before, c_BH=None if call.c_BH is None else past.flatten(0, 1))
    _, b_n = split_bias(kind, call)
    flags = launch.flags_of(kind, 1, False, None, None, work.dtype)
    launch.run(
        launch.forward_kernel, pointwise(H), N, H, 0, 1, work, product, None, None, None, carried(kind, one_step),
        before, call.hh, b_n, None, None, None, None, KEEP_GATES=True, KEEP_PAST=False, **flags,
    )  # fmt: skip
    return work
