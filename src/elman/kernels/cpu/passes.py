"""The extension's calls with the memory that they need: tensors in, fresh tensors out, no gradients.

Everything here is contiguous where the engine asks for it, and nothing is checked that `elman.kernels.cpu.refusal` has
checked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.kernels.call import Call

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


class Run(NamedTuple):
    """What the forward pass returns; `cn` and `saved` are empty where there is nothing to return."""

    y_TBH: Tensor
    hn_BH: Tensor
    cn_BH: Tensor
    saved: Tensor


def readable(call: Call) -> Call:
    """Return the call with every tensor laid out as the engine reads it; most are already."""
    if _engine.readable(call):
        return call
    x_TBI = call.x_TBI if call.x_TBI.stride(2) == 1 or call.x_TBI.shape[2] < 2 else call.x_TBI.contiguous()
    return Call(x_TBI, *(None if t is None else t.contiguous() for t in call[1:]))  # type: ignore[arg-type]


def _fresh(like: Tensor, items: tuple[tuple[int, ...] | Tensor | None, ...], traced: bool) -> list[Any]:
    """Return a tensor for each item, of the sizes or of the shape of the tensor that the item is, or None.

    Traced calls take torch's own memory, for somebody watches what is allocated.
    """
    if not traced:
        return _engine.fresh(items, like.dtype == torch.float32, LARGE, poison)
    shapes = (item.shape if isinstance(item, Tensor) else item for item in items)
    made = [None if shape is None else like.new_empty(shape) for shape in shapes]
    if poison:
        for tensor in made:
            if tensor is not None:
                tensor.fill_(float("nan"))
    return made


def outputs(kind: str, call: Call, save: bool, traced: bool = False) -> Run:
    """Allocate what the forward pass returns; also its shapes for tracing."""
    T, B, _ = call.x_TBI.shape
    H = call.hh.shape[1]
    width = _engine.saved_width(KINDS[kind][0], H, call.x_TBI.dtype == torch.float32) if save else 0
    # What is saved has a row for each place of the input; under lengths only those of tokens are touched.
    items = ((T, B, H), (B, H), (0,) if call.c_BH is None else (B, H), (T * B, width) if save else (0,))
    run = Run(*_fresh(call.x_TBI, items, traced))
    if traced and save and call.lengths is not None:
        run.saved.zero_()  # an operator's outputs hold no chance numbers
    return run


def forward(
    kind: str, call: Call, reverse: bool, save: bool, packed: _engine.Packed | None = None, traced: bool = False
) -> Run:
    """Run the forward pass; `save` keeps what the backward pass needs, `packed` is made there if not given."""
    call = readable(call)
    run = outputs(kind, call, save, traced)
    _engine.forward(
        *KINDS[kind],
        packed,
        call,
        reverse,
        torch.get_num_threads(),
        run.y_TBH,
        run.hn_BH,
        None if call.c_BH is None else run.cn_BH,
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
    items = (
        call.x_TBI if wanted.x else None,
        call.h_BH,
        call.c_BH,
        call.ih if wanted.ih else None,
        call.hh if wanted.hh else None,
        call.b_ih if wanted.b_ih else None,
        call.b_hh if wanted.b_hh else None,
        call.h_initial,
        call.c_initial,
    )
    return Gradients(*_fresh(call.x_TBI, items, traced))


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
    given = (d_y, None if d_hn is None else d_hn.contiguous(), None if d_cn is None else d_cn.contiguous())
    _engine.backward(*KINDS[kind], call, reverse, torch.get_num_threads(), y_TBH, saved, given, list(found))
    return found
