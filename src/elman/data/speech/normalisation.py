"""Mean and variance normalisation (CMVN) over an utterance, a speaker, or a whole data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Moments:
    """The running mean and variance of each feature, in constant memory.

    Pieces are joined by the formula of Chan, Golub and LeVeque (1983, The American Statistician 37), which does not
    lose digits where the mean is large beside the deviation.

    Attributes:
        count: steps so far.
        mean: of each feature, (F,), float64; zero before the first step.
        squares: the sum of the squared distances from the mean, (F,).
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(size)
        self.squares: NDArray[np.float64] = np.zeros(size)

    @classmethod
    def of(cls, pieces: Iterable[NDArray[Any]]) -> Self:
        """Return the moments of all steps of pieces, at least one, (T, F) each."""
        rest = iter(pieces)
        first = next(rest)
        moments = cls(first.shape[1])
        for piece in chain((first,), rest):
            moments.add(piece)
        return moments

    def add(self, features: NDArray[Any]) -> None:
        """Add the steps of a piece, (T, F)."""
        if not len(features):
            return
        piece = features.astype(np.float64)
        mean = piece.mean(0)
        both = self.count + len(piece)
        apart = mean - self.mean
        self.squares += ((piece - mean) ** 2).sum(0) + apart**2 * self.count * len(piece) / both
        self.mean += apart * len(piece) / both
        self.count = both

    @property
    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation of each feature, (F,); 1 where a feature never changes, so that it can divide."""
        deviation: NDArray[np.float64] = np.sqrt(self.squares / max(1, self.count))
        return np.where(deviation <= 1e-6 * np.maximum(1, np.abs(self.mean)), 1.0, deviation)

    def normalise(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Return steps (T, F) less the mean, divided by the deviation, as float32."""
        return ((features - self.mean) / self.deviation).astype(np.float32)


def normalise_speakers(utterances: Sequence[NDArray[Any]], speakers: Sequence[str]) -> list[NDArray[np.float16]]:
    """Return utterances, each (T, F), less the mean of their speaker's steps, divided by their deviation, as float16.

    Args:
        utterances: of any number of speakers.
        speakers: whose each is, in the same order.
    """
    moments: dict[str, Moments] = {}
    for features, speaker in zip(utterances, speakers, strict=True):
        moments.setdefault(speaker, Moments(features.shape[1])).add(features)
    return [
        moments[speaker].normalise(features).astype(np.float16)
        for features, speaker in zip(utterances, speakers, strict=True)
    ]


def level_of(features: NDArray[Any]) -> float:
    """Return the level of the loud steps of log energies, (T, F), in decibels: the 90th percentile of their means."""
    return (
        float(np.percentile(np.asarray(features, np.float64).mean(1), 90)) * 10 / np.log(10) if len(features) else 0.0
    )


def level_note(level: float, usual: tuple[float, float]) -> str:
    """Return what to say about a level (dB) beside those of training, the least and the greatest; empty for nothing."""
    low, high = usual
    if low <= level <= high:
        return ""
    distance, side = (low - level, "below") if level < low else (level - high, "above")
    what = f"the level is {distance:.0f} dB {side} that of training"
    return f"{what}, and feature_norm=training does not even it out: the transcript may be wrong"
