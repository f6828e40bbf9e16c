"""Series from CSV files, wide or long; irregular ones are refused, or made regular as the settings say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.data.delimited import read_table
from elman.data.folders import visible_entries
from elman.data.series.columns import TIME_NAMES, SeriesColumns, find_columns
from elman.data.series.dataset import Panel
from elman.data.series.notes import placeholder_notes, time_notes
from elman.data.series.regularisation import common_step, resample_to_grid
from elman.data.series.settings import SeriesSettings
from elman.data.series.timestamps import FORMS, Clock, are_compact_dates, is_time, read_times
from elman.data.skipped import SkippedRows
from elman.errors import DataError
from elman.storage.files import absence, is_dir, is_file
from elman.storage.ragged import RaggedArrays

PARTS_FORM = "%Y-%m-%d %H:%M:%S"
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "."})
LARGEST = 1e300


class SeriesRows(NamedTuple):
    """The rows of one group, in the order of the file.

    Attributes:
        lines: the numbers of their lines.
        times: their times, as they are written.
        values: their numbers.
    """

    lines: list[int]
    times: list[str]
    values: list[list[float]]


class SeriesTable(NamedTuple):
    """Series and what was found in their files.

    Attributes:
        panel: the series.
        counts: of rows, missing values, and repairs.
        skipped: the broken rows.
        notes: what was guessed, with the setting that decides it.
    """

    panel: Panel
    counts: dict[str, int]
    skipped: SkippedRows
    notes: list[str]


def read_series(sources: Sequence[Path], form: SeriesSettings, clock: Clock | None = None) -> SeriesTable:
    """Read series out of CSV files.

    Args:
        sources: files, or folders whose *.csv are taken. Several files in wide form are a group each.
        form: how they are to be read.
        clock: whose step is taken where a file is too short to tell; None: there must be two rows.

    Raises:
        DataError: a file cannot be read, or is not as it should be; the message names the place.
        SettingError: a setting is wrong.
    """
    files = list(_files(sources))
    counts: Counter[str] = Counter()
    groups: dict[str, SeriesRows] = {}
    skipped = SkippedRows()
    header: SeriesColumns | None = None
    for path in files:
        found = _read_file(path, form, groups, counts, skipped, path.stem if len(files) > 1 else "")
        if header is not None and (header.columns, header.known) != (found.columns, found.known):
            raise DataError(
                f"{path} has other columns than {files[0]}",
                should=", ".join(header.columns + header.known),
                found=", ".join(found.columns + found.known),
            )
        header = found
    assert header is not None
    if not groups:
        raise DataError(f"{files[0]} has no rows", should="a row for each time", found="only a header")
    try:
        panel = _regular(groups, header, form, clock, str(files[0]), counts)
    except DataError as error:
        if form.time_columns or header.time[0].lower() in TIME_NAMES:
            raise
        guess = f"--set time_columns=NAME, if {header.time[0]}, the first column, does not hold the times"
        hint = f"{error.hint}; {guess}" if error.hint else guess
        raise error.amended(hint=hint) from error
    times = (text for rows in groups.values() for text in rows.times)
    notes = [*time_notes(times, form, panel.clock), *placeholder_notes(panel)]
    return SeriesTable(panel, {name: count for name, count in counts.items() if count}, skipped, notes)


def _regular(
    groups: dict[str, SeriesRows],
    header: SeriesColumns,
    form: SeriesSettings,
    clock: Clock | None,
    place: str,
    counts: Counter[str],
) -> Panel:
    """Put every group onto the grid that their times have in common."""
    lines = [line for rows in groups.values() for line in rows.lines]
    texts = [text for rows in groups.values() for text in rows.times]
    written = form.time_format or (PARTS_FORM if len(header.time) > 1 else None)
    ticks, read_clock = read_times(texts, written, place, lines, clock.zone if clock else "")
    if read_clock.kind == "number" and clock is None and form.frequency is None and are_compact_dates(texts):
        raise DataError(
            f"{place}: the times could be dates or integers",
            should="times of one meaning",
            found=f"{texts[0]} to {texts[-1]}",
            hint=f"--set time_format={'%Y%m%d' if len(texts[0]) == 8 else '%Y%m'} for dates, "
            "--set frequency=1 for integers that count steps",
        )
    places = np.cumsum([len(rows.times) for rows in groups.values()])[:-1]
    split = np.split(np.asarray(ticks, np.int64), places)
    split, step = common_step(split, read_clock, form, clock, place, np.split(np.asarray(lines), places), texts)
    step = step.legible(int(split[0][0]))
    C = len(header.columns)
    starts, values, ahead = [], [], []
    for (name, rows), found in zip(groups.items(), split, strict=True):
        table = np.asarray(rows.values, np.float64).reshape(len(found), -1)
        start, grid = resample_to_grid(found, table, np.asarray(rows.lines), step, form, _named(place, name), counts)
        length = len(grid) if not header.known else _last_value(grid[:, :C])
        missing_ahead = np.argwhere(np.isnan(grid[:, C:]))
        if len(missing_ahead):
            row, column = missing_ahead[0]
            raise DataError(
                f"{_named(place, name)}: {header.known[column]} is known ahead, but has no value at "
                f"{step.text(start + int(row) * step.every)}",
                should="a value at every time",
                hint=f"fill it in, or take the column out of known_columns={','.join(header.known)}",
            )
        starts.append(start)
        values.append(np.ascontiguousarray(grid[:length, :C]))
        ahead.append(np.ascontiguousarray(grid[:, C:]))
        counts["missing values"] += int(np.isnan(grid[:length, :C]).sum())
    odd = [n for n, start in enumerate(starts) if (start - starts[0]) % step.every]
    if odd:
        names = list(groups)
        raise DataError(
            f"{place}: the series do not share their times",
            should=f"steps of {step.step} from {step.text(starts[0])} on, as {names[0] or 'the first file'}",
            found=f"{step.text(starts[odd[0]])} in {names[odd[0]]}",
            hint=f"--set frequency={step.step.replace(' ', '')}: the mean of what falls into each step is taken",
        )
    return Panel(
        tuple(groups),
        header.columns,
        header.known,
        step,
        np.asarray(starts, np.int64),
        RaggedArrays.of(values),
        RaggedArrays.of(ahead),
    )


def _last_value(values_TC: NDArray[np.float64]) -> int:
    """Return the length up to the last row that has a value; rows after it are there for what is known ahead."""
    there = np.flatnonzero(~np.isnan(values_TC).all(1))
    return int(there[-1]) + 1 if len(there) else len(values_TC)


def _named(place: str, group: str) -> str:
    return f"{place}, {group}" if group else place


def _files(sources: Sequence[Path]) -> Iterator[Path]:
    for source in sources:
        if is_dir(source):
            found = [path for path in visible_entries(source) if path.suffix.lower() in (".csv", ".tsv")]
            if not found:
                raise DataError(f"{source} holds no series", should="*.csv", found="none of them")
            yield from found
        elif is_file(source):
            yield source
        else:
            raise DataError(
                f"{source} cannot be read",
                should="a CSV file or a folder of them",
                found=absence(source, "nothing there"),
            )


def _read_file(
    path: Path,
    form: SeriesSettings,
    groups: dict[str, SeriesRows],
    counts: Counter[str],
    skipped: SkippedRows,
    name: str,
) -> SeriesColumns:
    """Add the rows of a file to their groups."""
    table = read_table(path, strict=True, quoted_tabs=True)
    columns = find_columns(table, form)
    values = {column: table.header.index(column) for column in columns.columns + columns.known}
    times = [table.header.index(column) for column in columns.time]
    group = table.header.index(form.series_column) if form.series_column else None
    first_time: list[str] = []
    missing = MISSING | {cell.strip().lower() for cell in form.missing_values}

    def convert(cells: list[str]) -> tuple[str, str, list[float]]:
        parts = [cells[place].strip() for place in times]
        time = parts[0] if len(parts) == 1 else _joined(parts)
        time_format = form.time_format or (PARTS_FORM if parts[1:] else None)
        if not first_time:
            first_time.append(time)
        elif form.skip_bad and not is_time(time, first_time[0], time_format):
            raise DataError("the time cannot be read", should=FORMS, found=time)
        numbers = [_number(column, cells[place], missing) for column, place in values.items()]
        return cells[group].strip() if group is not None else name, time, numbers

    bad = skipped.count
    for line, (key, time, numbers) in table.parse(convert, skipped=skipped, skip_bad=form.skip_bad):
        rows = groups.setdefault(key, SeriesRows([], [], []))
        rows.lines.append(line)
        rows.times.append(time)
        rows.values.append(numbers)
        counts["rows"] += 1
    counts["rows"] += skipped.count - bad
    return columns


def _joined(parts: list[str]) -> str:
    """Return a time out of year, month, day, hour, minute and second, as many as there are."""
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        raise DataError("the time cannot be read", should="integers", found=str(parts)) from None
    year, month, day, hour, minute, second = (*numbers, *(0, 1, 1, 0, 0, 0)[len(numbers) :])
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"


def _number(column: str, text: str, missing: Set[str]) -> float:
    """Return a cell as a number, nan where it says that there is none."""
    if text.strip().lower() in missing:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if abs(value) <= LARGEST and "_" not in text:
        return value
    if LARGEST < abs(value) < math.inf:
        raise DataError(
            f"{column} is too large",
            should=f"a number of magnitude {LARGEST:g} or less",
            found=repr(text[:40]),
            hint="write the column in another unit, or skip such rows with --skip-bad",
        )
    raise DataError(
        f"{column} is not a number",
        should=f"a number with a point, or nothing, {', '.join(sorted(MISSING - {''}))} where one is missing",
        found=repr(text[:40]),
        hint="--set missing_values=CELL where it means that there is none; skip the column with "
        "--set target_columns=A,B naming the others, or such rows with --skip-bad",
    )
