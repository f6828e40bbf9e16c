"""Brightness of more than eight bits or of floats, as eight bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError

LOW = 16
"""The highest of floats that are too large for a scale from 0 to 1, and too small for one from 0 to 255."""


class Scale(NamedTuple):
    """What a file says about its brightness.

    Attributes:
        bits: of a value; 0: nothing is said.
        inverted: whether zero is white.
    """

    bits: int = 0
    inverted: bool = False


def eight_bits(path: Path, values: NDArray[Any], scale: Scale, remarks: list[str]) -> NDArray[np.uint8]:
    """Return brightness as 0 to 255: whole numbers by their upper bits, floats as 0 to 1 if none is more.

    Args:
        path: the file, for messages.
        values: (H, W) whole numbers or floats.
        scale: what the file says about them.
        remarks: grows by what was guessed.

    Raises:
        DataError: there are values outside of the scale, or the scale is unclear.
    """
    if scale.inverted:
        raise _invalid(path, "zero as black", "zero as white")
    if values.dtype.kind == "f":
        return _of_floats(path, values, remarks)
    white, step = (4095, 16) if scale.bits == 12 else (65535, 257)
    _check(path, values, white)
    highest = values.max()
    if scale.bits == 32 and 0 < highest <= 255:
        raise _invalid(path, "whole numbers of 32 bits up to 65535", f"none above {highest}")
    if 0 < highest < step:
        remarks.append(f"16-bit image without a value above {step - 1}, read as black")
    return (values // step).astype(np.uint8)


def _of_floats(path: Path, values: NDArray[Any], remarks: list[str]) -> NDArray[np.uint8]:
    _check(path, values, 255)
    highest = values.max()
    if highest <= 1:
        remarks.append("image of floats, read as brightness from 0 to 1")
        scaled: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
        return scaled
    if highest < LOW and (values != np.floor(values)).any():
        raise _invalid(path, "floats from 0 to 1, or from 0 to 255", f"{values.min():g} to {highest:g}")
    remarks.append("image of floats, read as brightness from 0 to 255")
    return values.astype(np.uint8)


def _check(path: Path, values: NDArray[Any], white: int) -> None:
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= white):
        raise _invalid(path, f"0 to {white}, for {values.dtype}", f"{values.min()} to {values.max()}")


def _invalid(path: Path, should: str, found: str) -> DataError:
    return DataError(
        f"{path} has invalid brightness values", should=should, found=found, hint="save it with eight bits"
    )
