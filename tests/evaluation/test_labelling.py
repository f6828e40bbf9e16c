"""Evaluation of labelled sequences against scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as judge
from torch import Tensor, nn

from elman.data.labelled.dataset import whole_part
from elman.data.labelled.labels import Labels
from elman.evaluation import labelling
from elman.evaluation.labelling import evaluate_calibrated, labelling_metrics, predict_part, prior_baseline
from elman.storage.ragged import RaggedArrays

LENGTHS = (3, 1, 4, 2)


def part_of(labels: Labels, answers: list[Any]) -> Any:
    rng = np.random.default_rng(0)
    input = [rng.normal(size=(T, 2)).astype(np.float32) for T in LENGTHS]
    return whole_part(
        RaggedArrays.of(input),
        RaggedArrays.of([labels.encode(answer, "it", T) for answer, T in zip(answers, LENGTHS, strict=True)]),
    )


class SumModel(nn.Module):
    """Scores that are a linear function of the sum of a sequence, or of each step."""

    def __init__(self, outputs: int, *, each_step: bool = False) -> None:
        super().__init__()
        self.each_step = each_step
        self.weight = nn.Parameter(torch.randn(2, outputs, generator=torch.Generator().manual_seed(1)))

    def forward(self, input: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        scores = (input if self.each_step else input.sum(0)) @ self.weight
        return scores if scores.shape[-1] > 1 else scores[..., 0:1]


def test_one_class_for_each_sequence() -> None:
    answers = ["a", "b", "a", "a"]
    labels = Labels.of("class", answers)
    part = part_of(labels, answers)
    predictions = predict_part(SumModel(2), labels, part)
    metrics = labelling_metrics(predictions, labels)
    predicted = predictions.scores.argmax(1)
    assert metrics["accuracy"] == pytest.approx(judge.accuracy_score(predictions.target, predicted))
    calibrated = evaluate_calibrated(SumModel(2), labels, part)
    assert calibrated["temperature"] == labelling.temperature_of(predictions, labels)
    assert calibrated["nats"] <= metrics["nats"]
    (baseline,) = prior_baseline(labels, part).values()
    assert baseline["accuracy"] == 3 / 4
    assert baseline["nats"] == pytest.approx(judge.log_loss([0, 1, 0, 0], [[3 / 4, 1 / 4]] * 4))


def test_a_tag_for_each_step() -> None:
    answers = ["a b a", "b", "a a a b", "b a"]
    labels = Labels.of("tags", answers)
    part = part_of(labels, answers)
    predictions = predict_part(SumModel(2, each_step=True), labels, part)
    assert predictions.scores.shape == (10, 2) and sorted(predictions.target) == [0] * 6 + [1] * 4
    assert prior_baseline(labels, part)["majority class"]["accuracy"] == 6 / 10


def test_several_classes_for_each_sequence() -> None:
    answers = ["a;b", "a", "", "c"]
    labels = Labels.of("classes", answers)
    part = part_of(labels, answers)
    predictions = predict_part(SumModel(3), labels, part)
    metrics = labelling_metrics(predictions, labels)
    predicted = (predictions.scores > 0).astype(int)
    assert metrics["accuracy"] == pytest.approx(judge.accuracy_score(predictions.target.astype(int), predicted))
    (baseline,) = prior_baseline(labels, part).values()
    p = np.tile([1 / 2, 1 / 4, 1 / 4], (4, 1)).ravel()
    assert baseline["nats"] == pytest.approx(judge.log_loss(predictions.target.ravel(), p))


def test_numbers_are_in_the_units_of_the_data() -> None:
    answers = [1.0, 5.0, 2.0, 8.0]
    labels = Labels.of("number", answers)
    part = part_of(labels, answers)
    predictions = predict_part(SumModel(1), labels, part)
    metrics = evaluate_calibrated(SumModel(1), labels, part)
    predicted, true = (labels.mean + labels.deviation * x for x in (predictions.scores[:, 0], predictions.target))
    assert sorted(true) == pytest.approx(sorted(answers))
    assert metrics["mae"] == pytest.approx(judge.mean_absolute_error(true, predicted), rel=1e-5)
    baseline = prior_baseline(labels, part)["training mean"]
    assert baseline["mse"] == pytest.approx(np.var(answers)) and baseline["r2"] == pytest.approx(0, abs=1e-6)
