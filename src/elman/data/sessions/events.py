"""Tables of events, one a row: who (a session or a user), which item, when.

A table is a text file with a separator: comma, semicolon, tab or bar, whichever its first line holds most of. Of each
event some forty bytes are kept until the sessions are written, so a table may be far larger as text than memory.
"""

from __future__ import annotations

import csv
import gzip
import math
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from elman.data.skipped import SkippedRows
from elman.errors import DataError, nearest

SEPARATORS = ",;\t|"
LONGEST_CELL = 1 << 17  # characters; a longer one is an open quote, and would swallow the file
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "session": ("sessionid", "session", "userid", "user", "visitorid", "visitor", "customerid", "customer"),
    "item": ("itemid", "item", "productid", "product", "movieid", "movie", "articleid", "article", "trackid", "track"),
    "time": ("timestamp", "time", "datetime", "date", "eventtime", "eventdate", "unixtime", "ts"),
}
"""What a column may be called so that it is found without being named; letters and digits count, case does not."""


@dataclass(frozen=True)
class EventTable:
    """How a table is read.

    Attributes:
        session, item: the names of their columns; empty: the first in `KNOWN_NAMES` that there is.
        time: the names of the columns that order the events, the most significant first; none: as above.
        columns: the names of all columns, for a file without a line of names; none: its first line holds them.
        skip_bad: leave rows out that cannot be read, and count them.
    """

    session: str = ""
    item: str = ""
    time: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    skip_bad: bool = False


@dataclass
class Events:
    """Events in the order of the files.

    Attributes:
        session: (N,) int64, the number of each event's session, from 0 in the order of their first events.
        item: (N,) int64, likewise.
        time: (N, K) float64, K columns; a date is seconds since 1970, in UTC where it names no zone.
        items: the names of the items, by their numbers.
        sessions: the names of the sessions, by their numbers.
        columns: which columns were taken.
        skipped: the rows that cannot be read.
    """

    session: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.float64]
    items: list[str]
    sessions: list[str]
    columns: str = ""
    skipped: SkippedRows = field(default_factory=SkippedRows)

    def __len__(self) -> int:
        return len(self.item)


@dataclass
class _Columns:
    """The columns as they grow."""

    session: array[int] = field(default_factory=lambda: array("q"))
    item: array[int] = field(default_factory=lambda: array("q"))
    time: array[float] = field(default_factory=lambda: array("d"))
    sessions: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    skipped: SkippedRows = field(default_factory=SkippedRows)
    said: str = ""
    dated: dict[int, bool] = field(default_factory=dict)  # whether a column of time holds dates


def read_events(sources: Sequence[Path], table: EventTable) -> Events:
    """Read the events of one file or several, `.gz` or not.

    Raises:
        DataError: a file is missing, no table, lacks a column, or has a row that cannot be read (unless
            `table.skip_bad`); or there is no event at all.
    """
    found = _Columns()
    for path in sources:
        _read(path, table, found)
    if not found.item:
        raise DataError(
            f"there are no events in {', '.join(map(str, sources))}",
            should="at least one row that can be read",
            found=f"{found.skipped.count} bad rows" if found.skipped.count else "none",
        )
    times = np.frombuffer(found.time, np.float64).reshape(len(found.item), -1)
    session, item = (np.frombuffer(column, np.int64) for column in (found.session, found.item))
    return Events(session, item, times, list(found.items), list(found.sessions), found.said, found.skipped)


def _read(path: Path, table: EventTable, found: _Columns) -> None:
    csv.field_size_limit(LONGEST_CELL)  # is one for all of the process, and other tables have longer cells
    with _opened(path) as file:
        separator, first = _first_line(path, file)
        rows = csv.reader(file, delimiter=separator)
        names = list(table.columns) or next(csv.reader([first], delimiter=separator))
        names = [name.strip() for name in names]
        places = _places(path, names, table)
        found.said = ", ".join(names[place] for place in places)
        if table.columns:
            _add(path, 1, next(csv.reader([first], delimiter=separator)), places, len(names), table, found)
        for number, row in _numbered(path, rows):
            _add(path, number, row, places, len(names), table, found)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a table as text.

    Raises:
        DataError: it is missing, a folder, cannot be read, or is not UTF-8.
    """
    try:
        # Both give a text file; "utf-8-sig" takes away the mark that spreadsheets write before the first name.
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, EOFError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(
            f"{path} cannot be read", should="a table of events as text in UTF-8", found=found, hint="another file"
        ) from error


def _first_line(path: Path, file: TextIO) -> tuple[str, str]:
    """Return the separator and the first line.

    Raises:
        DataError: the file is empty, or its first line has no separator.
    """
    line = file.readline(1 << 20)
    separator = max(SEPARATORS, key=line.count)
    if separator not in line:
        raise DataError(
            f"{path} is no table of events",
            should="columns with a comma, semicolon, tab or bar between them",
            found=f"the first line {line.strip()[:60]!r}" if line.strip() else "an empty file",
        )
    return separator, line.rstrip("\r\n")


def _places(path: Path, names: list[str], table: EventTable) -> list[int]:
    """Return where the session, the item and the times stand in a row."""
    asked = {"session": (table.session,), "item": (table.item,), "time": table.time or ("",)}
    return [_place(path, names, what, name) for what, each in asked.items() for name in each]


def _place(path: Path, names: list[str], what: str, name: str) -> int:
    if name in names:
        return names.index(name)
    plain = ["".join(c for c in each.lower() if c.isalnum()) for each in names]
    guesses = () if name else KNOWN_NAMES[what]
    for guess in guesses:
        if guess in plain:
            return plain.index(guess)
    near = nearest(name, names) if name else None
    setting = "time_columns" if what == "time" else f"{what}_column"
    hint = f"--set {setting}={near or 'NAME'}, or --set column_names=A,B,... for a file without a header"
    raise DataError(
        f"{path} has no column {name!r} for the {what}" if name else f"no column of {path} is known to be the {what}",
        should=f"a column called {', '.join(KNOWN_NAMES[what][:4])} or the like, or one that is named",
        found=f"{len(names)} columns: {', '.join(names)[:200]}",
        hint=hint,
    )


def _numbered(path: Path, rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty with the numbers of their lines.

    Raises:
        DataError: the file is broken beyond the row.
    """
    number = 1
    while True:
        number += 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}, row {number} is broken", should="a row of a table", found=str(error)) from error
        if row:
            yield number, row


def _add(
    path: Path, number: int, row: list[str], places: list[int], width: int, table: EventTable, found: _Columns
) -> None:
    """Add a row to the columns, or count it as bad.

    Raises:
        DataError: it is bad, and that is not allowed.
    """
    wrong, times = "", []
    if len(row) != width:
        wrong = f"{len(row)} columns instead of {width}"
    else:
        session, item = row[places[0]].strip(), row[places[1]].strip()
        wrong = "" if session and item else "an empty " + ("item" if session else "session")
        try:
            times = [_moment(row[place], place, found.dated) for place in places[2:]]
        except ValueError as error:
            wrong = wrong or str(error)
    if not wrong:
        found.session.append(found.sessions.setdefault(session, len(found.sessions)))
        found.item.append(found.items.setdefault(item, len(found.items)))
        found.time.extend(times)
        return
    found.skipped.add(f"{path}, row {number}: {wrong}")
    if not table.skip_bad:
        raise DataError(
            f"{path}, row {number} cannot be read",
            should="a session, an item and a time: a number, or a date as 2026-11-24T18:00:00",
            found=wrong,
            hint="mend it, or leave such rows out with --skip-bad",
        )


def _moment(text: str, place: int, dated: dict[int, bool]) -> float:
    """Return a time as a number; a column holds numbers or dates, never both.

    Raises:
        ValueError: it is no time, or of the other kind than the column's first.
    """
    text = text.strip()
    try:
        moment, date = float(text), False
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"the time {text[:40]!r}") from None
        moment, date = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp(), True
    if not math.isfinite(moment):
        raise ValueError(f"the time {text[:40]!r}")
    if dated.setdefault(place, date) != date:
        raise ValueError(f"{text[:40]!r} in a column of {'dates' if dated[place] else 'numbers'}")
    return moment
