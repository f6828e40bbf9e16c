"""Utterances: log-mel features of sound, and notes about the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.media.audio import level_notes, read_sound, speech_span

STEP = 0.01  # seconds from one step of sound to the next
LOW = 20.0  # Hz, the lower edge of the lowest band


class Utterance(NamedTuple):
    """The features of a file.

    Attributes:
        features: float16, (T, F).
        begin: seconds of the file that were trimmed before them.
        notes: what was done to it, or is wrong with it, in a few words each.
    """

    features: NDArray[np.float16]
    begin: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SoundFeatures:
    """Log-mel energies of sound.

    Attributes:
        rate: sample rate (Hz); a file of another rate is resampled.
        bands: F.
        trim: background noise at the beginning and at the end is trimmed.
        longest: seconds; a longer sound is refused.
    """

    rate: int = field(metadata={"low": 1, "high": 1_000_000})
    bands: int = field(metadata={"low": 1, "high": 512})
    trim: bool
    longest: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return STEP

    def of(self, source: Path | NDArray[np.float32]) -> Utterance:
        """Return the features, (T, F), of a file, or of samples at hand, which have the right rate.

        Raises:
            DataError: the file cannot be read, is silent, or is too long.
        """
        notes: list[str] = []
        samples = source
        if isinstance(samples, Path):
            samples, rate, before = read_sound(samples, self.rate, longest=self.longest)
            if before != rate:
                notes.append(f"resampled from {before} to {rate} Hz")
        notes += level_notes(samples)
        begin, end = speech_span(samples, self.rate) if self.trim else (0, len(samples))
        return Utterance(self.of_samples(samples[begin:end]).astype(np.float16), begin / self.rate, tuple(notes))

    def varied(self, source: Path | NDArray[np.float32], copies: int) -> list[Utterance]:
        """Return the features once, as `of` does, whatever `copies` is: sound is varied while training goes."""
        return [self.of(source)]

    def filterbank(self) -> tuple[NDArray[np.float32], float]:
        """Return the weight of each frequency in each band, (bins // 2 + 1, F), and the least energy."""
        from elman.data.media.mel import FLOOR, mel_filters, transform_size

        return mel_filters(self.rate, transform_size(self.rate), self.bands, LOW, self.rate / 2), FLOOR

    def of_samples(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (T, F) of samples; frame t covers them from t * step on, for 25 ms."""
        from elman.data.media.mel import log_mel

        return log_mel(samples, self.rate, bands=self.bands, step=STEP, low=LOW)
