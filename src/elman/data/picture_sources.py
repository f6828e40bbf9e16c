"""What stands for a picture: the picture itself, brought to one size, or features that were computed before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from elman.data.captions import Captioned
from elman.data.images import IMAGE_SUFFIXES, read_image
from elman.errors import DataError

TENSORS = ".safetensors"


class PictureSource(Protocol):
    """Where the numbers of a picture come from."""

    def has(self, row: Captioned) -> bool:
        """Return whether the picture is there."""

    def read(self, row: Captioned) -> NDArray[Any]:
        """Return (H, W, 3) uint8, or features (S, F) float32.

        Raises:
            DataError: it cannot be read.
        """


@dataclass(frozen=True)
class PictureFiles:
    """Picture files of any kind, mode and size, all brought to `side` x `side` pixels."""

    side: int

    def has(self, row: Captioned) -> bool:
        return row.path.is_file()

    def read(self, row: Captioned) -> NDArray[np.uint8]:
        return read_image(row.path, (self.side, self.side), colour=True)


@dataclass(frozen=True)
class FeatureFolder:
    """A folder with an array for each picture: `NAME.npy`, with or without the picture's own ending before."""

    folder: Path

    def has(self, row: Captioned) -> bool:
        return self._path(row).is_file()

    def read(self, row: Captioned) -> NDArray[np.float32]:
        return read_features(self._path(row))

    def _path(self, row: Captioned) -> Path:
        whole = self.folder / f"{row.name}.npy"
        return whole if whole.is_file() else (self.folder / row.name).with_suffix(".npy")


class FeatureFile:
    """A safetensors file with a tensor for each picture, by its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = _open(path)
        self.names = set(self.file.keys())

    def has(self, row: Captioned) -> bool:
        return row.name in self.names

    def read(self, row: Captioned) -> NDArray[np.float32]:
        return _read(f"{row.name} in {self.path}", lambda: self.file.get_tensor(row.name))


def picture_source(pictures: Path | None, side: int) -> PictureSource:
    """Return what reads the pictures: out of a safetensors file, a folder of .npy files, or picture files."""
    if pictures is not None and pictures.suffix == TENSORS:
        return FeatureFile(pictures)
    if pictures is not None and pictures.is_dir() and next(pictures.glob("*.npy"), None):
        return FeatureFolder(pictures)
    return PictureFiles(side)


def read_features(path: Path) -> NDArray[np.float32]:
    """Return the features in a file of NumPy's, (S, F).

    Raises:
        DataError: the file is broken, or holds something else.
    """
    return _read(str(path), lambda: np.load(path, allow_pickle=False))


def _read(name: str, load: Callable[[], Any]) -> NDArray[np.float32]:
    """Return (S, F) of a vector (F), places with features (S, F), or a map (F, H, W) as convolutions make it."""
    try:
        array = load()
        if (
            not isinstance(array, np.ndarray)
            or array.dtype.kind not in "fui"
            or not 1 <= array.ndim <= 3
            or not array.size
        ):
            raise ValueError(f"{getattr(array, 'dtype', 'no')} numbers of shape {getattr(array, 'shape', 'none')}")
    except Exception as error:  # a foreign file breaks in many ways
        raise DataError(
            f"the features {name} cannot be read",
            should="numbers of shape (F), (S, F) or (F, H, W)",
            found=str(error)[:200],
            hint="compute them anew",
        ) from error
    if array.ndim == 3:
        array = array.reshape(len(array), -1).T
    found = np.ascontiguousarray(array.reshape(-1, array.shape[-1]), np.float32)
    if not np.isfinite(found).all():
        raise DataError(f"the features {name} are not all finite", should="numbers", found="nan or infinity")
    return found


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(str(path), framework="numpy")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read", should="a safetensors file", found=str(error)[:200]) from error


def picture_inputs(
    inputs: Sequence[str | Path], side: int, shape: tuple[int, ...]
) -> Iterator[tuple[Path, Callable[[], NDArray[Any]]]]:
    """Yield what is to be described: files, and those of folders in the order of their names, and what reads each.

    Args:
        inputs: names of files and folders.
        side: height and width that pictures are brought to.
        shape: that a model expects: (H, W, 3) for pictures; (S, F) for features, out of .npy files.

    Raises:
        DataError: there is none. The readers raise it where a file cannot be read or has another shape.
    """
    if not inputs:
        raise DataError("there is nothing to describe", should="pictures, or folders of them", found="no input")
    suffixes = IMAGE_SUFFIXES if len(shape) == 3 else (".npy",)
    for name in inputs:
        path, files = Path(name), [Path(name)]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
            if not files:
                raise DataError(
                    f"{path} holds nothing", should=f"files that end in {', '.join(suffixes)}", found="none"
                )
        for file in files:
            yield file, partial(_read_input, file, side, shape)


def _read_input(path: Path, side: int, shape: tuple[int, ...]) -> NDArray[Any]:
    values: NDArray[Any] = read_image(path, (side, side), colour=True) if len(shape) == 3 else read_features(path)
    if values.shape != shape:
        raise DataError(f"{path} does not fit the model", should=f"shape {shape}", found=f"{values.shape}")
    return values
