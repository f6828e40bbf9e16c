"""Judging a model that labels sequences, and the trivial predictors beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from elman.data.labelled.batches import NO_TAG, evaluation_batches
from elman.data.labelled.dataset import LabelledPart
from elman.data.labelled.labels import Labels
from elman.evaluation.metrics.calibration import fit_temperature
from elman.evaluation.metrics.classification import class_metrics, classes_metrics, prior_logits
from elman.evaluation.metrics.regression import number_metrics

Metrics = dict[str, float | None]


class Answers(NamedTuple):
    """What a model said of a part: the scores of every sequence or step, (N, C), and what is right."""

    scores: NDArray[np.floating[Any]]
    target: NDArray[Any]


@torch.no_grad()
def answers_of(model: Any, labels: Labels, part: LabelledPart) -> Answers:
    """Run a model, in evaluation mode, over a part.

    Args:
        model: (input, lengths) -> scores, as `elman.models.classifier.Classifier`.
        labels: what the labels are.
        part: the sequences.
    """
    device = next(model.parameters()).device
    scores, targets = [], []
    for batch in evaluation_batches(part, labels):
        found = model(batch.input.to(device), batch.lengths_B).float().cpu().numpy()
        target = batch.target.numpy()
        if labels.target == "tags":
            counted = target != NO_TAG
            found, target = found[counted], target[counted]
        scores.append(found)
        targets.append(target)
    return Answers(np.concatenate(scores), np.concatenate(targets))


def metrics_of(answers: Answers, labels: Labels, temperature: float = 1.0) -> Metrics:
    """Return the metrics of answers, the probabilities scaled by the temperature."""
    if labels.target == "number":
        scale = [labels.deviation * x + labels.mean for x in (answers.scores[:, 0], answers.target)]
        return number_metrics(*scale)
    if labels.target == "classes":
        return classes_metrics(answers.scores, answers.target, temperature)
    return class_metrics(answers.scores, answers.target, temperature)


def judge_in_training(model: Any, labels: Labels, part: LabelledPart) -> Metrics:
    """Return the metrics on the validation part, with the temperature that suits it, which predictions then use."""
    answers = answers_of(model, labels, part)
    if labels.target == "number" or not np.isfinite(answers.scores).all():
        return metrics_of(answers, labels)
    temperature = temperature_of(answers, labels)
    return {**metrics_of(answers, labels, temperature), "temperature": temperature}


def temperature_of(answers: Answers, labels: Labels) -> float:
    """Return the temperature that makes the right answers most likely; of several classes, one for all decisions."""
    scores, target = answers.scores, answers.target
    if labels.target == "classes":
        flat = scores.reshape(-1, 1)
        scores, target = np.concatenate([np.zeros_like(flat), flat], 1), target.reshape(-1).astype(np.int64)
    return fit_temperature(scores, target)


def trivial(labels: Labels, part: LabelledPart) -> dict[str, Metrics]:
    """Return what a predictor gets that answers each time with the most frequent class, or the mean, of the training.

    Its probabilities are how often each class stands in the training part.
    """
    targets = [batch.target.numpy() for batch in evaluation_batches(part, labels)]
    target = np.concatenate([t[t != NO_TAG] for t in targets] if labels.target == "tags" else targets)
    if labels.target == "number":
        return {"training mean": metrics_of(Answers(np.zeros((len(target), 1)), target), labels)}
    scores = prior_logits(labels.counts, len(target))
    if labels.target == "classes":
        share = np.clip(np.asarray(labels.counts) / labels.examples, 1e-6, 1 - 1e-6)
        scores = np.tile(np.log(share / (1 - share)), (len(target), 1))
    return {"majority class": metrics_of(Answers(scores, target), labels)}
