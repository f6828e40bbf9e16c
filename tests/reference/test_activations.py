"""The functions and their slopes: the complex step and the definition as judges."""

from __future__ import annotations

import numpy as np
import pytest

from elman.errors import SettingError
from elman.reference.activations import ACTIVATIONS, activation, sigmoid

POINTS = np.array([-700.0, -30.0, -2.5, -1e-3, 1e-3, 0.7, 2.5, 30.0, 700.0])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_is_the_derivative_of_the_value(name, close):
    f = activation(name)
    step = 1e-30
    derivative = f.value(POINTS + 1j * step).imag / step
    close("complex step", f.slope(f.value(POINTS)), derivative)


def test_values_are_those_of_the_definitions(close):
    a = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    close("same sum", activation("tanh").value(a), (np.exp(a) - np.exp(-a)) / (np.exp(a) + np.exp(-a)))
    close("same sum", activation("sigmoid").value(a), 1.0 / (1.0 + np.exp(-a)))
    assert activation("relu").value(a).tolist() == [0.0, 0.0, 0.0, 0.5, 2.0]
    assert activation("identity").value(a).tolist() == a.tolist()


def test_relu_has_no_slope_at_zero():
    relu = activation("relu")
    assert relu.slope(relu.value(np.zeros(1))).tolist() == [0.0]


def test_sigmoid_overflows_nowhere():
    assert sigmoid(np.array([-1e308, 1e308])).tolist() == [0.0, 1.0]


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(SettingError, match=r"unknown function f 'tahn'(.|\n)*did you mean 'tanh'"):
        activation("tahn")
