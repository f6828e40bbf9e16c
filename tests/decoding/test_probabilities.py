"""Probabilities against SciPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from elman.decoding.probabilities import refuse_nan, sigmoid, softmax
from elman.errors import NonFiniteError

ROWS = st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=4)


@given(ROWS, st.floats(0.05, 20))
def test_softmax_and_sigmoid_are_those_of_scipy(rows: list[list[float]], temperature: float) -> None:
    logits = np.array(rows)
    np.testing.assert_allclose(softmax(logits, temperature), special.softmax(logits / temperature, 1), atol=1e-15)
    np.testing.assert_allclose(sigmoid(logits, temperature), special.expit(logits / temperature), atol=1e-15)


def test_nan_is_refused_and_infinity_is_not() -> None:
    refuse_nan(torch.tensor([1.0, -torch.inf]))
    with pytest.raises(NonFiniteError, match="predicts no numbers"):
        refuse_nan(torch.tensor([1.0, torch.nan]))
