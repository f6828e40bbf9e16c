"""The metrics of classes and numbers, judged by scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from elman.decoding.probabilities import sigmoid, softmax
from elman.evaluation.metrics.calibration import calibration_error, fit_temperature
from elman.evaluation.metrics.classification import class_metrics, classes_metrics, confusion, prior_logits
from elman.evaluation.metrics.regression import number_metrics
from elman.plots.confusion_matrix import draw_confusion


@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 99), st.floats(0.2, 5))
def test_one_class_each(N: int, C: int, seed: int, temperature: float) -> None:
    chance = np.random.default_rng(seed)
    logits, target = chance.normal(size=(N, C)), chance.integers(0, C, N)
    found = class_metrics(logits, target, temperature)
    answer, p = logits.argmax(1), softmax(logits, temperature)
    assert found["accuracy"] == pytest.approx(judge.accuracy_score(target, answer))
    assert found["macro_f1"] == pytest.approx(judge.f1_score(target, answer, average="macro"))
    assert found["nats"] == pytest.approx(judge.log_loss(target, p, labels=range(C)))
    np.testing.assert_array_equal(confusion(answer, target, C), judge.confusion_matrix(target, answer, labels=range(C)))


@given(st.integers(1, 20), st.integers(2, 4), st.integers(0, 99))
def test_several_classes_each(N: int, C: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    logits, target = chance.normal(size=(N, C)), chance.integers(0, 2, (N, C))
    found, answer = classes_metrics(logits, target), (logits > 0).astype(int)
    assert found["accuracy"] == pytest.approx(judge.accuracy_score(target, answer))
    known = np.flatnonzero((target | answer).any(0))
    each = [judge.f1_score(target[:, c], answer[:, c], zero_division=0) for c in known]
    assert found["macro_f1"] == pytest.approx(np.mean(each) if each else 0)
    assert found["nats"] == pytest.approx(judge.log_loss(target.ravel(), sigmoid(logits).ravel(), labels=[0, 1]))


def test_certain_and_right_costs_nothing() -> None:
    target = np.array([0, 1])
    for metrics in (class_metrics(np.eye(2) * 1000, target), classes_metrics(np.eye(2) * 2000 - 1000, np.eye(2))):
        assert str(metrics["nats"]) == "0.0", "not -0.0"


def test_numbers() -> None:
    answer, target = np.array([1.0, 2, 4]), np.array([1.0, 3, 5])
    found = number_metrics(answer, target)
    assert found["mse"] == pytest.approx(judge.mean_squared_error(target, answer))
    assert found["mae"] == pytest.approx(judge.mean_absolute_error(target, answer))
    assert found["r2"] == pytest.approx(judge.r2_score(target, answer))
    assert number_metrics(answer, np.ones(3))["r2"] is None


def test_the_prior_says_how_often_each_class_stands() -> None:
    np.testing.assert_allclose(softmax(prior_logits((1, 3), 2)), [[0.25, 0.75]] * 2)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_made_answers_is_found(true: float) -> None:
    chance = np.random.default_rng(1)
    logits = chance.normal(size=(20_000, 4)) * 3
    target = (softmax(logits, true).cumsum(1) < chance.random((20_000, 1))).sum(1)
    found = fit_temperature(logits, target)
    assert found == pytest.approx(true, rel=0.06)
    least = class_metrics(logits, target, found)["nats"]
    for other in (0.98 * found, 1.02 * found):
        assert class_metrics(logits, target, other)["nats"] > least
    assert class_metrics(logits, target, found)["calibration_error"] < 0.02
    assert class_metrics(logits, target, found * 3)["calibration_error"] > 0.1


def test_the_temperature_has_bounds() -> None:
    right = np.eye(3) * 5
    assert fit_temperature(right, np.arange(3)) == pytest.approx(0.05)
    assert fit_temperature(right, np.array([1, 2, 0])) == pytest.approx(20)


def test_the_calibration_error_by_hand() -> None:
    confidence = np.array([0.9, 0.9, 0.6, 0.6])
    assert calibration_error(confidence, np.array([True, True, True, False])) == pytest.approx(0.1)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    draw_confusion(np.array([[3, 1], [0, 0]]), ["$a", "b" * 50], path)
    assert path.read_bytes().startswith(b"\x89PNG")
