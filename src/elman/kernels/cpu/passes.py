"""The forward and backward pass of the C++ engine: tensors in, fresh tensors out, no autograd.

Everything here is contiguous where the engine asks for it, and nothing is checked that `elman.kernels.cpu.refusal` has
checked.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from elman.errors import ShapeError, look_up
from elman.kernels.call import Call, GradientMask, Gradients

# The engine's numbers for a cell and its nonlinearity, by the name that a cell gives as its `kernel`; see kinds.def.
KINDS: dict[str, tuple[int, int]] = {}

try:
    import elman.kernels.cpu._engine as _engine

    KINDS = _engine.KINDS
    missing: str | None = None
except ImportError as error:
    missing = f"the extension is not there ({error}): pip install . where there is a C++ compiler"

# What ELMAN_CPU_ISA says, where it is none of this machine's instruction sets; the extension has read it already.
_isa = os.environ.get("ELMAN_CPU_ISA")
unknown_isa = _isa if missing is None and _isa and _isa not in _engine.isas() else None

# Numbers from which on memory comes from the engine's own pool instead of torch's allocator, which gives large blocks
# back to the system and asks for them anew with every training step, at the cost of a page fault for every 4 KiB.
LARGE = 1 << 18

# Set by tests: fresh memory is filled with NaN, so that a number which nobody writes is seen.
poison = False


def _check(kind: str, call: Call, *others: tuple[str, Tensor | None, int]) -> None:
    """Check a call of an operator, which may come from anywhere, as far as the next lines rely on it.

    Raises:
        ElmanError: an unknown cell, or a tensor of another number of dimensions.
    """
    look_up("cell", kind, KINDS)
    own = (("x", call.x_TBI, 3), ("h", call.h_BH, 2), ("ih", call.ih, 2), ("hh", call.hh, 2))
    for name, given, _ in own:
        if not isinstance(given, Tensor):
            raise ShapeError(f"{name} is not a tensor", should="a torch.Tensor", found=type(given).__name__)
    for name, tensor, dimensions in (*own, *others):
        if tensor is not None and tensor.dim() != dimensions:
            raise ShapeError(
                f"{name} has a wrong shape", should=f"{dimensions} dimensions", found=str(tuple(tensor.shape))
            )


def with_strides(call: Call) -> Call:
    """Return the call with every tensor in the strides that the engine reads; most have them already."""
    if _engine.has_strides(call):
        return call
    x_TBI = call.x_TBI if call.x_TBI.stride(2) == 1 or call.x_TBI.shape[2] < 2 else call.x_TBI.contiguous()
    return Call(x_TBI, *(None if t is None else t.contiguous() for t in call[1:]))  # type: ignore[arg-type]


def _fresh(like: Tensor, items: tuple[tuple[int, ...] | Tensor | None, ...], traced: bool) -> list[Any]:
    """Return a tensor for each item, of the sizes or of the shape of the tensor that the item is, or None.

    Traced calls take torch's own memory, whose allocations can be observed.
    """
    if not traced:
        return _engine.fresh(items, like.dtype == torch.float32, LARGE, poison)
    shapes = (item.shape if isinstance(item, Tensor) else item for item in items)
    tensors = [None if shape is None else like.new_empty(shape) for shape in shapes]
    if poison:
        for tensor in tensors:
            if tensor is not None:
                tensor.fill_(float("nan"))
    return tensors


def outputs(kind: str, call: Call, save: bool, traced: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Allocate what the forward pass returns; also its shapes for tracing."""
    if traced or call.hh.dim() != 2:
        _check(kind, call)
    T, B, _ = call.x_TBI.shape
    H = call.hh.shape[1]
    width = _engine.saved_width(KINDS[kind][0], H, call.x_TBI.dtype == torch.float32) if save else 0
    # What is saved has a row for each place of the input; under lengths only those of tokens are touched.
    items = ((T, B, H), (B, H), (0,) if call.c_BH is None else (B, H), (T * B, width) if save else (0,))
    y_TBH, hn_BH, cn_BH, saved = _fresh(call.x_TBI, items, traced)
    if traced and save and call.lengths is not None:
        saved.zero_()  # an operator's outputs are determined by its inputs
    return y_TBH, hn_BH, cn_BH, saved


def forward(
    kind: str, call: Call, reverse: bool, save: bool, packed: _engine.Packed | None = None, traced: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the forward pass: y_TBH, hn_BH, cn_BH and what is saved, the last two empty where there is nothing to return.

    What the backward pass needs is kept under `save`. The weights are those of the call if `packed` is None.
    """
    if traced:
        _check(kind, call)
    call = with_strides(call)
    y_TBH, hn_BH, cn_BH, saved = outputs(kind, call, save, traced)
    cn, kept = None if call.c_BH is None else cn_BH, saved if save else None
    _engine.forward(*KINDS[kind], packed, call, reverse, torch.get_num_threads(), y_TBH, hn_BH, cn, kept)
    return y_TBH, hn_BH, cn_BH, saved


def gradients(call: Call, mask: GradientMask, traced: bool = False) -> Gradients:
    """Allocate what the backward pass returns; also its shapes for tracing."""
    items = (
        call.x_TBI if mask.x else None,
        call.h_BH,
        call.c_BH,
        call.ih if mask.ih else None,
        call.hh if mask.hh else None,
        call.b_ih if mask.b_ih else None,
        call.b_hh if mask.b_hh else None,
        call.h_initial,
        call.c_initial,
    )
    return Gradients(*_fresh(call.x_TBI, items, traced))


def backward(
    kind: str, call: Call, reverse: bool, mask: GradientMask, saved: Tensor,
    d_y: Tensor | None, d_hn: Tensor | None, d_cn: Tensor | None, traced: bool = False,
) -> Gradients:  # fmt: skip
    """Run the backward pass of a forward pass that saved; a gradient that is None stands for zeros.

    The output is not among its arguments: it is the caller's, who may have changed it, and `saved` holds it too.
    """
    if traced:
        _check(kind, call, ("d_y", d_y, 3))
    call = with_strides(call)
    if d_y is not None and d_y.stride(2) != 1:
        d_y = d_y.contiguous()
    results = gradients(call, mask, traced)
    d_outputs = (d_y, None if d_hn is None else d_hn.contiguous(), None if d_cn is None else d_cn.contiguous())
    _engine.backward(*KINDS[kind], call, reverse, torch.get_num_threads(), saved, d_outputs, list(results))
    return results
