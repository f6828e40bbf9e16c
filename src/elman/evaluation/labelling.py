"""Evaluation of classification, tagging and regression of sequences, and the baselines."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.batching import IGNORED
from elman.data.labelled.batches import evaluation_batches
from elman.data.labelled.dataset import LabelledPart
from elman.data.labelled.labels import Labels
from elman.evaluation.metrics.calibration import fit_temperature
from elman.evaluation.metrics.classification import multi_label_metrics, prior_logits, single_label_metrics
from elman.evaluation.metrics.regression import regression_metrics
from elman.evaluation.progress import reported
from elman.evaluation.result import Metrics


class Predictions(NamedTuple):
    """Predictions of a model on a part of the data.

    Attributes:
        scores: of every sequence or step, (N, C).
        target: the labels.
    """

    scores: NDArray[np.floating[Any]]
    target: NDArray[Any]


@torch.no_grad()
def predict_part(model: Any, labels: Labels, part: LabelledPart) -> Predictions:
    """Run a model, in evaluation mode, over a part.

    Args:
        model: (input, lengths) -> scores, as `elman.models.classifier.Classifier`.
        labels: the kind of labels.
        part: the sequences.
    """
    device = next(model.parameters()).device
    scores, targets = [], []
    batches = evaluation_batches(part, labels)
    for batch in reported(batches, len(part), "sequences", lambda batch: len(batch.target)):
        output = model(batch.input.to(device), batch.lengths_B).float().cpu().numpy()
        target = batch.target.numpy()
        if labels.target == "tags":
            counted = target != IGNORED
            output, target = output[counted], target[counted]
        scores.append(output)
        targets.append(target)
    return Predictions(np.concatenate(scores), np.concatenate(targets))


def labelling_metrics(predictions: Predictions, labels: Labels, temperature: float = 1.0) -> Metrics:
    """Return the metrics of predictions, with logits divided by the temperature."""
    if labels.target == "number":
        pair: list[NDArray[Any]] = [x.astype(labels.precision) for x in (predictions.scores[:, 0], predictions.target)]
        return regression_metrics(*(labels.deviation * x + labels.mean for x in pair))
    if labels.target == "classes":
        return multi_label_metrics(predictions.scores, predictions.target, temperature)
    return single_label_metrics(predictions.scores, predictions.target, temperature)


def evaluate_calibrated(model: Any, labels: Labels, part: LabelledPart) -> Metrics:
    """Return the metrics on the validation part at the fitted temperature, which is among them."""
    predictions = predict_part(model, labels, part)
    if labels.target == "number" or not np.isfinite(predictions.scores).all():
        return labelling_metrics(predictions, labels)
    temperature = temperature_of(predictions, labels)
    return {**labelling_metrics(predictions, labels, temperature), "temperature": temperature}


def temperature_of(predictions: Predictions, labels: Labels) -> float:
    """Return the temperature with the highest likelihood of the labels; of multiple labels, one for all decisions."""
    scores, target = predictions.scores, predictions.target
    if labels.target == "classes":
        flat = scores.reshape(-1, 1)
        scores, target = np.concatenate([np.zeros_like(flat), flat], 1), target.reshape(-1).astype(np.int64)
    return fit_temperature(scores, target)


def prior_baseline(labels: Labels, part: LabelledPart) -> dict[str, Metrics]:
    """Return the metrics of the majority class, or of the mean, of the training part.

    Its probabilities are the frequencies of the classes in the training part.
    """
    targets = [batch.target.numpy() for batch in evaluation_batches(part, labels)]
    target = np.concatenate([t[t != IGNORED] for t in targets] if labels.target == "tags" else targets)
    if labels.target == "number":
        return {"training mean": labelling_metrics(Predictions(np.zeros((len(target), 1)), target), labels)}
    scores = prior_logits(labels.counts, len(target))
    if labels.target == "classes":
        share = np.clip(np.asarray(labels.counts) / labels.examples, 1e-6, 1 - 1e-6)
        scores = np.tile(np.log(share / (1 - share)), (len(target), 1))
    return {"majority class": labelling_metrics(Predictions(scores, target), labels)}
