"""Pairs in the folder of a run."""

from pathlib import Path

import numpy as np
import pytest

from elman.data.pairs.dataset import PairDataset, is_held_out
from elman.data.pairs.readers import ScoredPair
from elman.errors import RunError
from elman.storage.ragged import RaggedArrays

PAIRS = [ScoredPair("a cat", "ein Kätzchen", 4.25), ScoredPair("x", "y", -1e-7), ScoredPair("🐈", "x", 3.0)]


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    written = PairDataset.write(tmp_path, "training", iter(PAIRS))
    for found in (written, PairDataset.open(tmp_path, "training")):
        assert list(found) == PAIRS
        assert found[-1] == PAIRS[-1]
        assert len(found) == 3
        assert found.scores().tolist() == [4.25, -1e-7, 3.0]
    assert written.lengths[0] > written.lengths[1]


@pytest.mark.parametrize("row", [b"1\tone", b"x\ta\tb", b"nan\ta\tb", b"1\t\xff\tb", b"1\ta\tb\tc"])
def test_broken_rows_are_refused(tmp_path: Path, row: bytes) -> None:
    RaggedArrays.write(tmp_path, "training", [np.frombuffer(row, np.uint8)])
    with pytest.raises(RunError, match="training are broken"):
        PairDataset.open(tmp_path, "training")[0]


def test_numbers_are_no_pairs(tmp_path: Path) -> None:
    RaggedArrays.write(tmp_path, "training", [np.zeros(3)])
    with pytest.raises(RunError, match=r"are broken\n.*bytes\n.*float64"):
        PairDataset.open(tmp_path, "training")


def test_parts_depend_on_the_texts_alone() -> None:
    texts = [(f"first {n}", f"second {n}") for n in range(2000)]
    kept = [is_held_out(pair, 0.2, 1) for pair in texts]
    assert 330 < sum(kept) < 470
    assert [is_held_out(pair[::-1], 0.2, 1) for pair in texts] == kept
    assert [is_held_out(pair, 0.2, 2) for pair in texts] != kept
    assert not any(is_held_out(pair, 0.0, 1) for pair in texts)
