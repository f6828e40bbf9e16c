"""The node of autograd around an engine's two passes, without the dispatcher's cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.kernels.call import Call, GradientMask, Gradients, eager_gradients, is_batched, resolved
from elman.kernels.eager import Steps


class Passes(NamedTuple):
    """The two passes of an engine, as tensors in and fresh tensors out.

    The options are the engine's own. The first of them says what is kept for the backward pass, nothing where it is
    false; the others are handed to both passes.

    Attributes:
        forward: from (kind, call, reverse, *options) to (y, hn, cn, *saved).
        backward: from (kind, call, reverse, mask, *options[1:], y, *saved, d_y, d_hn, d_cn) to the gradients; a
            d_ that is None stands for zeros.
        reads_output: whether the backward pass takes y. Where it does not, its caller may change y in place.
    """

    forward: Callable[..., tuple[Tensor, ...]]
    backward: Callable[..., Gradients]
    reads_output: bool = True


class RecurrentFunction(torch.autograd.Function):
    """One layer in one direction as a node of autograd.

    Its backward pass, asked for a graph of its own (double backward) or for a batch of gradients at once
    (`is_grads_batched`), runs the eager kernel instead, whose operations have both.
    """

    @staticmethod
    def forward(
        ctx: Any, passes: Passes, cell: Steps, reverse: bool, options: tuple[Any, ...], *tensors: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the forward pass, and keep what it saved."""
        y_TBH, hn_BH, cn_BH, *saved = passes.forward(cell.kernel, Call(*tensors), reverse, *options)
        ctx.passes, ctx.cell, ctx.reverse, ctx.options = passes, cell, reverse, options
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *([y_TBH] if passes.reads_output else []), *saved)
        return y_TBH, hn_BH, cn_BH

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None) -> tuple[Any, ...]:
        """Run the backward pass."""
        tensors = ctx.saved_tensors
        call, saved = Call(*tensors[: len(Call._fields)]), tensors[len(Call._fields) :]
        need = ctx.needs_input_grad[4:]
        if torch.is_grad_enabled() or any(d is not None and is_batched(d) for d in d_outputs):
            return (None, None, None, None, *eager_gradients(ctx.cell, ctx.reverse, call, need, d_outputs))
        mask = GradientMask(need[0], *need[3:7])
        own = (*ctx.options[1:], *saved, *resolved(d_outputs))
        gradients = ctx.passes.backward(ctx.cell.kernel, call, ctx.reverse, mask, *own)
        return (None, None, None, None, *(g if n else None for g, n in zip(gradients, need, strict=False)), None, None)
