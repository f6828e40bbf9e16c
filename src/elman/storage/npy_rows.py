"""Rows of numbers written to a .npy file as they come, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import AGAIN, DataError, RunError
from elman.storage.files import written_beside
from elman.storage.ragged import npy_header, read_array


def write_rows(path: Path, parts: Iterable[NDArray[Any]]) -> int:
    """Write arrays, each (n, F), one below the other into one array (N, F), and return N.

    Raises:
        DataError: there is no row.
        RunError: the file cannot be written.
    """
    first, count = None, 0
    with written_beside(path) as file:
        for part in parts:
            part = np.ascontiguousarray(part)
            if first is None:
                first = part[:0]
                file.write(npy_header(first, 0))
            file.write(part.data)
            count += len(part)
        if first is None:
            raise DataError("there is nothing to write", should="at least one row", found="none")
        file.seek(0)
        file.write(npy_header(first, count))
    return count


def read_rows(path: Path, count: int) -> NDArray[np.float32]:
    """Map the rows that `write_rows` wrote, (count, F).

    Raises:
        RunError: the file is missing or broken, or has another number of rows.
    """
    rows_NF: NDArray[np.float32] = read_array(path)
    if rows_NF.ndim != 2 or len(rows_NF) != count or rows_NF.dtype != "f4":
        raise RunError(
            f"{path} does not fit the vocabulary",
            should=f"{count} vectors",
            found=f"{rows_NF.dtype} of shape {rows_NF.shape}",
            hint=AGAIN,
        )
    return rows_NF
