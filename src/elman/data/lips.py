"""Lips: the part of a video that moves, as a few numbers a frame, by principal components ("eigenlips")."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from elman.data.files import write_json
from elman.data.sequences import Sequences, read_array
from elman.data.video import read_frames
from elman.errors import AGAIN, DataError, RunError

FRAMES_A_CLIP = 10  # that the components are fitted on


@dataclass(frozen=True, eq=False)
class Lips:
    """Frames cropped round what moves, less the mean of their clip, as principal components and their differences.

    Bregler and Konig 1994, "Eigenlips for robust speech recognition".

    Attributes:
        components: float32, (F, height * width), orthonormal rows.
        crop: (height, width) of the window.
        step: seconds of a frame.
    """

    filename: ClassVar[str] = "lips.json"
    components: NDArray[np.float32]
    crop: tuple[int, int]
    step: float

    @classmethod
    def fit(cls, paths: Iterable[Path], *, count: int, crop: tuple[int, int], step: float = 0.04) -> Self:
        """Find the components of the greatest variance in some frames of each video.

        Raises:
            DataError: a video cannot be read, or all together have fewer frames than components.
        """
        size = crop[0] * crop[1]
        products, frames = np.zeros((size, size)), 0
        for path in paths:
            flat = _centred(path, crop)
            some = flat[:: max(1, len(flat) // FRAMES_A_CLIP)].astype(np.float64)
            products += some.T @ some
            frames += len(some)
        if frames < count:
            raise DataError(
                "there are too few frames for so many components",
                should=f"at least {count}",
                found=str(frames),
                hint="--set components=16",
            )
        _, vectors = np.linalg.eigh(products)
        return cls(np.ascontiguousarray(vectors[:, ::-1][:, :count].T, np.float32), crop, step)

    def of(self, source: Path) -> NDArray[np.float16]:
        """Return (T, 2 F): the components of each frame, and their differences from the frame before.

        Raises:
            DataError: the video cannot be read.
        """
        found = _centred(source, self.crop) @ self.components.T
        return np.concatenate([found, np.diff(found, axis=0, prepend=found[:1])], 1).astype(np.float16)

    def save(self, folder: Path) -> None:
        """Keep it in a folder."""
        Sequences.write(folder, "lips", [self.components])
        write_json(folder / self.filename, {"crop": list(self.crop), "step": self.step})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` kept.

        Raises:
            RunError: it is missing or broken.
        """
        components = read_array(folder / "lips.values.npy")
        try:
            content = json.loads((folder / cls.filename).read_text(encoding="utf-8"))
            height, width = (int(size) for size in content["crop"])
            step = float(content["step"])
            if components.ndim != 2 or components.shape[1] != height * width or not step > 0:
                raise ValueError(f"components of shape {components.shape} for {height} x {width} pixels")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(f"{folder}/{cls.filename} is broken", found=str(error)[:200], hint=AGAIN) from error
        return cls(np.asarray(components, np.float32), (height, width), step)


def _centred(path: Path, crop: tuple[int, int]) -> NDArray[np.float32]:
    """Return the window of each frame as a row, less their mean, over their deviation."""
    frames = read_frames(path, crop=crop)
    flat: NDArray[np.float32] = frames.reshape(len(frames), -1).astype(np.float32)
    flat -= flat.mean(0)
    flat /= flat.std() + 1.0
    return flat
