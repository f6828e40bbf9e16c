"""Training batches of sessions: every prediction once an epoch, in its own history, and a place that can be kept."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.data.batching import IGNORED
from elman.data.sessions.batches import SessionBatch, SessionStreams, WholeSessions, seen_before
from elman.data.sessions.dataset import EVENT
from elman.errors import RunError
from elman.storage.ragged import RaggedArrays

SESSIONS = st.lists(st.integers(2, 9), min_size=1, max_size=12)


def sessions_of(lengths: list[int], tied: bool = False) -> RaggedArrays:
    """Items are numbered through all sessions, so that each tells where it is from."""
    steps = np.zeros(sum(lengths), EVENT)
    steps["item"] = np.arange(len(steps))
    ends = np.cumsum(lengths)
    if tied:
        steps["tied"] = np.arange(len(steps)) % 3 != 0
        steps["tied"][[0, *ends[:-1]]] = False
    return RaggedArrays(steps, ends)


def histories(batches: list[SessionBatch]) -> Counter[tuple[int, ...]]:
    """Return what a network sees before each prediction, with the target, following states and resets by the rules."""
    found: Counter[tuple[int, ...]] = Counter()
    carried: list[list[int]] = []
    for batch in batches:
        width = batch.input_TB.shape[1]
        carried = [[] for _ in range(width)] if batch.first else carried
        counted = 0
        for t in range(len(batch.input_TB)):
            for b in range(width):
                if batch.resets_TB is not None and batch.resets_TB[t, b]:
                    carried[b] = []
                carried[b] = [*carried[b], int(batch.input_TB[t, b])]
                if batch.target_TB[t, b] != IGNORED:
                    found[(*carried[b], int(batch.target_TB[t, b]))] += 1
                    counted += 1
        assert counted == batch.count
    return found


def expected(sessions: RaggedArrays) -> Counter[tuple[int, ...]]:
    items = [sessions[n]["item"].tolist() for n in range(len(sessions))]
    return Counter(tuple(session[:t]) for session in items for t in range(2, len(session) + 1))


@given(SESSIONS, st.integers(1, 5), st.integers(0, 20))
def test_whole_sessions_predict_every_event_once_after_its_history(lengths: list[int], size: int, events: int) -> None:
    sessions = sessions_of(lengths)
    batches = WholeSessions(sessions, batch_size=size, events=events, seed=3)
    for _ in range(2):
        assert histories(list(batches)) == expected(sessions)


@given(SESSIONS, st.integers(1, 5), st.integers(1, 7))
def test_streams_predict_every_event_once_after_its_history(lengths: list[int], size: int, window: int) -> None:
    sessions = sessions_of(lengths)
    batches = SessionStreams(sessions, batch_size=size, window=window, seed=3)
    for _ in range(2):
        assert histories(list(batches)) == expected(sessions)


@pytest.mark.parametrize("kind", ["whole", "streams"])
def test_a_place_can_be_kept(kind: str) -> None:
    def make() -> WholeSessions | SessionStreams:
        sessions = sessions_of([3, 9, 4, 4, 7, 2, 5], tied=True)
        if kind == "whole":
            return WholeSessions(sessions, batch_size=2, shuffle_ties=True, seed=1)
        return SessionStreams(sessions, batch_size=2, window=3, shuffle_ties=True, seed=1)

    def endless(batches: WholeSessions | SessionStreams):  # type: ignore[no-untyped-def]
        while True:
            yield from batches

    whole = make()
    every = list(islice(endless(whole), 25))
    for place in (1, 4, 13):
        first, second = make(), make()
        list(islice(endless(first), place))
        second.seek(first.position)
        assert second.progress == first.progress
        for a, b in zip(islice(endless(second), 6), every[place:], strict=False):
            assert torch.equal(a.input_TB, b.input_TB)
            assert torch.equal(a.target_TB, b.target_TB)
            assert a.first == b.first
    for wrong in ({}, {"epoch": -1, "offset": 0, "batch": 0}, {"epoch": 0, "offset": 10**6, "batch": 10**6}):
        with pytest.raises(RunError, match="invalid position in the data"):
            make().seek(wrong)


@pytest.mark.parametrize("kind", ["whole", "streams"])
def test_ties_come_in_a_new_order_each_epoch_and_stay_together(kind: str) -> None:
    sessions = sessions_of([30], tied=True)
    batches = (
        WholeSessions(sessions, batch_size=1, shuffle_ties=True)
        if kind == "whole"
        else SessionStreams(sessions, batch_size=1, window=7, shuffle_ties=True)
    )
    orders = []
    for _ in range(3):
        made = list(batches)
        target = torch.cat([batch.target_TB for batch in made])[:, 0].tolist()
        orders.append([int(made[0].input_TB[0, 0]), *target])
    assert all([item // 3 for item in order] == [n // 3 for n in range(30)] for order in orders)
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_resets_stand_where_sessions_begin_and_no_stream_is_long() -> None:
    batches = SessionStreams(sessions_of([2, 3, 4, 5, 6, 7, 8] * 4), batch_size=4, window=1000, seed=2)
    batch = next(iter(batches))
    assert batch.resets_TB is not None
    assert int(batch.resets_TB.sum()) == 28
    steps = sum(range(1, 8)) * 4
    assert len(batch.input_TB) <= steps / 4 + 7


@given(st.lists(st.integers(2, 7), min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 99))
def test_what_was_seen_before(lengths: list[int], window: int, seed: int) -> None:
    steps = np.zeros(sum(lengths), EVENT)
    steps["item"] = np.random.default_rng(seed).integers(0, 4, len(steps))
    sessions = RaggedArrays(steps, np.cumsum(lengths))
    batches = (
        SessionStreams(sessions, batch_size=2, window=window, seed=seed)
        if window
        else WholeSessions(sessions, batch_size=2, seed=seed)
    )
    for batch in batches:
        rows, items = seen_before(batch)
        found = set(zip(rows.tolist(), items.tolist(), strict=True))
        wanted, row = set(), 0
        for t in range(len(batch.input_TB)):
            for b in range(batch.input_TB.shape[1]):
                if batch.target_TB[t, b] == IGNORED:
                    continue
                for k in range(t, -1, -1):  # back to where the session, or the window, begins
                    wanted.add((row, int(batch.input_TB[k, b])))
                    if batch.resets_TB is not None and batch.resets_TB[k, b]:
                        break
                wanted.discard((row, int(batch.target_TB[t, b])))
                row += 1
        assert found == wanted
