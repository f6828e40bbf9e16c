"""Tables of events, one a row: who (a session or a user), which item, when.

Of each event some forty bytes are kept until the sessions are written, so a table may be far larger as text than
memory.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.data.delimited import Row, read_table
from elman.data.magnitudes import LARGEST
from elman.data.skipped import SkippedRows
from elman.errors import DataError
from elman.settings import Settings, setting

SAMPLE = 64
"""The first rows, most of which decide whether times are numbers or dates."""

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
        notes: what was guessed, and what is not used, for messages.
    """

    session: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.float64]
    items: list[str]
    sessions: list[str]
    columns: str = ""
    skipped: SkippedRows = field(default_factory=SkippedRows)
    notes: list[str] = field(default_factory=list)

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
    is_date: list[bool] = []  # whether each column of time holds dates
    skipped = SkippedRows()
    columns, notes = "", dict[str, None]()
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
        head = list(islice(table.rows, SAMPLE))
        table = replace(table, rows=chain(head, table.rows))
        is_date = is_date or [_holds_dates(head, place) for place in places[2:]]
        kinds = "dates, in UTC where they name no zone" if any(is_date) else "numbers"
        notes.update(dict.fromkeys([*table.reading_notes(places), f"times: {kinds}"]))

        def convert(cells: list[str], places: list[int] = places, is_date: list[bool] = is_date) -> None:
            who, what = cells[places[0]].strip(), cells[places[1]].strip()
            if not (0 < len(who) <= MAX_NAME and 0 < len(what) <= MAX_NAME):
                name, cell = ("item", what) if 0 < len(who) <= MAX_NAME else ("session", who)
                raise DataError(f"the name of the {name} is too long" if cell else f"an empty {name}")
            when = [_time_number(cells[place], date) for place, date in zip(places[2:], is_date, strict=True)]
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
        list(notes),
    )


def _holds_dates(rows: Sequence[Row], place: int) -> bool:
    """Return whether most of the times in a column are dates; of as many dates and numbers, whether the first is."""
    kinds = [time[1] for _, cells, fault in rows if not fault and len(cells) > place and (time := _time(cells[place]))]
    return Counter(kinds).most_common(1)[0][0] if kinds else False


def _time_number(text: str, is_date: bool) -> float:
    """Return a time as a number; a column holds numbers or dates, never both."""
    time = _time(text)
    if time and time[1] == is_date:
        return time[0]
    kinds = "a number, or a date as 2026-11-24T18:00:00" if not time else "dates" if is_date else "numbers"
    raise DataError("invalid time", should=kinds, found=repr(text.strip()[:40]))


def _time(text: str) -> tuple[float, bool] | None:
    """Return a time as a number, and whether it is a date; None where it is neither."""
    try:
        number, is_date = float(text), False
    except ValueError:
        try:
            when = datetime.fromisoformat(text.strip())
            number, is_date = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp(), True
        except (ValueError, OverflowError):
            return None
    return (number, is_date) if abs(number) <= LARGEST else None
