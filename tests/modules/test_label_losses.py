"""Losses of labelled sequences, by their formulas."""

import numpy as np
import pytest
import torch

from elman.modules.label_losses import TARGET_LOSSES, class_weights


def test_losses_by_their_formulas() -> None:
    scores, target = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 3, 1])
    logs = scores.log_softmax(1)
    mean, count = TARGET_LOSSES["class"](scores, target, None)
    assert (mean.item(), count) == (pytest.approx(-(logs[0, 0] + logs[1, 3] + logs[2, 1]).item() / 3), 3)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    mean, _ = TARGET_LOSSES["class"](scores, target, weight)
    assert mean.item() == pytest.approx(-(logs[0, 0] + 4 * logs[1, 3] + 2 * logs[2, 1]).item() / 3)
    labels = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.float64)
    p = scores.sigmoid()
    mean, count = TARGET_LOSSES["classes"](scores, labels, None)
    assert (mean.item(), count) == (pytest.approx(-torch.where(labels > 0, p, 1 - p).log().mean().item()), 3)
    mean, count = TARGET_LOSSES["number"](scores[:, :1], torch.zeros(3, dtype=torch.float64), None)
    assert (mean.item(), count) == (pytest.approx((scores[:, 0] ** 2).mean().item()), 3)
    tags = torch.tensor([[0, 1], [2, -100]])
    steps = torch.randn(2, 2, 4, dtype=torch.float64)
    logs = steps.log_softmax(2)
    mean, count = TARGET_LOSSES["tags"](steps, tags, None)
    assert (mean.item(), count) == (pytest.approx(-(logs[0, 0, 0] + logs[0, 1, 1] + logs[1, 0, 2]).item() / 3), 3)


def test_balanced_weights_give_each_class_the_same_share() -> None:
    counts = (1, 3, 6)
    weights = class_weights(counts, balanced=True)
    assert weights is not None
    shares = weights.numpy() * np.array(counts)
    np.testing.assert_allclose(shares, shares.mean())
    assert shares.sum() == pytest.approx(sum(counts))
    assert class_weights(counts, balanced=False) is None


def test_weighted_tags_and_labels() -> None:
    torch.manual_seed(1)
    scores_TBC, weight_C = torch.randn(2, 2, 3).double(), torch.tensor([0.5, 1.0, 4.0]).double()
    log_p_TBC, tags_TB = scores_TBC.log_softmax(2), torch.tensor([[2, 0], [1, -100]])
    loss, _ = TARGET_LOSSES["tags"](scores_TBC, tags_TB, weight_C)
    expected = -(4 * log_p_TBC[0, 0, 2] + 0.5 * log_p_TBC[0, 1, 0] + log_p_TBC[1, 0, 1]) / 3
    torch.testing.assert_close(loss, expected)
    scores_BC, labels_BC = scores_TBC[0], torch.tensor([[1.0, 0, 1], [0, 0, 1]]).double()
    loss, _ = TARGET_LOSSES["classes"](scores_BC, labels_BC, weight_C)
    p_BC = scores_BC.sigmoid()
    torch.testing.assert_close(loss, torch.where(labels_BC > 0, -weight_C * p_BC.log(), -(1 - p_BC).log()).mean())
    assert TARGET_LOSSES["tags"](scores_TBC, torch.full((2, 2), -100), None) == (0.0, 0)
