"""Next-item baselines against their definitions."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from elman.data.sessions.dataset import EVENT
from elman.evaluation.baselines import next_item as baselines
from elman.storage.ragged import RaggedArrays


def sessions_of(sessions: list[list[int]]) -> RaggedArrays:
    rows = []
    for items in sessions:
        steps = np.zeros(len(items), EVENT)
        steps["item"] = items
        steps["judged"][1:] = True
        rows.append(steps)
    return RaggedArrays.of(rows)


def random_sessions(seed: int, items: int, count: int = 30) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, items, rng.integers(2, 12)).tolist() for _ in range(count)]


def counts_of(sessions: list[list[int]], items: int) -> NDArray[np.int64]:
    return np.bincount([item for session in sessions for item in session], minlength=items)


@pytest.mark.parametrize("furthest", [1, 3, 50])
def test_pairs_are_counted(furthest: int) -> None:
    sessions = random_sessions(1, 6)
    expected = np.zeros((6, 6))
    for session in sessions:
        for n, first in enumerate(session):
            for second in session[n + 1 : n + 1 + furthest]:
                expected[first, second] += 1
    np.testing.assert_array_equal(baselines.count_pairs(sessions_of(sessions), 6, furthest).toarray(), expected)


def test_markov_chains_by_their_definition() -> None:
    sessions = random_sessions(2, 7)
    counts = np.zeros((7, 7))
    for session in sessions:
        for first, second in pairwise(session):
            counts[first, second] += 1
    predictors = baselines.build_baselines(sessions_of(sessions), counts_of(sessions, 7))
    histories = [np.array(session) for session in random_sessions(3, 7, 5)] + [np.arange(45) % 7]
    np.testing.assert_array_equal(predictors["Markov"](histories), [counts[h[-1]] for h in histories])
    expected = [sum(0.8**k * counts[h[-1 - k]] for k in range(min(20, len(h)))) for h in histories]
    np.testing.assert_allclose(predictors["Markov, last 20"](histories), expected)


def test_popularity_and_item_to_item() -> None:
    sessions = [[0, 1, 2], [0, 1], [3, 0]]
    counts = counts_of(sessions, 5)
    predictors = baselines.build_baselines(sessions_of(sessions), counts)
    np.testing.assert_array_equal(predictors["popularity"]([np.array([2])])[0], [3, 2, 1, 1, 0])
    result = predictors["item to item"]([np.array([3, 0]), np.array([4])])
    np.testing.assert_allclose(result[0], [0, 2 / 6**0.5, 1 / 3**0.5, 1 / 3**0.5, 0])
    np.testing.assert_array_equal(result[1], np.zeros(5))
