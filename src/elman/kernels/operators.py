"""Registration of an engine's passes as `torch.library` operators, for whatever traces.

That is torch.compile, torch.export, fake tensors and modes. An operator returns tensors only, so that an empty one
stands where there is nothing to return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from elman.kernels.autograd import Passes
from elman.kernels.call import Call, GradientMask, Gradients
from elman.kernels.flops import count_operator

_CALL = (
    "Tensor x, Tensor h, Tensor? c, Tensor ih, Tensor hh, Tensor? b_ih, Tensor? b_hh, "
    "Tensor? h_initial, Tensor? c_initial, Tensor? lengths, Tensor? resets"
)
_FIELDS = len(Call._fields)


def register(
    name: str,
    options: tuple[str, ...],
    saved: tuple[str, ...],
    passes: Passes,
    outputs: Callable[..., tuple[Tensor, ...]],
    gradients: Callable[[Call, GradientMask], Gradients],
) -> Callable[..., tuple[Tensor, ...]]:
    """Register `elman::name` and `elman::name_backward`, and return the first.

    Args:
        name: of the operator.
        options: type and name of each of the engine's options, see `Passes`.
        saved: names of the tensors that the forward pass saves.
        passes: the passes to register.
        outputs: from (kind, call, options[0]) to tensors of the shapes that the forward pass returns.
        gradients: from (call, mask) to tensors of the shapes that the backward pass returns.

    Returns:
        The operator, from (kind, reverse, *options, *call) to (y, hn, cn, *saved).
    """
    first = 2 + len(options)  # the place of the call's tensors among the arguments
    shared = "".join(f", {option}" for option in options[1:])

    def forward(kind: str, reverse: bool, *arguments: Any) -> tuple[Tensor, ...]:
        return passes.forward(kind, Call(*arguments[len(options) :]), reverse, *arguments[: len(options)])

    def fake_forward(kind: str, reverse: bool, *arguments: Any) -> tuple[Tensor, ...]:
        return tuple(outputs(kind, Call(*arguments[len(options) :]), arguments[0]))

    def split(arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], Call, tuple[Any, ...]]:
        at = len(options) - 1
        return arguments[:at], Call(*arguments[at : at + _FIELDS]), arguments[at + _FIELDS :]

    def backward(kind: str, reverse: bool, mask: list[bool], *arguments: Any) -> list[Tensor]:
        own, call, others = split(arguments)
        others = others if passes.reads_output else others[1:]
        return _full(passes.backward(kind, call, reverse, GradientMask(*mask), *own, *others), call)

    def fake_backward(kind: str, reverse: bool, mask: list[bool], *arguments: Any) -> list[Tensor]:
        call = split(arguments)[1]
        return _full(gradients(call, GradientMask(*mask)), call)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.leading, ctx.has_c = inputs[:first], inputs[first + 2] is not None
        y, _, _, *rest = output
        ctx.save_for_backward(*inputs[first:], y, *rest)

    def differentiate(ctx: Any, d_y: Tensor | None, d_hn: Tensor | None, d_cn: Tensor | None, *_: Any) -> Any:
        kind, reverse, kept, *own = ctx.leading
        if not kept:
            raise RuntimeError(f"elman::{name} was called to keep nothing, and cannot be differentiated")
        tensors, need = ctx.saved_tensors, ctx.needs_input_grad[first:]
        mask = [need[0], *need[3:7]]
        d_cn = d_cn if ctx.has_c else None
        gradients = backward_operator(kind, reverse, mask, *own, *tensors, d_y, d_hn, d_cn)
        d_call = [d if n and t is not None else None for d, n, t in zip(gradients, need, tensors, strict=False)]
        return (*(None for _ in range(first)), *d_call, None, None)

    results = ", ".join(["Tensor"] * (3 + len(saved)))
    operator = torch.library.custom_op(
        f"elman::{name}",
        forward,
        mutates_args=(),
        schema=f"(str kind, bool reverse, {', '.join(options)}, {_CALL}) -> ({results})",
    )
    operator.register_fake(fake_forward)
    kept_tensors = ", ".join(f"Tensor {tensor}" for tensor in ("y", *saved))
    backward_operator = torch.library.custom_op(
        f"elman::{name}_backward",
        backward,
        mutates_args=(),
        schema=f"(str kind, bool reverse, bool[] mask{shared}, {_CALL}, {kept_tensors}, "
        "Tensor? d_y, Tensor? d_hn, Tensor? d_cn) -> Tensor[]",
    )
    backward_operator.register_fake(fake_backward)
    operator.register_autograd(differentiate, setup_context=keep)
    count_operator(name, len(options))
    return operator


def _full(gradients: Gradients, call: Call) -> list[Tensor]:
    return [call.x_TBI.new_empty(0) if d is None else d for d in gradients]
