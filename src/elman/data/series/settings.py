"""Settings of files of series."""

from __future__ import annotations

from dataclasses import dataclass

from elman.settings import Settings, setting

REFUSE = "refuse"


@dataclass(frozen=True, kw_only=True)
class SeriesSettings(Settings):
    """Settings of files of series: their columns, and what is done with irregular times and broken rows."""

    time_columns: tuple[str, ...] = setting((), "times, or year,month,day,hour; none: by the name", fixed=True)
    time_format: str | None = setting(None, "format of times, such as %d.%m.%Y %H:%M; none: ISO 8601", fixed=True)
    series_column: str | None = setting(None, "column that names the series of a row (long form)", fixed=True)
    target_columns: tuple[str, ...] = setting((), "columns to forecast; none: all others", fixed=True)
    known_columns: tuple[str, ...] = setting((), "columns of numbers that are known ahead", fixed=True)
    missing_values: tuple[str, ...] = setting((), "cells that mean no value, such as -999, besides NA", fixed=True)
    frequency: str | None = setting(None, "resampling to the mean of each 15min, 1h, 1d, 1month, ...", fixed=True)
    unsorted: str = setting(REFUSE, "unsorted rows", choices=(REFUSE, "sort"), fixed=True)
    duplicates: str = setting(REFUSE, "rows of the same time", choices=(REFUSE, "first", "last", "mean"), fixed=True)
    gaps: str = setting(REFUSE, "times without a row", choices=(REFUSE, "missing"), fixed=True)
    constant_series: str = setting(REFUSE, "series of one value", choices=(REFUSE, "keep"), fixed=True)
    skip_bad: bool = setting(False, "skip broken rows and series that are too short, and count them", fixed=True)
