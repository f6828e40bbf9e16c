"""Checks of a layer's arguments; a message begins with torch's, where torch has one."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from elman.errors import SettingError, ShapeError
from elman.shapes import check_shape


class ArgumentTypeError(SettingError, TypeError):
    """An argument of a wrong type. It is a TypeError too, as torch raises it."""


def check_size(name: str, size: object) -> int:
    """Return a size as a plain integer of 1 or more.

    Raises:
        ArgumentTypeError: it is no integer.
        SettingError: it is less than 1.
    """
    number = _integer(name, size)
    if number < 1:
        should = "an integer of 1 or more"
        raise SettingError(f"{name} must be greater than zero", should=should, found=repr(size))
    return number


def check_projection(proj_size: object, hidden_size: int) -> int:
    """Return the size of a projection as a plain integer from 0 to `hidden_size` - 1.

    Raises:
        ArgumentTypeError: it is no integer.
        SettingError: it is out of these limits.
    """
    number = _integer("proj_size", proj_size)
    should = f"an integer from 0 to {hidden_size - 1}"
    if number < 0:
        what = "proj_size should be a positive integer or zero to disable projections"
        raise SettingError(what, should=should, found=repr(proj_size))
    if number >= hidden_size:
        raise SettingError("proj_size has to be smaller than hidden_size", should=should, found=repr(proj_size))
    return number


def refuse_projection(proj_size: object) -> None:
    """Refuse the size of a projection for a layer that has none.

    Raises:
        SettingError: there is one.
    """
    if proj_size is not None:
        what = "proj_size argument is only supported for LSTM, not RNN or GRU"
        raise SettingError(what, should="no proj_size", found=f"proj_size={proj_size!r}", hint="elman.LSTM")


def _integer(name: str, size: object) -> int:
    try:
        if isinstance(size, bool):
            raise TypeError
        return operator.index(size)  # type: ignore[arg-type]
    except TypeError:
        what = f"{name} should be of type int, got: {type(size).__name__}"
        raise ArgumentTypeError(what, should="an integer", found=repr(size)) from None


def check_bool(name: str, value: object) -> bool:
    """Return a boolean.

    Raises:
        ArgumentTypeError: it is none.
    """
    if isinstance(value, bool):
        return value
    hint = "name the arguments, such as dropout=0.5" if isinstance(value, float) else None
    what = f"{name} should be of type bool, got: {type(value).__name__}"
    raise ArgumentTypeError(what, should="True or False", found=repr(value), hint=hint)


def check_dropout(layer: object, dropout: Any, num_layers: int) -> float:
    """Return the probability of dropping as a plain number, and warn where a single layer has nothing to drop.

    The warning points to the line that builds `layer`, whose `__init__` asks.

    Raises:
        SettingError: it is no number from 0 to 1.
    """
    is_number = isinstance(dropout, Real) and not isinstance(dropout, bool)
    if not is_number or not 0 <= dropout <= 1:
        what = "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        raise SettingError(what, should="a number from 0 to 1", found=repr(dropout))
    if dropout > 0 and num_layers == 1:
        message = (
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}"
        )
        level, frame = 2, sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_name == "__init__" and frame.f_locals["self"] is layer:
            level, frame = level + 1, frame.f_back
        warnings.warn(message, stacklevel=level)
    return float(dropout)


def check_lengths(lengths: Tensor | Sequence[int], T: int, B: int) -> Tensor:
    """Return lengths as a (B,) tensor of int64.

    Raises:
        ShapeError: another shape or type, or a length outside 0 to T.
    """
    lengths_B = torch.as_tensor(lengths)
    check_shape("lengths", lengths_B, "B", B=B)
    integers = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    if B and lengths_B.dtype not in integers:
        raise ShapeError("lengths are not integers", should="torch.int64", found=str(lengths_B.dtype))
    lengths_B = lengths_B.to(torch.int64)
    # A compiled graph cannot look at values; there the caller answers for them.
    if B and not torch.compiler.is_compiling():
        low, high = int(lengths_B.min()), int(lengths_B.max())
        if low < 0 or high > T:
            raise ShapeError("lengths do not fit the input", should=f"0 to T = {T}", found=f"{low} to {high}")
    return lengths_B


def check_input(layer: str, input: Tensor, features: int, batch_first: bool, resets: Tensor | None) -> None:
    """Check the shape of a layer's input, and that of the resets beside it.

    Args:
        layer: the name of its class.
        input: (T, I), or (T, B, I) or (B, T, I).
        features: I.
        batch_first: which of the two.
        resets: booleans of the shape of the input without I, or None.

    Raises:
        ShapeError: one of them has another shape or type.
    """
    if not isinstance(input, Tensor):
        raise ShapeError("input is not a tensor", should="a torch.Tensor", found=type(input).__name__)
    dimensions = input.dim()
    letters = "TI" if dimensions == 2 else "BTI" if batch_first else "TBI"
    if dimensions != len(letters) or input.shape[-1] != features:
        what = f"{layer}: Expected input to be 2D or 3D, got {dimensions}D instead"
        if dimensions == len(letters):
            expected = f"Expected {features}, got {input.shape[-1]}"
            what = f"input.size(-1) must be equal to input_size. {expected}"
        should = f"({', '.join([*letters[:-1], f'I={features}'])})"
        raise ShapeError(what, should=should, found=str(tuple(input.shape)))
    if resets is None:
        return
    if not isinstance(resets, Tensor) or resets.dtype != torch.bool:
        found = str(resets.dtype) if isinstance(resets, Tensor) else type(resets).__name__
        raise ShapeError("resets are not booleans", should="a tensor of torch.bool", found=found, hint="resets != 0")
    check_shape("resets", resets, letters[:-1], **dict(zip(letters[:-1], input.shape, strict=False)))


def check_state_shape(
    states: tuple[str, ...], state: tuple[Tensor, ...], shapes: list[tuple[int, ...]], batched: bool
) -> None:
    """Check the shapes of a state.

    Args:
        states: names of the cell's states.
        state: a tensor for each.
        shapes: that each should have.
        batched: whether they have a dimension B.

    Raises:
        ShapeError: one has another shape.
    """
    if all(tensor.shape == shape for tensor, shape in zip(state, shapes, strict=True)):
        return
    letters = "(L*D, B, H)" if batched else "(L*D, H)"
    should = ", ".join(f"{name} {letters} = {shape}" for name, shape in zip(states, shapes, strict=True))
    found = ", ".join(str(tuple(tensor.shape)) for tensor in state)
    dimensions = 3 if batched else 2
    if any(tensor.dim() != dimensions for tensor in state):
        kind = f"For {'batched 3-D' if batched else 'unbatched 2-D'} input, hx"
        if len(state) == 1:
            what = f"{kind} should also be {dimensions}-D but got {state[0].dim()}-D tensor"
        else:
            sizes = ", ".join(f"{tensor.dim()}-D" for tensor in state)
            what = f"{kind} and cx should also be {dimensions}-D but got ({sizes}) tensors"
        raise ShapeError(what, should=should, found=found)
    k = next(k for k, (tensor, shape) in enumerate(zip(state, shapes, strict=True)) if tensor.shape != shape)
    name = "hidden" if len(state) == 1 else f"hidden[{k}]"
    # Torch gives a single sequence its batch of one before it checks.
    expected, actual = (shape if batched else (shape[0], 1, *shape[1:]) for shape in (shapes[k], tuple(state[k].shape)))
    raise ShapeError(f"Expected {name} size {expected}, got {list(actual)}", should=should, found=found)


def check_type(name: str, tensor: Tensor, weight: Tensor) -> None:
    """Check that a tensor has the type of the weights, unless autocast is on.

    Raises:
        ShapeError: it has another.
    """
    if tensor.dtype == weight.dtype or torch.is_autocast_enabled(tensor.device.type):
        return
    what = (
        f"RNN {name} dtype ({tensor.dtype}) does not match weight dtype ({weight.dtype}). "
        f"Convert input: input.to({weight.dtype}), or convert model: model.to({tensor.dtype})"
    )
    hint = f"{name.split()[0]}.to({weight.dtype})"
    raise ShapeError(what, should=str(weight.dtype), found=str(tensor.dtype), hint=hint)
