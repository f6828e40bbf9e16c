"""The calls as `torch.library` operators, for whatever traces: torch.compile, torch.export, fake tensors, modes.

`elman::triton_recurrent` returns (y, hn, cn, gates, past) and `elman::triton_recurrent_backward` nine gradients, both
with an empty tensor where there is nothing to return, since an operator returns tensors only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elman.kernels.call import Call, full
from elman.kernels.triton import backward_pass as gradients
from elman.kernels.triton import forward_pass as calls
from elman.kernels.triton.backward_pass import Wanted


@torch.library.custom_op("elman::triton_recurrent", mutates_args=())
def recurrent(
    kind: str,
    reverse: bool,
    keep: int,
    tier: int | None,
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    ih: Tensor,
    hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h_initial: Tensor | None,
    c_initial: Tensor | None,
    lengths: Tensor | None,
    resets: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    call = Call(x, h, c, ih, hh, b_ih, b_hh, h_initial, c_initial, lengths, resets)
    run = calls.forward(kind, call, reverse, keep, tier)
    return run.y_TBH, run.hn_BH, run.cn_BH, run.gates, run.past


@recurrent.register_fake
def _(kind: str, reverse: bool, keep: int, tier: int | None, *tensors: Any) -> tuple[Tensor, ...]:
    return tuple(calls.outputs(kind, Call(*tensors), keep))


@torch.library.custom_op("elman::triton_recurrent_backward", mutates_args=())
def recurrent_backward(
    kind: str,
    reverse: bool,
    wanted: list[bool],
    tier: int | None,
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    ih: Tensor,
    hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h_initial: Tensor | None,
    c_initial: Tensor | None,
    lengths: Tensor | None,
    resets: Tensor | None,
    y: Tensor,
    gates: Tensor,
    past: Tensor,
    d_y: Tensor | None,
    d_hn: Tensor | None,
    d_cn: Tensor | None,
) -> list[Tensor]:
    call = Call(x, h, c, ih, hh, b_ih, b_hh, h_initial, c_initial, lengths, resets)
    found = gradients.backward(kind, call, reverse, Wanted(*wanted), tier, y, gates, past, d_y, d_hn, d_cn)
    return [full(g, x) for g in found]


@recurrent_backward.register_fake
def _(kind: str, reverse: bool, wanted: list[bool], tier: int | None, *tensors: Any) -> list[Tensor]:
    return [full(g, tensors[0]) for g in gradients.shapes(Call(*tensors[:11]), Wanted(*wanted))]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.kind, ctx.reverse, ctx.keep, ctx.tier = inputs[:4]
    ctx.has_c = inputs[6] is not None
    y, _, _, gates, past = output
    ctx.save_for_backward(*inputs[4:], y, gates, past)


def _backward(ctx: Any, d_y: Tensor | None, d_hn: Tensor | None, d_cn: Tensor | None, *kept: Any) -> tuple[Any, ...]:
    saved = ctx.saved_tensors
    if ctx.keep == calls.NOTHING:
        raise RuntimeError("elman::triton_recurrent was called to keep nothing, and cannot be differentiated")
    need = ctx.needs_input_grad[4:]
    wanted = [need[0], *need[3:7]]
    d_cn = d_cn if ctx.has_c else None
    found = torch.ops.elman.triton_recurrent_backward(ctx.kind, ctx.reverse, wanted, ctx.tier, *saved, d_y, d_hn, d_cn)
    given = [g if need[k] and saved[k] is not None else None for k, g in enumerate(found)]
    return (None, None, None, None, *given, None, None)


recurrent.register_autograd(_backward, setup_context=_keep)
