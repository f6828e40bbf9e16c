"""Timestamps: read strictly, in one form, on a grid of equal steps that goes on beyond the series."""

from __future__ import annotations

import calendar as gregorian
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from elman.errors import DataError, SettingError

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
ISO = ("%Y-%m-%d", *(f"%Y-%m-%d{sep}%H:%M{rest}" for sep in " T" for rest in ("", ":%S", ":%S.%f")))
FINER = ("%Y-%m", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f")
ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$")
FORMS = "integers, 2026-11, 2026-11-24, 2026-11-24 18:30 or 2026-11-24T18:30:00, with or without Z or +02:00"
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
    def zone(self) -> str:
        """The UTC offset with which times are written; empty for none."""
        zone = ZONE.search(self.form)
        return zone[1] if zone and len(self.form) > len(zone[1]) else ""

    def legible(self, tick: int) -> Clock:
        """Return the clock with a form that tells a tick and the one after it; its own where that does."""
        if self.kind == "number":
            return self
        separator = "T" if "T" in self.form else " "
        forms = [self.form, *(form.replace(" ", separator) + self.zone for form in FINER)]
        return next((clock for clock in (replace(self, form=f) for f in forms) if clock._tells(tick)), self)

    def _tells(self, tick: int) -> bool:
        for number in (tick, tick + self.every):
            try:
                read = datetime.strptime(self.text(number), self.form)
            except (ValueError, DataError):  # beyond the calendar
                return False
            if self.kind == "month" and 12 * read.year + read.month - 1 != number:
                return False
            if self.kind == "time" and (read - EPOCH) // MICROSECOND != number:
                return False
        return True

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


def read_times(
    texts: Sequence[str], form: str | None, place: str, lines: Sequence[int], zone: str = ""
) -> tuple[list[int], Clock]:
    """Read times that are all written in one form.

    Times with a UTC offset stay in it where all have the same; with several, they become UTC.

    Args:
        texts: at least one.
        form: as of `datetime.strptime`; None for one of those of ISO 8601, or integers.
        place: the file, for messages.
        lines: where each stands.
        zone: the offset into which times with an offset are converted; empty: their own.

    Returns:
        The ticks, and a clock whose step is 0.

    Raises:
        DataError: a text is not a time, or not in the form of the first.
        SettingError: the form is not a format.
    """
    clock, zoned = _clock_of(texts[0], form, place, lines[0])
    ticks, offsets = [], []
    for text, line in zip(texts, lines, strict=True):
        moment = _moment(text, clock, zoned, form is None)
        if moment is None:
            raise DataError(
                f"{place}, line {line}: the time cannot be read",
                should=f"a time written like {texts[0]!r}" if line != lines[0] else f"the form {form!r}",
                found=repr(text),
                hint="fix the row, or skip such rows with --skip-bad",
            )
        ticks.append(moment[0])
        offsets.append(moment[1])
    if zoned:
        zone = zone or (_zone_of(texts[0], offsets[0]) if len(set(offsets)) == 1 else "Z")
        shift = _offset_of(zone)
        ticks = [tick - offset + shift for tick, offset in zip(ticks, offsets, strict=True)]
        clock = replace(clock, form=clock.form.replace("%z", zone) if form else clock.form + zone)
    fractions = [tick for tick in ticks if tick % SECOND] if clock.kind == "time" else []
    return ticks, clock.legible(fractions[0]) if fractions else clock


def is_time(text: str, first: str, form: str | None) -> bool:
    """Return whether a text is a time in the form of the first one."""
    try:
        clock, zoned = _clock_of(first, form, "", 0)
    except DataError:
        return False
    return _moment(text, clock, zoned, form is None) is not None


def _clock_of(text: str, form: str | None, place: str, line: int) -> tuple[Clock, bool]:
    """Return the clock for times that are written like a text, and whether they have a UTC offset."""
    if form is not None:
        if "%" not in form:
            raise SettingError("time_format is not a format", should="as %d.%m.%Y %H:%M", found=repr(form))
        if "%Z" in form:
            raise SettingError(
                "time_format has names of time zones, which are ambiguous",
                should="%z for offsets such as +02:00, or the name itself where all times have the same",
                found=repr(form),
                hint=f"--set time_format='{form.replace('%Z', '%z')}', or '{form.replace('%Z', 'UTC')}'",
            )
        return Clock("time", 0, form), "%z" in form
    if re.fullmatch(r"[+-]?\d{1,15}", text):
        return Clock("number", 0), False
    if re.fullmatch(r"\d{4}-\d{2}", text):
        return Clock("time", 0, "%Y-%m"), False
    body, zoned = ZONE.subn("", text) if len(text) > 10 else (text, 0)
    for known in ISO:
        try:
            when = datetime.strptime(body, known)
        except ValueError:
            continue
        if when.strftime(known).partition(".")[0] != body.partition(".")[0]:
            continue  # 2026-1-1 is not ISO 8601
        return Clock("time", 0, known), bool(zoned)
    raise DataError(
        f"{place}, line {line}: the time cannot be read",
        should=FORMS,
        found=repr(text),
        hint=f"--set time_format={'%d/%m/%Y or %m/%d/%Y' if '/' in text else '%d.%m.%Y'}, or as the file has it; "
        "--set time_columns=NAME for another column",
    )


def _moment(text: str, clock: Clock, zoned: bool, iso: bool) -> tuple[int, int] | None:
    """Return the tick of a text in its own time zone, and the offset from UTC; None where it has another form."""
    try:
        if clock.kind == "number":
            return (int(text), 0) if re.fullmatch(r"[+-]?\d{1,15}", text) else None
        if not iso:
            when = datetime.strptime(text, clock.form)
        elif clock.form == "%Y-%m":
            if len(text) != 7:
                return None
            when = datetime.fromisoformat(text + "-01")
        else:
            when = datetime.fromisoformat(text)
            body, _, fraction = (ZONE.sub("", text) if zoned else text).partition(".")
            shape = when.replace(tzinfo=None).strftime(clock.form).partition(".")[0]
            if (when.tzinfo is not None) != zoned or body != shape or fraction[6:].strip("0"):
                return None  # beyond microseconds there is no tick
        offset = when.utcoffset() or timedelta(0)
        return (when.replace(tzinfo=None) - EPOCH) // MICROSECOND, offset // MICROSECOND
    except (ValueError, OverflowError):
        return None


def _zone_of(text: str, offset: int) -> str:
    """Return an offset from UTC as a text writes it."""
    minutes = abs(offset) // MINUTE
    written = f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return next((zone for zone in (written, written.replace(":", "")) if zone in text), written if offset else "Z")


def _offset_of(zone: str) -> int:
    """Return the ticks of an offset from UTC."""
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    return (-1 if zone[0] == "-" else 1) * (int(digits[:2]) * HOUR + int(digits[2:]) * MINUTE)


def are_compact_dates(texts: Sequence[str]) -> bool:
    """Return whether integers are all dates such as 20260131 or 202601, of the years 1800 to 2199."""
    for form, size in (("%Y%m%d", 8), ("%Y%m", 6)):
        if all(len(text) == size and text[:2] in ("18", "19", "20", "21") for text in texts):
            try:
                return all(datetime.strptime(text, form) for text in texts)
            except ValueError:
                return False
    return False


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
