"""Mean and standard deviation of numbers of any magnitude, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDING = 16  # units in the last place; numbers that differ by less are one number and its rounding


def moments_of(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation over the first axis.

    Numbers are divided by a power of two and the results multiplied by it, which is exact: squares neither overflow nor
    vanish, and for numbers of ordinary size the results are those of `values.mean(0)` and `values.std(0)`.

    Args:
        values: finite numbers, (N,) or (N, K), at least one row.

    Returns:
        Two arrays of shape () or (K,). The deviation is 0 where all numbers are the same but for the rounding.
    """
    low, high = values.min(0), values.max(0)
    size = np.maximum(np.abs(low), np.abs(high))
    exponent = np.frexp(size)[1]
    scaled = np.ldexp(values, -exponent)
    mean, deviation = np.ldexp(scaled.mean(0), exponent), np.ldexp(scaled.std(0), exponent)
    constant = high / 2 - low / 2 <= ROUNDING / 2 * np.spacing(size)
    return mean, np.where(constant, 0.0, deviation)
