"""Judging what predicts the next item of a session: the questions that a part of the data asks, and the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import in_order, pad
from elman.data.sessions.questions import Predictor, Question, questions
from elman.evaluation.metrics.ranking import RankingTally
from elman.storage.ragged import RaggedArrays

SCORES_AT_ONCE = 1 << 23
"""How many are in memory at a time: 32 MB in float32."""

Features = Callable[[Tensor, Tensor], Tensor]
"""(items (T, B), lengths (B,)) -> what scores are made of at each step, (T, B, F)."""


def judge_predictor(
    predict: Predictor, part: RaggedArrays, counts: NDArray[np.int64], *, at: int, exclude_seen: bool
) -> dict[str, Any]:
    """Return the metrics of a predictor that sees the items of a session.

    Args:
        predict: gives scores.
        part: sessions of structured steps.
        counts: (V,), of each item in training.
        at: K, the length of a list.
        exclude_seen: items of the session so far are left out of its lists.
    """
    tally = RankingTally(at, counts)
    asked = (question for n in range(len(part)) for question in questions(part[n]))
    for some in _batched(asked, max(1, SCORES_AT_ONCE // len(counts))):
        scores_NV = predict([question.history for question in some])
        _judge(tally, scores_NV, some, exclude_seen)
    return _with_unanswered(tally, part)


def judge_model(
    features: Features,
    scores: Callable[[Tensor], Tensor],
    part: RaggedArrays,
    counts: NDArray[np.int64],
    *,
    at: int,
    exclude_seen: bool,
    batch_events: int = 8192,
) -> dict[str, Any]:
    """Return the metrics of a recurrent model, which reads each session once.

    Args:
        features: of the model, in evaluation mode.
        scores: features (N, F) -> (N, V).
        part, counts, at, exclude_seen: as in `judge_predictor`.
        batch_events: steps at a time, padding included.
    """
    tally = RankingTally(at, counts)
    rows = max(1, SCORES_AT_ONCE // len(counts))
    with torch.no_grad():
        for chosen in in_order(part.lengths, batch_size=256, tokens=batch_events):
            asked = [list(questions(part[int(n)])) for n in chosen]
            asked = [each for each in asked if each]
            if not asked:
                continue
            input_TB, lengths_B = pad([each[-1].history for each in asked])  # the longest holds the others
            f_TBF = features(torch.from_numpy(input_TB), torch.from_numpy(lengths_B)).cpu()
            flat = [(question, len(question.history) - 1, b) for b, each in enumerate(asked) for question in each]
            for some in _batched(iter(flat), rows):
                steps, places = (torch.tensor([entry[k] for entry in some]) for k in (1, 2))
                _judge(tally, scores(f_TBF[steps, places]).cpu(), [entry[0] for entry in some], exclude_seen)
    return _with_unanswered(tally, part)


def _judge(tally: RankingTally, scores_NV: Tensor, asked: Sequence[Question], exclude_seen: bool) -> None:
    if exclude_seen:
        scores_NV = scores_NV.clone()
        rows = np.repeat(np.arange(len(asked)), [len(question.history) for question in asked])
        seen = np.concatenate([question.history for question in asked])
        scores_NV[torch.from_numpy(rows), torch.from_numpy(seen)] = -torch.inf
    tally.add(scores_NV, torch.tensor([question.target for question in asked]))


def _with_unanswered(tally: RankingTally, part: RaggedArrays) -> dict[str, Any]:
    """Add how many events were not judged because nothing known came before them."""
    metrics = tally.metrics()
    return {**metrics, "without_history": int(part.values["judged"].sum()) - metrics["events"]}


def _batched(entries: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
