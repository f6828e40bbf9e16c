"""Windows of series: a past to read and a future to forecast, in units that the training part fixes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.series.calendar_features import Calendar
from elman.data.series.dataset import Panel
from elman.data.series.regularisation import LARGEST_GRID
from elman.data.series.scaler import Scaler
from elman.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class WindowBatch(NamedTuple):
    """Windows side by side, in units of the training part's deviation; float32.

    Attributes:
        past_TB: what a forecaster reads; where a value is missing, the last one before it in the window, or 0.
        past_seen_TB: 1 where there was a value.
        calendar_SBK: features of the calendar of all T + F steps.
        known_SBK: what is known ahead of all T + F steps.
        series_B: the number of each series.
        future_FB: what comes; 0 where it is missing.
        future_seen_FB: 1 where there is a value.
    """

    past_TB: Tensor
    past_seen_TB: Tensor
    calendar_SBK: Tensor
    known_SBK: Tensor
    series_B: Tensor
    future_FB: Tensor
    future_seen_FB: Tensor


class WindowPlaces(NamedTuple):
    """Where windows are, (B,) each: their group and column, and the row where their future begins."""

    groups: NDArray[np.int64]
    columns: NDArray[np.int64]
    rows: NDArray[np.int64]


class Windows:
    """All windows of a panel, by number: a past of `lookback` rows and a future of `horizon`.

    Args:
        panel: the series; for training nothing but the training part.
        scaler: fitted on the training part.
        calendar: likewise.
        lookback: T.
        horizon: F.
        first: the tick from which on futures may begin; None: wherever there is a past.
        numbers: of the series that the panel's groups stand for, group by group; None: from 0 on.
        beyond: the future lies beyond the last value: one window for each series, at its end.
        source: all series, if `panel` is a part of them.
        most: how many windows an evaluation takes at most, evenly spread; None: all.

    Raises:
        DataError: the groups lie too far apart in time.
    """

    def __init__(
        self,
        panel: Panel,
        scaler: Scaler,
        calendar: Calendar,
        *,
        lookback: int,
        horizon: int,
        first: int | None = None,
        numbers: list[int] | None = None,
        beyond: bool = False,
        source: Panel | None = None,
        most: int | None = None,
    ) -> None:
        self.panel, self.scaler, self.calendar = panel, scaler, calendar
        self.source, self.most = source or panel, most
        self.lookback, self.horizon, self.beyond = lookback, horizon, beyond
        self.numbers = np.asarray(numbers if numbers is not None else range(len(panel.groups)), np.int64)
        begins, counts = [], []
        for n, length in enumerate(panel.values.lengths):
            begin = lookback
            if beyond:
                begin = int(length)
            elif first is not None:
                begin = max(begin, -((int(panel.starts[n]) - first) // panel.clock.every))
            begins.append(begin)
            counts.append(1 if beyond else max(0, int(length) - horizon + 1 - begin))
        self._begins = np.asarray(begins, np.int64)
        self._counts = np.asarray(counts, np.int64) * len(panel.columns)
        self._ends = np.cumsum(self._counts)
        # The calendar of every step from a past before the first row to a future behind the last.
        every = panel.clock.every
        self._origin = int(panel.starts.min()) - lookback * every
        last = max(panel.end(n) for n in range(len(panel.groups))) + horizon * every
        if (last - self._origin) // every > LARGEST_GRID:
            raise DataError(
                "the series lie too far apart",
                should=f"at most {LARGEST_GRID:,} steps of {panel.clock.step} from the first to the last",
                found=f"{(last - self._origin) // every:,}",
                hint="fix the times, or train on them one by one",
            )
        self._features = calendar.features(np.arange(self._origin, last, every))

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all series, those parts included that the windows do not reach."""
        return self.source.values.fingerprint

    def places(self, numbers: NDArray[np.int64]) -> WindowPlaces:
        """Return where windows are."""
        groups = np.searchsorted(self._ends, numbers, side="right")
        rows, columns = np.divmod(numbers - (self._ends - self._counts)[groups], len(self.panel.columns))
        return WindowPlaces(groups, columns, rows + self._begins[groups])

    def batch(self, numbers: NDArray[np.int64]) -> WindowBatch:
        """Return the windows of these numbers."""
        import torch  # only here: series are read without it

        T, places = self.lookback, self.places(numbers)
        steps_S = np.arange(-T, self.horizon)
        values_SB = self._values(places, steps_S)
        seen_SB = ~np.isnan(values_SB)
        known_SBK = self._known(places, steps_S)
        first_B = (self.panel.starts[places.groups] - self._origin) // self.panel.clock.every + places.rows
        numbers_B = self.numbers[places.groups] * len(self.panel.columns) + places.columns
        return WindowBatch(
            torch.from_numpy(forward_filled(values_SB[:T]).astype(np.float32)),
            torch.from_numpy(seen_SB[:T].astype(np.float32)),
            torch.from_numpy(self._features[first_B + steps_S[:, None]]),
            torch.from_numpy(known_SBK.astype(np.float32)),
            torch.from_numpy(numbers_B),
            torch.from_numpy(np.nan_to_num(values_SB[T:]).astype(np.float32)),
            torch.from_numpy(seen_SB[T:].astype(np.float32)),
        )

    def history(self, numbers: NDArray[np.int64], steps: int) -> NDArray[np.float64]:
        """Return the last `steps` values before each future, (steps, B), scaled and forward-filled; 0 before any."""
        return forward_filled(self._values(self.places(numbers), np.arange(-steps, 0)))

    def _values(self, places: WindowPlaces, steps_S: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return scaled values at steps from each place on, (S, B); nan where there is none."""
        found_BS = np.empty((len(places.groups), len(steps_S)))  # a window is a row: it lies together in the series too
        for group in np.unique(places.groups):
            here = np.flatnonzero(places.groups == group)
            values_TC, columns_b1 = self.panel.values[group], places.columns[here, None]
            rows_bS = places.rows[here, None] + steps_S
            inside = (rows_bS >= 0) & (rows_bS < len(values_TC))
            part = values_TC[np.clip(rows_bS, 0, len(values_TC) - 1), columns_b1]
            part -= self.scaler.mean[group, columns_b1]
            part /= self.scaler.deviation[group, columns_b1]
            part[~inside] = np.nan
            found_BS[here] = part
        return found_BS.T

    def _known(self, places: WindowPlaces, steps_S: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return scaled covariates at steps from each place on, (S, B, K); those of the first row before it."""
        found_SBK = np.zeros((len(steps_S), len(places.groups), len(self.panel.known)))
        for group in np.unique(places.groups) if self.panel.known else ():
            here = np.flatnonzero(places.groups == group)
            ahead_TK = self.panel.ahead[group]
            part = ahead_TK[np.clip(steps_S[:, None] + places.rows[here], 0, len(ahead_TK) - 1)]
            found_SBK[:, here] = (part - self.scaler.known_mean) / self.scaler.known_deviation
        return found_SBK


def forward_filled(values_TB: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values with the last one before it in place of each nan, and 0 where there is none before."""
    missing_TB = np.isnan(values_TB)
    if not missing_TB.any():
        return values_TB
    places_TB = np.where(missing_TB, -1, np.arange(len(values_TB))[:, None])
    places_TB = np.maximum.accumulate(places_TB, axis=0)
    filled_TB = np.take_along_axis(values_TB, np.maximum(places_TB, 0), axis=0)
    return np.where(places_TB < 0, 0.0, filled_TB)


Forecast = tuple[NDArray[np.floating], NDArray[np.floating]]
"""A point forecast, (F, B), and its quantiles, (F, B, Q)."""


ForecastFunction = Callable[[WindowBatch, NDArray[np.int64]], Forecast]
"""(a batch, the numbers of its windows) -> what is forecast; the batch's future must not be looked at."""


def spread_evenly(count: int, most: int | None) -> NDArray[np.int64]:
    """Return at most so many of the numbers from 0 to count - 1, evenly spread; all of them for None."""
    if most is None or count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
