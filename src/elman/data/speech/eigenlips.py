"""Lips: the part of a video that moves, as a few numbers a frame, by principal components ("eigenlips")."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from elman.data.media.video import motion_window, read_frames
from elman.data.speech.utterance import Utterance
from elman.errors import BrokenRun, DataError, SettingError
from elman.storage import records
from elman.storage.ragged import RaggedArrays, read_array

FRAMES_A_CLIP = 10  # that the components are fitted on
MOST_PIXELS = 1 << 13  # of the window: the products of any two of them are held, half a gigabyte
MOVED = 2  # pixels, up or down and left or right, that a copy of a clip is moved at the most


@dataclass(frozen=True, eq=False)
class Lips:
    """Frames cropped round what moves, less the mean of their clip, as principal components and their differences.

    Bregler and Konig 1994, "Eigenlips for robust speech recognition".

    Attributes:
        components: float32, (F, height * width), orthonormal rows.
        crop: (height, width) of the window.
        step: seconds of a frame.
        longest: seconds of a video at the most.
    """

    filename: ClassVar[str] = "lips.json"
    components: NDArray[np.float32]
    crop: tuple[int, int]
    step: float
    longest: float

    @classmethod
    def fit(
        cls,
        paths: Iterable[Path],
        *,
        count: int,
        crop: tuple[int, int],
        longest: float,
        step: float = 0.04,
        skip_bad: bool = False,
    ) -> Self:
        """Find the principal components of a sample of the frames of each video, in the memory of one video.

        Raises:
            DataError: a video cannot be read and `skip_bad` is false, or all together have fewer frames than
                components.
            SettingError: the window is empty, larger than a frame, or has too many pixels.
        """
        size = crop[0] * crop[1]
        if min(crop) < 1 or size > MOST_PIXELS:
            raise SettingError(
                "invalid window",
                should=f"a height and a width of {MOST_PIXELS} pixels in all at the most, such as 32,48",
                found=f"{crop[0]},{crop[1]}",
                hint="--set crop=32,48",
            )
        products, frames = np.zeros((size, size)), 0
        for path in paths:
            try:
                video = read_frames(path, most_frames=round(longest / step))
            except DataError:
                if skip_bad:
                    continue
                raise
            flat = _centred(video, motion_window(video, crop), crop)
            chosen = flat[:: max(1, len(flat) // FRAMES_A_CLIP)].astype(np.float64)
            products += chosen.T @ chosen
            frames += len(chosen)
        if frames < count:
            raise DataError(
                "there are too few frames for so many components",
                should=f"at least {count}",
                found=str(frames),
                hint="--set components=16",
            )
        _, vectors = np.linalg.eigh(products)
        return cls(np.ascontiguousarray(vectors[:, ::-1][:, :count].T, np.float32), crop, step, longest)

    def of(self, source: Path) -> Utterance:
        """Return (T, 2 F): the components of each frame, and their differences from the frame before.

        Raises:
            DataError: the video cannot be read, or is too long.
        """
        return self.varied(source, 1)[0]

    def varied(self, source: Path, copies: int) -> list[Utterance]:
        """Return what `of` does, and more copies of it with the window moved by up to `MOVED` pixels each way.

        Where they are moved to depends on the name of the file alone.
        """
        frames = read_frames(source, most_frames=round(self.longest / self.step))
        place = np.array(motion_window(frames, self.crop))
        last = np.array(frames.shape[1:3]) - self.crop
        rng = np.random.default_rng(crc32(os.fsencode(source.name)))
        moves = [np.zeros(2, int), *(rng.integers(-MOVED, MOVED + 1, 2) for _ in range(copies - 1))]
        places = [np.clip(place + move, 0, last) for move in moves]
        return [Utterance(self._components(frames, (int(y), int(x)))) for y, x in places]

    def _components(self, frames: NDArray[np.uint8], place: tuple[int, int]) -> NDArray[np.float16]:
        found = _centred(frames, place, self.crop) @ self.components.T
        return np.concatenate([found, np.diff(found, axis=0, prepend=found[:1])], 1).astype(np.float16)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        RaggedArrays.write(folder, "lips", [self.components])
        records.write(folder / self.filename, _LipsRecord(self.crop, self.step, self.longest))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote.

        Raises:
            RunError: it is missing or broken.
        """
        components = np.asarray(read_array(folder / "lips.values.npy"), np.float32)
        record = records.read(folder / cls.filename, _LipsRecord, "the window of eigenlips")
        if not np.isfinite(components).all() or components.shape[1:] != (record.crop[0] * record.crop[1],):
            found = f"components of shape {components.shape} for {record.crop[0]} x {record.crop[1]} pixels"
            raise BrokenRun(f"{folder}/{cls.filename} is broken", should="a row of pixels each", found=found)
        return cls(components, record.crop, record.step, record.longest)


@dataclass(frozen=True)
class _LipsRecord:
    """What lips.json holds."""

    crop: tuple[int, int] = field(metadata={"low": 1, "high": 1 << 13})
    step: float
    longest: float

    def check(self) -> None:
        if not 0 < self.step <= self.longest:
            raise ValueError(f"steps of {self.step:g} seconds in {self.longest:g} seconds")


def _centred(frames: NDArray[np.uint8], place: tuple[int, int], crop: tuple[int, int]) -> NDArray[np.float32]:
    """Return the window of each frame as a row, less their mean, over their deviation."""
    (top, left), (height, width) = place, crop
    window = frames[:, top : top + height, left : left + width]
    flat: NDArray[np.float32] = window.reshape(len(frames), -1).astype(np.float32)
    flat -= flat.mean(0)
    flat /= flat.std() + 1.0
    return flat
