"""Pictures, sound and video as sequences of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.labelled.example import ReaderOptions, Values, parse_size, parse_span
from elman.data.labelled.pixel_scan import scan_image
from elman.data.media.audio import level_notes, read_sound, trim_silence
from elman.data.media.images import read_image
from elman.data.media.mel import log_mel
from elman.data.media.video import read_frames
from elman.errors import DataError

MIDDLE = 128  # the number of a pixel that is as bright as on average


def image_sequence(path: Path, reading: ReaderOptions) -> Values:
    """Return a picture in its order, (T, I) uint8."""
    return scan_image(
        read_image(path, parse_size("image_size", reading.image_size), reading.colour, notes=reading.notes),
        reading.pixel_order,
    )


def sound_features(path: Path, reading: ReaderOptions) -> Values:
    """Return the log-mel energies of a sound at steps of 10 ms, (T, F) float32."""
    samples, rate, before = read_sound(path, reading.sample_rate, longest=reading.max_seconds)
    if before != rate:
        reading.notes.add(f"sound resampled from {before} to {rate} Hz", str(path))
    reading.notes.update(level_notes(samples), str(path))
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
