"""Sound: a file, or the sound track of a video, as one channel of numbers at one rate."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.media.files import decoding
from elman.data.media.video import VIDEO_SUFFIXES
from elman.errors import DataError, extra

COMPRESSED = (".m4a", ".aac", ".wma")  # what libsndfile does not read
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", *COMPRESSED)
"""The files that are taken for sound in a folder."""

LONGEST = 600.0
"""Seconds of one sound, if the caller does not say."""

HIGHEST_RATE = 768_000
"""Samples a second of a file at the most, twice those of the fastest recorders, so that seconds bound the memory."""

BLOCK = 1 << 16  # samples of all channels together that are decoded at a time


class Sound(NamedTuple):
    """What a file sounds like.

    Attributes:
        samples: float32, (N,), one channel, full scale from -1 to 1.
        rate: samples a second.
        file_rate: those of the file; where it differs the sound was resampled.
    """

    samples: NDArray[np.float32]
    rate: int
    file_rate: int


def read_sound(path: str | Path, rate: int | None = None, *, longest: float = LONGEST, silent: bool = False) -> Sound:
    """Read a sound file, or the sound track of a video; channels are averaged.

    Args:
        path: the file. libsndfile reads sound files, FFmpeg (by PyAV) videos and what libsndfile does not know.
        rate: samples a second that it is brought to; None: its own.
        longest: seconds; a longer sound is refused as soon as that is seen.
        silent: whether a sound without any motion is taken instead of refused.

    Raises:
        DataError: the file is missing, empty, broken, no sound, has no sound track, is silent or too long, or has an
            absurd rate.
        MissingExtraError: the library that reads it is not installed.
    """
    path = Path(path)
    container = path.suffix.lower() in (*VIDEO_SUFFIXES, *COMPRESSED)
    kept: list[NDArray[np.float32]] = []
    file_rate = count = 0
    for file_rate, block in _track(path) if container else _file(path):
        if file_rate > HIGHEST_RATE:
            raise DataError(
                f"{path} has an absurd rate",
                should=f"at most {HIGHEST_RATE} samples a second",
                found=str(file_rate),
                hint="make it anew, or leave it out",
            )
        mono = block.mean(1, dtype=np.float32)
        kept.append(mono)
        count += len(mono)
        if count > longest * file_rate:
            raise DataError(
                f"{path} is too long",
                should=f"at most {longest:g} seconds",
                found="more",
                hint="cut it into pieces, or allow more with --set longest=SECONDS",
            )
    samples = np.concatenate(kept) if kept else np.zeros(0, np.float32)
    if not len(samples):
        raise DataError(f"{path} has no sound in it", should="samples", found="none", hint="leave it out")
    if not np.isfinite(samples).all():
        raise DataError(f"{path} holds numbers that are no sound", found="infinite or nan", hint="leave it out")
    if not silent and samples.min() == samples.max():
        raise DataError(
            f"{path} is silent",
            should="sound",
            found=f"{len(samples)} samples, all of them {samples[0]:g}",
            hint="leave it out",
        )
    return Sound(resample(samples, file_rate, rate or file_rate), rate or file_rate, file_rate)


def resample(samples: NDArray[np.float32], before: int, after: int) -> NDArray[np.float32]:
    """Bring samples from one rate to another, by scipy's polyphase filter.

    Args:
        samples: (N,).
        before: samples a second that they have.
        after: samples a second that they get.

    Returns:
        float32, (ceil(N * after / before),).
    """
    if before == after:
        return samples
    with extra("sound", "resampling"):
        from scipy.signal import resample_poly  # type: ignore[import-untyped]
    factor = gcd(before, after)
    changed: NDArray[Any] = resample_poly(samples, after // factor, before // factor)
    return changed.astype(np.float32)


def trim_silence(
    samples: NDArray[np.float32], rate: int, *, below: float = 40.0, keep: float = 0.05, window: float = 0.02
) -> NDArray[np.float32]:
    """Leave out what is quiet at the beginning and at the end.

    Args:
        samples: (N,).
        rate: samples a second.
        below: decibels that a window is under the loudest one when it counts as quiet.
        keep: seconds that stay before the first and after the last window that is not.
        window: seconds over which the energy is taken.

    Returns:
        A view of the samples, never empty where they are not.
    """
    width = max(1, round(window * rate))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % width))
    energy = (padded.reshape(-1, width) ** 2).mean(1)
    loud = np.flatnonzero(energy >= energy.max(initial=0.0) * 10 ** (-below / 10))
    if not len(loud):
        return samples
    begin = loud[0] * width - round(keep * rate)
    return samples[max(0, begin) : (loud[-1] + 1) * width + round(keep * rate)]


def speech_span(
    samples: NDArray[np.float32], rate: int, *, share: float = 0.4, keep: float = 0.1, least: float = 15.0
) -> tuple[int, int]:
    """Find where something is louder than the noise of the place, however loud that is.

    The energy of every 20 ms, smoothed over 100 ms, is compared in decibels with the noise, the level that a tenth of
    the sound stays below, and with the top, the level that a fiftieth of it exceeds.

    Args:
        samples: (N,).
        rate: samples a second.
        share: of the way from the noise up to the top from which on a place counts as loud.
        keep: seconds that stay before the first and after the last such place.
        least: decibels from the noise to the top; what varies less is kept whole.

    Returns:
        The first sample and the one behind the last; all of them where nothing stands out.
    """
    width = max(1, round(0.02 * rate))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % width))
    energy = np.pad((padded.reshape(-1, width) ** 2).mean(1), 2, mode="edge") if len(samples) else np.zeros(0)
    if len(energy) < 10:
        return 0, len(samples)
    level = 10 * np.log10(np.convolve(energy, np.full(5, 0.2), "valid") + 1e-12)
    noise, top = np.percentile(level, [10, 98])
    if top - noise < least:
        return 0, len(samples)
    loud = np.flatnonzero(level > noise + share * (top - noise))
    room = round(keep * rate)
    return max(0, int(loud[0]) * width - room), min(len(samples), int(loud[-1] + 1) * width + room)


def _file(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the rate and blocks of (samples, channels) of a sound file."""
    with extra("sound", "reading sound"):
        import soundfile  # type: ignore[import-untyped]
    with decoding(path, "a sound", SOUND_SUFFIXES), soundfile.SoundFile(path) as file:
        left = file.frames
        while len(block := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
            left -= len(block)
            yield file.samplerate, block
        if left > 0 and file.format != "MP3":  # whose length is an estimate
            raise DataError(
                f"{path} is cut off",
                should=f"{file.frames} samples, as it says",
                found=f"{left} fewer",
                hint="make it anew, or leave it out",
            )


def _track(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the rate and blocks of (samples, channels) of the first sound track of a container."""
    with extra("video", "reading the sound of videos"):
        import av
    with decoding(path, "a video with sound", (*VIDEO_SUFFIXES, *COMPRESSED)), av.open(str(path)) as container:
        if not container.streams.audio:
            found = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise DataError(f"{path} has no sound track", should="a video with sound", found=found, hint="leave it out")
        resampler = None
        for frame in container.decode(audio=0):
            if resampler is None:  # to numbers of one kind, at the rate that the file has
                resampler = av.AudioResampler(format="fltp", layout=frame.layout.name, rate=frame.sample_rate)
            for piece in resampler.resample(frame):
                yield piece.sample_rate, piece.to_ndarray().T
