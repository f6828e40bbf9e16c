"""Ranking metrics beside a brute-force computation over all orders of equal scores."""

from itertools import pairwise, permutations
from math import log2

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import NonFiniteError, SettingError
from elman.evaluation.metrics.ranking import RankingTally


def by_hand(scores: list[float], target: int, at: int) -> tuple[float, float, float]:
    """Return recall, reciprocal rank and NDCG, averaged over every order that the scores allow."""
    totals, orders = [0.0, 0.0, 0.0], 0
    for order in permutations(range(len(scores))):
        if any(scores[a] < scores[b] for a, b in pairwise(order)):
            continue
        orders += 1
        place = order.index(target) + 1
        if place <= at:
            totals = [totals[0] + 1, totals[1] + 1 / place, totals[2] + 1 / log2(place + 1)]
    return totals[0] / orders, totals[1] / orders, totals[2] / orders


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=5, max_size=5), st.integers(0, 4)), min_size=1, max_size=4),
    st.integers(1, 6),
)
def test_ties_get_the_mean_over_all_orders(rows: list[tuple[list[int], int]], at: int) -> None:
    tally = RankingTally(at, np.ones(5, np.int64))
    for scores, target in rows:
        tally.add(torch.tensor([scores], dtype=torch.float32), torch.tensor([target]))
    metrics = tally.metrics()
    expected = np.mean([by_hand([float(s) for s in scores], target, at) for scores, target in rows], 0)
    result = [metrics[f"{name}_{at}"] for name in ("recall", "mrr", "ndcg")]
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    assert metrics["events"] == len(rows)


def test_who_gives_all_the_same_score_gets_what_chance_gets() -> None:
    tally = RankingTally(20, np.ones(1000, np.int64))
    tally.add(torch.zeros(3, 1000), torch.tensor([0, 5, 999]))
    assert tally.metrics()["recall_20"] == pytest.approx(0.02)


def test_an_unknown_item_and_one_that_is_left_out_are_misses() -> None:
    tally = RankingTally(2, np.ones(3, np.int64))
    scores = torch.tensor([[3.0, 2.0, 1.0], [-torch.inf, 2.0, 1.0], [3.0, 2.0, 1.0]])
    tally.add(scores, torch.tensor([-1, 0, 0]))
    assert tally.metrics()["recall_2"] == pytest.approx(1 / 3)


def test_coverage_and_popularity_of_the_lists() -> None:
    tally = RankingTally(1, np.array([6, 1, 1, 0]))
    tally.add(torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]), torch.tensor([3, 3]))
    metrics = tally.metrics()
    assert metrics["coverage_1"] == 0.5
    assert metrics["popularity_1"] == pytest.approx((6 + 1) / 2 / 2)


def test_lists_are_no_longer_than_there_are_items() -> None:
    tally = RankingTally(20, np.ones(3, np.int64))
    tally.add(torch.tensor([[3.0, -torch.inf, 1.0]]), torch.tensor([2]))
    metrics = tally.metrics()
    assert metrics["recall_20"] == 1
    assert metrics["coverage_20"] == pytest.approx(2 / 3)


def test_what_is_refused() -> None:
    with pytest.raises(SettingError, match="invalid length of a list"):
        RankingTally(0, np.ones(3, np.int64))
    with pytest.raises(NonFiniteError, match="predicts no numbers"):
        RankingTally(1, np.ones(2, np.int64)).add(torch.tensor([[1.0, torch.nan]]), torch.tensor([0]))
