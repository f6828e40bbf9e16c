"""The output function g, the error E_t, and the pairs of the two that make sense.

With a = V s + c, o = g(a) and the target y, all at one step of one sequence:

    g         o                    error                 E_t                                  dE_t/da
    softmax   e^a / sum e^a        cross-entropy         - sum y log o                        o - y
    sigmoid   1 / (1 + e^-a)       binary cross-entropy  - sum y log o + (1 - y) log(1 - o)   o - y
    identity  a                    squared error         1/2 sum (o - y)^2                    o - y
    sigmoid   1 / (1 + e^-a)       squared error         1/2 sum (o - y)^2                    (o - y) o (1 - o)
    softmax   e^a / sum e^a        squared error         1/2 sum (o - y)^2                    o (d - sum o d), d = o - y

The sums run over the V outputs. The first three are the natural pairs: the slope of the error and the slope of g
cancel, and what is left is the difference between output and target. Squared error behind a sigmoid or a softmax
(there it is half the Brier score) is legal, but a confident mistake has next to no gradient. Cross-entropy needs
probabilities: behind the identity it is the logarithm of any number, and is refused; so are its two kinds with the
wrong g.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from elman.errors import DataError, SettingError, unknown_name
from elman.reference.activations import Array, identity, sigmoid, sigmoid_slope


def softmax(a: Array) -> Array:
    """Return e^a / sum e^a over the last axis; the largest entry is taken out first, so that nothing overflows."""
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def cross_entropy(a: Array, o: Array, y: Array) -> Array:
    """Return - sum y log softmax(a), from `a` and not from `o`: the logarithm of a small o would lose its digits."""
    top = a.max(axis=-1, keepdims=True)
    log_sum = top + np.log(np.exp(a - top).sum(axis=-1, keepdims=True))
    return np.asarray((y * (log_sum - a)).sum(axis=-1))


def binary_cross_entropy(a: Array, o: Array, y: Array) -> Array:
    """Return - sum y log o + (1 - y) log(1 - o), which for o = sigmoid(a) is sum log(1 + e^a) - y a."""
    return np.asarray((np.logaddexp(0.0, a) - y * a).sum(axis=-1))


def squared_error(a: Array, o: Array, y: Array) -> Array:
    """Return half the squared distance; the half makes the slope o - y."""
    return np.asarray(0.5 * ((o - y) ** 2).sum(axis=-1))


def difference(o: Array, y: Array) -> Array:
    """Return dE/da of the three natural pairs."""
    return o - y


def sigmoid_squared(o: Array, y: Array) -> Array:
    """Return dE/da of the squared error behind a sigmoid."""
    return (o - y) * sigmoid_slope(o)


def softmax_squared(o: Array, y: Array) -> Array:
    """Return dE/da of the squared error behind a softmax, whose Jacobian is do_i/da_j = o_i (1[i=j] - o_j)."""
    d_o = o - y
    return np.asarray(o * (d_o - (o * d_o).sum(axis=-1, keepdims=True)))


class OutputLoss(NamedTuple):
    """An output function with an error that fits it.

    Attributes:
        output: o = g(a).
        error: E_t from (a, o, y), summed over the outputs.
        slope: dE_t/da from (o, y).
    """

    output: Callable[[Array], Array]
    error: Callable[[Array, Array, Array], Array]
    slope: Callable[[Array, Array], Array]


OUTPUT_LOSSES = {
    ("softmax", "cross-entropy"): OutputLoss(softmax, cross_entropy, difference),
    ("sigmoid", "binary cross-entropy"): OutputLoss(sigmoid, binary_cross_entropy, difference),
    ("identity", "squared error"): OutputLoss(identity, squared_error, difference),
    ("sigmoid", "squared error"): OutputLoss(sigmoid, squared_error, sigmoid_squared),
    ("softmax", "squared error"): OutputLoss(softmax, squared_error, softmax_squared),
}


def output_loss(g: str, error: str) -> OutputLoss:
    """Return the pair with these names.

    Raises:
        SettingError: a name is unknown, or the two do not fit each other.
    """
    outputs, errors = {g for g, _ in OUTPUT_LOSSES}, {e for _, e in OUTPUT_LOSSES}
    if g not in outputs:
        raise unknown_name("output function g", g, outputs)
    if error not in errors:
        raise unknown_name("error", error, errors)
    if (g, error) not in OUTPUT_LOSSES:
        fitting = [e for o, e in OUTPUT_LOSSES if o == g]
        raise SettingError(
            f"{error} does not fit the output function {g}",
            should=" or ".join(f"{g} with {e}" for e in fitting),
            found=f"{g} with {error}",
            hint=f"error={fitting[0]!r}",
        )
    return OUTPUT_LOSSES[g, error]


def check_targets(error: str, y_TBV: Array) -> None:
    """Check that the targets are what the error takes them for; its slope is true for no others.

    Raises:
        DataError: a target of a cross-entropy is no probability, or no distribution.
    """
    if error == "squared error" or y_TBV.size == 0:
        return
    if y_TBV.min() < 0.0 or y_TBV.max() > 1.0:
        raise DataError(
            f"the targets of a {error} must be probabilities",
            should="every target between 0 and 1",
            found=f"targets between {y_TBV.min():g} and {y_TBV.max():g}",
            hint="error='squared error' takes any number",
        )
    sums = y_TBV.sum(axis=-1)
    if error == "cross-entropy" and not np.allclose(sums, 1.0, rtol=0.0, atol=1e-12):
        raise DataError(
            "the targets of a cross-entropy must be distributions",
            should="the V targets of a step add up to 1",
            found=f"sums between {sums.min():g} and {sums.max():g}",
            hint="np.eye(V)[classes_TB] makes them from class numbers",
        )
