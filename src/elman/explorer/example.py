"""The network of the reference as data of the page: one that was given, or the example of the lesson."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from elman.reference.network import Network, bptt, errors, forward

WORD = "hello"
UNITS, STEPS, RATE, SEED = 3, 20, 0.4, 4
"""Training ends when the word is right, while the errors can still be seen."""


def network_data(
    network: Network, x_TI: Any, y_TV: Any, *, symbols: list[str] | None = None, word: str = ""
) -> dict[str, Any]:
    """Return a network with its sequence as data of the page, and its error for comparison.

    Raises:
        DataError: the targets do not fit the error of the network.
        ShapeError: the sequence does not fit the network.
    """
    x_T1I, y_T1V = (np.asarray(array, dtype=np.float64)[:, None] for array in (x_TI, y_TV))
    tape = forward(network, x_T1I)
    total = float(errors(network, tape, y_T1V).sum())
    (H, I), V = network.U_HI.shape, len(network.V_VH)
    b = np.zeros(H) if network.b_H is None else network.b_H
    c = np.zeros(V) if network.c_V is None else network.c_V
    parameters = {"U": network.U_HI, "W": network.W_HH, "b": b, "V": network.V_VH, "c": c}
    return {
        "network": {
            "cell": f"rnn_{network.f}", "g": network.g, "error": network.error, "sizes": {"I": I, "H": H, "V": V},
            "parameters": {name: np.ravel(p).tolist() for name, p in parameters.items()},
            "initial": [[0.0] * H], "x": x_T1I[:, 0].tolist(), "y": y_T1V[:, 0].tolist(),
            "symbols": symbols, "word": word,
        },
        "check": {"error": total},
    }  # fmt: skip


@cache
def example() -> dict[str, Any]:
    """Return the network that spells a word, trained a little by backpropagation through time."""
    symbols = list(dict.fromkeys(WORD))
    codes = np.eye(len(symbols))[[symbols.index(letter) for letter in WORD]]
    x_TI, y_TV, V = codes[:-1], codes[1:], len(symbols)
    rng = np.random.default_rng(SEED)
    parts: list[Any] = [rng.normal(scale=0.5, size=shape) for shape in ((UNITS, V), (UNITS, UNITS), (V, UNITS))]
    parts += [np.zeros(UNITS), np.zeros(V)]
    for _ in range(STEPS):
        network = Network(*parts)
        d = bptt(network, forward(network, x_TI[:, None]), y_TV[:, None])
        parts = [p - RATE * np.asarray(slope) for p, slope in zip(parts, d[:5], strict=True)]
    return network_data(Network(*[p.round(2) for p in parts]), x_TI, y_TV, symbols=symbols, word=WORD)
