"""Agreement of scores, judged by NumPy and scikit-learn; ranks, judged by sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from elman.data.pairs.readers import ScoredPair
from elman.evaluation.baselines.word_overlap import OverlapBaselines, shared_rank, shared_words
from elman.evaluation.metrics.agreement import agreement, mean_reciprocal_rank

NUMBERS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=20)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.array([(values < v).sum() + (values == v).sum() / 2 for v in values])


@given(NUMBERS)
def test_correlations_are_those_of_numpy(pairs: list) -> None:
    found, true = np.array(pairs, float).T
    metrics = agreement(found, true)
    assert metrics["mean_squared_error"] == pytest.approx(np.mean((found - true) ** 2))
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


def test_shared_words() -> None:
    assert shared_words("The cat, the dog", "the dog") == pytest.approx(2 * 2 / (4 + 2))
    assert shared_words("", "a") == shared_words("", "") == 0
    assert shared_rank(["a b"], ["c", "a b", "a"], np.array([2])) == pytest.approx(1 / 2)


def test_the_line_is_that_of_least_squares() -> None:
    pairs = [
        ScoredPair("a b", "a b", 5.0),
        ScoredPair("a b", "a c", 2.0),
        ScoredPair("a", "c", 1.0),
        ScoredPair("a b c", "a b", 3.0),
    ]
    shared, true = np.array([shared_words(*pair[:2]) for pair in pairs]), np.array([pair.score for pair in pairs])
    slope, start = np.polyfit(shared, true, 1)
    trivial = OverlapBaselines.fit(pairs)
    assert (trivial.slope, trivial.start, trivial.mean) == pytest.approx((slope, start, true.mean()))
    table = trivial.metrics(pairs, true, yes_no=False)
    assert table["word overlap"]["pearson"] == pytest.approx(np.corrcoef(shared, true)[0, 1])
    assert table["mean score"] == {"mean_squared_error": pytest.approx(true.var())}
    flat = OverlapBaselines.fit([ScoredPair("a", "b", 1.0), ScoredPair("a", "c", 2.0)])
    assert (flat.slope, flat.start) == (0, 1.5)
