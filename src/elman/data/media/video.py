"""Frames of videos as arrays, and cropping to motion."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.data.media.containers import opened
from elman.errors import DataError, SettingError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
"""The suffixes of the videos in a folder."""

MOST_FRAMES = 9000
"""The default of the most frames of a video: six minutes at 25 frames per second."""

MOST_BYTES = 1 << 31
"""The most bytes of the frames of a video in memory."""

SPREADS, SHIFTS = 5, 50
"""Mean shift: the size of the window in standard deviations of the kernel, and the most iterations."""


def frames_of(
    path: str | Path, *, size: tuple[int, int] | None = None, colour: bool = False, begin: float = 0.0,
    end: float | None = None,
) -> Iterator[NDArray[Any]]:  # fmt: skip
    """Yield the frames of a video, upright, in constant memory.

    Args:
        path: the file.
        size: (height, width) to which the upright frames are resized; None: that of the first frame.
        colour: red, green and blue instead of grey.
        begin: the time of the first frame in seconds.
        end: the time in seconds before which the last frame is; None: the end of the video.

    Yields:
        uint8, (H, W), or (H, W, 3) with colour.

    Raises:
        DataError: the file is missing, empty, broken, truncated, or has no video stream.
        MissingExtraError: PyAV is not installed.
    """
    path = Path(path)
    with opened(path, "a video", VIDEO_SUFFIXES) as container:
        if not container.streams.video:
            streams = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise DataError(f"{path} has no video stream", should="a video", found=streams, hint="remove it")
        upright = size
        for frame in container.decode(video=0):
            # A millisecond more, as times in the file are rounded down.
            time = 0.0 if frame.time is None else frame.time + 1e-3
            if time < begin:
                continue
            if end is not None and time >= end:
                break
            turns = quarter_turns(path, frame.rotation)
            if upright is None:
                upright = turned((frame.height, frame.width), turns)
            height, width = turned(upright, turns)
            pixels = "rgb24" if colour else "gray"
            image = frame.to_ndarray(format=pixels, height=height, width=width, interpolation="AREA")
            yield np.rot90(image, turns) if turns else image


def quarter_turns(path: Path, degrees: int) -> int:
    """Return how often a frame is turned by 90 degrees, counterclockwise, 0 to 3.

    Raises:
        DataError: the rotation is no multiple of 90 degrees, or its matrix is invalid.
    """
    turns = round(degrees / 90)
    if not -360 <= degrees <= 360 or abs(degrees - 90 * turns) > 1:  # rounding, on the way from a matrix
        found = f"{degrees} degrees" if -360 <= degrees <= 360 else "an invalid matrix"
        what, hint = f"{path} has an unsupported rotation", "export it again, upright, or remove it"
        raise DataError(what, should="a multiple of 90 degrees", found=found, hint=hint)
    return turns % 4


def turned(size: tuple[int, int], turns: int) -> tuple[int, int]:
    """Return (height, width) after rotation by multiples of 90 degrees."""
    return size if turns % 2 == 0 else (size[1], size[0])


def read_frames(
    path: str | Path, *, size: tuple[int, int] | None = None, colour: bool = False,
    crop: tuple[int, int] | None = None, begin: float = 0.0, end: float | None = None, most_frames: int = MOST_FRAMES,
) -> NDArray[np.uint8]:  # fmt: skip
    """Read a video, or the part of its frames that moves.

    Args:
        path: the file.
        size: (height, width) to which every frame is resized; None: its own.
        colour: red, green and blue instead of grey.
        crop: (height, width) of the window of `crop_to_motion` after that; None: the whole frame.
        begin: the time of the first frame in seconds.
        end: the time in seconds before which the last frame is; None: the end of the video.
        most_frames: a longer video is refused as soon as that is known.

    Returns:
        uint8, (T, H, W), or (T, H, W, 3) with colour.

    Raises:
        DataError: as `frames_of`; and there is no frame, or there are too many, or too many bytes of them.
        SettingError: the window is larger than the frame.
        MissingExtraError: PyAV is not installed.
    """
    frames: list[NDArray[Any]] = []
    size_in_bytes = 0
    for frame in frames_of(path, size=size, colour=colour, begin=begin, end=end):
        if len(frames) == most_frames:
            hint = "split it into pieces, or allow more with --set max_seconds=SECONDS"
            raise DataError(f"{path} is too long", should=f"at most {most_frames} frames", found="more", hint=hint)
        size_in_bytes += frame.nbytes
        if size_in_bytes > MOST_BYTES:
            raise DataError(
                f"{path} is too large",
                should=f"at most {MOST_BYTES} bytes of frames",
                found=f"more than {len(frames)} frames of {frame.nbytes} bytes",
                hint="make its frames smaller, or split it into pieces",
            )
        frames.append(frame)
    if not frames:
        what = f"{path} has no frames{f' from {begin:g} seconds on' if begin else ''}"
        raise DataError(what, should="at least one", found="none", hint="remove it")
    video = np.stack(frames)
    return video if crop is None else crop_to_motion(video, crop)


def crop_to_motion(frames: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the frames in a window (height, width) that is centred on the motion, a copy.

    Without any motion it is the middle of the frame.

    Raises:
        SettingError: the window is larger than the frame.
    """
    height, width = size
    top, left = motion_window(frames, size)
    return frames[:, top : top + height, left : left + width].copy()


def motion_window(frames: NDArray[np.uint8], size: tuple[int, int]) -> tuple[int, int]:
    """Return the first row and column of the window of `crop_to_motion`.

    Raises:
        SettingError: the window is larger than the frame.
    """
    height, width = size
    if not (1 <= height <= frames.shape[1] and 1 <= width <= frames.shape[2]):
        raise SettingError(
            "the window does not fit into the frame",
            should=f"at most {frames.shape[1]} x {frames.shape[2]} (height x width)",
            found=f"{height} x {width}",
            hint="a smaller crop, or larger frames",
        )
    y, x = centre_of_motion(frames, size)
    top = min(max(0, round(y - height / 2)), frames.shape[1] - height)
    left = min(max(0, round(x - width / 2)), frames.shape[2] - width)
    return top, left


def centre_of_motion(frames: NDArray[np.uint8], size: tuple[int, int]) -> tuple[float, float]:
    """Centre of motion: (y, x), in pixels from the upper left corner of the frame.

    The energy of motion of a pixel is the sum over time of the squared differences of neighbouring frames. The search
    begins at the window of half of `size` with the most energy, and continues by mean shift (Comaniciu and Meer 2002)
    with a Gaussian kernel until it converges. So motion elsewhere has no effect. `size` is (height, width) of the
    moving object, with some margin.
    """
    energy = energy_of_motion(frames)
    if not energy.any():
        return energy.shape[0] / 2, energy.shape[1] / 2
    half = np.maximum(1, np.array(size) // 2)
    sums = np.pad(energy.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    y, x = half
    boxes = sums[y:, x:] - sums[:-y, x:] - sums[y:, :-x] + sums[:-y, :-x]
    middle = np.array(np.unravel_index(boxes.argmax(), boxes.shape)) + half / 2
    grid = [np.arange(length) + 0.5 for length in energy.shape]
    spread = np.maximum(1.0, np.array(size) / SPREADS)
    for _ in range(SHIFTS):
        kernel = [np.exp(-(((p - m) / s) ** 2) / 2) for p, m, s in zip(grid, middle, spread, strict=True)]
        rows, columns = kernel[0] * (energy @ kernel[1]), kernel[1] * (kernel[0] @ energy)
        middle, before = np.array([rows @ grid[0], columns @ grid[1]]) / rows.sum(), middle
        if np.abs(middle - before).max() < 0.01:
            break
    return float(middle[0]), float(middle[1])


def energy_of_motion(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the sum over time and colours of the squared differences of neighbouring frames, (H, W)."""
    energy = np.zeros(frames.shape[1:3])
    for before, after in pairwise(frames):
        squared = (after.astype(np.float64) - before) ** 2
        energy += squared if squared.ndim == 2 else squared.sum(-1)
    return energy
