"""What a forecaster is fitted to, of the training part alone, and the windows that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from elman.data.series.calendar_features import CYCLES, Calendar
from elman.data.series.dataset import Panel
from elman.data.series.readers import SeriesTable, read_series
from elman.data.series.scaler import Scaler
from elman.data.series.settings import SeriesSettings
from elman.data.series.timestamps import Clock
from elman.data.series.windows import Windows
from elman.errors import BrokenRun, DataError, SettingError
from elman.storage.files import write_json

LONGEST = 1_000_000  # steps of a lookback or a horizon
NO_SEASON = 8  # steps of the horizon where a series has no season
WIDEST_SEGMENT = 48  # of a season that is taken for a segment


@dataclass(frozen=True)
class ForecastSpec:
    """Names, scale, calendar and sizes of a forecaster. Whatever is measured is measured before `cut`.

    Attributes:
        groups: as of `Panel`.
        columns: as of `Panel`.
        known: as of `Panel`.
        clock: as of `Panel`.
        scaler: mean and deviation of each series.
        calendar: which cycles are features.
        season: steps of the season that the naive forecast repeats.
        horizon: F, steps to forecast.
        lookback: T, steps that are read.
        segment: steps in a segment.
        cut: the tick at which the validation part begins.
    """

    groups: tuple[str, ...]
    columns: tuple[str, ...]
    known: tuple[str, ...]
    clock: Clock
    scaler: Scaler
    calendar: Calendar
    season: int
    horizon: int
    lookback: int
    segment: int
    cut: int

    @property
    def series(self) -> int:
        """How many series there are."""
        return len(self.groups) * len(self.columns)

    @classmethod
    def fit(
        cls,
        panel: Panel,
        *,
        validation: float,
        season: int | None = None,
        horizon: int | None = None,
        lookback: int | None = None,
        segment: int | None = None,
        calendar: bool = True,
        constants: str = "refuse",
        skip_bad: bool = False,
    ) -> tuple[Self, Panel]:
        """Cut the validation part off, choose what the user leaves open, and measure the training part.

        Args:
            panel: all series.
            validation: the share of the whole span of time, at its end.
            season: None: the usual one of the step, see `Clock.season`.
            horizon: None: a season.
            lookback: None: four seasons and two horizons at least, and at most half of the training part.
            segment: None: a season, or the root of the lookback.
            calendar: whether features of the calendar are taken.
            constants: as of `Scaler.fit`.
            skip_bad: skip groups whose training part is too short.

        Returns:
            The plan, and the panel with the groups that are in it.

        Raises:
            DataError: a part is too short, or a series constant or empty.
        """
        cut = panel.cut_at(1 - validation)
        season = season or panel.clock.season
        horizon = horizon or (season if season > 1 else NO_SEASON)
        longest = int(panel.before(cut).values.lengths.max())
        lookback = lookback or max(1, min(max(2 * horizon, 4 * season), (longest - horizon) // 2))
        segment = segment or min(lookback, season if 4 <= season <= WIDEST_SEGMENT else round(lookback**0.5))
        panel = _long_enough(panel, cut, lookback + horizon, skip_bad)
        training = panel.before(cut)
        _check_season(season, int(training.values.lengths.max()))
        scaler = Scaler.fit(training, constants=constants)
        scaler.check_range(panel)
        first = int(training.starts.min())
        last = max(training.end(n) for n in range(len(training.groups)))
        cycles = Calendar.fit(panel.clock, last - first) if calendar else Calendar(panel.clock, ())
        names = (panel.groups, panel.columns, panel.known, panel.clock)
        plan = cls(*names, scaler, cycles, season, horizon, lookback, segment, cut)
        if not len(plan.validation(panel)):
            raise DataError(
                "the validation part is too short",
                should=f"at least the horizon, {horizon} rows",
                found=f"{(max(panel.end(n) for n in range(len(panel.groups))) - cut) // panel.clock.every} rows",
                hint=f"--set validation=0.3, or --set horizon={max(1, horizon // 2)}",
            )
        return plan, panel

    def described(self, panel: Panel) -> dict[str, Any]:
        """Return what config.json says about the series of a run."""
        clock, starts = self.clock, panel.starts
        last = max(panel.end(n) for n in range(len(panel.groups)))
        return {
            "series": f"{self.series}: {', '.join(panel.series[:20])}{' ...' if self.series > 20 else ''}",
            "times": f"{clock.text(int(starts.min()))} to {clock.text(last - clock.every)}, every {clock.step}",
            "validation_from": clock.text(self.cut),
            "windows": f"{self.lookback} steps read, {self.horizon} forecast, in segments of {self.segment}",
            "season": f"{self.season} steps",
            "calendar": ", ".join(self.calendar.cycles) or "no cycle that the training part has twice",
        }

    def read_table(self, sources: Sequence[Path], form: SeriesSettings, *, skip_bad: bool) -> SeriesTable:
        """Read other series in the format of the training; times whose rows are skipped are missing.

        Raises:
            DataError: they cannot be read, or are irregular, which is not corrected unless it was in the training.
        """
        columns = form.target_columns or self.columns  # further ones are not read
        form = replace(form, target_columns=columns, skip_bad=skip_bad, gaps="missing" if skip_bad else form.gaps)
        try:
            return read_series(sources, form, self.clock)
        except DataError as error:
            if not (error.hint or "").startswith("--set"):
                raise
            hint = f"fix the file, or train a run with {error.hint}"
            raise error.amended(hint=hint) from error

    def training(self, panel: Panel) -> Windows:
        """Return the windows of the training part, which is all that they can see."""
        return self._windows(panel.before(self.cut), source=panel)

    def validation(self, panel: Panel, most: int | None = None) -> Windows:
        """Return the windows whose future lies in the validation part; their past may reach into the training part."""
        return self._windows(panel, first=self.cut, most=most)

    def all_of(self, panel: Panel, place: str) -> Windows:
        """Return all windows of other series.

        Raises:
            DataError: they have other names or another step, or are too short.
        """
        windows = self._windows(panel, self._checked(panel, place))
        if not len(windows):
            raise DataError(
                f"{place} is too short",
                should=f"lookback and horizon, {self.lookback} + {self.horizon} rows",
                found=f"{int(panel.values.lengths.max())} rows",
            )
        return windows

    def beyond(self, panel: Panel, horizon: int, place: str, *, needed: int) -> Windows:
        """Return one window for each series, whose future of `horizon` steps begins after its last value.

        What is known ahead must be there for the steps that are needed.

        Raises:
            DataError: they have other names or another step, are too short, or what is known ahead ends too early.
        """
        numbers = self._checked(panel, place)
        for n, length in enumerate(panel.values.lengths):
            if length < self.lookback or np.isnan(panel.values[n][-self.lookback :]).all(0).any():
                raise DataError(
                    f"{place} {panel.groups[n]}".rstrip() + " has too short a past to be continued",
                    should=f"{self.lookback} rows at its end, not all of them missing",
                    found=f"{length} rows",
                )
            ahead = len(panel.ahead[n]) - length
            if self.known and ahead < needed:
                raise DataError(
                    f"{place} does not know {', '.join(self.known)} far enough ahead",
                    should=f"{needed} rows behind the last value, with {', '.join(self.columns)} left empty",
                    found=f"{ahead} rows",
                    hint="add them, or a smaller --set horizon=N",
                )
        return self._windows(panel, numbers, horizon=horizon, beyond=True)

    def _windows(self, panel: Panel, numbers: list[int] | None = None, **options: Any) -> Windows:
        scaler = self.scaler if numbers is None else self.scaler.only(numbers)
        sizes = {"lookback": self.lookback, "horizon": self.horizon, **options}
        return Windows(panel, scaler, self.calendar, numbers=numbers, **sizes)

    def _checked(self, panel: Panel, place: str) -> list[int]:
        """Return the numbers of the groups of other series."""
        unknown = [name for name in panel.groups if name not in self.groups]
        if panel.columns != self.columns or unknown:
            raise DataError(
                f"{place} has other series than the run",
                should=", ".join(self.columns if panel.columns != self.columns else self.groups)[:200],
                found=", ".join(panel.columns if panel.columns != self.columns else unknown)[:200],
                hint="train a new run on these",
            )
        if (panel.clock.kind, panel.clock.every) != (self.clock.kind, self.clock.every):
            raise DataError(
                f"{place} has another step than the run",
                should=f"a row every {self.clock.step}",
                found=f"a row every {panel.clock.step}",
            )
        numbers = [self.groups.index(name) for name in panel.groups]
        self.scaler.check_range(panel, numbers)
        return numbers

    def save(self, folder: Path, panel: Panel) -> None:
        """Write the plan into a run's folder, with where the panel's groups start."""
        sizes = {name: getattr(self, name) for name in ("season", "horizon", "lookback", "segment", "cut")}
        fitted = {"scaler": self.scaler.as_json(), "cycles": list(self.calendar.cycles)}
        write_json(folder / "series.json", {**panel.facts(), **sizes, **fitted})

    @classmethod
    def read(cls, found: Mapping[str, Any], place: str) -> Self:
        """Return the plan that `save` wrote, out of its JSON.

        Raises:
            RunError: a value in it is missing or invalid.
        """
        try:
            groups, columns, known = (_names(found[name]) for name in ("groups", "columns", "known"))
            clock = Clock(**found["clock"])
            kinds = clock.kind in ("number", "month", "time") and isinstance(clock.form, str)
            if not kinds or _whole(clock.every) < 1 or not 0 <= _whole(clock.day) <= 31 or _whole(clock.rest) < 0:
                raise ValueError(f"a clock {clock}")
            scaler = Scaler.from_json(found["scaler"], len(groups), len(columns), len(known))
            cycles = _names(found["cycles"])
            if not set(cycles) <= set(CYCLES) or (cycles and clock.kind == "number"):
                raise ValueError(f"cycles {cycles}")
            sizes = {name: _whole(found[name]) for name in ("season", "horizon", "lookback", "segment")}
            if not groups or not columns or not all(1 <= size <= LONGEST for size in sizes.values()):
                raise ValueError(f"sizes {sizes}")
            return cls(
                groups, columns, known, clock, scaler, Calendar(clock, cycles), cut=_whole(found["cut"]), **sizes
            )
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise BrokenRun(f"{place} is broken", should="the plan of a forecaster", found=str(error)[:200]) from error


def _names(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{found!r} where names should be")
    return tuple(found)


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) >= 1 << 62:
        raise ValueError(f"{value!r} where an integer should be")
    return value


def _long_enough(panel: Panel, cut: int, least: int, skip_bad: bool) -> Panel:
    """Return the groups whose training part has at least a window."""
    lengths = panel.before(cut).values.lengths
    keep = [n for n, length in enumerate(lengths) if length >= least]
    if len(keep) == len(lengths) or (keep and skip_bad):
        return panel.only(keep)
    short = next(n for n, length in enumerate(lengths) if length < least)
    raise DataError(
        f"the training part of {panel.groups[short] or 'the series'} is too short",
        should=f"lookback and horizon, {least} rows",
        found=f"{lengths[short]} rows",
        hint="a smaller --set lookback=N or --set horizon=N" + ("; --skip-bad skips such series" if keep else ""),
    )


def _check_season(season: int, rows: int) -> None:
    if season >= rows:
        raise SettingError(
            "the season is longer than the training part",
            should=f"fewer than {rows} steps",
            found=str(season),
            hint="--set season=1",
        )
