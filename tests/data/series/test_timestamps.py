"""Times: read strictly, written as the file writes them, and continued beyond its end."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.series.timestamps import DAY, HOUR, MINUTE, Clock, are_compact_dates, as_months, parse_step, read_times
from elman.errors import DataError, SettingError

MOMENTS = st.datetimes(datetime(1600, 1, 1), datetime(2300, 1, 1)).map(lambda when: when.replace(microsecond=0))


def read(texts: list[str], form: str | None = None) -> tuple[list[int], Clock]:
    return read_times(texts, form, "x.csv", range(2, 2 + len(texts)))


@pytest.mark.parametrize(
    "text",
    [
        "1700",
        "-3",
        "1949-01",
        "1981-01-01",
        "2016-07-01 00:00",
        "2016-07-01 23:59:59",
        "2016-07-01T23:59:59",
        "2016-07-01 23:59:59.250000",
        "2016-07-01T23:59Z",
    ],
)
def test_a_time_is_written_as_it_was_read(text: str) -> None:
    (tick,), clock = read([text])
    assert clock.text(tick) == text


@given(MOMENTS, st.integers(1, 100_000), st.integers(0, 50))
def test_steps_of_time_are_those_of_the_calendar(start: datetime, minutes: int, steps: int) -> None:
    ticks, clock = read([str(start), str(start + timedelta(minutes=minutes))])
    clock = replace(clock, every=ticks[1] - ticks[0])
    assert clock.text(ticks[0] + steps * clock.every) == str(start + steps * timedelta(minutes=minutes))


@given(st.integers(1500, 2500), st.integers(1, 12), st.sampled_from([1, 3, 12]), st.integers(0, 40), st.booleans())
def test_steps_of_months_keep_the_day(year: int, month: int, every: int, steps: int, last: bool) -> None:
    def day(number: int) -> str:
        first = np.datetime64(f"{year}-{month:02}", "M") + number * every
        return str((first + 1).astype("datetime64[D]") - 1) if last else f"{first}-15"

    ticks, clock = read([day(n) for n in range(4)])
    months, clock = as_months(np.asarray(ticks), clock)
    assert clock.kind == "month"
    assert set(np.diff(months)) == {every}
    clock = replace(clock, every=every)
    assert clock.text(int(months[0]) + steps * every) == day(steps)


def test_days_are_no_months() -> None:
    ticks, clock = read(["2026-01-30", "2026-01-31", "2026-02-01"])
    assert as_months(np.asarray(ticks), clock)[1].kind == "time"


def test_times_with_a_zone_become_utc() -> None:
    ticks, clock = read(["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00Z"])
    assert np.diff(ticks).tolist() == [HOUR, HOUR]
    assert clock.text(ticks[0]) == "2026-10-25T00:30:00Z"


def test_a_form_of_ones_own() -> None:
    ticks, clock = read(["01.02.2026 5h", "02.02.2026 5h"], "%d.%m.%Y %Hh")
    assert ticks[1] - ticks[0] == DAY
    assert clock.text(ticks[1] + DAY) == "03.02.2026 05h"
    with pytest.raises(DataError, match=r"line 3: the time cannot be read\n.*written like '01.02.2026'"):
        read(["01.02.2026", "2026-02-02"], "%d.%m.%Y")
    with pytest.raises(DataError, match=r"the form '%d.%m.%Y'"):
        read(["2026-02-02"], "%d.%m.%Y")
    with pytest.raises(SettingError, match=r"time_format is not a format"):
        read(["2026"], "year")


@pytest.mark.parametrize("text", ["01/02/2026", "yesterday", "", "2026-13-01", "2026-1-1", "1.5"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"x.csv, line 2: the time cannot be read\n.*integers, 2026-11"):
        read([text])


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("2026-01-01", "2026-01-02 00:00"),
        ("2026-01-01 00:00", "2026-01-01T01:00"),
        ("2026-01-01 00:00", "2026-01-01 01:00:00"),
        ("2026-01-01T00:00Z", "2026-01-01T01:00"),
        ("2026-01", "2026-02-01"),
        ("1700", "1701.0"),
        ("2026-01-01", "20260102"),
    ],
)
def test_two_forms_in_one_file_are_refused(first: str, other: str) -> None:
    with pytest.raises(DataError, match=f"line 3: the time cannot be read\n.*written like '{first}'"):
        read([first, other])


@pytest.mark.parametrize(
    ("clock", "step", "season"),
    [
        (Clock("time", 15 * MINUTE), "15 min", 96),
        (Clock("time", HOUR), "1 h", 24),
        (Clock("time", DAY), "1 d", 7),
        (Clock("time", 7 * DAY), "7 d", 52),
        (Clock("time", 1_000_000), "1 s", 3600),
        (Clock("time", 7 * HOUR), "7 h", 1),
        (Clock("month", 1), "1 month", 12),
        (Clock("month", 3), "3 months", 4),
        (Clock("month", 12), "1 year", 1),
        (Clock("number", 5), "5", 1),
    ],
)
def test_the_usual_season(clock: Clock, step: str, season: int) -> None:
    assert (clock.step, clock.season) == (step, season)


def test_steps_in_words() -> None:
    assert parse_step("15min") == ("time", 15 * MINUTE)
    assert parse_step("2 months") == ("month", 2)
    assert parse_step("1year") == ("month", 12)
    assert parse_step("10") == ("number", 10)
    for text in ("h", "0h", "1 fortnight", "-1d"):
        with pytest.raises(SettingError, match=r"the step is none"):
            parse_step(text)


def test_a_time_beyond_the_calendar() -> None:
    with pytest.raises(DataError, match=r"a time lies beyond the calendar"):
        Clock("month", 1, "%Y-%m").text(12 * 20_000)


@pytest.mark.parametrize("zone", ["+02:00", "-0500", "+05:45", "Z"])
def test_one_offset_from_utc_stays(zone: str) -> None:
    ticks, clock = read([f"2026-10-24T23:30:00{zone}", f"2026-10-25T00:30:00{zone}"])
    assert np.diff(ticks).tolist() == [HOUR]
    assert [clock.text(tick) for tick in ticks] == [f"2026-10-24T23:30:00{zone}", f"2026-10-25T00:30:00{zone}"]


def test_a_given_offset_is_taken_for_times_with_another() -> None:
    ticks, clock = read_times(["2026-10-25T02:30+02:00", "2026-10-25T01:30Z"], None, "x.csv", [2, 3], "-05:00")
    assert [clock.text(tick) for tick in ticks] == ["2026-10-24T19:30-05:00", "2026-10-24T20:30-05:00"]


def test_offsets_in_a_form_of_ones_own() -> None:
    form = "%d.%m.%Y %H:%M %z"
    ticks, clock = read(["24.10.2026 23:30 +0200", "25.10.2026 00:30 +0200"], form)
    assert clock.text(ticks[1]) == "25.10.2026 00:30 +0200"
    ticks, clock = read(["25.10.2026 02:30 +02:00", "25.10.2026 02:30 +01:00"], form)
    assert [clock.text(tick) for tick in ticks] == ["25.10.2026 00:30 Z", "25.10.2026 01:30 Z"]
    with pytest.raises(SettingError, match=r"names of time zones.*\n.*%z for offsets.*\n.*%Z'\n.*%z', or '%H UTC'"):
        read(["5 CEST"], "%H %Z")


@pytest.mark.parametrize("separator", [" ", "T"])
def test_fractions_of_a_second_stay_where_the_first_time_has_none(separator: str) -> None:
    day = f"2026-01-01{separator}00:00:0"
    ticks, clock = read([f"{day}0", f"{day}0.500000", f"{day}1"])
    assert [clock.text(tick) for tick in ticks] == [f"{day}0.000000", f"{day}0.500000", f"{day}1.000000"]


def test_what_is_finer_than_a_tick_is_refused() -> None:
    texts = ["2026-01-01 00:00:00", "2026-01-01 00:00:00.000000500"]
    with pytest.raises(DataError, match=r"line 3: the time cannot be read"):
        read(texts)
    assert read([texts[0], "2026-01-01 00:00:00.000500000"])[0][1] % 1_000_000 == 500


@pytest.mark.parametrize(
    ("clock", "texts"),
    [
        (Clock("time", 6 * HOUR, "%Y-%m-%d"), ["2026-01-01 00:00", "2026-01-01 06:00"]),
        (Clock("time", 500_000, "%d.%m.%Y %H:%M:%S"), ["2026-01-01 00:00:00.000000", "2026-01-01 00:00:00.500000"]),
        (Clock("time", 30_000_000, "%Y-%m-%dT%H:%MZ"), ["2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z"]),
        (Clock("time", DAY, "%d.%m.%Y"), ["01.01.2026", "02.01.2026"]),
        (Clock("month", 1, "%Y"), ["2026-01", "2026-02"]),
    ],
)
def test_the_form_tells_steps_apart(clock: Clock, texts: list[str]) -> None:
    tick = 12 * 2026 if clock.kind == "month" else read(["2026-01-01"])[0][0]
    clock = clock.legible(tick)
    assert [clock.text(tick), clock.text(tick + clock.every)] == texts


@pytest.mark.parametrize("text", ["2016-12-31 23:59:60", "2016-12-31T23:59:60Z"])
def test_leap_seconds_are_refused(text: str) -> None:
    for texts in ([text], [text.replace("60", "59"), text]):
        with pytest.raises(DataError, match=r"the time cannot be read"):
            read(texts)


def test_slashes_leave_the_order_of_day_and_month_to_the_user() -> None:
    with pytest.raises(DataError, match=r"time_format=%d/%m/%Y or %m/%d/%Y"):
        read(["01/02/2026"])


@pytest.mark.parametrize(
    ("texts", "dates"),
    [
        (["20260101", "20260102"], True),
        (["202611", "202612", "202701"], True),
        (["20260131", "20260132"], False),
        (["202612", "202613"], False),
        (["1700", "1701"], False),
        (["30000101"], False),
    ],
)
def test_integers_that_could_be_dates(texts: list[str], dates: bool) -> None:
    assert are_compact_dates(texts) == dates
