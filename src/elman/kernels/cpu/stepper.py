"""`Stepper`: one step of a whole stack of layers in one call, for layers that run on a stream.

It is used without gradients, tracing and transforms. Otherwise, and for arguments that it does not know, `Stepper.step`
returns None, and the caller runs the layers one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from elman.kernels.cpu import passes
from elman.kernels.cpu.packing import current_promise, packed_weights
from elman.kernels.weights import Weights

if passes.missing is None:
    import elman.kernels.cpu._engine as _engine

# Called at every step, where each lookup in a module counts.
_is_grad_enabled = torch.is_grad_enabled
_is_autocast_enabled = torch.is_autocast_enabled
_threads = torch.get_num_threads
_dispatch_modes = torch._C._len_torch_dispatch_stack
_has_function_mode = torch._C._is_torch_function_mode_enabled
_tracing_state = torch._C._get_tracing_state
_transforms = torch._C._functorch.peek_interpreter_stack


def _is_negative(input: Any, hx: Any) -> bool:
    """Whether a tensor is a negative view, whose memory has the other sign, or something is no tensor."""
    try:
        if _is_neg(input):
            return True
        if type(hx) is tuple:
            return any(map(_is_neg, hx))
        return hx is not None and _is_neg(hx)
    except TypeError:
        return True


_is_neg = Tensor.is_neg


def _is_plain() -> bool:
    """Whether no mode is active, that of gradients included."""
    return not _is_grad_enabled() and is_plain()


def is_plain() -> bool:
    """Whether no mode is active beside that of gradients: no tracing, autocast or transforms."""
    return not (
        _dispatch_modes()
        or _has_function_mode()
        or _is_autocast_enabled("cpu")
        or forward_ad._current_level >= 0
        or _transforms() is not None
        or _tracing_state() is not None
    )


class Stepper:
    """The packed weights of a stack of layers, packed again when these are other tensors or have changed.

    All numbers are compared at every step, inside of `elman.frozen_weights` only at the first (see
    `elman.kernels.cpu.packing`). A copy, deep or pickled, begins empty.
    """

    __slots__ = ("_stack",)

    def __init__(self) -> None:
        self._stack: _engine.Stack | None = None

    def __reduce__(self) -> tuple[type[Stepper], tuple[()]]:
        return Stepper, ()

    def step(self, parameters: Mapping[str, Tensor | None], input: Tensor, hx: Any) -> tuple[Tensor, ...] | None:
        """Return the output and each state after a step, in memory of their own, or None.

        None where `prepare` was not called for these weights, or where the call is not one for which it would do. The
        numbers have the same bits as those of `unroll` layer by layer.

        Args:
            parameters: all of the layer's, by name: its `_parameters`.
            input: (B, I), or (I,) for a single sequence.
            hx: (L, B, H), or (L, H), a tuple of two for a cell with two states.
        """
        stack = self._stack  # once: another thread may prepare meanwhile
        if stack is None or not _is_plain() or _is_negative(input, hx):
            return None
        return stack.step(parameters, input, hx, _threads(), passes.poison, current_promise())

    def prepare(self, kind: str, layers: Sequence[Weights], parameters: Mapping[str, Tensor | None]) -> None:
        """Pack the weights of layers that `elman.kernels.cpu.refusal` lets pass; where that is no use, do nothing."""
        self._stack = None
        if not _is_plain():
            return
        own = {id(p) for p in parameters.values()}
        if not all(id(t) in own for weights in layers for t in weights[:4] if t is not None):
            return  # computed weights (parametrizations): new tensors at every call
        packed = [(packed_weights(kind, weights), weights[:4]) for weights in layers]
        self._stack = _engine.Stack(packed, parameters)
