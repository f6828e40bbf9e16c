"""Predictors of the next item: each beside a slow computation from its definition."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.data.sessions.builtin import Shop, shop, shop_events
from elman.data.sessions.dataset import EVENT
from elman.data.sessions.questions import questions
from elman.evaluation.baselines import next_item as baselines
from elman.evaluation.baselines.shop_oracle import best_possible
from elman.evaluation.next_item import judge_model, judge_predictor
from elman.storage.ragged import RaggedArrays


def sessions_of(sessions: list[list[int]], judged: list[list[int]] | None = None) -> RaggedArrays:
    made = []
    for n, items in enumerate(sessions):
        steps = np.zeros(len(items), EVENT)
        steps["item"] = items
        steps["judged"][1:] = True
        if judged:
            steps["judged"] = np.isin(np.arange(len(items)), judged[n])
        made.append(steps)
    return RaggedArrays.of(made)


def random_sessions(seed: int, items: int, count: int = 30) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [chance.integers(0, items, chance.integers(2, 12)).tolist() for _ in range(count)]


def counts_of(sessions: list[list[int]], items: int) -> NDArray[np.int64]:
    return np.bincount([item for session in sessions for item in session], minlength=items)


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
        one = judge_model(features, lambda f: f, part, np.ones(items, np.int64), batch_events=7, **options)
        two = judge_predictor(predict, part, np.ones(items, np.int64), **options)
        assert one == pytest.approx(two)
        assert (one["events"], one["of_unknown_items"], one["without_history"]) == (11, 2, 3)


def test_seen_items_are_left_out() -> None:
    kept = {}
    for session, exclude in (([0, 1, 2], False), ([0, 1, 2], True), ([0, 1, 0], True)):
        part = sessions_of([session])
        metrics = judge_predictor(
            lambda histories: torch.tensor([[2.0, 1.0, 0.0]]).expand(len(histories), -1),
            part,
            np.ones(3, np.int64),
            at=1,
            exclude_seen=exclude,
        )
        kept[session[-1], exclude] = metrics["recall_1"]
    assert kept == {(2, False): 0, (2, True): 1, (0, True): 0.5}  # what comes twice is missed


@pytest.mark.parametrize("furthest", [1, 3, 50])
def test_pairs_are_counted(furthest: int) -> None:
    sessions = random_sessions(1, 6)
    expected = np.zeros((6, 6))
    for session in sessions:
        for n, first in enumerate(session):
            for second in session[n + 1 : n + 1 + furthest]:
                expected[first, second] += 1
    pairs = baselines.count_pairs(sessions_of(sessions), 6, furthest)
    found = pairs.weighted_rows([np.array([n]) for n in range(6)], [np.ones(1)] * 6)
    np.testing.assert_array_equal(found, expected)


def test_markov_chains_by_their_definition() -> None:
    sessions = random_sessions(2, 7)
    counts = np.zeros((7, 7))
    for session in sessions:
        for first, second in pairwise(session):
            counts[first, second] += 1
    predictors = baselines.build_baselines(sessions_of(sessions), counts_of(sessions, 7))
    histories = [np.array(session) for session in random_sessions(3, 7, 5)] + [np.arange(45) % 7]
    np.testing.assert_array_equal(predictors["Markov"](histories), [counts[h[-1]] for h in histories])
    expected = [sum(0.8**k * counts[h[-1 - k]] for k in range(min(20, len(h)))) for h in histories]
    np.testing.assert_allclose(predictors["Markov, last 20"](histories), expected)


def test_popularity_and_item_to_item() -> None:
    sessions = [[0, 1, 2], [0, 1], [3, 0]]
    counts = counts_of(sessions, 5)
    predictors = baselines.build_baselines(sessions_of(sessions), counts)
    np.testing.assert_array_equal(predictors["popularity"]([np.array([2])])[0], [3, 2, 1, 1, 0])
    found = predictors["item to item"]([np.array([3, 0]), np.array([4])])
    np.testing.assert_allclose(found[0], [0, 2 / 6**0.5, 1 / 3**0.5, 1 / 3**0.5, 0])
    np.testing.assert_array_equal(found[1], np.zeros(5))


def test_the_best_possible_is_bayes_rule_over_all_kinds_of_shoppers() -> None:
    chance = np.random.default_rng(4)
    first = chance.dirichlet(np.ones(4), 2)
    following = chance.dirichlet(np.ones(4), (2, 4))
    made = Shop(("a", "b", "c", "d"), first, following)
    order = [2, 0, 3, 1]  # the numbers of a run are others than the shop's
    predict = best_possible(made, [made.names[n] for n in order])
    history = np.array([1, 1, 3])
    own = [order[n] for n in history]

    def joint(kind: int, items: list[int]) -> float:
        product = first[kind, items[0]] / 2
        for before, after in pairwise(items):
            product *= following[kind, before, after]
        return float(product)

    evidence = sum(joint(kind, own) for kind in range(2))
    expected = [sum(joint(kind, [*own, item]) for kind in range(2)) / evidence for item in order]
    np.testing.assert_allclose(predict([history])[0], expected)


def test_nobody_beats_the_best_possible_in_the_shop() -> None:
    events, made = shop_events(), shop()
    begins = np.flatnonzero(np.diff(events.session, prepend=-1))
    sessions = [each.tolist() for each in np.split(events.item, begins[1:])]
    training, part = sessions_of(sessions[:3000]), sessions_of(sessions[3000:3200])
    counts = counts_of(sessions[:3000], 200)
    best = judge_predictor(best_possible(made, made.names), part, counts, at=20, exclude_seen=False)
    for name, predict in baselines.build_baselines(training, counts).items():
        metrics = judge_predictor(predict, part, counts, at=20, exclude_seen=False)
        for metric in ("recall_20", "mrr_20", "ndcg_20"):
            assert metrics[metric] < best[metric] - 0.02, (name, metric)
