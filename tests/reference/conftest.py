"""The tolerances of the judges of the reference, each with its reason."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pytest
from numpy.typing import ArrayLike

TOLERANCES = {
    # Two float64 programs that add in a different order; sizes and values here are near 1.
    "same equations": 1e-10,
    # The same products, summed in a different order only.
    "same sum": 1e-12,
    # The complex step has no difference to cancel: only rounding is left.
    "complex step": 1e-13,
    # Central differences of step 1e-5: an error of about 1e-10 from the step and 1e-11 from rounding, times the
    # third derivative and the size of the loss.
    "central difference": 1e-7,
}


class Close(Protocol):
    def __call__(self, reason: str, actual: ArrayLike, expected: ArrayLike, scale: float = 1.0) -> None: ...


@pytest.fixture(scope="session")
def close() -> Close:
    """Assert that two arrays have one shape, and differ by no more than the named tolerance allows."""

    def check(reason: str, actual: ArrayLike, expected: ArrayLike, scale: float = 1.0) -> None:
        tolerance = TOLERANCES[reason]
        assert np.shape(actual) == np.shape(expected)
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)

    return check
