"""Bayes-optimal predictor of the built-in shop."""

from itertools import pairwise

import numpy as np

from elman.data.sessions.builtin import Shop, shop, shop_events
from elman.data.sessions.dataset import EVENT
from elman.evaluation.baselines import next_item as baselines
from elman.evaluation.baselines.shop_oracle import shop_oracle
from elman.evaluation.next_item import evaluate_predictor
from elman.storage.ragged import RaggedArrays


def sessions_of(sessions: list[list[int]]) -> RaggedArrays:
    rows = []
    for items in sessions:
        steps = np.zeros(len(items), EVENT)
        steps["item"] = items
        steps["judged"][1:] = True
        rows.append(steps)
    return RaggedArrays.of(rows)


def test_the_oracle_is_bayes_rule_over_all_kinds_of_shoppers() -> None:
    rng = np.random.default_rng(4)
    first = rng.dirichlet(np.ones(4), 2)
    following = rng.dirichlet(np.ones(4), (2, 4))
    made = Shop(("a", "b", "c", "d"), first, following)
    order = [2, 0, 3, 1]  # the numbers of a run are others than the shop's
    predict = shop_oracle(made, [made.names[n] for n in order])
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


def test_no_baseline_beats_the_oracle() -> None:
    events, made = shop_events(), shop()
    begins = np.flatnonzero(np.diff(events.session, prepend=-1))
    sessions = [each.tolist() for each in np.split(events.item, begins[1:])]
    training, part = sessions_of(sessions[:3000]), sessions_of(sessions[3000:3200])
    counts = np.bincount(np.concatenate(sessions[:3000]), minlength=200)
    best = evaluate_predictor(shop_oracle(made, made.names), part, counts, at=20, exclude_seen=False)
    for name, predict in baselines.build_baselines(training, counts).items():
        metrics = evaluate_predictor(predict, part, counts, at=20, exclude_seen=False)
        for metric in ("recall_20", "mrr_20", "ndcg_20"):
            assert metrics[metric] < best[metric] - 0.02, (name, metric)
