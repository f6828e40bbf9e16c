"""Caption baselines: the captions of shuffled images, and one constant caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from elman.evaluation.metrics.captions import References, caption_metrics, constant_caption

T = TypeVar("T")


def caption_evaluation(captions: Sequence[str], references: References, training: References) -> dict[str, Any]:
    """Return the metrics of captions, how many times better they fit their own images, and the baselines.

    Args:
        captions: of each image, by the model; at least two.
        references: of each image.
        training: of each training image, for the constant caption; none: without that baseline.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    metrics, others = caption_metrics(captions, references), caption_metrics(captions, shuffled(references))
    baselines = {"shuffled images": others}
    constant = constant_caption(training) if training else None
    if constant is not None:
        baselines["constant caption"] = caption_metrics([constant] * len(references), references)
    return {
        **metrics,
        **({"cider_ratio": metrics["cider"] / others["cider"]} if others["cider"] else {}),
        **({} if constant is None else {"constant_caption": constant}),
        "baselines": baselines,
    }


def shuffled(rows: Sequence[T]) -> list[T]:
    """Return rows in an order in which none keeps its place, the same each time."""
    order = np.random.default_rng(0).permutation(len(rows))
    result = [rows[0]] * len(rows)
    for place, source in zip(order, np.roll(order, 1), strict=True):
        result[place] = rows[source]
    return result
