"""Temperature scaling against SciPy, and the expected calibration error against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from elman.decoding.probabilities import softmax
from elman.evaluation.metrics.calibration import BINS, calibration_error, fit_temperature
from elman.evaluation.metrics.classification import single_label_metrics


@given(st.integers(0, 99))
def test_the_temperature_minimises_the_log_loss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    logits[np.arange(60), target] += 1
    loss = lambda log_t: log_loss(target, softmax(logits, np.exp(log_t)), labels=range(3))  # noqa: E731
    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, target) == pytest.approx(float(np.exp(best.x)), rel=1e-4)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_made_answers_is_found(true: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 4)) * 3
    target = (softmax(logits, true).cumsum(1) < rng.random((20_000, 1))).sum(1)
    result = fit_temperature(logits, target)
    assert result == pytest.approx(true, rel=0.06)
    least = single_label_metrics(logits, target, result)["nats"]
    for other in (0.98 * result, 1.02 * result):
        assert single_label_metrics(logits, target, other)["nats"] > least
    assert single_label_metrics(logits, target, result)["calibration_error"] < 0.02
    assert single_label_metrics(logits, target, result * 3)["calibration_error"] > 0.1


def test_the_temperature_has_bounds() -> None:
    right = np.eye(3) * 5
    assert fit_temperature(right, np.arange(3)) == pytest.approx(0.05)
    assert fit_temperature(right, np.array([1, 2, 0])) == pytest.approx(20)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_the_calibration_error_by_its_definition(pairs: list[tuple[float, bool]]) -> None:
    error = 0.0
    for n in range(BINS):
        members = [(p, c) for p, c in pairs if n <= p * BINS < n + 1 or (n == BINS - 1 and p == 1)]
        if members:
            confidence, accuracy = np.mean(members, axis=0)
            error += len(members) / len(pairs) * abs(confidence - accuracy)
    confidence_N, correct_N = np.array([p for p, _ in pairs]), np.array([c for _, c in pairs])
    assert calibration_error(confidence_N, correct_N) == pytest.approx(error, abs=1e-12)


def test_the_calibration_error_by_hand() -> None:
    confidence = np.array([0.9, 0.9, 0.6, 0.6])
    assert calibration_error(confidence, np.array([True, True, True, False])) == pytest.approx(0.1)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0
