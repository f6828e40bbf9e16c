"""Audio files and the audio of videos, as one channel at one sample rate."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.media.containers import opened
from elman.data.media.files import EXPORT, check_whole, decoding
from elman.data.media.video import VIDEO_SUFFIXES
from elman.errors import DataError, extra

COMPRESSED = (".m4a", ".aac", ".wma")  # not read by libsndfile
SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", *COMPRESSED)
"""The suffixes of the audio files in a folder."""

FORMATS = ("AIFF", "AU", "CAF", "FLAC", "MP3", "NIST", "OGG", "RF64", "W64", "WAV", "WAVEX")
"""The formats of audio files that libsndfile reads for us; that of a file is its content's, whatever its suffix."""

LONGEST = 600.0
"""The default of the most seconds of a sound."""

HIGHEST_RATE = 768_000
"""The highest sample rate (Hz) of a file, twice that of the fastest recorders, so that seconds bound the memory."""

FULL, CLIPPED = 0.999, 1e-3  # of full scale, and the share of the samples there from which on a sound counts as clipped
BEYOND = 2.0  # of full scale; lossy codecs decode to a little more than 1
QUIET = 0.003  # of full scale: the loudest sample of a sound that is hardly there, 50 dB below

BLOCK = 1 << 16  # samples of all channels that are decoded at a time


class Sound(NamedTuple):
    """Samples of an audio file.

    Attributes:
        samples: float32, (N,), one channel, full scale from -1 to 1.
        rate: the sample rate (Hz).
        file_rate: the sample rate of the file; if it differs, the sound was resampled.
    """

    samples: NDArray[np.float32]
    rate: int
    file_rate: int


def read_sound(path: str | Path, rate: int | None = None, *, longest: float = LONGEST, silent: bool = False) -> Sound:
    """Read an audio file, or the audio of a video; channels are averaged.

    Args:
        path: the file. libsndfile reads audio files, FFmpeg (by PyAV) videos and other formats.
        rate: the sample rate (Hz) to which it is resampled; None: its own.
        longest: the most seconds; a longer sound is refused as soon as that is known.
        silent: whether a constant sound is valid.

    Raises:
        DataError: the file is missing, empty, broken, truncated, not a sound, has no audio, is silent or too long, or
            has an unsupported format or sample rate.
        MissingExtraError: the library that reads it is not installed.
    """
    path = Path(path)
    blocks: list[NDArray[np.float32]] = []
    file_rate = count = 0
    for file_rate, block in _blocks(path):
        if file_rate > HIGHEST_RATE:
            should, hint = f"at most {HIGHEST_RATE} Hz", EXPORT
            raise DataError(f"{path} has an unsupported sample rate", should=should, found=str(file_rate), hint=hint)
        mono = block.mean(1, dtype=np.float32)
        blocks.append(mono)
        count += len(mono)
        if count > longest * file_rate:
            hint = "split it into pieces, or allow more with --set max_seconds=SECONDS"
            raise DataError(f"{path} is too long", should=f"at most {longest:g} seconds", found="more", hint=hint)
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not len(samples):
        raise DataError(f"{path} has no samples", should="at least one", found="none", hint="remove it")
    if not np.isfinite(samples).all():
        what = f"{path} has samples that are not finite"
        raise DataError(what, should="finite samples", found="infinite or nan", hint="remove it")
    if not silent and samples.min() == samples.max():
        found = f"{len(samples)} samples, all of them {samples[0]:g}"
        raise DataError(f"{path} is silent", should="sound", found=found, hint="remove it")
    return Sound(resample(samples, file_rate, rate or file_rate), rate or file_rate, file_rate)


def resample(samples: NDArray[np.float32], before: int, after: int) -> NDArray[np.float32]:
    """Resample (N,) from one sample rate (Hz) to another, by scipy's polyphase filter: (ceil(N * after / before),)."""
    if before == after:
        return samples
    with extra("sound", "resampling"):
        from scipy.signal import resample_poly  # type: ignore[import-untyped]
    factor = gcd(before, after)
    changed: NDArray[Any] = resample_poly(samples, after // factor, before // factor)
    return changed.astype(np.float32)


def level_notes(samples: NDArray[np.float32]) -> list[str]:
    """Return what may be wrong with the level of a sound, (N,), in a few words each."""
    levels = np.abs(samples)
    highest = levels.max(initial=0.0)
    if highest > BEYOND:
        return ["far beyond full scale: its floating-point samples are not between -1 and 1"]
    notes = ["clipped: the sound is cut off at full scale"] if (levels >= FULL).mean() >= CLIPPED else []
    return [*notes, *(["hardly any sound: below 0.3 % of full scale"] if highest < QUIET else [])]


def trim_silence(
    samples: NDArray[np.float32], rate: int, *, below: float = 40.0, keep: float = 0.05, window: float = 0.02
) -> NDArray[np.float32]:
    """Remove the silence at the beginning and at the end.

    Args:
        samples: (N,).
        rate: the sample rate (Hz).
        below: decibels below the loudest window from which a window is silent.
        keep: seconds that are kept before the first and after the last window that is not silent.
        window: seconds of a window, over which the energy is averaged.

    Returns:
        A view of the samples, empty only if they are.
    """
    energy, width = _energy(samples, window * rate)
    loud = np.flatnonzero(energy >= energy.max(initial=0.0) * 10 ** (-below / 10))
    if not len(loud):
        return samples
    begin = loud[0] * width - round(keep * rate)
    return samples[max(0, begin) : (loud[-1] + 1) * width + round(keep * rate)]


def _energy(samples: NDArray[np.float32], width: float) -> tuple[NDArray[np.float64], int]:
    """Return the mean energy of each window of `width` samples, rounded, and the rounded width."""
    size = max(1, round(width))
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % size))
    return (padded.reshape(-1, size) ** 2).mean(1), size


def speech_span(
    samples: NDArray[np.float32], rate: int, *, share: float = 0.4, keep: float = 0.1, least: float = 15.0
) -> tuple[int, int]:
    """Return the span of speech, that is louder than the background noise.

    The energy of every 20 ms, smoothed over 100 ms, is compared in decibels with the noise, its 10th percentile, and
    with the top, its 98th percentile.

    Args:
        samples: (N,).
        rate: the sample rate (Hz).
        share: the threshold of speech as a share of the way from the noise to the top.
        keep: seconds that are kept before and after the speech.
        least: decibels from the noise to the top; a sound that varies less is kept whole.

    Returns:
        The first sample and the one behind the last; all samples if there is no such span.
    """
    energy, width = _energy(samples, 0.02 * rate)
    energy = np.pad(energy, 2, mode="edge") if len(samples) else np.zeros(0)
    if len(energy) < 10:
        return 0, len(samples)
    level = 10 * np.log10(np.convolve(energy, np.full(5, 0.2), "valid") + 1e-12)
    noise, top = np.percentile(level, [10, 98])
    if top - noise < least:
        return 0, len(samples)
    loud = np.flatnonzero(level > noise + share * (top - noise))
    margin = round(keep * rate)
    return max(0, int(loud[0]) * width - margin), min(len(samples), int(loud[-1] + 1) * width + margin)


def _blocks(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the sample rate and blocks of (samples, channels) of an audio file, or of the audio of a video."""
    if path.suffix.lower() in (*VIDEO_SUFFIXES, *COMPRESSED):
        return _track(path, "a video with sound", (*VIDEO_SUFFIXES, *COMPRESSED))
    with decoding(path, "a sound", SOUND_SUFFIXES), path.open("rb") as file:
        extent = check_whole(path, file)
    # libsndfile takes a size of zero for no samples; FFmpeg reads to the end.
    unknown = extent is not None and extent.size_was_zero
    return _track(path, "a sound", SOUND_SUFFIXES) if unknown else _file(path)


def _file(path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the sample rate and blocks of (samples, channels) of an audio file.

    libsndfile is given the open file, so that no name ("-") is standard input and no suffix stands for a format.
    """
    with extra("sound", "reading sound"):
        import soundfile  # type: ignore[import-untyped]
    with (
        decoding(path, "a sound", SOUND_SUFFIXES),
        path.open("rb") as opened_file,
        soundfile.SoundFile(opened_file.fileno(), closefd=False) as file,
    ):
        if file.format not in FORMATS:
            should, found = f"one of {', '.join(FORMATS)}", file.format_info
            raise DataError(f"{path} has an unsupported format", should=should, found=found, hint="save it as .wav")
        left = file.frames
        while len(block := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
            left -= len(block)
            yield file.samplerate, block
        if left > 0 and file.format != "MP3":  # the length of an MP3 is an estimate
            should = f"{file.frames} samples, as in its header"
            raise DataError(f"{path} is truncated", should=should, found=f"{left} fewer", hint=EXPORT)


def _track(path: Path, kind: str, suffixes: tuple[str, ...]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the sample rate and blocks of (samples, channels) of the first audio stream of a container."""
    with opened(path, kind, suffixes) as container:
        from av import AudioResampler

        if not container.streams.audio:
            streams = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise DataError(f"{path} has no sound track", should="a video with sound", found=streams, hint="remove it")
        resampler = None
        for frame in container.decode(audio=0):
            if resampler is None:  # to float32, at the rate of the file
                resampler = AudioResampler(format="fltp", layout=frame.layout.name, rate=frame.sample_rate)
            for piece in resampler.resample(frame):
                yield piece.sample_rate, piece.to_ndarray().T
