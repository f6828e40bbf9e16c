"""The recommender and its losses, beside the formulas in NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from elman.errors import SettingError
from elman.models.recommender import RankingLoss, Recommender


def model_of(**options: object) -> Recommender:
    torch.manual_seed(1)
    chosen = {"embedding": 5, "hidden": 6, **options}
    model = Recommender(11, chosen.pop("hidden"), **chosen)  # type: ignore[arg-type]
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model.eval()


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "gru"},
        {"cell": "lstm", "tie_weights": False, "layers": 2},
        {"cell": "rnn", "hidden": 5, "learn_initial_state": True},
    ],
    ids=str,
)
def test_single_steps_equal_the_whole(options: dict) -> None:
    model = model_of(**options)
    items = torch.tensor([[3, 1, 4, 1, 5]]).T
    with torch.no_grad():
        whole, end = model(items)
    state = None
    for t in range(5):
        state = model.read(items[t], state)
        torch.testing.assert_close(model.answer(state), whole[t])
    for mine, theirs in zip(
        state if isinstance(state, tuple) else [state], end if isinstance(end, tuple) else [end], strict=True
    ):
        assert torch.equal(mine, theirs)


def test_tied_scores_use_the_embedding() -> None:
    model = model_of(hidden=5)
    f = torch.randn(3, 5)
    torch.testing.assert_close(model.scores(f), f @ model.embedding.weight.T + model.bias)
    assert "weight" not in model.state_dict()
    assert model_of(tie_weights=False).state_dict()["weight"].shape == (11, 5)
    chosen = torch.tensor([7, 2])
    for other in (model, model_of(tie_weights=False, hidden=5)):
        torch.testing.assert_close(other.scores(f, chosen), other.scores(f)[:, chosen])
        torch.testing.assert_close(other.score(f, torch.tensor([1, 2, 3])), other.scores(f)[range(3), [1, 2, 3]])


def test_item_dropout_masks_whole_items() -> None:
    model = model_of(item_dropout=0.5, cell="rnn").train()
    seen = []
    model.recurrent.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    model.features(torch.zeros(40, 50, dtype=torch.int64))
    hidden = (seen[0] == 0).all(-1)
    assert 0.45 < hidden.float().mean() < 0.55
    assert torch.equal(hidden, (seen[0] == 0).any(-1))


def test_it_is_unidirectional() -> None:
    with pytest.raises(SettingError, match="is unidirectional"):
        model_of(bidirectional=True)


def scores_of(model: Recommender, f: torch.Tensor) -> np.ndarray:
    return model.scores(f).double().detach().numpy()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def expected_loss(name: str, r: np.ndarray, i: int, others: list[int], decay: float) -> float:
    s = np.exp(r[others]) / np.exp(r[others]).sum()
    if name == "bpr-max":
        return float(-math.log((s * sigmoid(r[i] - r[others])).sum()) + decay * (s * r[others] ** 2).sum())
    if name == "top1-max":
        return float((s * (sigmoid(r[others] - r[i]) + sigmoid(r[others] ** 2))).sum())
    return float(-math.log(math.exp(r[i]) / (math.exp(r[i]) + np.exp(r[others]).sum())))


@pytest.mark.parametrize("name", ["cross-entropy", "bpr-max", "top1-max"])
def test_losses_over_all_items(name: str) -> None:
    model, f, target = model_of(), torch.randn(4, 5), torch.tensor([0, 10, 3, 3])
    excluded = (torch.tensor([0, 0, 2]), torch.tensor([4, 5, 10]))
    loss = RankingLoss(name, torch.ones(11), decay=0.3)
    r = scores_of(model, f)
    for indices in (None, excluded):
        excluded_pairs = set() if indices is None else set(zip(excluded[0].tolist(), excluded[1].tolist(), strict=True))
        expected = [
            expected_loss(name, r[n], i, [j for j in range(11) if j != i and (n, j) not in excluded_pairs], 0.3)
            for n, i in enumerate(target.tolist())
        ]
        assert loss(model, f, target, indices).item() == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("name", ["bpr-max", "top1-max"])
def test_losses_over_sampled_items(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, f, target = model_of(), torch.randn(2, 5), torch.tensor([0, 2])
    uniform = torch.tensor([0.05, 0.25, 0.95, 0.25], dtype=torch.float64)  # of eleven equal parts: 0, 2, 10, 2
    monkeypatch.setattr(torch, "rand", lambda *size, **options: uniform)
    loss = RankingLoss(name, torch.ones(11), negatives=4, power=1.0, decay=0.3)
    r = scores_of(model, f)
    expected = [expected_loss(name, r[0], 0, [2, 10, 2], 0.3), expected_loss(name, r[1], 2, [0, 10], 0.3)]
    assert loss(model, f, target).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_sampled_cross_entropy_approaches_the_whole_one() -> None:
    model, f, target = model_of(), 0.3 * torch.randn(5, 5), torch.tensor([0, 1, 2, 3, 9])
    counts = torch.arange(1, 12)
    whole = RankingLoss("cross-entropy", counts)(model, f, target).item()
    torch.manual_seed(2)
    sampled = RankingLoss("cross-entropy", counts, negatives=200_000)(model, f, target).item()
    assert sampled == pytest.approx(whole, rel=0.01)


def test_unknown_loss() -> None:
    with pytest.raises(SettingError, match="unknown loss 'bpr'"):
        RankingLoss("bpr", torch.ones(3))
