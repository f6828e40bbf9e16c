"""Names of the steps of a batch, and what the model says after each, for the recipes that have such names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elman.predictors.base import Predictor

MOST_STEPS = 160
"""Of a sequence; the page shows no more."""

MOST_ANSWERS = 8
"""Of each step: the most probable ones."""

Answers = list[list[tuple[str, float]]]
"""For each step, names with their probabilities, the most probable first."""


class Names(NamedTuple):
    """What is known about one sequence of a batch.

    Attributes:
        inputs: the name of each step, by the first word of the layer's module; "" for all others. Empty: numbers only.
        targets: what should follow each step; empty where nothing is predicted there.
        answers: see `Answers`; empty likewise. Where it has one entry, it is the answer to the whole sequence.
    """

    inputs: dict[str, list[str]]
    targets: list[str]
    answers: Answers


def names_of(predictor: Predictor, batch: Any, row: int) -> Names:
    """Return the names of one sequence of a batch, and the answers of the model."""
    read = _READERS.get(type(predictor).__name__)
    with torch.no_grad():
        return read(predictor, batch, row) if read else Names({}, [], [])


def _decoder(vocabulary: Any) -> Callable[[int], str]:
    def name(number: int) -> str:
        return str(vocabulary.decode([number])) if 0 <= number < vocabulary.size else "�"

    return name


def _likeliest(probability_NV: Tensor, name: Callable[[int], str]) -> Answers:
    values, numbers = probability_NV.topk(min(MOST_ANSWERS, probability_NV.shape[-1]))
    rows = zip(values.tolist(), numbers.tolist(), strict=True)
    return [[(name(n), p) for p, n in zip(*row, strict=True)] for row in rows]


def _language_model(predictor: Any, batch: Any, row: int) -> Names:
    name = _decoder(predictor.vocabulary)
    resets_TB = None if batch.resets_TB is None else batch.resets_TB[:, row : row + 1]
    s_TBH, _ = predictor.model.features(batch.input_TB[:, row : row + 1], resets=resets_TB)
    logits_TV = predictor.model.output.logits(s_TBH[:MOST_STEPS, 0])  # of this row alone: a vocabulary may be large
    inputs, targets = ([name(n) for n in numbers[:, row].tolist()] for numbers in (batch.input_TB, batch.target_TB))
    return Names({"": inputs}, targets, _likeliest(logits_TV.softmax(-1), name))


def _recommender(predictor: Any, batch: Any, row: int) -> Names:
    names: Sequence[str] = predictor.items.names

    def name(number: int) -> str:
        return str(names[number]) if 0 <= number < len(names) else ""

    f_TBE, _ = predictor.model.features(batch.input_TB, lengths=batch.lengths_B, resets=batch.resets_TB)
    inputs, targets = ([name(n) for n in numbers[:, row].tolist()] for numbers in (batch.input_TB, batch.target_TB))
    answers = (
        _likeliest(predictor.model.scores(f_TBE[:MOST_STEPS, row]).softmax(-1), name) if predictor.probabilities else []
    )
    return Names({"": inputs}, targets, answers)


def _classifier(predictor: Any, batch: Any, row: int) -> Names:
    labels, inputs = predictor.form.labels, {}
    if predictor.encoder is not None:
        name = _decoder(predictor.encoder.vocabulary)
        inputs = {"": [name(n) for n in batch.input[:, row].flatten().tolist()]}
    if labels.target not in ("class", "tags") or not labels.classes:
        return Names(inputs, [], [])
    scores = predictor.model(batch.input, batch.lengths_B)
    scores_NC = scores[:, row] if scores.dim() > 2 else scores[row : row + 1]
    probability_NC = (scores_NC / predictor.temperature).softmax(-1)
    return Names(inputs, [], _likeliest(probability_NC, lambda n: str(labels.classes[n])))


def _translator(predictor: Any, batch: Any, row: int) -> Names:
    source, target = map(_decoder, predictor.vocabularies)
    written = [target(n) for n in batch.target_TB[:, row].tolist()]
    read = [source(n) for n in batch.source_SB[:, row].tolist()]
    return Names({"encoder": read, "": ["begin", *written]}, [*written, "end"], [])


def _captioner(predictor: Any, batch: Any, row: int) -> Names:
    name = _decoder(predictor.vocabulary)
    written = [name(n) for n in batch.target_TN[:, row].tolist()]
    return Names({"": ["begin", *written]}, [*written, "end"], [])


_READERS: dict[str, Callable[[Any, Any, int], Names]] = {
    "LanguageModelPredictor": _language_model,
    "RecommendPredictor": _recommender,
    "ClassificationPredictor": _classifier,
    "TranslationPredictor": _translator,
    "CaptionPredictor": _captioner,
}
