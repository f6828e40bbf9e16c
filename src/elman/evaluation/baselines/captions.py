"""Caption baselines: the captions of shuffled images, and one constant caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from elman.evaluation.metrics.captions import References, caption_metrics
from elman.evaluation.result import Metrics

T = TypeVar("T")


def caption_baselines(captions: Sequence[str], references: References, constant: str) -> dict[str, Metrics]:
    """Return the metrics of both baselines, by their names.

    Args:
        captions: of each image, by the model; at least two.
        references: of each image.
        constant: the caption that every image gets.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    return {
        "shuffled images": caption_metrics(captions, shuffled(references)),
        "constant caption": caption_metrics([constant] * len(references), references),
    }


def shuffled(rows: Sequence[T]) -> list[T]:
    """Return rows in an order in which none keeps its place, the same each time."""
    order = np.random.default_rng(0).permutation(len(rows))
    result = [rows[0]] * len(rows)
    for place, source in zip(order, np.roll(order, 1), strict=True):
        result[place] = rows[source]
    return result
