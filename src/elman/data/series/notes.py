"""What a reader of series guesses, in words, with the setting that decides it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from elman.data.series.dataset import Panel
from elman.data.series.settings import SeriesSettings
from elman.data.series.timestamps import ZONE, Clock

PLACEHOLDER = re.compile(r"-?99+(\.9+)?")
"""Digits of the numbers that by custom stand for a missing value."""


def time_notes(texts: Iterable[str], form: SeriesSettings, clock: Clock) -> list[str]:
    """Return what was guessed of the times."""
    notes = []
    if "%y" in (form.time_format or ""):
        notes.append("years of two digits are those from 1969 to 2068; years of four digits (%Y) leave no choice")
    offsets = {zone[1] for text in texts if (zone := ZONE.search(text))} if clock.zone else set()
    if len(offsets) > 1:
        notes.append(f"times with the UTC offsets {', '.join(sorted(offsets)[:4])} were converted to {clock.zone}")
    return notes


def times(count: int) -> str:
    """Return how often something occurs."""
    return "once" if count == 1 else f"{count:,} times"


def placeholder_notes(panel: Panel) -> list[str]:
    """Return the numbers that look like placeholders of missing values: extreme, and far from all others."""
    notes = []
    for c, column in enumerate(panel.columns):
        values = np.concatenate([values_TC[:, c] for values_TC in panel.values_of_groups()])
        numbers, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        for n, neighbour in ((0, 1), (-1, -2)) if len(numbers) > 2 else ():
            others = np.ptp(np.delete(numbers, n))
            alone = abs(numbers[n] - numbers[neighbour]) > others
            digits = f"{numbers[n]:.15g}"
            if alone and (PLACEHOLDER.fullmatch(digits) or abs(numbers[n]) >= 1e20 > abs(numbers[neighbour])):
                notes.append(
                    f"{digits} stands {times(counts[n])} in {column} and is read as a number; "
                    f"--set missing_values={digits} if it means that a value is missing"
                )
    return notes
