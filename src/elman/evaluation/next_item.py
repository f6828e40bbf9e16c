"""Evaluation of next-item predictors: rankings for every question that a part of the sessions asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.batching import chunked, in_order, pad
from elman.data.sessions.questions import Predictor, Question, questions
from elman.evaluation.metrics.ranking import RankingTally
from elman.evaluation.progress import reported
from elman.evaluation.result import Metrics
from elman.storage.ragged import RaggedArrays

SCORES_AT_ONCE = 1 << 23
"""Scores in memory at a time: 32 MB in float32."""

Features = Callable[[Tensor, Tensor], Tensor]
"""(items (T, B), lengths (B,)) -> features of each step, (T, B, F), from which scores are computed."""


def evaluate_predictor(
    predict: Predictor, part: RaggedArrays, counts: NDArray[np.int64], *, at: int, exclude_seen: bool
) -> Metrics:
    """Return the metrics of a predictor that takes the items of a session.

    Args:
        predict: the predictor.
        part: sessions of structured steps.
        counts: (V,), of each item in training.
        at: K, the length of a list.
        exclude_seen: omit items of the session so far from its lists.
    """
    tally = RankingTally(at, counts)
    sessions = reported(range(len(part)), len(part), "sessions")
    asked = (question for n in sessions for question in questions(part[n]))
    for batch in chunked(asked, max(1, SCORES_AT_ONCE // len(counts))):
        _add_rankings(tally, predict([question.history for question in batch]), batch, exclude_seen)
    return _with_unanswered(tally, part)


def evaluate_recommender(
    features: Features,
    scores: Callable[[Tensor], Tensor],
    part: RaggedArrays,
    counts: NDArray[np.int64],
    *,
    at: int,
    exclude_seen: bool,
    batch_events: int = 8192,
) -> Metrics:
    """Return the metrics of a recurrent model, which reads each session once.

    Args:
        features: of the model, in evaluation mode.
        scores: features (N, F) -> (N, V).
        part: sessions of structured steps.
        counts: (V,), of each item in training.
        at: K, the length of a list.
        exclude_seen: omit items of the session so far from its lists.
        batch_events: steps at a time, padding included.
    """
    tally = RankingTally(at, counts)
    rows = max(1, SCORES_AT_ONCE // len(counts))
    with torch.no_grad():
        batches = in_order(part.lengths, batch_size=256, tokens=batch_events)
        for numbers in reported(batches, len(part), "sessions of the model", len):
            asked = [session for n in numbers if (session := list(questions(part[int(n)])))]
            if not asked:
                continue
            # The last history of a session contains the others.
            input_TB, lengths_B = pad([session[-1].history for session in asked])
            f_TBF = features(torch.from_numpy(input_TB), torch.from_numpy(lengths_B)).cpu()
            flat = [(question, len(question.history) - 1, b) for b, session in enumerate(asked) for question in session]
            for batch in chunked(flat, rows):
                steps, columns = (torch.tensor([entry[k] for entry in batch]) for k in (1, 2))
                scores_NV = scores(f_TBF[steps, columns]).cpu()
                _add_rankings(tally, scores_NV, [entry[0] for entry in batch], exclude_seen)
    return _with_unanswered(tally, part)


def _add_rankings(tally: RankingTally, scores_NV: Tensor, asked: Sequence[Question], exclude_seen: bool) -> None:
    if exclude_seen:
        scores_NV = scores_NV.clone()
        rows = np.repeat(np.arange(len(asked)), [len(question.history) for question in asked])
        seen = np.concatenate([question.history for question in asked])
        scores_NV[torch.from_numpy(rows), torch.from_numpy(seen)] = -torch.inf
    tally.add(scores_NV, torch.tensor([question.target for question in asked]))


def _with_unanswered(tally: RankingTally, part: RaggedArrays) -> Metrics:
    """Add the number of events without a known item before them, which are not evaluated."""
    return {**tally.metrics(), "without_history": int(part.values["judged"].sum()) - tally.events}
