"""Series out of CSV files: wide and long, missing and known ahead; what is irregular is said, not guessed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elman.data.series.readers import read_series
from elman.data.series.settings import SeriesSettings
from elman.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "x.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


def test_a_wide_file(write: Write) -> None:
    panel, counts, *_ = read_series(
        [write("date,a,b\n2026-01-01,1,2\n2026-01-02,NA,4\n2026-01-03,5,\n")], SeriesSettings()
    )
    assert panel.series == ["a", "b"]
    np.testing.assert_array_equal(panel.values[0], [[1, 2], [np.nan, 4], [5, np.nan]])
    assert counts == {"rows": 3, "missing values": 2}
    assert panel.clock.text(panel.end(0)) == "2026-01-04"


def test_other_separators_and_a_mark_at_the_beginning(write: Write) -> None:
    for separator in (";", "\t"):
        text = "\ufefft,a\n1,2.5\n2,3\n".replace(",", separator)
        assert read_series([write(text)], SeriesSettings()).panel.values[0].tolist() == [[2.5], [3]]


def test_a_long_file(write: Write) -> None:
    text = "shop,date,sold\nA,2026-01-01,1\nB,2026-01-02,7\nA,2026-01-02,2\nB,2026-01-03,8\nB,2026-01-04,9\n"
    panel, *_ = read_series([write(text)], SeriesSettings(series_column="shop"))
    assert panel.series == ["A", "B"]
    assert [values.ravel().tolist() for values in panel.values_of_groups()] == [[1, 2], [7, 8, 9]]
    assert [panel.clock.text(int(start)) for start in panel.starts] == ["2026-01-01", "2026-01-02"]


def test_several_files_are_a_group_each(write: Write, tmp_path: Path) -> None:
    write("t,x,y\n1,1,1\n2,2,2\n", "one.csv")
    write("t,x,y\n5,3,3\n6,4,4\n7,5,5\n", "two.csv")
    assert read_series([tmp_path], SeriesSettings()).panel.series == ["one x", "one y", "two x", "two y"]
    other = write("t,x,z\n1,1,1\n2,2,2\n", "zoo.csv")
    with pytest.raises(DataError, match=r"zoo.csv has other columns than .*one.csv\n.*x, y\n.*x, z"):
        read_series([tmp_path / "one.csv", other], SeriesSettings())


def test_what_is_known_ahead_may_go_on_behind_the_last_value(write: Write) -> None:
    path = write("t,y,price\n1,5,1\n2,,1\n3,6,2\n4,,3\n5,,3\n")
    panel, *_ = read_series([path], SeriesSettings(known_columns=("price",)))
    np.testing.assert_array_equal(panel.values[0], [[5], [np.nan], [6]])
    assert panel.ahead[0].ravel().tolist() == [1, 1, 2, 3, 3]
    with pytest.raises(DataError, match=r"price is known ahead, but has no value at 2"):
        read_series([write("t,y,price\n1,5,1\n2,6,\n3,7,1\n")], SeriesSettings(known_columns=("price",)))


def test_a_time_in_parts(write: Write) -> None:
    text = "No,year,month,day,hour,v\n1,2010,1,31,23,5\n2,2010,2,1,0,6\n"
    form = SeriesSettings(time_columns=("year", "month", "day", "hour"), target_columns=("v",))
    panel, *_ = read_series([write(text)], form)
    assert panel.clock.step == "1 h"
    assert panel.clock.text(panel.end(0)) == "2010-02-01 01:00:00"
    with pytest.raises(
        DataError, match=r"several columns that could be the time\n.*\n.*year, month, day\n.*year,month,"
    ):
        read_series([write(text)], SeriesSettings())
    with pytest.raises(DataError, match=r"line 2: the time cannot be read"):
        read_series([write(text.replace("2010,1,", "2010,Jan,"))], form)


IRREGULAR = {
    "order": (
        "1,10\n3,30\n2,20\n4,40\n",
        "not in the order of their times\n.*\n.*2 in line 4 after 3",
        "unsorted=sort",
    ),
    "duplicates": (
        "1,10\n2,20\n2,21\n3,30\n",
        "a time stands in several rows\n.*\n.*2 in lines 3 and 4",
        "duplicates=me",
    ),
    "gaps": (
        "1,10\n2,20\n4,40\n5,50\n6,60\n",
        "times without a row\n.*\n.*between 2 and 4; 1 missing in all",
        "gaps=mi",
    ),
    "steps": (
        "0,1\n10,2\n20,3\n35,4\n40,5\n",
        "not regular\n.*every 10, as most are\n.*35 in line 5",
        "--set frequency=",
    ),
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_what_is_irregular_is_refused_with_the_place_and_the_remedy(write: Write, kind: str) -> None:
    rows, message, remedy = IRREGULAR[kind]
    with pytest.raises(DataError, match=message) as found:
        read_series([write("t,v\n" + rows)], SeriesSettings())
    assert remedy in str(found.value)


@pytest.mark.parametrize(
    ("kind", "rules", "expected", "counted"),
    [
        ("order", SeriesSettings(unsorted="sort"), [10, 20, 30, 40], ("rows put in order", 2)),
        (
            "duplicates",
            SeriesSettings(duplicates="first"),
            [10, 20, 30],
            ("rows with a time that stood already", 1),
        ),
        (
            "duplicates",
            SeriesSettings(duplicates="last"),
            [10, 21, 30],
            ("rows with a time that stood already", 1),
        ),
        (
            "duplicates",
            SeriesSettings(duplicates="mean"),
            [10, 20.5, 30],
            ("rows with a time that stood already", 1),
        ),
        ("gaps", SeriesSettings(gaps="missing"), [10, 20, np.nan, 40, 50, 60], ("times without a row", 1)),
        ("steps", SeriesSettings(frequency="20"), [1.5, 3.5, 5], ("rows averaged", 2)),
    ],
)
def test_what_is_irregular_is_put_right_as_asked(
    write: Write, kind: str, rules: SeriesSettings, expected: list, counted: tuple[str, int]
) -> None:
    panel, counts, *_ = read_series([write("t,v\n" + IRREGULAR[kind][0])], rules)
    np.testing.assert_array_equal(panel.values[0].ravel(), expected)
    assert counts[counted[0]] == counted[1]


def test_hours_become_days_and_days_months(write: Write) -> None:
    rng = np.random.default_rng(1)
    days = np.datetime64("2025-12-30") + np.arange(70)
    values = rng.normal(size=len(days))
    path = write("date,v\n" + "".join(f"{d},{v}\n" for d, v in zip(days, values, strict=True)))
    panel, *_ = read_series([path], SeriesSettings(frequency="1month"))
    months = days.astype("datetime64[M]")
    expected = [values[months == month].mean() for month in np.unique(months)]
    np.testing.assert_allclose(panel.values[0].ravel(), expected, rtol=1e-12)
    assert panel.clock.text(int(panel.starts[0])) == "2025-12-01"
    with pytest.raises(DataError, match=r"the step does not fit the times"):
        read_series([path], SeriesSettings(frequency="5"))


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("", SeriesSettings(), "is empty"),
        ("t,v\n", SeriesSettings(), "has no rows"),
        ("1,2\n3,4\n", SeriesSettings(), "no usable header"),
        ("t,v,v\n1,2,3\n", SeriesSettings(), "no usable header"),
        ("t,v\n1,2\n2,3\n", SeriesSettings(target_columns=("w",)), "unknown column of .*'w'"),
        ("t,value\n1,2\n2,3\n", SeriesSettings(target_columns=("values",)), "did you mean 'value'"),
        (
            "t,v\n1,2\n2,3\n",
            SeriesSettings(target_columns=("v",), known_columns=("v",)),
            "v is to be forecast and more",
        ),
        ("t\n1\n2\n", SeriesSettings(), "leaves no column to forecast"),
        ("t,v\n1,2\n2,3,4\n", SeriesSettings(), "line 3: wrong number of cells"),
        ("t,v\n1,2\n2,abc\n", SeriesSettings(), "line 3: v is not a number\n.*\n.*'abc'"),
        ("t,v\n1,2\n2,inf\n", SeriesSettings(), "line 3: v is not a number"),
        ("t,v\n1,2\n2,1_0\n", SeriesSettings(), "line 3: v is not a number"),
        ("t,v\n1,2\n", SeriesSettings(), "too few times to tell their step"),
        ('t,v\n1,"2\n', SeriesSettings(), "line 2: the row is broken\n.*\n.*not closed"),
        (
            "s,t,v\nA,0,1\nA,10,2\nB,5,1\nB,15,2\n",
            SeriesSettings(series_column="s"),
            "do not share their times\n.*0 on, as A\n.*5 in B",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(write: Write, text: str, form: SeriesSettings, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_series([write(text)], form)


def test_a_first_column_that_is_no_time_is_told(write: Write) -> None:
    rows = "\n3,1\n1,2\n2,3\n"
    with pytest.raises(
        DataError, match=r"unsorted=sort; --set time_columns=NAME, if sold, the first column, does not hold"
    ):
        read_series([write(f"sold,temp{rows}")], SeriesSettings())
    for form, names in ((SeriesSettings(time_columns=("sold",)), "sold,temp"), (SeriesSettings(), "date,temp")):
        with pytest.raises(DataError, match=r"unsorted=sort$"):
            read_series([write(names + rows)], form)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read\n.*a CSV file or a folder of them"):
        read_series([tmp_path / "none.csv"], SeriesSettings())
    with pytest.raises(DataError, match=r"holds no series"):
        read_series([tmp_path], SeriesSettings())


def test_broken_rows_are_skipped_if_asked_and_counted(write: Write) -> None:
    path = write("t,v\n1,10\n2,2,2\nx,20\n3,abc\n4,40\n5,50\n6,60\n")
    panel, _, skipped, _ = read_series([path], SeriesSettings(skip_bad=True, gaps="missing"))
    np.testing.assert_array_equal(panel.values[0].ravel(), [10, np.nan, np.nan, 40, 50, 60])
    assert skipped.count == 3
    assert [f"line {n}" in line for n, line in zip((3, 4, 5), skipped.lines(), strict=True)] == [True] * 3


def test_series_may_have_names_that_read_as_numbers(write: Write) -> None:
    panel, *_ = read_series([write("date,NAN,INF,ABC\n2026-01-01,1,2,3\n2026-01-02,4,5,6\n")], SeriesSettings())
    assert panel.series == ["NAN", "INF", "ABC"]


def test_a_name_may_hold_another_separator(write: Write) -> None:
    text = "date;temperature, C\n2026-01-01;1\n2026-01-02;2\n"
    assert read_series([write(text)], SeriesSettings()).panel.series == ["temperature, C"]


def test_compact_dates_are_not_counted_on(write: Write) -> None:
    path = write("date,v\n" + "".join(f"202601{day},{day}\n" for day in range(28, 32)))
    with pytest.raises(DataError, match=r"dates or integers\n.*\n.*20260128 to 20260131\n.*=%Y%m%d .*frequency=1 "):
        read_series([path], SeriesSettings())
    panel = read_series([path], SeriesSettings(time_format="%Y%m%d")).panel
    assert panel.clock.text(panel.end(0)) == "20260201"
    assert read_series([path], SeriesSettings(frequency="1")).panel.clock.text(20260132) == "20260132"


@pytest.mark.parametrize("cell", ["-999", "-9999.9", "1e+30", "999"])
def test_placeholders_of_missing_values_are_named(write: Write, cell: str) -> None:
    path = write("t,v\n" + "".join(f"{n},{cell if n in (3, 5) else n / 2}\n" for n in range(9)))
    table = read_series([path], SeriesSettings())
    assert table.notes == [
        f"{cell} stands 2 times in v and is read as a number; --set missing_values={cell} if it means that a value is "
        "missing"
    ]
    table = read_series([path], SeriesSettings(missing_values=(cell,)))
    assert (table.notes, table.counts["missing values"]) == ([], 2)


@pytest.mark.parametrize("values", [[97, 98, 99, 100], [-99, -98, -97, 5], [0, 100, 101, 102], [5, 5, 999, 999]])
def test_ordinary_numbers_are_not_taken_for_placeholders(write: Write, values: list[int]) -> None:
    path = write("t,v\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)))
    assert read_series([path], SeriesSettings()).notes == []


def test_guesses_about_times_are_named(write: Write) -> None:
    path = write("t,v\n31.12.68,1\n01.01.69,2\n")
    with pytest.raises(DataError, match=r"not in the order of their times"):
        read_series([path], SeriesSettings(time_format="%d.%m.%y"))
    path = write("t,v\n31.12.66,1\n01.01.67,2\n")
    assert "1969 to 2068" in read_series([path], SeriesSettings(time_format="%d.%m.%y")).notes[0]
    path = write("t,v\n2026-10-25T02:00+02:00,1\n2026-10-25T02:00+01:00,2\n")
    table = read_series([path], SeriesSettings())
    assert table.notes == ["times with the UTC offsets +01:00, +02:00 were converted to Z"]
    assert table.panel.clock.text(table.panel.end(0)) == "2026-10-25T02:00Z"


@pytest.mark.parametrize("hours", ["00 01 03 04", "01 02 02 03"])
def test_a_change_of_the_clocks_is_refused_with_its_remedy(write: Write, hours: str) -> None:
    path = write("t,v\n" + "".join(f"2026-10-25 {hour}:00,1\n" for hour in hours.split()))
    with pytest.raises(DataError, match=r"local times where the clocks change need their UTC offset"):
        read_series([path], SeriesSettings())


def test_a_step_finer_than_the_times_are_written(write: Write) -> None:
    panel = read_series(
        [write("t,v\n2026-01-01,1\n2026-01-02,2\n")], SeriesSettings(frequency="12h", gaps="missing")
    ).panel
    assert [panel.clock.text(panel.end(0) + n * panel.clock.every) for n in range(2)] == [
        "2026-01-02 12:00",
        "2026-01-03 00:00",
    ]


def test_numbers_that_cannot_be_scaled_are_refused(write: Write) -> None:
    with pytest.raises(DataError, match=r"line 3: v is too large\n.*magnitude 1e\+300 or less\n.*-1e301"):
        read_series([write("t,v\n1,2\n2,-1e301\n")], SeriesSettings())


def test_names_that_float_would_read(write: Write) -> None:
    assert read_series([write("date,NAN,INF,ABC\n1,2,3,4\n2,3,4,5\n")], SeriesSettings()).panel.columns == (
        "NAN",
        "INF",
        "ABC",
    )
