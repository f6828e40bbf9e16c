"""Floating-point operations of the operators, as `torch.utils.flop_counter` counts them: those of matrix products."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from elman.kernels.call import Call, GradientMask
from elman.kernels.late import when_imported

MODULE = "torch.utils.flop_counter"


def count_operator(name: str, options: int) -> None:
    """Let torch count `elman::name` and `elman::name_backward`, whose engine has so many options."""
    when_imported(MODULE, lambda module: _register(module, name, options))


def _register(module: ModuleType, name: str, options: int) -> None:
    def forward(kind: str, reverse: bool, *arguments: Any, **_: Any) -> int:
        return forward_flops(Call(*arguments[options : options + len(Call._fields)]))

    def backward(kind: str, reverse: bool, mask: list[bool], *arguments: Any, **_: Any) -> int:
        own = options - 1
        return backward_flops(Call(*arguments[own : own + len(Call._fields)]), GradientMask(*mask))

    for suffix, formula in (("", forward), ("_backward", backward)):
        packet = getattr(torch.ops.elman, name + suffix)
        if packet not in module.flop_registry:
            module.register_flop_formula([packet], get_raw=True)(formula)


def forward_flops(call: Call) -> int:
    """Return the operations of U x and W h over all tokens."""
    return 2 * _tokens(call) * (call.ih.numel() + call.hh.numel())


def backward_flops(call: Call, mask: GradientMask) -> int:
    """Return the operations of the gradients of x, U and W that are asked for, and of every state."""
    of_ih, of_hh = mask.x + mask.ih, 1 + mask.hh
    return 2 * _tokens(call) * (of_ih * call.ih.numel() + of_hh * call.hh.numel())


def _tokens(call: Call) -> int:
    lengths: Tensor | None = call.lengths
    if lengths is None or is_fake(lengths):
        return call.x_TBI.shape[0] * call.x_TBI.shape[1]
    return int(lengths.sum())
