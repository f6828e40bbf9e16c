"""Rows written to .npy as they come."""

from pathlib import Path

import numpy as np
import pytest

from elman.errors import DataError
from elman.storage.npy_rows import write_rows


def test_numpy_reads_what_was_written(tmp_path: Path) -> None:
    parts = [np.random.default_rng(n).normal(size=(n, 3)).astype("f4") for n in (2, 0, 5)]
    assert write_rows(tmp_path / "rows.npy", iter(parts)) == 7
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), np.concatenate(parts))


def test_no_rows_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no rows"):
        write_rows(tmp_path / "rows.npy", [])
    assert list(tmp_path.iterdir()) == []
