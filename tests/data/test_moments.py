"""Mean and standard deviation of numbers of any magnitude."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.moments import moments_of


@pytest.mark.parametrize("size", [1e-200, 1e-12, 1.0, 1e30, 1e160, 1e307])
def test_numbers_of_any_magnitude(size: float) -> None:
    mean, deviation = moments_of(np.array([1.0, 2.0, 6.0]) * size)
    np.testing.assert_allclose([mean / size, deviation / size], [3.0, np.sqrt(14 / 3)], rtol=1e-14)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40))
def test_ordinary_numbers_have_the_moments_of_numpy_to_the_bit(values: list[float]) -> None:
    numbers = np.array(values)
    mean, deviation = moments_of(numbers)
    assert mean == numbers.mean()
    assert deviation == numbers.std() or (deviation == 0 and np.ptp(numbers) <= 16 * np.spacing(numbers.max()))


@pytest.mark.parametrize("value", [0.0, 0.1, 1.7e9, -1e-30, 1e300])
def test_one_number_and_its_rounding_do_not_move(value: float) -> None:
    assert moments_of(np.full(96, value))[1] == 0
    assert moments_of(np.array([value, np.nextafter(value, 1), value]))[1] == 0


def test_a_large_common_part_is_taken_off_first() -> None:
    np.testing.assert_allclose(moments_of(1.7e9 + np.array([0, 1e-3, 2e-3]))[1], np.sqrt(2 / 3) * 1e-3, rtol=1e-3)


def test_columns_have_moments_of_their_own() -> None:
    values = np.array([[1e160, 1e-160, 5.0], [3e160, 3e-160, 5.0]])
    mean, deviation = moments_of(values)
    np.testing.assert_allclose(mean, [2e160, 2e-160, 5.0])
    np.testing.assert_allclose(deviation, [1e160, 1e-160, 0.0])
