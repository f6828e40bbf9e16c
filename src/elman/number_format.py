"""Number format: the one rounding rule of printed tables, headlines, reports and answers; JSON carries full precision.

A rounded number keeps its meaning: what is not 0, 1 or 100 % is not printed as that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

OVERFLOW = "overflow"
SMALLEST_PERCENTAGE = 1e-6  # a smaller one is in scientific notation
PLAIN = (1e-4, 1e15)  # magnitudes of measured numbers that are printed without an exponent
LARGEST_DECIMAL = 1e9  # a larger metric is in scientific notation
SIGNIFICANT = 17  # digits that tell all doubles apart
FINER = 3  # digits that are printed behind the first one of a spread


def decimal(value: float | None, decimals: int = 4) -> str:
    """Return a metric with a fixed count of decimals; None, in JSON, is one that overflowed.

    There are more of them where 1 or -1 would appear for a number that only is close to it. Scientific notation is used
    where the decimals would show less than two digits, and for numbers of ten digits and more.
    """
    if value is None:
        return OVERFLOW
    size = abs(value)
    if 0 < size < 10.0 ** (1 - decimals) or LARGEST_DECIMAL <= size < math.inf:
        return f"{value:.{max(1, decimals - 2) if size < 1 else decimals + 1}e}"
    return _distinct(value, decimals, (1.0, -1.0))


def percent(share: float | None, decimals: int = 1) -> str:
    """Return a share as a percentage, with more decimals where 0 % or 100 % would appear for a share close to it."""
    if share is None:
        return OVERFLOW
    percentage = 100 * share
    if 0 < abs(percentage) < SMALLEST_PERCENTAGE:
        return f"{percentage:.0e}%"
    return _distinct(percentage, decimals, (0.0, 100.0)) + "%"


def resolved(values: Iterable[float], spread: float) -> list[str]:
    """Return numbers, all in the same form, with the digits that tell them apart at a given spread.

    The unit of the last digit is between 1/1000 and 1/10000 of the spread, but never finer than double precision.

    Args:
        values: finite numbers.
        spread: the typical difference between such numbers, as a standard deviation; 0: unknown, six digits.
    """
    numbers = [float(value) for value in values]
    size = max(map(abs, numbers), default=0.0)
    first = math.floor(math.log10(size)) if size else 0
    last = math.floor(math.log10(spread)) - FINER if spread else first - 5
    last = max(last, first - SIGNIFICANT + 1)
    if size == 0 or PLAIN[0] <= size < PLAIN[1]:
        return [f"{number:.{max(0, -last)}f}" for number in numbers]
    return [f"{number:.{max(1, first - last)}e}" for number in numbers]


def _distinct(value: float, decimals: int, special: tuple[float, ...]) -> str:
    """Return a number with as many decimals as tell it apart from special numbers."""
    text = f"{value:.{decimals}f}"
    while value not in special and float(text) in special and decimals < SIGNIFICANT:
        decimals += 1
        text = f"{value:.{decimals}f}"
    return text
