"""The functions f of the equations, each with its slope.

    s = f(a)                   ds/da, written by s
    tanh(a)                    1 - s^2
    relu(a) = max(a, 0)        1 where s > 0, else 0
    sigmoid(a) = 1/(1+e^-a)    s (1 - s)
    identity(a) = a            1

Every slope can be written by the value of the function, so the backward pass needs the outputs and nothing else.
At a = 0, where relu has no slope, we take 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.errors import look_up

Array = NDArray[np.float64]


class Activation(NamedTuple):
    """A function of one number, applied to every element.

    Attributes:
        value: f(a).
        slope: f'(a), but as a function of s = f(a).
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def tanh(a: Array) -> Array:
    """Return the hyperbolic tangent, between -1 and 1."""
    return np.tanh(a)


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + exp(-a)), between 0 and 1, in a form that cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * a))


def identity(a: Array) -> Array:
    """Return `a` itself: with it the network is linear, which is the case to study first."""
    return a


def tanh_slope(s: Array) -> Array:
    """Return the slope of tanh where its value is `s`; at most 1, reached at s = 0."""
    return 1.0 - s * s


def sigmoid_slope(s: Array) -> Array:
    """Return the slope of the sigmoid where its value is `s`; at most 1/4, reached at s = 1/2."""
    return s * (1.0 - s)


ACTIVATIONS = {
    "tanh": Activation(tanh, tanh_slope),
    "relu": Activation(lambda a: np.maximum(a, 0.0), lambda s: np.where(s > 0.0, 1.0, 0.0)),
    "sigmoid": Activation(sigmoid, sigmoid_slope),
    "identity": Activation(identity, np.ones_like),
}


def activation(name: str) -> Activation:
    """Return the function with this name.

    Raises:
        SettingError: there is none.
    """
    return look_up("function f", name, ACTIVATIONS)
