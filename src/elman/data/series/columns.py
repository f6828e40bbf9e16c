"""Columns of a table of series: the time, what is forecast, and what is known ahead."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from elman.data.delimited import Table
from elman.data.series.settings import SeriesSettings
from elman.errors import DataError, unknown_name

TIME_NAMES = ("time", "date", "datetime", "timestamp", "month", "year", "day", "ds")
TIME_PARTS = ("year", "month", "day", "hour", "minute", "second")


class SeriesColumns(NamedTuple):
    """The columns of a table of series.

    Attributes:
        time: of the time, or its parts.
        columns: what is forecast.
        known: what is known ahead.
    """

    time: tuple[str, ...]
    columns: tuple[str, ...]
    known: tuple[str, ...]


def find_columns(table: Table, settings: SeriesSettings) -> SeriesColumns:
    """Find the columns that the settings name in the header of a table.

    Raises:
        DataError: the header does not name the columns, one that is asked for is missing, or none is left to forecast.
    """
    names, known, series = table.header, settings.known_columns, settings.series_column
    time, columns = settings.time_columns, settings.target_columns
    if max(Counter(names).values()) > 1 or any(map(_is_number, names)):
        raise DataError(
            f"{table.name} has no usable header",
            should="the names of the columns, each once and none a number",
            found=", ".join(names)[:120],
            hint="put a line such as time,value on top",
        )
    for name in (*time, *columns, *known, *([series] if series else [])):
        if name not in names:
            raise unknown_name(f"column of {table.name}:", name, names, DataError)
    time = time or (_time_column(table.name, [name for name in names if name != series]),)
    taken = {*time, *known, series}
    columns = columns or tuple(name for name in names if name not in taken)
    twice = [name for name in columns if name in taken]
    if twice or not columns:
        raise DataError(
            f"{twice[0]} is to be forecast and more" if twice else f"{table.name} leaves no column to forecast",
            should="a column of times, and others of numbers",
            found=", ".join(names),
        )
    return SeriesColumns(time, columns, known)


def _is_number(text: str) -> bool:
    """Return whether a cell is a number; NAN and INF are names."""
    try:
        float(text)
    except ValueError:
        return False
    return any(map(str.isdecimal, text))


def _time_column(table: str, names: list[str]) -> str:
    """Return the one column that has the name of a time; the first where none has."""
    times = [name for name in names if name.lower() in TIME_NAMES]
    if len(times) > 1:
        parts = [name for name in names if name.lower() in TIME_PARTS]
        raise DataError(
            f"{table} has several columns that could be the time",
            should="one, or their parts from the year on",
            found=", ".join(times),
            hint=f"--set time_columns={','.join(parts) if len(parts) > 1 else times[0]}",
        )
    return times[0] if times else names[0]
