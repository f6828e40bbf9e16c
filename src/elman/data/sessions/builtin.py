"""A shop that is made up, so that the best that any predictor can do is known.

A shopper is of one of Z kinds, which nobody sees and which stays for the session. Given the kind z, the next item
depends on the last one alone:

    p(j | i, z) = 0.45 followers(j | i) + 0.45 taste(j | z) + 0.1 popularity(j)

Each item has three followers of its own (0.5, 0.3, 0.2), a kind has a taste for 30 items, and popularity falls as
1 / rank. Who adds up the kinds, each weighted by its probability given the session so far, predicts as well as can be
(`elman.evaluation.baselines.shop_oracle`). A Markov chain cannot: it does not see the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from elman.data.sessions.readers import Events

NAME = "a made-up shop (200 items, 6000 sessions)"
ITEMS, KINDS, SESSIONS, TASTE = 200, 6, 6000, 30
MEAN_LENGTH, LONGEST = 12, 60
BETWEEN_SESSIONS, BETWEEN_EVENTS = 60.0, 20.0  # seconds
FOLLOWERS = (0.5, 0.3, 0.2)


@dataclass(frozen=True)
class Shop:
    """The probabilities of the shop.

    Attributes:
        names: (V,) of the items.
        first: (Z, V), of the first item of a session.
        following: (Z, V, V), of the item j after the item i, [z, i, j].
    """

    names: tuple[str, ...]
    first: NDArray[np.float64]
    following: NDArray[np.float64]


@lru_cache(maxsize=1)
def shop() -> Shop:
    """Return the shop; it is the same everywhere."""
    rng = np.random.Generator(np.random.Philox(key=20161))
    popularity = 1 / (1 + np.argsort(rng.random(ITEMS)))
    popularity /= popularity.sum()
    liked = np.argsort(rng.random((KINDS, ITEMS)), 1)[:, :TASTE]
    taste = np.zeros((KINDS, ITEMS))
    np.put_along_axis(taste, liked, 1 / (1 + np.arange(TASTE)), 1)
    taste /= taste.sum(1, keepdims=True)
    followers = np.zeros((ITEMS, ITEMS))
    chosen = np.argsort(rng.random((ITEMS, ITEMS)), 1)[:, : len(FOLLOWERS)]
    np.put_along_axis(followers, chosen, np.array([FOLLOWERS]), 1)
    following = 0.45 * followers + 0.45 * taste[:, None] + 0.1 * popularity
    first = 0.5 * taste + 0.5 * popularity
    return Shop(tuple(f"item-{n:03}" for n in range(ITEMS)), first, following)


def shop_events(seed: int = 0) -> Events:
    """Return what happened in the shop: sessions of 2 to 60 events, one after the other.

    Args:
        seed: of the visitors.
    """
    made = shop()
    rng = np.random.Generator(np.random.Philox(key=np.array([20162, seed], np.uint64)))
    lengths = np.minimum(2 + np.floor(np.log(rng.random(SESSIONS)) / np.log(1 - 1 / (MEAN_LENGTH - 1))), LONGEST)
    lengths = lengths.astype(np.int64)
    kind = np.floor(rng.random(SESSIONS) * KINDS).astype(np.int64)
    items = np.zeros((SESSIONS, LONGEST), np.int64)
    items[:, 0] = _drawn(made.first.cumsum(1)[kind], rng.random(SESSIONS))
    sums = made.following.cumsum(2)
    for t in range(1, LONGEST):
        on = np.flatnonzero(lengths > t)
        items[on, t] = _drawn(sums[kind[on], items[on, t - 1]], rng.random(len(on)))
    session = np.repeat(np.arange(SESSIONS), lengths)
    step = np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    time = session * BETWEEN_SESSIONS + step * BETWEEN_EVENTS
    names = [f"session-{n}" for n in range(SESSIONS)]
    return Events(session, items[session, step], time[:, None], list(made.names), names, "session, item, time")


def _drawn(sums: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each row of summed probabilities, (N, V), the first place that reaches uniform times their total."""
    drawn: NDArray[np.int64] = (sums < (uniform * sums[:, -1])[:, None]).sum(1, dtype=np.int64)
    return drawn
