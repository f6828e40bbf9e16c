"""Pictures, sound and video as sequences of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.example import ReaderOptions, Values
from elman.data.labelled.pixel_scan import scan_image
from elman.data.media.audio import read_sound, trim_silence
from elman.data.media.images import read_image
from elman.data.media.mel import log_mel
from elman.data.media.video import read_frames
from elman.errors import DataError, SettingError

MIDDLE = 128  # the number of a pixel that is as bright as on average


def image_sequence(path: Path, reading: ReaderOptions) -> Values:
    """Return a picture in its order, (T, I) uint8."""
    return scan_image(
        read_image(path, parse_size("image_size", reading.image_size), reading.colour), reading.pixel_order
    )


def sound_features(path: Path, reading: ReaderOptions) -> Values:
    """Return the log-mel energies of a sound at steps of 10 ms, (T, F) float32."""
    samples, rate, before = read_sound(path, reading.sample_rate, longest=reading.max_seconds)
    if before != rate:
        reading.notes.add(f"sound resampled from {before} to {rate} Hz")
    begin, end = parse_span(reading.time_range)
    part = samples[round(begin * rate) : None if end is None else round(end * rate)]
    if not len(part):
        raise DataError(
            f"{path} ends before the part that is read",
            should=f"more than {begin:g} seconds",
            found=f"{len(samples) / rate:g}",
            hint="other --set time_range=BEGIN,END",
        )
    return log_mel(trim_silence(part, rate) if reading.trim_silence else part, rate, bands=reading.mel_bands)


def video_frames(path: Path, reading: ReaderOptions) -> Values:
    """Return frames, (T, H, W) or (T, H, W, 3) uint8, less the mean frame unless that is to stay."""
    begin, end = parse_span(reading.time_range)
    frames = read_frames(
        path,
        size=parse_size("image_size", reading.image_size),
        colour=reading.colour,
        crop=parse_size("crop", reading.crop),
        begin=begin,
        end=end,
        most_frames=round(25 * reading.max_seconds),
    )
    return frames if reading.keep_mean_frame else subtract_mean(frames)


def subtract_mean(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return frames (T, ...) less their mean frame, with `MIDDLE` for no difference: what stands still goes."""
    moving = frames.astype(np.float32) - frames.mean(0, dtype=np.float32)
    shown: NDArray[np.uint8] = np.clip(np.rint(moving) + MIDDLE, 0, 255).astype(np.uint8)
    return shown


def parse_size(name: str, values: tuple[int, ...]) -> tuple[int, int] | None:
    """Return (height, width) out of a setting, None where it is empty.

    Raises:
        SettingError: it is not a pair of positive integers.
    """
    if not values:
        return None
    if len(values) == 2 and min(values) >= 1:
        return values[0], values[1]
    raise SettingError(
        f"invalid value for {name}",
        should="a height and a width, such as 24,40",
        found=",".join(map(str, values)),
        hint=f"--set {name}=24,40",
    )


def parse_span(seconds: tuple[float, ...]) -> tuple[float, float | None]:
    """Return where the part that is read begins and ends; None for the end of the file.

    Raises:
        SettingError: it is not a beginning and a later end.
    """
    if not seconds:
        return 0.0, None
    if len(seconds) == 2 and 0 <= seconds[0] < seconds[1]:
        return seconds[0], seconds[1]
    raise SettingError(
        "invalid value for time_range",
        should="a beginning and a later end, such as 0.5,2",
        found=",".join(f"{number:g}" for number in seconds),
        hint="--set time_range=0.5,2",
    )
