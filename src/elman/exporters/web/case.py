"""A comparison: a request to the exported model, and what the original answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.exporters.stack import Array

SEED = 1

BOUND = 1e-4
"""The largest relative difference of float32 from sums in float64."""


@dataclass(frozen=True)
class WebCase:
    """A comparison.

    Attributes:
        title: which inputs, and their sizes.
        request: to the model, in types that JSON has.
        expected: what the original answers, by name.
        bound: the largest relative difference that passes.
        centre: is subtracted from the numbers before they are compared.
        unit: they are divided by it then.
    """

    title: str
    request: Mapping[str, Any]
    expected: Mapping[str, Array]
    bound: float = BOUND
    centre: float = 0.0
    unit: float = 1.0


def numbers(values: Array) -> list[Any]:
    """Return an array as nested lists; a number that is not finite is None."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    nested: list[Any] = plain(np.asarray(values).tolist())
    return nested
