"""Pictures as sequences."""

import numpy as np
import pytest

from elman.data.labelled.pixel_scan import scan_image
from elman.errors import DataError, SettingError

IMAGE = np.arange(12, dtype=np.uint8).reshape(3, 4)


def test_rows_and_pixels() -> None:
    np.testing.assert_array_equal(scan_image(IMAGE, "rows"), IMAGE)
    np.testing.assert_array_equal(scan_image(IMAGE, "pixels")[:, 0], np.arange(12))
    assert scan_image(IMAGE, "pixels").dtype == np.uint8


def test_a_permutation_is_the_same_for_every_picture() -> None:
    first, second = scan_image(IMAGE, "permuted"), scan_image(IMAGE + 100, "permuted")
    assert sorted(first[:, 0]) == list(range(12))
    assert first[:, 0].tolist() != list(range(12))
    np.testing.assert_array_equal(first + 100, second)


def test_colours_stay_together() -> None:
    coloured = np.stack([IMAGE, IMAGE + 20, IMAGE + 40], 2)
    assert scan_image(coloured, "rows").shape == (3, 12)
    np.testing.assert_array_equal(scan_image(coloured, "pixels")[5], [5, 25, 45])


def test_auto_reads_small_pictures_by_pixels_and_large_ones_by_rows() -> None:
    assert scan_image(np.zeros((16, 16)), "auto").shape == (256, 1)
    assert scan_image(np.zeros((16, 17)), "auto").shape == (16, 17)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(DataError, match="a wrong shape"):
        scan_image(np.zeros(3), "rows")
    with pytest.raises(SettingError, match=r"unknown order of pixels 'pixel'.*\n.*\n.*\n.*'pixels'"):
        scan_image(IMAGE, "pixel")
