"""Which columns of a file of series hold the time, what is forecast, and what is known ahead."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from elman.errors import DataError, unknown_name

TIME_NAMES = ("time", "date", "datetime", "timestamp", "month", "year", "day", "ds")
PARTS = ("year", "month", "day", "hour", "minute", "second")


class Header(NamedTuple):
    """The columns of a file: those of the time, what is forecast, and what is known ahead."""

    time: tuple[str, ...]
    columns: tuple[str, ...]
    known: tuple[str, ...]


def find_columns(
    path: Path,
    names: list[str],
    time: tuple[str, ...],
    series: str | None,
    columns: tuple[str, ...],
    known: tuple[str, ...],
) -> Header:
    """Find the columns that are asked for in the first line of a file.

    Args:
        path: for messages.
        names: the cells of the first line.
        time, series, columns, known: as of `elman.data.series.readers.Form`.

    Raises:
        DataError: the first line names no columns, one that is asked for is not there, or none is left to forecast.
    """
    if not any(names):
        raise DataError(f"{path} is empty", should="a first line with the names of the columns", found="nothing")
    twice = [name for name, count in Counter(names).items() if count > 1]
    numbers = [name for name in names if _is_number(name)]
    if twice or numbers:
        raise DataError(
            f"{path} has no usable first line",
            should="the names of the columns, each once and none a number",
            found=", ".join(names)[:120],
            hint="put a line such as time,value on top",
        )
    for name in (*time, *columns, *known, *([series] if series else [])):
        if name not in names:
            raise unknown_name(f"column of {path}:", name, names, DataError)
    time = time or (_time_column(path, [name for name in names if name != series]),)
    taken = {*time, *known, series}
    columns = columns or tuple(name for name in names if name not in taken)
    both = [name for name in columns if name in taken]
    if both or not columns:
        raise DataError(
            f"{path} leaves no column to forecast" if not columns else f"{both[0]} is to be forecast and more",
            should="a column of times, and others of numbers",
            found=", ".join(names),
        )
    return Header(time, columns, known)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _time_column(path: Path, names: list[str]) -> str:
    """Return the one column that is called like a time; the first where none is.

    Raises:
        DataError: there are several.
    """
    found = [name for name in names if name.lower() in TIME_NAMES]
    if len(found) > 1:
        parts = [name for name in names if name.lower() in PARTS]
        raise DataError(
            f"{path} has several columns that could be the time",
            should="one, or their parts from the year on",
            found=", ".join(found),
            hint=f"--set time_columns={','.join(parts) if len(parts) > 1 else found[0]}",
        )
    return found[0] if found else names[0]
