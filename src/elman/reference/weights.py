"""The weights of one layer and direction, and the check that they fit together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from elman.errors import ShapeError
from elman.reference.activations import Array
from elman.shapes import check_shape

State = tuple[Array, ...]
"""One array for each state of the cell, (B, P) for the first one and (B, H) for the others; P = H but for the LSTM
with a projection."""


class LayerWeights(NamedTuple):
    """The weights of one layer in one direction; also their gradients, with None where there is no weight.

    Attributes:
        ih: U, (G*H, I): from the input, a block of H rows for each gate.
        hh: W, (G*H, P): from the past.
        b_ih: (G*H,).
        b_hh: (G*H,).
        hr: R, (P, H): the projection, for the LSTM only.
        initial: what a reset puts each state back to, a vector each; None stands for zeros.
    """

    ih: Array
    hh: Array
    b_ih: Array | None = None
    b_hh: Array | None = None
    hr: Array | None = None
    initial: State | None = None


class CompleteWeights(NamedTuple):
    """The same with nothing missing: zero biases, zero initial states, the identity for the projection."""

    ih: Array
    hh: Array
    b_ih: Array
    b_hh: Array
    hr: Array
    initial: State


def complete(weights: LayerWeights, gates: tuple[str, ...], states: tuple[str, ...], I: int) -> CompleteWeights:
    """Fill in what `weights` leaves out.

    Raises:
        ShapeError: the weights do not fit each other, the cell, or the size `I` of the input.
    """
    hh = np.asarray(weights.hh, dtype=np.float64)
    H = check_shape("weights.hh", hh, "GP")["G"] // len(gates)
    G = len(gates) * H  # all rows: one letter for the blocks of all gates
    hr = np.eye(H) if weights.hr is None else np.asarray(weights.hr, dtype=np.float64)
    P = check_shape("weights.hr", hr, "PH", H=H)["P"]
    zeros = (np.zeros(P), *(np.zeros(H) for _ in states[1:]))
    whole = CompleteWeights(
        np.asarray(weights.ih, dtype=np.float64),
        hh,
        np.zeros(G) if weights.b_ih is None else np.asarray(weights.b_ih, dtype=np.float64),
        np.zeros(G) if weights.b_hh is None else np.asarray(weights.b_hh, dtype=np.float64),
        hr,
        zeros if weights.initial is None else as_state("weights.initial", weights.initial, states, like=zeros),
    )
    check_shape("weights.ih", whole.ih, "GI", G=G, I=I)
    check_shape("weights.hh", whole.hh, "GP", G=G, P=P)
    check_shape("weights.b_ih", whole.b_ih, "G", G=G)
    check_shape("weights.b_hh", whole.b_hh, "G", G=G)
    return whole


def as_state(name: str, state: Iterable[Array], states: tuple[str, ...], *, like: State) -> State:
    """Return `state` in float64, one array for each name in `states`, each with the shape that it has in `like`.

    Raises:
        ShapeError: their number or a shape differs.
    """
    arrays = tuple(np.asarray(s, dtype=np.float64) for s in state)
    if len(arrays) != len(states) or any(a.shape != s.shape for a, s in zip(arrays, like, strict=True)):
        raise ShapeError(
            f"{name} does not fit the cell",
            should=", ".join(f"{n} {s.shape}" for n, s in zip(states, like, strict=True)),
            found=", ".join(str(a.shape) for a in arrays),
        )
    return arrays
