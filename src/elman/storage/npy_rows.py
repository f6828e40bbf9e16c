"""Rows of numbers appended to a .npy file, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import BrokenRun
from elman.storage.ragged import growing_array, read_array


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


def read_rows(path: Path, count: int) -> NDArray[np.float32]:
    """Map the rows that `write_rows` wrote, (count, F).

    Raises:
        RunError: the file is missing or broken, or has another number of rows.
    """
    rows_NF: NDArray[np.float32] = read_array(path)
    if rows_NF.ndim != 2 or len(rows_NF) != count or rows_NF.dtype != "f4":
        raise BrokenRun(
            f"{path} does not fit the vocabulary",
            should=f"{count} vectors",
            found=f"{rows_NF.dtype} of shape {rows_NF.shape}",
        )
    return rows_NF
