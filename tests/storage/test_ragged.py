"""Ragged sequences in mapped files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import BrokenRun, DataError, RunError
from elman.storage.ragged import RaggedArrays, read_array


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.sampled_from(["u1", "i4", "f4"]), st.booleans())
def test_what_was_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list, kind: str, wide: bool
) -> None:
    folder = tmp_path_factory.mktemp("sequences")
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 200, (size, 3) if wide else (size,)).astype(kind) for size in sizes]
    written = RaggedArrays.write(folder, "input", iter(arrays))
    for found in (written, RaggedArrays.open(folder, "input"), RaggedArrays.of(arrays)):
        assert len(found) == len(sizes)
        assert found.lengths.tolist() == sizes
        for n, array in enumerate(arrays):
            assert found[n].dtype == array.dtype
            np.testing.assert_array_equal(found[n], array)
        assert found.fingerprint == written.fingerprint
    np.testing.assert_array_equal(written[-1], arrays[-1])


def test_the_fingerprint_knows_where_sequences_end() -> None:
    one, other = RaggedArrays.of([[1, 2], [3]]), RaggedArrays.of([[1], [2, 3]])
    assert one.fingerprint != other.fingerprint


def test_sequences_that_are_not_alike_are_refused(tmp_path: Path) -> None:
    for arrays in ([np.zeros((2, 3)), np.zeros((2, 4))], [np.zeros(2), np.zeros(2, int)]):
        with pytest.raises(DataError, match="sequence 1 is not like the others"):
            RaggedArrays.write(tmp_path, "input", arrays)
        with pytest.raises(DataError, match="sequence 1 is not like the others"):
            RaggedArrays.of(arrays)
    with pytest.raises(DataError, match="there are no sequences"):
        RaggedArrays.write(tmp_path, "input", [])
    assert list(tmp_path.iterdir()) == []


def test_broken_files_are_refused(tmp_path: Path) -> None:
    RaggedArrays.write(tmp_path, "input", [np.arange(4), np.arange(3)])
    ends = tmp_path / "input.ends.npy"
    np.save(ends, np.array([4, 9]))
    with pytest.raises(RunError, match=r"does not fit the values\n.*up to 7\n.*up to 9"):
        RaggedArrays.open(tmp_path, "input")
    np.save(ends, np.array([[]], np.int64))
    with pytest.raises(RunError, match="does not fit"):
        RaggedArrays.open(tmp_path, "input")
    np.save(ends, np.array([{}]), allow_pickle=True)
    with pytest.raises(RunError, match="is broken"):
        RaggedArrays.open(tmp_path, "input")
    values = tmp_path / "input.values.npy"
    values.write_bytes(values.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"values\.npy is broken"):
        RaggedArrays.open(tmp_path, "input")
    values.unlink()
    with pytest.raises(RunError, match=r"values\.npy cannot be read"):
        RaggedArrays.open(tmp_path, "input")


@pytest.mark.parametrize(
    ("place", "junk"),
    [(10, b"(("), (10, b"\xff\xff"), (6, b"\x09"), (11, b"'shape': 10**400,"), (0, b"PK\x03\x04"), (8, b"\xff\xff")],
)
def test_whatever_a_damaged_header_makes_numpy_raise_is_one_error(tmp_path: Path, place: int, junk: bytes) -> None:
    np.save(tmp_path / "x.npy", np.arange(4))
    data = bytearray((tmp_path / "x.npy").read_bytes())
    data[place : place + len(junk)] = junk
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(BrokenRun, match=r"x\.npy is broken"):
        read_array(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", ["(10000000000,)", "(-1,)", "(99999999999999999999,)", "[4]"])
def test_a_shape_that_lies_takes_no_memory(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.encode() + bytes(64))
    with pytest.raises(BrokenRun, match=r"x\.npy is broken"):
        read_array(tmp_path / "x.npy")


def test_an_archive_is_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(3))
    with pytest.raises(BrokenRun, match=r"x\.npz is broken"):
        read_array(tmp_path / "x.npz")


def test_numbers_are_within_bounds(tmp_path: Path) -> None:
    numbers = RaggedArrays.of([np.array([1.0, 5.0]), np.array([3.0])])
    assert numbers.within(1, 5)
    assert not numbers.within(2, 5) and not numbers.within(1, 4)
    assert not RaggedArrays.of([np.array([1.0, np.nan])]).within(-1e300, 1e300)


def test_ends_are_checked_in_pieces(tmp_path: Path) -> None:
    count = (1 << 16) + 3
    RaggedArrays.write(tmp_path, "x", (np.zeros(1, np.uint8) for _ in range(count)))
    assert len(RaggedArrays.open(tmp_path, "x")) == count
    ends = np.load(tmp_path / "x.ends.npy")
    ends[1 << 16] = 0
    np.save(tmp_path / "x.ends.npy", ends)
    with pytest.raises(BrokenRun, match="does not fit the values"):
        RaggedArrays.open(tmp_path, "x")
