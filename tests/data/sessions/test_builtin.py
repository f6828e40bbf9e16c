"""The made-up shop is the one that its page describes."""

import numpy as np

from elman.data.sessions.builtin import BETWEEN_EVENTS, ITEMS, KINDS, shop, shop_events


def test_probabilities_are_such() -> None:
    made = shop()
    assert made.following.shape == (KINDS, ITEMS, ITEMS)
    assert (made.following > 0).all()
    assert (made.first > 0).all()
    np.testing.assert_allclose(made.following.sum(2), 1)
    np.testing.assert_allclose(made.first.sum(1), 1)


def test_events_follow_the_probabilities() -> None:
    events = shop_events()
    session = events.session
    begins = np.flatnonzero(np.diff(session, prepend=-1))
    lengths = np.diff(np.append(begins, len(session)))
    assert lengths.min() == 2
    assert 11 < lengths.mean() < 13
    assert (np.diff(events.time[:, 0])[np.diff(session) == 0] == BETWEEN_EVENTS).all()
    assert len(events.items) == ITEMS == len(set(events.item.tolist()))
    # The first items of 6000 sessions, and what follows an item, over all kinds alike: within five deviations.
    firsts = np.bincount(events.item[begins], minlength=ITEMS)
    p = shop().first.mean(0)
    assert (abs(firsts - p * len(begins)) < 5 * np.sqrt(p * len(begins)) + 1).all()


def test_it_is_the_same_every_time_and_another_by_seed() -> None:
    first, second, other = shop_events(), shop_events(), shop_events(seed=1)
    np.testing.assert_array_equal(first.item, second.item)
    assert len(first) == 72_237
    assert int(first.item[:1000].sum()) == 102_229
    assert first.item[:50].tolist() != other.item[:50].tolist()
