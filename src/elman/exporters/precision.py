"""Weights at the precision of an export: float32, or 8-bit integers, symmetric, with a scale for each row."""

from __future__ import annotations

import numpy as np

from elman.errors import ExportError
from elman.exporters.stack import Array

LARGEST = 127
"""The largest integer of a weight; -128 has no counterpart and is not used."""


def floats(array: Array, title: str) -> Array:
    """Return an array in float32.

    Raises:
        ExportError: a number is too large for float32, or not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.asarray(array, np.float32)
    if not np.isfinite(narrow).all():
        raise ExportError(
            f"{title} has a weight that float32 cannot hold",
            should="finite weights, of magnitudes up to 3.4e38",
            found="a weight that is infinite, not a number, or larger",
            hint="train again, with a smaller learning rate",
        )
    return narrow


def symmetric_rows(weights: Array, axis: int = 0) -> tuple[Array, Array]:
    """Return integers Q and scales s with s_i Q_ij close to the weight: the error is at most s_i / 2.

    Args:
        weights: of two dimensions.
        axis: the one along which the rows lie; 1 where each column has a scale.

    Returns:
        Q: of the shape of the weights, int8 from -127 to 127.
        s: one for each row, float32; 0 for a row of zeros.
    """
    magnitudes = np.abs(weights).max(1 - axis, initial=0.0, keepdims=True).astype(np.float64)
    scales = (magnitudes / LARGEST).astype(np.float32)
    divisors = np.where(scales > 0, scales, 1).astype(np.float64)
    integers = np.clip(np.rint(weights / divisors), -LARGEST, LARGEST)
    return integers.astype(np.int8), scales.reshape(-1)
