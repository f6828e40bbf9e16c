"""The legend of letters, and the check that a tensor has the shape that its letters promise.

    T  time steps            B  batch (sequences)      I  input features
    H  hidden units          G  gates of a cell        L  layers
    D  directions (1 or 2)   V  vocabulary, outputs    P  projected state (LSTM with projections; else P = H)

In maths code a tensor carries its letters in its name: `x_TBI` is indexed by time, sequence and feature.
A gradient is `d_` and the name: `d_x_TBI`. At the public boundary torch's names stay: `input`, `hx`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from elman.errors import ShapeError


class HasShape(Protocol):
    """Anything with a shape: a NumPy array or a torch tensor."""

    @property
    def shape(self) -> Sequence[int]:
        """Sizes of the dimensions."""


def check_shape(name: str, tensor: HasShape, letters: str, **sizes: int) -> dict[str, int]:
    """Check `tensor` against a shape written in letters, and return the size of each letter.

    Args:
        name: what the tensor is called where the user passed it.
        tensor: anything with a `shape`.
        letters: one letter for each dimension, for example `"TBI"`.
        sizes: the letters whose size is known; the others are free.

    Raises:
        ShapeError: the number of dimensions or one of the known sizes differs.
    """
    shape = tuple(tensor.shape)
    if len(shape) != len(letters):
        raise ShapeError(f"{name} has {len(shape)} dimensions", should=_wanted(letters, sizes), found=str(shape))
    found = dict(zip(letters, shape, strict=True))
    for letter, size in sizes.items():
        if found.get(letter, size) != size:
            wrong = ", ".join(c for c in letters if c in sizes and sizes[c] != found[c])
            raise ShapeError(f"{name} has a wrong size in {wrong}", should=_wanted(letters, sizes), found=str(shape))
    return found


def _wanted(letters: str, sizes: dict[str, int]) -> str:
    return "(" + ", ".join(f"{c}={sizes[c]}" if c in sizes else c for c in letters) + ")"
