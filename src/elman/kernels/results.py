"""Results of a kernel in the shape in which a layer returns them, not as views of other tensors.

A view cannot be detached in place, and changing one in place is recorded differently. So the shape of a tensor that
nobody else sees is changed itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Nodes of autograd that keep nothing of the tensor that they made, so that its shape may change.
_KEEP_NO_RESULT = frozenset(
    {"RecurrentFunctionBackward", "StackBackward0", "CatBackward0", "UnsqueezeBackward0", "UnsqueezeBackward1"}
)


def _may_change(tensor: Tensor, observed: bool) -> bool:
    if observed or torch.compiler.is_compiling() or tensor._is_view():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None or torch._C._get_tracing_state() is not None:
        return False
    node = tensor.grad_fn
    return node.name() in _KEEP_NO_RESULT if node is not None else not tensor.requires_grad


def batch_first(y_TBH: Tensor, observed: bool) -> Tensor:
    """Return an output as (B, T, H); `observed`: somebody else may hold it."""
    return y_TBH.transpose_(0, 1) if _may_change(y_TBH, observed) else y_TBH.transpose(0, 1)


def one_layer(s_BH: Tensor, observed: bool) -> Tensor:
    """Return the state of the only layer and direction as (1, B, H), never as a view."""
    return s_BH.unsqueeze_(0) if _may_change(s_BH, observed) else torch.stack([s_BH])


def without_batch(tensor: Tensor, observed: bool) -> Tensor:
    """Return an output or a state of a batch of one without its dimension 1."""
    return tensor.squeeze_(1) if _may_change(tensor, observed) else tensor.squeeze(1)
