"""Image features: pixels of one size, or features that were computed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from elman.data.captions.readers import CaptionedPicture, may_exist
from elman.data.media.files import decoding, files_of
from elman.data.media.images import IMAGE_SUFFIXES, read_image
from elman.errors import DataError

ARRAY, TENSORS = ".npy", ".safetensors"


class PictureSource(Protocol):
    """Where the numbers of a picture come from."""

    def has(self, row: CaptionedPicture) -> bool:
        """Return whether the picture is there."""

    def read(self, row: CaptionedPicture) -> NDArray[Any]:
        """Return (H, W, 3) uint8, or features (S, F) float32.

        Raises:
            DataError: it cannot be read.
        """


@dataclass(frozen=True)
class PictureFiles:
    """Picture files of any kind, mode and size, all brought to `side` x `side` pixels."""

    side: int

    def has(self, row: CaptionedPicture) -> bool:
        """Return whether the picture is there."""
        return may_exist(row.path)

    def read(self, row: CaptionedPicture) -> NDArray[np.uint8]:
        """Return the pixels, (H, W, 3)."""
        return read_image(row.path, (self.side, self.side), colour=True)


@dataclass(frozen=True)
class FeatureFolder:
    """A folder with an array for each picture: `NAME.npy`, with or without the picture's own ending before."""

    folder: Path

    def has(self, row: CaptionedPicture) -> bool:
        """Return whether the picture is there."""
        return may_exist(self._path(row))

    def read(self, row: CaptionedPicture) -> NDArray[np.float32]:
        """Return the features, (S, F)."""
        return read_image_features(self._path(row))

    def _path(self, row: CaptionedPicture) -> Path:
        whole = self.folder / f"{row.name}{ARRAY}"
        return whole if may_exist(whole) else self.folder / f"{row.name.removesuffix(Path(row.name).suffix)}{ARRAY}"


class FeatureFile:
    """A safetensors file with a tensor for each picture, by its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = _open(path)
        self.names = set(self.file.keys())

    def has(self, row: CaptionedPicture) -> bool:
        """Return whether the picture is there."""
        return row.name in self.names

    def read(self, row: CaptionedPicture) -> NDArray[np.float32]:
        """Return the features, (S, F)."""
        return self.tensor(row.name)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Return the features of a name, (S, F).

        Raises:
            DataError: they are broken.
        """
        import torch

        def load() -> NDArray[Any]:
            tensor = self.file.get_tensor(name)
            array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
            return array

        return _read(f"{name} in {self.path}", load)


def picture_source(pictures: Path | None, side: int) -> PictureSource:
    """Return what reads the pictures: out of a safetensors file, a folder of .npy files, or picture files."""
    if pictures is not None and pictures.suffix == TENSORS:
        return FeatureFile(pictures)
    if pictures is not None and pictures.is_dir() and next(pictures.glob(f"*{ARRAY}"), None):
        return FeatureFolder(pictures)
    return PictureFiles(side)


def read_image_features(path: Path) -> NDArray[np.float32]:
    """Return the features in a file of NumPy's, (S, F).

    Raises:
        DataError: the file is missing or broken, or holds something else.
    """
    with decoding(path, "features", (ARRAY,)):
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
    except Exception as error:  # an untrusted file breaks in many ways
        raise DataError(
            f"the features {name} cannot be read",
            should="numbers of shape (F), (S, F) or (F, H, W)",
            found=str(error)[:200],
            hint="compute them again",
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
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read", should="a safetensors file", found=str(error)[:200]) from error


class PictureInput(NamedTuple):
    """A picture to describe.

    Attributes:
        path: what messages call it.
        read: returns its values.
    """

    path: Path
    read: Callable[[], NDArray[Any]]


def picture_inputs(inputs: Sequence[str | Path], shape: tuple[int, ...]) -> list[PictureInput]:
    """Return what is to be described, and what reads each.

    Args:
        inputs: names of files, and of folders whose files come in the order of their names; for features also
            safetensors files, whose tensors come in the order of theirs.
        shape: that a model expects: (H, W, 3) for pictures, which are resized; (S, F) for features.

    Raises:
        DataError: there is none. The readers raise it where a file cannot be read or has another shape.
    """
    kind = "pictures" if len(shape) == 3 else "features"
    suffixes = IMAGE_SUFFIXES if kind == "pictures" else (ARRAY, TENSORS)
    if not inputs:
        raise DataError("there is nothing to describe", should=f"{kind}, or folders of them", found="no input")
    if "-" in map(str, inputs):
        raise DataError(
            f"{kind} do not come from standard input",
            should="files, or folders of them",
            found="-",
            hint="write it to a file first: cat > picture.png; or ./- for a file of that name",
        )
    read: Callable[[Path], NDArray[Any]] = partial(read_image, size=(shape[0], shape[1]), colour=True)
    if kind == "features":
        read = read_image_features
    found: list[PictureInput] = []
    for path in (file for name in inputs for file in files_of(Path(name), suffixes, kind=kind)):
        if kind == "features" and path.suffix.lower() == TENSORS:
            found += [PictureInput(at, partial(_fitting, at, shape, load)) for at, load in _tensors(path)]
        else:
            found.append(PictureInput(path, partial(_fitting, path, shape, partial(read, path))))
    return found


def _tensors(path: Path) -> list[tuple[Path, Callable[[], NDArray[Any]]]]:
    """Return the names of the tensors in a safetensors file, in order, and what reads each; a broken one is one."""
    try:
        tensors = FeatureFile(path)
        if not tensors.names:
            raise DataError(f"{path} holds nothing", should="a tensor for each picture", found="none")
    except DataError as error:
        return [(path, partial(_raise, error))]
    return [(path / name, partial(tensors.tensor, name)) for name in sorted(tensors.names)]


def _raise(error: DataError) -> NDArray[Any]:
    raise error


def _fitting(path: Path, shape: tuple[int, ...], read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    values = read()
    if values.shape != shape:
        raise DataError(f"{path} does not fit the model", should=f"shape {shape}", found=f"{values.shape}")
    return values
