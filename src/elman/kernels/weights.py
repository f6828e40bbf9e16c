"""What one layer and direction hands to a kernel beside its input and state."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Weights(NamedTuple):
    """The weights of one layer in one direction; rows in the order of `Cell.gates`, one block of H rows a gate.

    Without a projection P = H. The names are torch's: `ih` is U of the equations, `hh` is W.
    """

    ih: Tensor  # (G*H, I)
    hh: Tensor  # (G*H, P)
    b_ih: Tensor | None = None  # (G*H,)
    b_hh: Tensor | None = None  # (G*H,)
    hr: Tensor | None = None  # (P, H), LSTM projection
    initial: tuple[Tensor, ...] | None = None  # a (H,) or (P,) vector for each state; None stands for zeros
