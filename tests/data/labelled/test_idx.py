"""IDX files, written here byte by byte as their description says."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from elman.data.labelled.example import ReaderOptions
from elman.data.labelled.idx import READER, read_idx
from elman.errors import DataError

IMAGES = np.random.default_rng(1).integers(0, 256, (3, 2, 4)).astype(np.uint8)


def idx(code: int, array: np.ndarray) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(8, IMAGES)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(8, np.array([7, 0, 7], np.uint8)))
    return tmp_path


def test_pictures_and_the_labels_beside_them(folder: Path) -> None:
    for source in (folder, folder / "train-images-idx3-ubyte.gz"):
        assert READER.takes([source])
        examples = list(READER.read([source], ReaderOptions(pixel_order="rows")))
        assert [example.label for example in examples] == ["7", "0", "7"]
        for example, image in zip(examples, IMAGES, strict=True):
            np.testing.assert_array_equal(example.load(), image)
    assert not READER.takes([folder / "other.txt"])


@pytest.mark.parametrize(("code", "kind"), [(9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_series_of_any_type_are_steps_of_numbers(tmp_path: Path, code: int, kind: str) -> None:
    series = np.arange(6).reshape(2, 3).astype(kind)
    path = tmp_path / "series-idx2-ubyte"
    path.write_bytes(idx(code, series))
    np.testing.assert_array_equal(read_idx(path), series)
    first = next(READER.read([path], ReaderOptions(labelled=False)))
    np.testing.assert_array_equal(first.load(), [[0], [1], [2]])
    assert first.label is None


def test_broken_files_are_named(folder: Path) -> None:
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(8, np.array([7, 0], np.uint8)))
    with pytest.raises(DataError, match=r"does not fit train-images.*\n.*3 labels"):
        list(READER.read([images], ReaderOptions()))
    labels.write_bytes(idx(8, np.array([7, 0, 1], np.uint8))[:-1])
    with pytest.raises(DataError, match=r"is broken\n.*11 bytes.*\n.*10 bytes"):
        list(READER.read([images], ReaderOptions()))
    labels.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is not an IDX file"):
        read_idx(labels)
    labels.unlink()
    with pytest.raises(DataError, match="has no labels beside it"):
        list(READER.read([images], ReaderOptions()))
    images.write_bytes(images.read_bytes()[:20])
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(images)


def test_a_folder_of_several_and_a_file_of_labels_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="holds labels only"):
        list(READER.read([folder / "train-labels-idx1-ubyte"], ReaderOptions()))
    (folder / "train2-images-idx3-ubyte").write_bytes(idx(8, IMAGES))
    with pytest.raises(DataError, match="holds several IDX files"):
        list(READER.read([folder], ReaderOptions()))


def test_numbers_that_are_not_finite_or_too_large_are_refused(tmp_path: Path) -> None:
    for number in (np.nan, np.inf, 1e300):
        path = tmp_path / "x-idx2-ubyte"
        path.write_bytes(bytes([0, 0, 14, 2, 0, 0, 0, 1, 0, 0, 0, 2]) + np.array([1, number], ">f8").tobytes())
        (example,) = READER.read([path], ReaderOptions(labelled=False))
        with pytest.raises(DataError, match=r"picture 0 is not all numbers\n.*finite numbers.*\n.*at place 2"):
            example.load()
