"""Agreement of scores, judged by NumPy and scikit-learn; ranks, judged by sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from elman.data.pairs.readers import ScoredPair
from elman.data.pairs.score_scale import ScoreScale
from elman.evaluation.metrics.agreement import agreement, mean_reciprocal_rank, partner_rank

NUMBERS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=20)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.array([(values < v).sum() + (values == v).sum() / 2 for v in values])


@given(NUMBERS)
def test_correlations_are_those_of_numpy(pairs: list) -> None:
    found, true = np.array(pairs, float).T
    metrics = agreement(found, true)
    assert metrics["mse"] == pytest.approx(np.mean((found - true) ** 2))
    if np.ptp(true) == 0:
        assert "pearson" not in metrics
    elif np.ptp(found) == 0:
        assert (metrics["pearson"], metrics["spearman"]) == (0, 0)
    else:
        assert metrics["pearson"] == pytest.approx(np.corrcoef(found, true)[0, 1], abs=1e-9)
        assert metrics["spearman"] == pytest.approx(np.corrcoef(ranks(found), ranks(true))[0, 1], abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=20))
def test_yes_and_no_are_judged_as_by_scikit_learn(pairs: list) -> None:
    found, true = np.array([p for p, _ in pairs]), np.array([float(t) for _, t in pairs])
    metrics = agreement(found, true, yes_no=True)
    assert metrics["accuracy"] == pytest.approx(judge.accuracy_score(true, found >= 0.5))
    assert metrics["f1"] == pytest.approx(judge.f1_score(true, found >= 0.5, zero_division=0))


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=5), st.integers(0, 3))
def test_ranks_are_those_of_sorting(rows: list, partner: int) -> None:
    close = np.array(rows)
    places = []
    for row in rows:
        places.append(np.mean([place for place, value in enumerate(sorted(row)[::-1], 1) if value == row[partner]]))
    expected = np.mean([1 / place for place in places])
    assert mean_reciprocal_rank(close, np.full(len(rows), partner)) == pytest.approx(expected)


def test_partners_are_searched_among_all_second_texts() -> None:
    pairs = [ScoredPair("a", "x", 5.0), ScoredPair("b", "y", 1.0), ScoredPair("c", "x", 4.2), ScoredPair("d", "z", 4.1)]
    scale = ScoreScale(1.0, 5.0, yes_no=False)
    searches: list[tuple[list[str], list[str]]] = []

    def vector_similarity(queries: list[str], candidates: list[str]) -> np.ndarray:
        searches.append((queries, candidates))
        return np.array([[3, 1, 2], [1, 3, 2]])

    assert partner_rank(pairs, scale, vector_similarity) == {"mean_reciprocal_rank": pytest.approx((1 + 1 / 3) / 2)}
    assert searches == [(["a", "c"], ["x", "y", "z"])]
    assert partner_rank(pairs[1:2], scale, vector_similarity) == {}
