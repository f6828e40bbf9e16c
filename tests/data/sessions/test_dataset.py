"""From events to parts: order, gaps, and no look into the future."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.sessions.dataset import (
    EVENT,
    Sessions,
    leave_last_out,
    open_part,
    order_events,
    split_by_time,
    write_evaluated,
    write_parts,
)
from elman.data.sessions.items import UNKNOWN
from elman.data.sessions.readers import Events
from elman.errors import DataError, RunError
from elman.storage.ragged import RaggedArrays

Row = tuple[int, int, float]


def events(rows: list[Row], times: list[list[float]] | None = None) -> Events:
    session, item, time = (np.array(column) for column in zip(*rows, strict=True))
    items = [f"i{n}" for n in range(int(item.max()) + 1)]
    sessions = [f"s{n}" for n in range(int(session.max()) + 1)]
    stacked = np.array(times) if times else time.astype(float)[:, None]
    return Events(session.astype(np.int64), item.astype(np.int64), stacked, items, sessions)


def pieces(sessions: Sessions) -> list[list[int]]:
    return [piece.tolist() for piece in np.split(sessions.item, sessions.ends[:-1])]


def test_order_is_by_time_and_the_files_among_equal_times() -> None:
    found = order_events(events([(0, 3, 5), (1, 0, 1), (0, 2, 5), (0, 1, 2), (0, 0, 5)]))
    assert pieces(found) == [[1, 3, 2, 0], [0]]
    assert found.tied.tolist() == [False, False, True, True, False]


def test_a_second_column_of_time_decides_within_the_first() -> None:
    rows = [(0, 0, 0.0), (0, 1, 0.0), (0, 2, 0.0)]
    found = order_events(events(rows, [[1.0, 30.0], [1.0, 20.0], [0.0, 90.0]]))
    assert pieces(found) == [[2, 1, 0]]
    assert not found.tied.any()


def test_a_gap_ends_a_session() -> None:
    rows = [(0, 0, 0.0), (0, 1, 10.0), (0, 2, 20.1), (0, 3, 30.1)]
    assert pieces(order_events(events(rows), gap=10)) == [[0, 1], [2, 3]]
    assert pieces(order_events(events(rows))) == [[0, 1, 2, 3]]


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 12)), min_size=4, max_size=40)


@given(ROWS, st.sampled_from([0.0, 0.1, 0.3]))
def test_a_division_by_time_does_not_look_into_the_future(rows: list[Row], test: float) -> None:
    sessions = order_events(events(rows))
    try:
        division = split_by_time(sessions, 0.2, test)
    except DataError as error:
        assert "cannot be split by time" in str(error)
        return
    parts: list[list[float]] = [[], [], []]
    for begin, first, last, end in zip(
        sessions.begins, division.training, division.validation, sessions.ends, strict=True
    ):
        assert begin <= first <= last <= end
        for part, (low, high) in zip(parts, [(begin, first), (first, last), (last, end)], strict=True):
            part += sessions.time[low:high].tolist()
    training, validation, tested = parts
    assert max(training) < min(validation)
    assert bool(tested) == bool(test)
    if tested:
        assert max(validation) < min(tested)
    assert sum(map(len, parts)) == len(rows)


def test_events_of_one_moment_cannot_be_divided() -> None:
    with pytest.raises(DataError, match=r"cannot be split by time[\s\S]*1 different times in 3[\s\S]*split=last"):
        split_by_time(order_events(events([(0, 0, 1), (0, 1, 1), (1, 0, 1)])), 0.1, 0.1)


def written(folder: Path, rows: list[Row], **options: int) -> tuple[list[str], dict[str, object]]:
    sessions = order_events(events(rows))
    settings = {"min_item_count": 1, "max_evaluated": 100, **options}
    items, facts = write_parts(sessions, leave_last_out(sessions), folder, **settings)
    return items.names, facts


def shown(part: RaggedArrays) -> list[list[tuple[int, bool]]]:
    return [[(int(step["item"]), bool(step["judged"])) for step in part[n]] for n in range(len(part))]


def test_the_parts_of_leave_last_out(tmp_path: Path) -> None:
    rows = [(0, 1, 0), (0, 1, 1), (0, 0, 2), (0, 2, 3), (0, 3, 4), (1, 0, 0), (1, 1, 1), (2, 0, 9)]
    names, facts = written(tmp_path, rows)
    assert names == ["i0", "i1"]  # i2 and i3 are seen in later parts only
    assert shown(open_part(tmp_path, "training", 2)) == [[(1, False), (1, True), (0, True)], [(0, False), (1, True)]]
    assert shown(open_part(tmp_path, "validation", 2)) == [
        [(1, False), (1, False), (0, False), (UNKNOWN, True)],
    ]
    assert shown(open_part(tmp_path, "test", 2)) == [
        [(1, False), (1, False), (0, False), (UNKNOWN, False), (UNKNOWN, True)],
    ]
    assert facts["validation_unknown_targets"] == facts["test_unknown_targets"] == 1
    assert facts["sessions_of_one_event"] == 1
    assert (facts["training_events"], facts["validation_events"], facts["test_events"]) == (3, 1, 1)


def test_rare_items_are_left_out_of_training_and_unknown_elsewhere(tmp_path: Path) -> None:
    rows = [(0, 0, 0), (0, 5, 1), (0, 1, 2), (0, 0, 3), (0, 1, 4), (0, 0, 5), (0, 5, 6)]
    names, _ = written(tmp_path, rows, min_item_count=2)
    assert names == ["i0", "i1"]
    assert shown(open_part(tmp_path, "training", 2)) == [[(0, False), (1, True), (0, True), (1, True)]]
    assert [item for item, _ in shown(open_part(tmp_path, "test", 2))[0]] == [0, -1, 1, 0, 1, 0, -1]


def test_fewer_judged_events_are_spread_over_the_sessions(tmp_path: Path) -> None:
    rows = [(session, (session + step) % 3, step) for session in range(40) for step in range(4)]
    written(tmp_path, rows, max_evaluated=10)
    assert len(open_part(tmp_path, "validation", 3)) == 10
    assert len(open_part(tmp_path, "test", 3)) == 40


def test_too_short_to_leave_the_last_out() -> None:
    with pytest.raises(DataError, match=r"no session is long enough[\s\S]*2 shorter ones"):
        leave_last_out(order_events(events([(0, 0, 1), (0, 1, 2), (1, 0, 1)])))


def test_nothing_to_predict(tmp_path: Path) -> None:
    sessions = order_events(events([(n, n % 3, n) for n in range(20)]))
    with pytest.raises(DataError, match="the training part has nothing to predict"):
        write_parts(sessions, split_by_time(sessions, 0.2, 0.2), tmp_path, min_item_count=1, max_evaluated=10)


def test_other_sessions_are_judged_by_the_items_of_a_run(tmp_path: Path) -> None:
    rows = [(0, 0, 0), (0, 1, 1), (0, 0, 2), (0, 1, 3), (0, 1, 4)]
    sessions = order_events(events(rows))
    items, _ = write_parts(sessions, leave_last_out(sessions), tmp_path, min_item_count=1, max_evaluated=9)
    part = write_evaluated(order_events(events([(0, 2, 0), (0, 1, 1), (1, 0, 0)])), items, tmp_path)
    assert shown(part) == [[(UNKNOWN, False), (1, True)]]


def test_a_broken_part_is_said(tmp_path: Path) -> None:
    steps = np.zeros(3, EVENT)
    steps["item"] = [0, 7, 1]
    RaggedArrays.write(tmp_path, "test", [steps])
    with pytest.raises(RunError, match=r"test.values.npy is broken[\s\S]*events of the 7 items"):
        open_part(tmp_path, "test", 7)
    RaggedArrays.write(tmp_path, "test", [np.zeros(3)])
    with pytest.raises(RunError, match=r"test.values.npy is broken[\s\S]*float64"):
        open_part(tmp_path, "test", 7)
