"""The one rounding rule: a printed number keeps its meaning, and numbers that differ look different."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.number_format import decimal, percent, resolved


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.68171, "0.6817"),
        (1.0, "1.0000"),
        (0.99999, "0.99999"),
        (-0.9999999, "-0.9999999"),
        (1.00001, "1.00001"),
        (1.2345e-7, "1.23e-07"),
        (28.7698123, "28.7698"),
        (3.4e30, "3.40000e+30"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (None, "overflow"),
    ],
)
def test_metrics(value: float | None, text: str) -> None:
    assert decimal(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0%"),
        (1.0, "100.0%"),
        (0.123, "12.3%"),
        (0.9997, "99.97%"),
        (0.99999, "99.999%"),
        (3e-7, "0.00003%"),
        (4e-30, "4e-28%"),
        (1.0003, "100.03%"),
        (math.nan, "nan%"),
        (None, "overflow"),
    ],
)
def test_shares(share: float | None, text: str) -> None:
    assert percent(share) == text


@given(st.floats(0, 1), st.integers(0, 3))
def test_only_zero_and_one_are_0_and_100_percent(share: float, decimals: int) -> None:
    shown = float(percent(share, decimals).removesuffix("%"))
    assert (shown == 0) == (share == 0)
    assert (shown == 100) == (share == 1)


@pytest.mark.parametrize(
    ("values", "spread", "texts"),
    [
        ([43.0651, -14.6], 34, ["43.07", "-14.60"]),
        ([100000004.1, 100000008.06], 4, ["100000004.100", "100000008.060"]),
        ([1.7e9 + 0.5, 1.7e9 + 20.5], 8, ["1700000000.500", "1700000020.500"]),
        ([1.01e-12, 1.02e-12], 2e-13, ["1.0100e-12", "1.0200e-12"]),
        ([1.5e160, 2e160], 1e159, ["1.5000e+160", "2.0000e+160"]),
        ([123456.7], 0, ["123457"]),
        ([0.0], 5, ["0.000"]),
        ([], 5, []),
    ],
)
def test_numbers_have_the_digits_of_their_spread(values: list[float], spread: float, texts: list[str]) -> None:
    assert resolved(values, spread) == texts


@given(st.floats(-1e200, 1e200), st.floats(1e-6, 1), st.floats(0.01, 5), st.integers(-1, 1))
def test_numbers_a_hundredth_of_the_spread_apart_look_different(
    value: float, share: float, steps: float, sign: int
) -> None:
    spread = max(abs(value), 1e-300) * share
    other = value + (sign or 1) * steps * spread
    first, second = resolved([value, other], spread)
    assert first != second
    assert abs(float(first) - value) <= spread / 1000
