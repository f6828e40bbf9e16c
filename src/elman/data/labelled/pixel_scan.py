"""Pictures as sequences: row by row, pixel by pixel, or pixel by pixel in a fixed random order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError, unknown_name

SMALL = 256
"""Pixels up to which `scan_auto` reads a picture pixel by pixel; a larger one is read row by row."""

Image = NDArray[Any]


def scan_rows(image: Image) -> Image:
    """Return (H, W * C): a step is a row."""
    return image.reshape(len(image), -1)


def scan_pixels(image: Image) -> Image:
    """Return (H * W, C): a step is a pixel, row after row."""
    return image.reshape(image.shape[0] * image.shape[1], -1)


def scan_permuted(image: Image) -> Image:
    """Return (H * W, C) in a fixed random order: neighbours are far apart (Le, Jaitly and Hinton 2015)."""
    steps = scan_pixels(image)
    return steps[np.random.Generator(np.random.Philox(key=1504)).permutation(len(steps))]


def scan_auto(image: Image) -> Image:
    """Return small pictures pixel by pixel, and others row by row."""
    return scan_pixels(image) if image.shape[0] * image.shape[1] <= SMALL else scan_rows(image)


ORDERS: dict[str, Callable[[Image], Image]] = {
    "auto": scan_auto,
    "rows": scan_rows,
    "pixels": scan_pixels,
    "permuted": scan_permuted,
}


def scan_image(image: Image, order: str) -> Image:
    """Return a picture (H, W) or (H, W, C) as a sequence (T, I) of the same type.

    Raises:
        SettingError: there is no such order.
        DataError: the picture is none.
    """
    if order not in ORDERS:
        raise unknown_name("order of pixels", order, ORDERS)
    if image.ndim not in (2, 3) or image.size == 0:
        raise DataError("a picture has a wrong shape", should="(H, W) or (H, W, colours)", found=str(image.shape))
    return np.ascontiguousarray(ORDERS[order](image))
