"""Classification metrics against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from elman.decoding.probabilities import sigmoid, softmax
from elman.evaluation.metrics.classification import (
    confusion_matrix,
    multi_label_metrics,
    prior_logits,
    single_label_metrics,
)


@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 99), st.floats(0.2, 5))
def test_one_class_each(N: int, C: int, seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(size=(N, C)), rng.integers(0, C, N)
    result = single_label_metrics(logits, target, temperature)
    answer, p = logits.argmax(1), softmax(logits, temperature)
    assert result["accuracy"] == pytest.approx(judge.accuracy_score(target, answer))
    assert result["macro_f1"] == pytest.approx(judge.f1_score(target, answer, average="macro"))
    assert result["nats"] == pytest.approx(judge.log_loss(target, p, labels=range(C)))
    np.testing.assert_array_equal(
        confusion_matrix(answer, target, C), judge.confusion_matrix(target, answer, labels=range(C))
    )


@given(st.integers(1, 20), st.integers(2, 4), st.integers(0, 99))
def test_several_classes_each(N: int, C: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(size=(N, C)), rng.integers(0, 2, (N, C))
    result, answer = multi_label_metrics(logits, target), (logits > 0).astype(int)
    assert result["accuracy"] == pytest.approx(judge.accuracy_score(target, answer))
    known = np.flatnonzero((target | answer).any(0))
    each = [judge.f1_score(target[:, c], answer[:, c], zero_division=0) for c in known]
    assert result["macro_f1"] == pytest.approx(np.mean(each) if each else 0)
    assert result["nats"] == pytest.approx(judge.log_loss(target.ravel(), sigmoid(logits).ravel(), labels=[0, 1]))


def test_certain_and_right_costs_nothing() -> None:
    target = np.array([0, 1])
    for metrics in (
        single_label_metrics(np.eye(2) * 1000, target),
        multi_label_metrics(np.eye(2) * 2000 - 1000, np.eye(2)),
    ):
        assert str(metrics["nats"]) == "0.0", "not -0.0"


def test_the_prior_says_how_often_each_class_stands() -> None:
    np.testing.assert_allclose(softmax(prior_logits((1, 3), 2)), [[0.25, 0.75]] * 2)
