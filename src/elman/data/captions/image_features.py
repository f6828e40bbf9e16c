"""Image features: pixels of one size, or features that were computed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.captions.readers import CaptionedPicture, may_exist
from elman.data.folders import visible_entries
from elman.data.media.files import decoding, files_of
from elman.data.media.images import IMAGE_SUFFIXES, read_image
from elman.data.notes import FileNotes
from elman.errors import DataError
from elman.storage.files import is_dir

ARRAY, TENSORS = ".npy", ".safetensors"


PictureSource = Callable[[CaptionedPicture], NDArray[Any] | None]
"""Returns the numbers of a picture, (H, W, 3) uint8 or features (S, F) float32; None where it is missing."""


class FeatureFile:
    """A safetensors file with a tensor for each picture, by its name."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        try:
            self.file: Any = safe_open(str(path), framework="pt")
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} cannot be read", should="a safetensors file", found=str(error)[:200]) from error
        self.names = set(self.file.keys())  # type: ignore[no-untyped-call]

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


def picture_source(pictures: Path | None, side: int, notes: FileNotes | None = None) -> PictureSource:
    """Return what reads the pictures: out of a safetensors file, a folder of .npy files, or picture files.

    The arrays of a folder are `NAME.npy`, with or without the picture's own ending before. Picture files are of any
    kind, mode and size, and all brought to `side` x `side` pixels; `notes` grows by what was guessed about them.
    """
    if pictures is not None and pictures.suffix == TENSORS:
        tensors = FeatureFile(pictures)
        return lambda row: tensors.tensor(row.name) if row.name in tensors.names else None
    folder = pictures if pictures is not None and _has_arrays(pictures) else None

    def read(row: CaptionedPicture) -> NDArray[Any] | None:
        if folder is None:
            return read_image(row.path, (side, side), colour=True, notes=notes) if may_exist(row.path) else None
        names = (row.name, row.name.removesuffix(Path(row.name).suffix))
        path = next((path for name in names if may_exist(path := folder / f"{name}{ARRAY}")), None)
        return None if path is None else read_image_features(path)

    return read


def _has_arrays(folder: Path) -> bool:
    return is_dir(folder) and any(path.suffix == ARRAY for path in visible_entries(folder))


def read_image_features(path: Path) -> NDArray[np.float32]:
    """Return the features in a file of NumPy's, (S, F).

    Raises:
        DataError: the file is missing or broken, or holds something else.
    """
    with decoding(path, "features", (ARRAY,)):  # mapped, so that a header cannot ask for more than the file holds
        return _read(str(path), lambda: np.array(np.load(path, mmap_mode="r", allow_pickle=False)))


def _read(name: str, load: Callable[[], Any]) -> NDArray[np.float32]:
    """Return (S, F) of a vector (F), places with features (S, F), or a map (F, H, W) as convolutions make it."""
    try:
        array = load()
        numbers = isinstance(array, np.ndarray) and array.dtype.kind in "fui"
        if not (numbers and 1 <= array.ndim <= 3 and array.size):
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


class PictureInput(NamedTuple):
    """A picture to describe.

    Attributes:
        path: what messages call it.
        read: returns its values.
    """

    path: Path
    read: Callable[[], NDArray[Any]]


def picture_inputs(
    inputs: Sequence[str | Path], shape: tuple[int, ...], notes: FileNotes | None = None
) -> list[PictureInput]:
    """Return what is to be described, and what reads each.

    Args:
        inputs: names of files, and of folders whose files come in the order of their names; for features also
            safetensors files, whose tensors come in the order of theirs.
        shape: that a model expects: (H, W, 3) for pictures, which are resized; (S, F) for features.
        notes: grows by what was guessed about pictures when they are read.

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
    pixels: Callable[[Path], NDArray[Any]] = partial(read_image, size=(shape[0], shape[1]), colour=True, notes=notes)
    read = pixels if kind == "pictures" else read_image_features
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
