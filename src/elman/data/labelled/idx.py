"""IDX files, as MNIST ships them: one file of pictures or series, and one of labels beside it.

The format: two zero bytes, a byte for the type of the numbers, a byte for the number of dimensions, the sizes as
big-endian 32-bit numbers, the values. (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.compressed import check_expansion, opened, read_errors
from elman.data.folders import visible_entries
from elman.data.labelled.example import Example, Reader, ReaderOptions, Values
from elman.data.labelled.pixel_scan import scan_image
from elman.data.labelled.ts_archive import parse_numbers
from elman.errors import DataError
from elman.storage.files import exists, is_dir

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"[-.]idx(\d)([-.]ubyte)?(\.gz)?$")


def _accepts(sources: Sequence[Path]) -> bool:
    """Return whether the sources are IDX files, or one folder with some."""
    if len(sources) == 1 and is_dir(sources[0]):
        return bool(_values_in(sources[0]))
    return bool(sources) and all(_NAME.search(path.name) for path in sources)


def _read(sources: Sequence[Path], reading: ReaderOptions) -> Iterator[Example]:
    """Yield the examples of IDX files; of a folder those of its training file."""
    paths = [_training(path) if is_dir(path) else path for path in sources]
    values_of = [path for path in paths if not _is_labels(path)]
    if not values_of:
        raise DataError(
            f"{paths[0]} holds labels only",
            should="the file of the pictures, whose labels lie beside it",
            found=paths[0].name,
            hint="name the file with more than one dimension, such as train-images-idx3-ubyte",
        )
    for path in values_of:
        yield from _examples(path, reading)


def _examples(path: Path, reading: ReaderOptions) -> Iterator[Example]:
    values, labels = read_idx(path), None
    beside = _labels_of(path)
    if exists(beside):
        labels = read_idx(beside)
        if labels.ndim != 1 or len(labels) != len(values):
            raise DataError(
                f"{beside} does not fit {path.name}", should=f"{len(values)} labels", found=f"{labels.shape} labels"
            )
    elif reading.labelled:
        raise DataError(f"{path} has no labels beside it", should=str(beside), found="nothing there")
    for n in range(len(values)):
        label = None if labels is None else str(labels[n])
        name = f"{path.name}, picture {n}"
        yield Example(name, partial(_sequence, name, values[n], reading.pixel_order), label)


def _sequence(name: str, item: NDArray[Any], order: str) -> Values:
    if item.dtype == np.uint8:
        item = scan_image(item, order) if item.ndim == 2 else item.reshape(len(item), *item.shape[1:] or (1,))
        return np.asarray(item)
    return parse_numbers(name, item.reshape(-1)).reshape(len(item), -1)


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array of an IDX file, which may be compressed by gzip.

    Raises:
        DataError: it cannot be read, is truncated, or is not an IDX file.
    """
    should, hint = "an IDX file", "get it again"
    with read_errors(path, should, hint=hint), path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    with opened(path, should, hint=hint, compressed=compressed) as file:
        head = file.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not head[3]:
            raise DataError(f"{path} is not an IDX file", should="two zero bytes, a type, dimensions", found=repr(head))
        shape = np.frombuffer(file.read(4 * head[3]), ">u4").tolist()
        dtype = np.dtype(TYPES[head[2]])
        size = math.prod(shape) * dtype.itemsize
        if len(shape) < head[3]:
            raise DataError(f"{path} is broken", should=f"{head[3]} sizes", found=str(len(shape)), hint=hint)
        start, present = 4 + 4 * head[3], path.stat().st_size
        if compressed:
            check_expansion(path, start + size, present)
        raw = file.read(size + 1) if compressed or present == start + size else b""
        present = start + len(raw) if compressed else present
    if len(raw) != size or present != start + size:
        raise DataError(
            f"{path} is broken",
            should=f"{start + size} bytes for {tuple(shape)}",
            found=f"{present} bytes{' or more' if len(raw) > size else ''}",
            hint=hint,
        )
    with read_errors(path, should, hint=hint):  # sizes and numbers of dimensions that NumPy does not have
        array: NDArray[Any] = np.frombuffer(raw, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _is_labels(path: Path) -> bool:
    found = _NAME.search(path.name)
    return found is not None and found[1] == "1"


def _values_in(folder: Path) -> list[Path]:
    return [path for path in visible_entries(folder) if _NAME.search(path.name) and not _is_labels(path)]


def _training(folder: Path) -> Path:
    found = _values_in(folder)
    training = [path for path in found if "train" in path.name.lower()]
    chosen = training if len(found) > 1 else found
    if len(chosen) != 1:
        raise DataError(
            f"{folder} holds several IDX files",
            should="one of pictures, or one whose name has train in it",
            found=", ".join(path.name for path in found),
            hint="name the file instead of the folder",
        )
    return chosen[0]


def _labels_of(path: Path) -> Path:
    name = _NAME.sub(lambda found: found[0].replace(f"idx{found[1]}", "idx1"), path.name)
    beside = path.with_name(name.replace("images", "labels"))
    if exists(beside):
        return beside
    other = beside.with_suffix("") if beside.suffix == ".gz" else beside.with_name(f"{beside.name}.gz")
    return other if exists(other) else beside


READER = Reader("IDX files", _accepts, _read)
