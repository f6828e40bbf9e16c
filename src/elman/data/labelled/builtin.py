"""The embedded default of classification: 1797 handwritten digits of 8 x 8 pixels, which scikit-learn carries."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from elman.data.labelled.example import Example
from elman.data.labelled.pixel_scan import scan_image
from elman.errors import extra


def digits(order: str) -> Iterator[Example]:
    """Yield the digits (Alpaydin and Kaynak 1998, UCI machine learning repository), pixels from 0 to 255.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    with extra("digits", "the default data of classification"):
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    loaded: Any = load_digits()
    images = np.round(loaded.images * (255 / 16)).astype(np.uint8)
    for n, (image, label) in enumerate(zip(images, loaded.target, strict=True)):
        yield Example(f"digit {n}", partial(scan_image, image, order), str(label))
