"""Timestamps: read strictly, in one form, on a grid of equal steps that goes on beyond the series."""

from __future__ import annotations

import calendar as gregorian
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError, SettingError

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
ISO = ("%Y-%m-%d", *(f"%Y-%m-%d{sep}%H:%M{rest}" for sep in " T" for rest in ("", ":%S", ":%S.%f")))
FORMS = "integers, 2026-11, 2026-11-24, 2026-11-24 18:30 or 2026-11-24T18:30:00, with or without Z"
UNITS = {
    "s": ("time", SECOND),
    "min": ("time", MINUTE),
    "h": ("time", HOUR),
    "d": ("time", DAY),
    "w": ("time", 7 * DAY),
    "month": ("month", 1),
    "year": ("month", 12),
}


@dataclass(frozen=True)
class Clock:
    """A regular grid of times. A tick is an integer: of months, of microseconds since 1970, or as the file has it.

    Attributes:
        kind: "number", "month" or "time".
        every: ticks from one step to the next; 0 where it is not known yet.
        form: how a time is written, as of `datetime.strftime`; empty for numbers.
        day: kind "month": the day of the month, 0 for its last.
        rest: kind "month": microseconds since the beginning of that day.
    """

    kind: str
    every: int
    form: str = ""
    day: int = 1
    rest: int = 0

    def text(self, tick: int) -> str:
        """Return a tick as the file would write it."""
        if self.kind == "number":
            return str(tick)
        try:
            if self.kind == "time":
                return (EPOCH + tick * MICROSECOND).strftime(self.form)
            year, month = divmod(tick, 12)
            day = self.day or gregorian.monthrange(year, month + 1)[1]
            return (datetime(year, month + 1, day) + self.rest * MICROSECOND).strftime(self.form)
        except (OverflowError, ValueError) as error:
            raise DataError("a time lies beyond the calendar", should="years 1 to 9999", found=str(error)) from error

    @property
    def step(self) -> str:
        """The step in words: 1 h, 15 min, 3 months."""
        if self.kind == "number":
            return f"{self.every}"
        if self.kind == "month":
            size, name = (self.every // 12, "year") if self.every % 12 == 0 else (self.every, "month")
            return f"{size} {name}{'s' if size > 1 else ''}"
        named = (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND), ("us", 1))
        return next(f"{self.every // size} {name}" for name, size in named if self.every % size == 0)

    @property
    def season(self) -> int:
        """Steps of the usual season: a day, a week of days, a year of weeks, months or quarters; 1 for none."""
        if self.kind == "number" or not self.every:
            return 1
        if self.kind == "month":
            return 12 // self.every if 12 % self.every == 0 else 1
        if self.every == 7 * DAY:
            return 52
        whole = {True: 7 * DAY, False: DAY}[self.every == DAY]
        whole = HOUR if self.every < MINUTE else whole
        return whole // self.every if whole % self.every == 0 else 1


def read_times(texts: Sequence[str], form: str | None, place: str, lines: Sequence[int]) -> tuple[list[int], Clock]:
    """Read times that are all written in one form.

    Args:
        texts: at least one.
        form: as of `datetime.strptime`; None for one of those of ISO 8601, or integers.
        place: the file, for messages.
        lines: where each stands.

    Returns:
        The ticks, and a clock whose step is 0.

    Raises:
        DataError: a text is not a time, or not in the form of the first.
        SettingError: the form is not a format.
    """
    clock, zone = _clock_of(texts[0], form, place, lines[0])
    ticks = []
    for text, line in zip(texts, lines, strict=True):
        tick = _tick(text, clock, zone, form is None)
        if tick is None:
            raise DataError(
                f"{place}, line {line}: the time cannot be read",
                should=f"a time written like {texts[0]!r}" if line != lines[0] else f"the form {form!r}",
                found=repr(text),
                hint="fix the row, or skip such rows with --skip-bad",
            )
        ticks.append(tick)
    return ticks, clock


def is_time(text: str, first: str, form: str | None) -> bool:
    """Return whether a text is a time in the form of the first one."""
    try:
        clock, zone = _clock_of(first, form, "", 0)
    except DataError:
        return False
    return _tick(text, clock, zone, form is None) is not None


def _clock_of(text: str, form: str | None, place: str, line: int) -> tuple[Clock, bool]:
    """Return the clock for times that are written like a text, and whether they end in a zone."""
    if form is not None:
        if "%" not in form:
            raise SettingError("time_format is not a format", should="as %d.%m.%Y %H:%M", found=repr(form))
        return Clock("time", 0, form), False
    if re.fullmatch(r"[+-]?\d{1,15}", text):
        return Clock("number", 0), False
    if re.fullmatch(r"\d{4}-\d{2}", text):
        return Clock("time", 0, "%Y-%m"), False
    body, zone = re.subn(r"(Z|[+-]\d{2}:?\d{2})$", "", text) if len(text) > 10 else (text, 0)
    for known in ISO:
        try:
            when = datetime.strptime(body, known)
        except ValueError:
            continue
        if when.strftime(known).partition(".")[0] != body.partition(".")[0]:
            continue  # 2026-1-1 is not ISO 8601
        return Clock("time", 0, known + ("Z" if zone else "")), bool(zone)
    raise DataError(
        f"{place}, line {line}: the time cannot be read",
        should=FORMS,
        found=repr(text),
        hint="--set time_format=%d.%m.%Y, or as the file has it; --set time_columns=NAME for another column",
    )


def _tick(text: str, clock: Clock, zone: bool, iso: bool) -> int | None:
    """Return the tick of a text, None where it has another form. Times with a zone become UTC."""
    try:
        if clock.kind == "number":
            return int(text) if re.fullmatch(r"[+-]?\d{1,15}", text) else None
        if not iso:
            when = datetime.strptime(text, clock.form)
        elif clock.form == "%Y-%m":
            when = datetime.fromisoformat(text + "-01") if len(text) == 7 else None  # type: ignore[assignment]
        else:
            when = datetime.fromisoformat(text)
            body = re.sub(r"(Z|[+-]\d{2}:?\d{2})$", "", text) if zone else text
            shape = when.replace(tzinfo=None).strftime(clock.form.removesuffix("Z"))
            if (when.tzinfo is not None) != zone or body.partition(".")[0] != shape.partition(".")[0]:
                return None
        if when is None:
            return None
        if when.tzinfo is not None:
            when = when.astimezone(UTC).replace(tzinfo=None)
        return (when - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return None


def as_months(ticks: NDArray[np.int64], clock: Clock) -> tuple[NDArray[np.int64], Clock]:
    """Return ticks in months where every time is the same day of its month, or the last; else what was given."""
    if clock.kind != "time" or len(ticks) < 2:
        return ticks, clock
    days, rests = np.divmod(ticks, DAY)
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    of_month = days - months.astype("datetime64[D]").astype(np.int64) + 1
    last = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64) == of_month
    same = (of_month == of_month[0]).all() and of_month[0] <= 28
    if not (rests == rests[0]).all() or not (same or last.all()) or len(np.unique(months)) < 2:
        return ticks, clock
    day = int(of_month[0]) if same else 0
    return months.astype(np.int64) + 12 * 1970, Clock("month", 0, clock.form, day, int(rests[0]))


def parse_step(text: str) -> tuple[str, int]:
    """Return the kind and the ticks of a step such as 1h, 15min, 1month; a bare number is of kind "number".

    Raises:
        SettingError: it is none.
    """
    found = re.fullmatch(r"(\d{1,9})\s*([a-z]*)", text.strip())
    name = found[2] if found else ""
    unit = ("number", 1) if name == "" else UNITS.get(name, UNITS.get(name.removesuffix("s")))
    if not found or unit is None or int(found[1]) < 1:
        raise SettingError(
            "the step is none",
            should="a number and one of " + ", ".join(UNITS),
            found=repr(text),
            hint="--set frequency=1h",
        )
    return unit[0], int(found[1]) * unit[1]
