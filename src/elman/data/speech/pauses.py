"""Pauses of speech, at which a long recording is cut into sentences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

DECIBELS = 10 / np.log(10)
"""Decibels of a feature that is the natural logarithm of an energy, per unit."""

SHARE = 0.4  # the threshold of speech, as a share of the way from the noise to the top
LEAST = 10.0  # decibels from the noise to the top; a recording that varies less has no pauses
SMOOTH = 10  # steps over which the energy is averaged
SHORTEST = 20  # steps of the shortest pause
KEEP = 10  # steps that are kept on either side of speech, as trimming keeps them


class Span(NamedTuple):
    """A part of a recording.

    Attributes:
        begin: its first step.
        end: the step behind its last one.
    """

    begin: int
    end: int


def spans_between_pauses(
    features: NDArray[Any], longest: int, *, stride: int = 1, decibels: float = DECIBELS
) -> list[Span]:
    """Return the parts of a recording between its pauses, cut at the longest pause first.

    The mean log energy of each step, smoothed over 100 ms, is compared with the noise, its 10th percentile, and with
    the top, its 98th percentile: a pause is below 40 % of the way, for 200 ms or more. A part that is not longer than
    `longest` is not cut again. 100 ms are kept around each part.

    Args:
        features: log-mel energies, (T, F).
        longest: steps of a part, if there are pauses enough.
        stride: input steps of one step of the network; parts begin at multiples of it, and at least one step lies
            between two of them.
        decibels: of a unit of the features.

    Returns:
        The spans, in their order; the whole recording if it has no pause.
    """
    quiet = _quiet_runs(features, decibels)
    size = len(features)
    speech = Span(
        quiet[0].end if quiet and quiet[0].begin == 0 else 0,
        quiet[-1].begin if quiet and quiet[-1].end == size else size,
    )
    pauses = [run for run in quiet if run.begin > speech.begin and run.end < speech.end]
    pauses = [run for run in pauses if run.end - run.begin >= max(SHORTEST, 3 * stride)]
    parts, ready = [speech], list[Span]()
    while parts:
        part = parts.pop()
        inside = [run for run in pauses if part.begin < run.begin and run.end < part.end]
        if part.end - part.begin <= longest or not inside:
            ready.append(part)
            continue
        pause = max(inside, key=lambda run: run.end - run.begin)
        parts += [Span(part.begin, pause.begin), Span(pause.end, part.end)]
    return _widened(sorted(ready), size, stride)


def _quiet_runs(features: NDArray[Any], decibels: float) -> list[Span]:
    """Return the runs of steps without speech; none where the energy varies little."""
    energy = decibels * np.asarray(features, np.float64).mean(1)
    if len(energy) < SMOOTH:
        return []
    half = SMOOTH // 2
    padded = np.pad(energy, (half, SMOOTH - 1 - half), mode="edge")
    level = np.convolve(padded, np.full(SMOOTH, 1 / SMOOTH), "valid")
    noise, top = np.percentile(level, [10, 98])
    if top - noise < LEAST:
        return []
    quiet = np.concatenate([[False], level <= noise + SHARE * (top - noise), [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8)))
    return [Span(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _widened(parts: list[Span], size: int, stride: int) -> list[Span]:
    """Return parts with some of the pauses around them, so that a step of the network is left between two."""
    spans = []
    before = -2 * stride  # the end of speech before
    for n, (begin, end) in enumerate(parts):
        after = parts[n + 1].begin if n + 1 < len(parts) else size + 2 * stride
        early, late = (max(0, min(KEEP, (pause - 2 * stride) // 2)) for pause in (begin - before, after - end))
        spans.append(Span(max(0, begin - early) // stride * stride, min(size, end + late)))
        before = end
    return spans
