"""Rows of numbers appended to a .npy file, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from elman.storage.ragged import growing_array


def write_rows(path: Path, parts: Iterable[NDArray[Any]]) -> int:
    """Write arrays, each (n, F), one below the other into one array (N, F), and return N.

    Raises:
        DataError: there is no row, or an array is not like the first.
        RunError: the file cannot be written.
    """
    count = 0
    with growing_array(path, "row") as append:
        for part in parts:
            count = append(part)
    return count
