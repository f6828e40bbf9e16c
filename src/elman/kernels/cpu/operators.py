"""The same calls as `torch.library` operators, for whatever traces: torch.compile, torch.export, fake tensors, modes.

`elman::recurrent` returns (y, hn, cn, saved) and `elman::recurrent_backward` nine gradients, both with an empty tensor
where there is nothing to return, since an operator returns tensors only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elman.kernels.call import Call, full
from elman.kernels.cpu import passes as calls
from elman.kernels.cpu.passes import Wanted


@torch.library.custom_op("elman::recurrent", mutates_args=())
def recurrent(
    kind: str,
    reverse: bool,
    save: bool,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    call = Call(x, h, c, ih, hh, b_ih, b_hh, h_initial, c_initial, lengths, resets)
    run = calls.forward(kind, call, reverse, save, traced=True)
    return run.y_TBH, run.hn_BH, run.cn_BH, run.saved


@recurrent.register_fake
def _(kind: str, reverse: bool, save: bool, *tensors: Any) -> tuple[Tensor, ...]:
    return tuple(calls.outputs(kind, Call(*tensors), save, traced=True))


@torch.library.custom_op("elman::recurrent_backward", mutates_args=())
def recurrent_backward(
    kind: str,
    reverse: bool,
    wanted: list[bool],
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
    saved: Tensor,
    d_y: Tensor | None,
    d_hn: Tensor | None,
    d_cn: Tensor | None,
) -> list[Tensor]:
    call = Call(x, h, c, ih, hh, b_ih, b_hh, h_initial, c_initial, lengths, resets)
    found = calls.backward(kind, call, reverse, Wanted(*wanted), y, saved, d_y, d_hn, d_cn, traced=True)
    return [full(g, x) for g in found]


@recurrent_backward.register_fake
def _(kind: str, reverse: bool, wanted: list[bool], *tensors: Any) -> list[Tensor]:
    found = calls.gradients(Call(*tensors[:11]), Wanted(*wanted), traced=True)
    return [full(g, tensors[0]) for g in found]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.kind, ctx.reverse, ctx.saves = inputs[:3]
    ctx.has_c = inputs[5] is not None
    y, _, _, saved = output
    ctx.save_for_backward(*inputs[3:], y, saved)


def _backward(ctx: Any, d_y: Tensor | None, d_hn: Tensor | None, d_cn: Tensor | None, d_saved: Any) -> tuple[Any, ...]:
    *tensors, y, saved = ctx.saved_tensors
    if not ctx.saves:
        raise RuntimeError("elman::recurrent was called with save=False, and cannot be differentiated")
    need = ctx.needs_input_grad
    wanted = [need[3], need[6], need[7], need[8], need[9]]
    d_cn = d_cn if ctx.has_c else None
    found = torch.ops.elman.recurrent_backward(ctx.kind, ctx.reverse, wanted, *tensors, y, saved, d_y, d_hn, d_cn)
    given = [g if need[3 + k] and tensors[k] is not None else None for k, g in enumerate(found)]
    return (None, None, None, *given, None, None)


recurrent.register_autograd(_backward, setup_context=_keep)
