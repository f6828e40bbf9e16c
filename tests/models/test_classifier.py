"""The classifier: rows are independent, padding has no effect, streaming equals the whole, losses by formula."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.models.classifier import TARGET_LOSSES, Classifier, class_weights
from elman.modules.input_layers import FeatureInput
from elman.modules.pooling import POOLINGS
from elman.modules.recurrent_stack import RecurrentStack


def classifier(pooling: str, cell: str, *, bidirectional: bool = False, per_step: bool = False) -> Classifier:
    torch.manual_seed(1)
    input_layer = FeatureInput(3, (1.0, 2.0, 3.0), (2.0, 1.0, 0.5))
    encoder = RecurrentStack(3, 5, cell=cell, layers=2, bidirectional=bidirectional, pooling=pooling)
    return Classifier(input_layer, encoder, 4, per_step=per_step).double().eval()


@given(st.sampled_from(sorted(POOLINGS)), st.sampled_from(["rnn", "gru", "lstm"]), st.booleans(), st.integers(1, 7))
def test_streamed_scores_are_those_of_the_steps_so_far(pooling: str, cell: str, per_step: bool, T: int) -> None:
    model = classifier(pooling, cell, per_step=per_step)
    x_TI = torch.randn(T, 3, dtype=torch.float64)
    streamed = list(model.stream(x_TI))
    assert len(streamed) == T
    for t, scores in enumerate(streamed, 1):
        expected = model(x_TI[:t, None])
        torch.testing.assert_close(scores, expected[-1] if per_step else expected, rtol=1e-10, atol=1e-10)


def test_a_bidirectional_model_cannot_stream() -> None:
    with pytest.raises(SettingError, match=r"cannot stream\n(.*\n)*.*bidirectional=false"):
        next(classifier("last", "gru", bidirectional=True).stream(torch.zeros(2, 3)))


@given(st.sampled_from(sorted(POOLINGS)), st.booleans(), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_rows_are_independent(pooling: str, bidirectional: bool, lengths: list) -> None:
    model = classifier(pooling, "gru", bidirectional=bidirectional)
    x_TBI = torch.full((max(lengths) + 1, len(lengths), 3), 1e6, dtype=torch.float64)
    alone = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    for b, x_TI in enumerate(alone):
        x_TBI[: len(x_TI), b] = x_TI
    scores = model(x_TBI, torch.tensor(lengths))
    for b, x_TI in enumerate(alone):
        torch.testing.assert_close(scores[b : b + 1], model(x_TI[:, None]), rtol=1e-10, atol=1e-10)


def test_masks_lie_within_the_sequence() -> None:
    torch.manual_seed(2)
    input_layer = FeatureInput(2, mask_steps=30)
    model = Classifier(input_layer, RecurrentStack(2, 3), 2)
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    lengths = torch.tensor([5] * 200)
    model(torch.ones(100, 200, 2), lengths)
    masked_B = (seen[0][:5] == 0).all(2).sum(0)
    assert masked_B.max() in (1, 2), "two runs of at most a third of 5 steps each"


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
