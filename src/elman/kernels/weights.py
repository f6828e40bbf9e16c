"""The weights of one layer and direction, as kernels take them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Weights(NamedTuple):
    """The weights of one layer in one direction; rows in the order of `Cell.gates`, one block of H rows a gate.

    Without a projection P = H. The names are torch's: `ih` is U of the equations, `hh` is W.

    Attributes:
        ih: (G*H, I).
        hh: (G*H, P).
        b_ih: (G*H,).
        b_hh: (G*H,).
        hr: (P, H), the projection of the LSTM.
        initial: a (H,) or (P,) vector for each state; None stands for zeros.
    """

    ih: Tensor
    hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    hr: Tensor | None = None
    initial: tuple[Tensor, ...] | None = None
