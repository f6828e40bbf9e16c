"""Ranking losses, by their formulas in plain Python."""

import math

import pytest
import torch
from torch.nn import functional

from elman.modules.ranking_loss import EXCLUDED, LOSSES


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def expected_loss(name: str, r: float, others: list[float], decay: float) -> float:
    total = sum(map(math.exp, others))
    weighted = [(math.exp(other) / total, other) for other in others]
    if name == "bpr-max":
        win = sum(s * sigmoid(r - other) for s, other in weighted)
        return -math.log(win) + decay * sum(s * other**2 for s, other in weighted)
    if name == "top1-max":
        return sum(s * (sigmoid(other - r) + sigmoid(other**2)) for s, other in weighted)
    return -math.log(math.exp(r) / (math.exp(r) + total))


@pytest.mark.parametrize("name", LOSSES)
def test_formulas(name: str) -> None:
    torch.manual_seed(1)
    positive_N, negative_NK = torch.randn(4).double(), torch.randn(4, 5).double()
    rows = zip(positive_N.tolist(), negative_NK.tolist(), strict=True)
    expected = [expected_loss(name, r, others, 0.3) for r, others in rows]
    assert LOSSES[name](positive_N, negative_NK, 0.3).tolist() == pytest.approx(expected)
    with_excluded = torch.cat([negative_NK, torch.full((4, 2), EXCLUDED).double()], 1)
    assert LOSSES[name](positive_N, with_excluded, 0.3).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    torch.manual_seed(2)
    positive_N, negative_NK = torch.randn(3).double().requires_grad_(), torch.randn(3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, n: LOSSES[name](p, n, 0.3), (positive_N, negative_NK))


def test_the_cross_entropy_is_torchs() -> None:
    scores_NV = torch.randn(4, 6)
    expected = functional.cross_entropy(scores_NV, torch.zeros(4, dtype=torch.long), reduction="none")
    torch.testing.assert_close(LOSSES["cross-entropy"](scores_NV[:, 0], scores_NV[:, 1:], 0.0), expected)
