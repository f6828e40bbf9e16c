"""Regularisation of times: order, duplicates, gaps and odd steps are refused, or repaired as the rules say."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from elman.data.series.settings import SeriesSettings
from elman.data.series.timestamps import DAY, Clock, as_months, parse_step
from elman.errors import DataError

LARGEST_GRID = 100_000_000  # rows: a gap of centuries is a mistake in a time


def common_step(
    ticks: Sequence[NDArray[np.int64]],
    clock: Clock,
    rules: SeriesSettings,
    known: Clock | None,
    place: str,
    lines: Sequence[NDArray[np.int64]],
    texts: Sequence[str],
) -> tuple[list[NDArray[np.int64]], Clock]:
    """Find the step that all groups of times have in common.

    Args:
        ticks: the times of each group.
        clock: how they were written.
        rules: whose `frequency` is taken, where it is given.
        known: whose step is taken where there are too few times to tell.
        place: the file, for messages.
        lines: where each time stands, for messages.
        texts: the times as they are written, for messages.

    Returns:
        The ticks, in months where they are of that kind, and the clock with its step.

    Raises:
        DataError: there is no common step.
    """
    joined = np.concatenate(list(ticks))
    if rules.frequency is not None:
        kind, every = parse_step(rules.frequency)
        if (kind == "number") != (clock.kind == "number"):
            raise DataError(
                f"{place}: the step does not fit the times",
                should="1h, 1d ... for times, a number for numbers",
                found=rules.frequency,
            )
        if kind == "month":
            months = joined.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) + 12 * 1970
            joined, clock = months, Clock("month", 0, clock.form)
        joined = joined // every * every
        return _split(joined, ticks), replace(clock, every=every)
    joined, clock = as_months(joined, clock)
    found = _split(joined, ticks)
    if known is not None and known.kind == clock.kind:
        clock = replace(clock, every=known.every)
        _check_multiples(found, known.every, clock, place, lines)
        return found, clock
    steps = np.concatenate([np.diff(np.sort(part)) for part in found])
    steps = steps[steps > 0]
    if not len(steps):
        raise DataError(
            f"{place} has too few times to tell their step", should="two or more", found=f"{len(joined)} of {texts[0]}"
        )
    sizes, counts = np.unique(steps, return_counts=True)
    every = int(sizes[counts.argmax()])
    clock = replace(clock, every=every)
    _check_multiples(found, every, clock, place, lines)
    return found, clock


def _check_multiples(
    ticks: Sequence[NDArray[np.int64]], every: int, clock: Clock, place: str, lines: Sequence[NDArray[np.int64]]
) -> None:
    for part, at in zip(ticks, lines, strict=True):
        odd = np.flatnonzero((part - part[0]) % every)
        if len(odd):
            n = int(odd[0])
            raise DataError(
                f"{place}: the times are not regular",
                should=f"a row every {clock.step}, as most are",
                found=f"{clock.text(int(part[n]))} in line {at[n]}, and {len(odd) - 1} more between two steps",
                hint="--set frequency=1d, or any other step: the mean of what falls into each is taken",
            )


def _split(joined: NDArray[np.int64], like: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    return np.split(joined, np.cumsum([len(part) for part in like])[:-1])


def resample_to_grid(
    ticks: NDArray[np.int64],
    values: NDArray[np.float64],
    lines: NDArray[np.int64],
    clock: Clock,
    rules: SeriesSettings,
    place: str,
    counts: Counter[str],
) -> tuple[int, NDArray[np.float64]]:
    """Return the first tick of a group, and a row for each step from there to its last.

    Args:
        ticks: the times, (N,).
        values: the rows, (N, C).
        lines: where they stand in the file, (N,).
        clock: with the step.
        rules: what to do with what is irregular.
        place: for messages.
        counts: gets what was put right.

    Raises:
        DataError: the times are out of order, double, or have gaps, and the rules do not say what to do.
    """
    back = np.flatnonzero(np.diff(ticks) < 0)
    if len(back):
        n = int(back[0])
        _refuse(
            rules.unsorted == "refuse",
            f"{place}: the rows are not in the order of their times",
            f"{clock.text(int(ticks[n + 1]))} in line {lines[n + 1]} after {clock.text(int(ticks[n]))}",
            len(back),
            "--set unsorted=sort",
        )
        order = np.argsort(ticks, kind="stable")
        counts["rows put in order"] += int((order != np.arange(len(order))).sum())
        ticks, values, lines = ticks[order], values[order], lines[order]
    ticks, values = _single(ticks, values, lines, clock, rules, place, counts)
    steps = (ticks - ticks[0]) // clock.every
    length = int(steps[-1]) + 1
    gaps = length - len(ticks)
    if gaps:
        n = int(np.flatnonzero(np.diff(steps) > 1)[0])
        _refuse(
            rules.gaps == "refuse" or length > LARGEST_GRID,
            f"{place}: there are times without a row",
            f"none between {clock.text(int(ticks[n]))} and {clock.text(int(ticks[n + 1]))}; {gaps:,} missing in all, "
            f"at a row every {clock.step}",
            1,
            f"--set gaps=missing{_clock_change(clock)}" if length <= LARGEST_GRID else "fix the time",
        )
        counts["times without a row"] += gaps
    grid = np.full((length, values.shape[1]), np.nan)
    grid[steps] = values
    return int(ticks[0]), grid


def _single(
    ticks: NDArray[np.int64],
    values: NDArray[np.float64],
    lines: NDArray[np.int64],
    clock: Clock,
    rules: SeriesSettings,
    place: str,
    counts: Counter[str],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return one row for each time."""
    unique, first, number = np.unique(ticks, return_index=True, return_counts=True)
    if len(unique) == len(ticks):
        return ticks, values
    doubled = int(np.flatnonzero(number > 1)[0])
    averaged = rules.frequency is not None
    _refuse(
        rules.duplicates == "refuse" and not averaged,
        f"{place}: a time stands in several rows",
        f"{clock.text(int(unique[doubled]))} in lines {lines[first[doubled]]} and {lines[first[doubled] + 1]}",
        int((number > 1).sum()),
        "--set duplicates=mean, first or last; --set series_column=NAME where a column names the series of a row"
        + _clock_change(clock),
    )
    counts["rows averaged" if averaged else "rows with a time that stood already"] += len(ticks) - len(unique)
    if rules.duplicates == "first" and not averaged:
        return unique, values[first]
    if rules.duplicates == "last" and not averaged:
        return unique, values[first + number - 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of missing values is a missing value
        means = [np.nanmean(values[a : a + n], axis=0) for a, n in zip(first, number, strict=True)]
    return unique, np.stack(means)


def _clock_change(clock: Clock) -> str:
    """Return what else to try where times could be local ones at a change of the clocks."""
    local = clock.kind == "time" and clock.every < DAY and not clock.zone
    return "; local times where the clocks change need their UTC offset, as 2026-10-25T02:30+01:00" if local else ""


def _refuse(refused: bool, what: str, found: str, times: int, hint: str) -> None:
    if refused:
        more = f", and {times - 1:,} more" if times > 1 else ""
        raise DataError(what, should="each time once, in order, with equal steps", found=found + more, hint=hint)
