"""The extension's calls with the memory that they need: tensors in, fresh tensors out, no gradients.

Everything here is contiguous where the engine asks for it, and nothing is checked that `elman.kernels.cpu.refusal` has
checked. A call is a `Past`, what both passes read; the forward pass adds a `Run`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

try:
    from elman.kernels.cpu import _engine

    missing: str | None = None
except ImportError as error:
    missing = f"the extension is not there ({error}): pip install . where there is a C++ compiler"

# The engine's numbers for a cell and its f, by the name under which a cell declares that it is this one.
KINDS = {
    "rnn_tanh": (0, 0),
    "rnn_relu": (0, 1),
    "rnn_sigmoid": (0, 2),
    "rnn_identity": (0, 3),
    "gru": (1, 0),
    "lstm": (2, 0),
}

# Numbers from which on memory comes from the engine's own pool instead of torch's allocator, which gives large blocks
# back to the system and asks for them anew with every training step, at the cost of a page fault for every 4 KiB.
LARGE = 1 << 18

# Set by tests: fresh memory is filled with NaN, so that a number which nobody writes is seen.
poison = False


class Call(NamedTuple):
    """The arguments of one layer in one direction, flat, as an operator takes them; see `eager.unroll` for each."""

    x_TBI: Tensor
    h_BH: Tensor
    c_BH: Tensor | None
    ih: Tensor
    hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    h_initial: Tensor | None  # (H,), given exactly where there are resets
    c_initial: Tensor | None
    lengths: Tensor | None  # (B,) int64
    resets: Tensor | None  # (T, B) bool


class Run(NamedTuple):
    """What the forward pass returns; `cn` and `saved` are empty where there is nothing to return."""

    y_TBH: Tensor
    hn_BH: Tensor
    cn_BH: Tensor
    saved: Tensor


def fresh(like: Tensor, *shape: int, zero: bool = False, pooled: bool = False) -> Tensor:
    if zero:
        return like.new_zeros(shape)
    if poison:
        return like.new_full(shape, float("nan"))
    if pooled and math.prod(shape) >= LARGE:
        return _engine.block(shape, like.dtype == torch.float32)
    return like.new_empty(shape)


def fresh_like(tensor: Tensor | None, pooled: bool) -> Tensor | None:
    return None if tensor is None else fresh(tensor, *tensor.shape, pooled=pooled)


def readable(call: Call) -> Call:
    """Return the call with every tensor laid out as the engine reads it; most are already."""
    x_TBI = call.x_TBI if call.x_TBI.stride(2) == 1 or call.x_TBI.shape[2] < 2 else call.x_TBI.contiguous()
    return Call(x_TBI, *(None if t is None else t.contiguous() for t in call[1:]))  # type: ignore[arg-type]


def outputs(kind: str, call: Call, save: bool, traced: bool = False) -> Run:
    """Allocate what the forward pass returns; `traced` for an operator, whose outputs hold no chance numbers."""
    T, B = call.x_TBI.shape[:2]
    H = call.hh.shape[1]
    single = call.x_TBI.dtype == torch.float32
    if not save:
        saved = call.x_TBI.new_empty(0)
    else:
        # One row for each place of the input; under lengths only as many as there are tokens are ever touched.
        rows, width = T * B, _engine.saved_width(KINDS[kind][0], H, single)
        saved = fresh(call.x_TBI, rows, width, zero=traced and call.lengths is not None, pooled=not traced)
    return Run(
        fresh(call.x_TBI, T, B, H, zero=call.lengths is not None, pooled=not traced),
        fresh(call.x_TBI, B, H),
        fresh(call.x_TBI, B, H) if call.c_BH is not None else call.x_TBI.new_empty(0),
        saved,
    )


def forward(
    kind: str, call: Call, reverse: bool, save: bool, packed: _engine.Packed | None = None, traced: bool = False
) -> Run:
    """Run the forward pass; `save` keeps what the backward pass needs, `packed` is made here if not given."""
    call = readable(call)
    threads = torch.get_num_threads()
    if packed is None:
        packed = _engine.pack(*KINDS[kind], call.ih, call.hh, call.b_ih, call.b_hh, threads)
    run = outputs(kind, call, save, traced)
    _engine.forward(
        packed,
        call.x_TBI,
        call.h_BH,
        call.c_BH,
        call.h_initial,
        call.c_initial,
        call.lengths,
        call.resets,
        reverse,
        threads,
        run.y_TBH,
        run.hn_BH,
        run.cn_BH if call.c_BH is not None else None,
        run.saved if save else None,
    )
    return run


class Wanted(NamedTuple):
    """Which gradients the backward pass should make; those of the states and of the initial state always come."""

    x: bool = True
    ih: bool = True
    hh: bool = True
    b_ih: bool = True
    b_hh: bool = True


class Gradients(NamedTuple):
    """One for each of the first nine fields of `Call`, in their order; None where there is nothing to give."""

    x_TBI: Tensor | None
    h_BH: Tensor | None
    c_BH: Tensor | None
    ih: Tensor | None
    hh: Tensor | None
    b_ih: Tensor | None
    b_hh: Tensor | None
    h_initial: Tensor | None
    c_initial: Tensor | None


def gradients(call: Call, wanted: Wanted, traced: bool = False) -> Gradients:
    """Allocate what the backward pass returns; also its shapes for tracing."""
    pooled = not traced
    d_x = None
    if wanted.x:
        d_x = fresh(call.x_TBI, *call.x_TBI.shape, zero=call.lengths is not None, pooled=pooled)
    return Gradients(
        d_x,
        fresh_like(call.h_BH, pooled),
        fresh_like(call.c_BH, pooled),
        fresh_like(call.ih, pooled) if wanted.ih else None,
        fresh_like(call.hh, pooled) if wanted.hh else None,
        fresh_like(call.b_ih, pooled) if wanted.b_ih else None,
        fresh_like(call.b_hh, pooled) if wanted.b_hh else None,
        fresh_like(call.h_initial, pooled),
        fresh_like(call.c_initial, pooled),
    )


def backward(
    kind: str,
    call: Call,
    reverse: bool,
    wanted: Wanted,
    y_TBH: Tensor,
    saved: Tensor,
    d_y: Tensor | None,
    d_hn: Tensor | None,
    d_cn: Tensor | None,
    traced: bool = False,
) -> Gradients:
    """Run the backward pass of a forward pass that saved; a gradient that is None stands for zeros."""
    call = readable(call)
    if d_y is not None and d_y.stride(2) != 1:
        d_y = d_y.contiguous()
    found = gradients(call, wanted, traced)
    _engine.backward(
        *KINDS[kind],
        call.x_TBI,
        [call.ih, call.hh, call.b_ih, call.b_hh],
        [call.h_BH, call.c_BH, call.h_initial, call.c_initial],
        call.lengths,
        call.resets,
        reverse,
        torch.get_num_threads(),
        y_TBH,
        saved,
        [d_y, None if d_hn is None else d_hn.contiguous(), None if d_cn is None else d_cn.contiguous()],
        [found.x_TBI, *found[3:7], *found[1:3], *found[7:9]],
    )
    return found
