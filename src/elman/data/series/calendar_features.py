"""Features of the calendar, known for any time to come: where in the day, the week and the year a step is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elman.data.series.timestamps import DAY, Clock

YEAR = 31_556_952 * 1_000_000  # microseconds of the mean Gregorian year
CYCLES = {"day": (DAY, 2), "week": (7 * DAY, 3), "year": (YEAR, 2)}
"""The period of each cycle in microseconds, and how many waves describe a place in it."""

SEEN = 2  # times that the training part must hold a cycle


@dataclass(frozen=True)
class Calendar:
    """Which cycles of the calendar are features: those that the training part went through at least twice.

    A cycle that training saw once would be a name for a part of the data, and one shorter than two steps says nothing.

    Attributes:
        clock: the steps of the series.
        cycles: names among `CYCLES`.
    """

    clock: Clock
    cycles: tuple[str, ...]

    @classmethod
    def fit(cls, clock: Clock, ticks: int) -> Calendar:
        """Choose the cycles for a training part that spans so many ticks."""
        if clock.kind == "number":
            return cls(clock, ())
        size = {name: 12 if clock.kind == "month" else period for name, (period, _) in CYCLES.items()}
        names = ("year",) if clock.kind == "month" else tuple(CYCLES)
        return cls(clock, tuple(n for n in names if ticks >= SEEN * size[n] and size[n] >= 2 * clock.every))

    @property
    def size(self) -> int:
        """How many features there are."""
        return sum(2 * waves for waves in self._waves())

    @property
    def periods(self) -> list[tuple[int, int]]:
        """The period of each cycle in ticks, and how many waves describe a place in it."""
        periods = (12 if self.clock.kind == "month" else CYCLES[name][0] for name in self.cycles)
        return list(zip(periods, self._waves(), strict=True))

    def features(self, ticks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return sine and cosine of each wave of each cycle at these times, (..., K)."""
        found = []
        for period, waves in self.periods:
            place = (ticks % period) / period * (2 * np.pi)
            found += [f(k * place) for k in range(1, waves + 1) for f in (np.sin, np.cos)]
        return np.stack(found, -1).astype(np.float32) if found else np.zeros((*ticks.shape, 0), np.float32)

    def _waves(self) -> Sequence[int]:
        steps = {
            name: (12 if self.clock.kind == "month" else period) / self.clock.every
            for name, (period, _) in CYCLES.items()
        }
        # A wave needs more than two steps.
        return [max(1, min(CYCLES[name][1], int((steps[name] - 0.5) // 2))) for name in self.cycles]
