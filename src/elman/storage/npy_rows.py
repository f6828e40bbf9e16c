"""Rows of numbers written to a .npy file as they come, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError
from elman.storage.files import written_beside
from elman.storage.ragged import npy_header


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
