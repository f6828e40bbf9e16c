"""Weights as 8-bit integers: symmetric, with a scale for each row."""

from __future__ import annotations

import numpy as np

from elman.exporters.stack import Array

LARGEST = 127
"""The largest integer of a weight; -128 has no counterpart and is not used."""


def symmetric_rows(weights: Array) -> tuple[Array, Array]:
    """Return integers Q and scales s with s_i Q_ij close to the weight: the error is at most s_i / 2.

    Args:
        weights: (rows, columns).

    Returns:
        Q: (rows, columns), int8 from -127 to 127.
        s: (rows,), float32; 0 for a row of zeros.
    """
    magnitudes = np.abs(weights).max(1, initial=0.0).astype(np.float64)
    scales = (magnitudes / LARGEST).astype(np.float32)
    divisors = np.where(scales > 0, scales, 1).astype(np.float64)
    integers = np.clip(np.rint(weights / divisors[:, None]), -LARGEST, LARGEST)
    return integers.astype(np.int8), scales
