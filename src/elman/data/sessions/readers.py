"""Tables of events, one a row: who (a session or a user), which item, when.

Of each event some forty bytes are kept until the sessions are written, so a table may be far larger as text than
memory.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.delimited import read_table
from elman.data.skipped import SkippedRows
from elman.errors import DataError
from elman.settings import Settings, setting

MAX_NAME = 1 << 17
"""Characters of the name of a session or item."""

KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "session": ("sessionid", "session", "userid", "user", "visitorid", "visitor", "customerid", "customer"),
    "item": ("itemid", "item", "productid", "product", "movieid", "movie", "articleid", "article", "trackid", "track"),
    "time": ("timestamp", "time", "datetime", "date", "eventtime", "eventdate", "unixtime", "ts"),
}
"""The names by which a column is found that no setting names; letters and digits count, case does not."""


@dataclass(frozen=True, kw_only=True)
class EventSettings(Settings):
    """Settings of tables of events."""

    skip_bad: bool = setting(False, "skip broken rows and files, and count them", fixed=True)
    session_column: str = setting("", "column of the session or user; empty: found by its name", fixed=True)
    item_column: str = setting("", "column of the item; empty: found by its name", fixed=True)
    time_columns: tuple[str, ...] = setting((), "columns of the time, the most significant first", fixed=True)
    column_names: tuple[str, ...] = setting((), "names of all columns, for a file without a header", fixed=True)


@dataclass
class Events:
    """Events in the order of the files.

    Attributes:
        session: (N,) int64, the number of each event's session, from 0 in the order of their first events.
        item: (N,) int64, likewise.
        time: (N, K) float64, K columns; a date is seconds since 1970, in UTC where it names no zone.
        items: the names of the items, by their numbers.
        sessions: the names of the sessions, by their numbers.
        columns: the columns that were taken, for messages.
        skipped: the broken rows.
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


def read_events(sources: Sequence[Path], settings: EventSettings) -> Events:
    """Read the events of one file or several, `.gz` or not.

    Raises:
        DataError: a file cannot be read, is not a table, lacks a column, or has a broken row that is not skipped; or
            there is no event at all.
    """
    session, item, time = array("q"), array("q"), array("d")
    sessions = defaultdict[str, int](count().__next__)  # a number for each new name
    items = defaultdict[str, int](count().__next__)
    is_date: dict[int, bool] = {}  # whether a column of time holds dates
    skipped = SkippedRows()
    columns = ""
    for path in sources:
        table = read_table(path, columns=settings.column_names, quoted_tabs=True)
        if len(table.header) < 2:
            raise DataError(
                f"{path} is not a table of events",
                should="columns with a comma, semicolon, tab or bar between them",
                found=f"the first line {table.header[0][:60]!r}",
            )
        roles = [("session", "session_column", settings.session_column), ("item", "item_column", settings.item_column)]
        roles += [("time", "time_columns", name) for name in settings.time_columns or [""]]
        hint = "; or --set column_names=A,B,... for a file without a header"
        places = [table.column(key, name or None, KNOWN_NAMES[role], hint=hint) for role, key, name in roles]
        columns = ", ".join(table.header[place] for place in places)

        def convert(cells: list[str], places: list[int] = places) -> None:
            who, what = cells[places[0]].strip(), cells[places[1]].strip()
            if not (0 < len(who) <= MAX_NAME and 0 < len(what) <= MAX_NAME):
                name, cell = ("item", what) if 0 < len(who) <= MAX_NAME else ("session", who)
                raise DataError(f"the name of the {name} is too long" if cell else f"an empty {name}")
            when = [_timestamp(cells[place], place, is_date) for place in places[2:]]
            session.append(sessions[who])
            item.append(items[what])
            time.extend(when)

        for _ in table.parse(convert, skipped=skipped, skip_bad=settings.skip_bad):
            pass
    if not item:
        raise DataError(
            f"there are no events in {', '.join(map(str, sources))}",
            should="at least one row that can be read",
            found=f"{skipped.count} broken rows" if skipped.count else "none",
        )
    return Events(
        np.frombuffer(session, np.int64),
        np.frombuffer(item, np.int64),
        np.frombuffer(time, np.float64).reshape(len(item), -1),
        list(items),
        list(sessions),
        columns,
        skipped,
    )


def _timestamp(text: str, place: int, is_date: dict[int, bool]) -> float:
    """Return a time as a number; a column holds numbers or dates, never both."""
    try:
        number, date = float(text), False
    except ValueError:
        try:
            when = datetime.fromisoformat(text.strip())
            number, date = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp(), True
        except ValueError:
            number, date = math.nan, False
    finite = math.isfinite(number)
    if finite and is_date.setdefault(place, date) == date:
        return number
    kinds = "a number, or a date as 2026-11-24T18:00:00" if not finite else "dates" if is_date[place] else "numbers"
    raise DataError("invalid time", should=kinds, found=repr(text.strip()[:40]))
