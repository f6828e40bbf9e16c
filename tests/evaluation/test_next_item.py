"""Evaluation of next-item predictors."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.sessions.dataset import EVENT
from elman.data.sessions.questions import questions
from elman.evaluation.next_item import evaluate_predictor, evaluate_recommender
from elman.storage.ragged import RaggedArrays


def sessions_of(sessions: list[list[int]], judged: list[list[int]] | None = None) -> RaggedArrays:
    rows = []
    for n, items in enumerate(sessions):
        steps = np.zeros(len(items), EVENT)
        steps["item"] = items
        steps["judged"][1:] = True
        if judged:
            steps["judged"] = np.isin(np.arange(len(items)), judged[n])
        rows.append(steps)
    return RaggedArrays.of(rows)


def test_the_questions_of_a_session() -> None:
    part = sessions_of([[-1, 4, -1, 3, 2, -1]], [[1, 3, 5]])
    asked = [(question.history.tolist(), question.target) for question in questions(part[0])]
    assert asked == [([4], 3), ([4, 3, 2], -1)]  # nothing known stands before the first judged event


def test_a_model_and_a_predictor_that_are_the_same_get_the_same() -> None:
    items, weight = 9, torch.randn(9, 9, generator=torch.Generator().manual_seed(1))
    part = sessions_of([[-1, 3, 3, -1, 5], [2, 7], [-1, 1], [8, 8, 8, 0, 1, 2, 3, -1], [-1, -1]])

    def features(input_TB: Tensor, lengths_B: Tensor) -> Tensor:  # the mean of the rows of the items so far
        return weight[input_TB].cumsum(0) / torch.arange(1, len(input_TB) + 1)[:, None, None]

    def predict(histories: list[NDArray[np.int64]]) -> Tensor:
        return torch.stack([weight[torch.from_numpy(history)].mean(0) for history in histories])

    for exclude in (False, True):
        options = {"at": 3, "exclude_seen": exclude}
        one = evaluate_recommender(features, lambda f: f, part, np.ones(items, np.int64), batch_events=7, **options)
        two = evaluate_predictor(predict, part, np.ones(items, np.int64), **options)
        assert one == pytest.approx(two)
        assert (one["events"], one["of_unknown_items"], one["without_history"]) == (11, 2, 3)


def test_seen_items_are_left_out() -> None:
    kept = {}
    for session, exclude in (([0, 1, 2], False), ([0, 1, 2], True), ([0, 1, 0], True)):
        part = sessions_of([session])
        metrics = evaluate_predictor(
            lambda histories: torch.tensor([[2.0, 1.0, 0.0]]).expand(len(histories), -1),
            part,
            np.ones(3, np.int64),
            at=1,
            exclude_seen=exclude,
        )
        kept[session[-1], exclude] = metrics["recall_1"]
    assert kept == {(2, False): 0, (2, True): 1, (0, True): 0.5}  # what comes twice is missed
