"""Tables of events: separators, names of columns, dates, broken rows."""

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from elman.data.sessions.readers import EventSettings, read_events
from elman.errors import DataError


def written(folder: Path, text: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_columns_are_found_by_their_names(tmp_path: Path, separator: str, end: str) -> None:
    rows = [["timestamp", "price", "User-ID", "Product ID"], ["5", "1.5", "ann", "a b"], ["3", "2", "bob", "c"]]
    path = written(tmp_path, "\ufeff" + end.join(separator.join(row) for row in rows))
    events = read_events([path], EventSettings())
    assert events.sessions == ["ann", "bob"]
    assert events.items == ["a b", "c"]
    assert (events.session.tolist(), events.item.tolist(), events.time.tolist()) == ([0, 1], [0, 1], [[5.0], [3.0]])
    assert events.columns == "User-ID, Product ID, timestamp"


def test_columns_by_name_two_times_and_quoted_separators(tmp_path: Path) -> None:
    path = written(tmp_path, 'who,what,day,ms\nx,"a,b",2016-05-09,20\nx,c,2016-05-09T00:00:01+00:00,10\n\n')
    events = read_events([path], EventSettings(session_column="who", item_column="what", time_columns=("day", "ms")))
    day = datetime(2016, 5, 9, tzinfo=UTC).timestamp()
    assert events.items == ["a,b", "c"]
    assert events.time.tolist() == [[day, 20.0], [day + 1, 10.0]]


def test_files_without_names_several_files_and_gzip(tmp_path: Path) -> None:
    first = written(tmp_path, "196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "u.data")
    second = tmp_path / "more.tsv.gz"
    second.write_bytes(gzip.compress(b"196\t302\t1\t891717743\n"))
    table = EventSettings(column_names=("user", "item", "rating", "time"))
    events = read_events([first, second], table)
    assert len(events) == 3
    assert events.session.tolist() == [0, 1, 0]
    assert events.item.tolist() == [0, 1, 1]
    assert events.session.dtype == events.item.dtype == np.int64


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a,b", "wrong number of cells: 2 cells: a | b"),
        (",b,1", "an empty session"),
        ("a,,1", "an empty item"),
        ("a,b,noon", "invalid time: 'noon'"),
        ("a,b,nan", "invalid time: 'nan'"),
        ("a,b,inf", "invalid time: 'inf'"),
        ("a,b,2016-05-09", "invalid time: '2016-05-09'"),
    ],
)
def test_a_broken_row_is_named_or_skipped(tmp_path: Path, row: str, fault: str) -> None:
    path = written(tmp_path, f"user,item,time\na,b,1\n{row}\na,c,2\n")
    with pytest.raises(DataError, match=r"events\.csv, line 3: " + re.escape(fault.partition(":")[0])) as caught:
        read_events([path], EventSettings())
    assert "--skip-bad" in str(caught.value)
    events = read_events([path], EventSettings(skip_bad=True))
    assert events.skipped.lines() == [f"{path}, line 3: {fault}"]
    assert events.items == ["b", "c"]
    assert events.sessions == ["a"]


@pytest.mark.parametrize(
    ("text", "table", "message"),
    [
        ("", EventSettings(), "is empty"),
        ("hello\n", EventSettings(), "is not a table of events[\\s\\S]*the first line 'hello'"),
        (
            "a,b,time\n",
            EventSettings(),
            "no column for the session[\\s\\S]*3 columns: a, b, time[\\s\\S]*session_column=NAME",
        ),
        ("user,item,time\n", EventSettings(item_column="items"), "no column 'items'[\\s\\S]*--set item_column=item"),
        (
            "u,i,time\n",
            EventSettings(session_column="u", item_column="sku"),
            "no column 'sku' for the item\\n((?!sku).*\\n)*.*columns: u, i, time",
        ),
        ("user,item,time\n", EventSettings(), "there are no events[\\s\\S]*none"),
        ("user,item,time\n1,2\n", EventSettings(skip_bad=True), "there are no events[\\s\\S]*1 broken rows"),
    ],
)
def test_what_is_not_a_table(tmp_path: Path, text: str, table: EventSettings, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_events([written(tmp_path, text)], table)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes("user,item,time\nJörg,a,1\n".encode("latin-1"))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"user,item,time\n" + b"ann,b,1\n" * 99)[:30])
    for path in (tmp_path, tmp_path / "absent.csv", latin, cut):
        with pytest.raises(DataError, match=r"cannot be read|is not valid UTF-8"):
            read_events([path], EventSettings())
    huge = written(tmp_path, f"user,item,time\na,{'b' * 200_000},1\n", "huge.csv")
    with pytest.raises(DataError, match="line 2: the name of the item is too long"):
        read_events([huge], EventSettings())


def test_a_column_without_a_name_is_not_taken(tmp_path: Path) -> None:
    for text in (",user,time,item\n0,ann,5,a\n1,bob,3,b\n", "user,time,item,\nann,5,a,\nbob,3,b,\n"):
        events = read_events([written(tmp_path, text)], EventSettings())
        assert events.columns == "user, item, time"
        assert (events.sessions, events.items) == (["ann", "bob"], ["a", "b"])


def test_an_open_quotation_mark_is_text_or_an_error(tmp_path: Path) -> None:
    rows = 'user,item,time\na,b,1\na,"c,2\na,d,3\n'
    events = read_events([written(tmp_path, rows.replace(",", "\t"), "events.tsv")], EventSettings())
    assert events.items == ["b", '"c', "d"]
    with pytest.raises(DataError, match=r"line 3: the row is broken[\s\S]*a quotation mark that is not closed"):
        read_events([written(tmp_path, rows)], EventSettings())


def test_what_is_guessed_and_not_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{n};u{n % 3};2024-01-{n + 1:02};i{n % 4};9.5\n" for n in range(12))
    path.write_text(";user;time;item;price, EUR\n" + rows)
    events = read_events([path], EventSettings())
    assert events.columns == "user, item, time"
    assert events.notes == [
        "unused columns: column 1, which has no name, price, EUR",
        "separator: semicolon",
        "times: dates, in UTC where they name no zone",
    ]
    path.write_text("user,time,item,\n" + "".join(f"u{n},{n},i,\n" for n in range(3)))
    assert read_events([path], EventSettings()).notes[0] == "unused columns: column 4, which has no name"


def test_most_times_decide_what_times_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,time,item\nu,5,a\n" + "".join(f"u,2024-01-{n:02},b\n" for n in range(1, 9)))
    with pytest.raises(DataError, match=r"line 2: invalid time\n.*dates\n.*'5'"):
        read_events([path], EventSettings())
    events = read_events([path], EventSettings(skip_bad=True))
    assert (len(events), events.skipped.count) == (8, 1)


def test_a_damaged_gzip_file_is_one_error(tmp_path: Path) -> None:
    whole = gzip.compress(b"user,time,item\n" + b"".join(b"u%d,%d,i%d\n" % (n % 7, n * n, n % 5) for n in range(500)))
    for place in (1, 20, 40, len(whole) // 2, len(whole) - 6):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "a.csv.gz").write_bytes(damaged)
        with pytest.raises(DataError):
            read_events([tmp_path / "a.csv.gz"], EventSettings())
