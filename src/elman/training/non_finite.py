"""Diagnosis of a loss or gradient that is not finite, by running the batch again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from elman.errors import NonFiniteError


class Autopsy(Protocol):
    """Search for the sequences of a batch whose numbers are not finite."""

    def __call__(self, model: nn.Module, again: Callable[[], Tensor]) -> str | None:
        """Return the sequences and layers as a phrase that follows "because of", or None.

        Args:
            model: the model in training mode.
            again: computes the loss of the batch again, with the same random numbers.
        """


def non_finite_error(
    model: nn.Module, again: Callable[[], Tensor], *, step: int, loss: float, norm: float | None,
    checkpoint: int | None, autopsy: Autopsy | None = None,
) -> NonFiniteError:  # fmt: skip
    """Build the error for a step, counted from 1, whose loss or gradient is infinite or not a number.

    Args:
        model: the model.
        again: computes the loss of the same batch again, with the same random numbers.
        step: the number of the step, from 1.
        loss: the loss.
        norm: the norm of the gradient, None if the loss is not finite.
        checkpoint: the step of the last checkpoint, None if there is none.
        autopsy: finds the sequences; not called if a weight is not finite, which affects all of them.
    """
    what, number = ("loss", loss) if not math.isfinite(loss) else ("gradient", norm)
    weight = broken_weight(model)
    source = weight or (first_output(model, again) if what == "loss" else last_gradient(model))
    cause = autopsy(model, again) if autopsy and not weight else None
    rest = f"; the checkpoint of step {checkpoint} is kept" if checkpoint is not None else ""
    return NonFiniteError(
        f"the {what} became {number} at step {step}, first in {source or 'the loss itself'}"
        + (f", because of {cause}" if cause else ""),
        should=f"a finite {what}",
        found=str(number),
        hint=f"--set learning_rate=... ten times smaller, or a smaller --set clip=...{rest}",
    )


def non_finite_evaluation(metric: str, value: float | None, *, step: int, checkpoint: int | None) -> NonFiniteError:
    """Build the error for an evaluation whose metric is not a finite number."""
    return NonFiniteError(
        f"{metric} became {value} in the evaluation at step {step}",
        should="a finite number",
        found=str(value),
        hint="--set learning_rate=... ten times smaller"
        + (f"; the checkpoint of step {checkpoint} is kept" if checkpoint is not None else ""),
    )


def broken_weight(model: nn.Module) -> str | None:
    """Return the first weight that is not finite, because of the update before, or None."""
    return next((f"the weight {name}" for name, w in model.named_parameters() if not is_finite(w)), None)


def first_output(model: nn.Module, again: Callable[[], Tensor]) -> str | None:
    """Return the first module whose output is not finite when the batch is run again, or None."""
    names: list[str] = []
    hooks = []
    for name, module in model.named_modules():

        def check(module: nn.Module, _: Any, output: Any, name: str = name) -> None:
            if not all(is_finite(tensor) for tensor in _tensors(output)):
                names.append(f"{name or 'the model'} ({type(module).__name__})")

        hooks.append(module.register_forward_hook(check))
    try:
        with torch.no_grad():
            again()
    finally:
        for hook in hooks:
            hook.remove()
    return names[0] if names else None


def last_gradient(model: nn.Module) -> str | None:
    """Return the last gradient that is not finite, in the order of the parameters, or None."""
    broken = [name for name, p in model.named_parameters() if p.grad is not None and not is_finite(p.grad)]
    return f"the gradient of {broken[-1]}" if broken else None


def is_finite(tensor: Tensor) -> bool:
    """Return whether every number of a tensor is finite; integers always are."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict | tuple | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _tensors(value)
