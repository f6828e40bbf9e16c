"""The classifier: company and padding change nothing, and a running answer is the answer to what came so far."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from elman.errors import SettingError
from elman.models.classifier import Classifier
from elman.modules.input_layers import FeatureInput, SymbolInput, build_input_layer
from elman.modules.label_losses import TARGET_LOSSES, class_weights
from elman.modules.pooling import POOLINGS
from elman.modules.recurrent_stack import RecurrentStack


def classifier(pooling: str, cell: str, *, both: bool = False, per_step: bool = False) -> Classifier:
    torch.manual_seed(1)
    front = FeatureInput(3, (1.0, 2.0, 3.0), (2.0, 1.0, 0.5))
    encoder = RecurrentStack(3, 5, cell=cell, layers=2, bidirectional=both, pooling=pooling)
    return Classifier(front, encoder, 4, per_step=per_step).double().eval()


@given(st.sampled_from(sorted(POOLINGS)), st.sampled_from(["rnn", "gru", "lstm"]), st.booleans(), st.integers(1, 7))
def test_a_running_answer_is_the_answer_to_the_steps_so_far(pooling: str, cell: str, per_step: bool, T: int) -> None:
    model = classifier(pooling, cell, per_step=per_step)
    x_TI = torch.randn(T, 3, dtype=torch.float64)
    running = list(model.running(x_TI))
    assert len(running) == T
    for t, scores in enumerate(running, 1):
        expected = model(x_TI[:t, None])
        torch.testing.assert_close(scores, expected[-1] if per_step else expected, rtol=1e-10, atol=1e-10)


def test_a_model_that_reads_from_both_ends_has_no_running_answer() -> None:
    with pytest.raises(SettingError, match=r"has no running answer\n(.*\n)*.*bidirectional=false"):
        next(classifier("last", "gru", both=True).running(torch.zeros(2, 3)))


@given(st.sampled_from(sorted(POOLINGS)), st.booleans(), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_company_changes_nothing(pooling: str, both: bool, lengths: list) -> None:
    model = classifier(pooling, "gru", both=both)
    x_TBI = torch.full((max(lengths) + 1, len(lengths), 3), 1e6, dtype=torch.float64)
    alone = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    for b, x_TI in enumerate(alone):
        x_TBI[: len(x_TI), b] = x_TI
    scores = model(x_TBI, torch.tensor(lengths))
    for b, x_TI in enumerate(alone):
        torch.testing.assert_close(scores[b : b + 1], model(x_TI[:, None]), rtol=1e-10, atol=1e-10)


def test_masks_of_training_keep_within_the_sequence() -> None:
    torch.manual_seed(2)
    front = FeatureInput(2, mask_steps=30)
    model = Classifier(front, RecurrentStack(2, 3), 2)
    seen: list[torch.Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    lengths = torch.tensor([5] * 200)
    model(torch.ones(100, 200, 2), lengths)
    masked_B = (seen[0][:5] == 0).all(2).sum(0)
    assert masked_B.max() in (1, 2), "two runs of at most a third of 5 steps each"


def test_features_are_standardised() -> None:
    front = build_input_layer("features", (2,), mean=(1.0, 2.0), deviation=(2.0, 4.0), symbols=0, embedding=3)
    assert front(torch.tensor([[[3, 10]]], dtype=torch.uint8)).tolist() == [[[1.0, 2.0]]]
    one = build_input_layer("features", (2,), mean=(1.0,), deviation=(2.0,))
    assert one(torch.tensor([[[3.0, 10.0]]])).tolist() == [[[1.0, 4.5]]]
    with pytest.raises(SettingError, match="unknown kind of step"):
        build_input_layer("feature", (2,))


def test_symbols_become_unknown_in_training_alone() -> None:
    torch.manual_seed(1)
    front = SymbolInput(10, 4, dropout=0.3)
    x_TB = torch.randint(0, 9, (400, 5))
    unknown = front.embedding.weight[9]
    gone = (front(x_TB) == unknown).all(-1).float().mean().item()
    assert abs(gone - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)
    torch.testing.assert_close(front.eval()(x_TB), functional.embedding(x_TB, front.embedding.weight))


def test_the_losses_are_what_their_names_say() -> None:
    scores, target = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 3, 1])
    logs = scores.log_softmax(1)
    mean, count = TARGET_LOSSES["class"](scores, target, None)
    assert (mean.item(), count) == (pytest.approx(-(logs[0, 0] + logs[1, 3] + logs[2, 1]).item() / 3), 3)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    mean, _ = TARGET_LOSSES["class"](scores, target, weight)
    assert mean.item() == pytest.approx(-(logs[0, 0] + 4 * logs[1, 3] + 2 * logs[2, 1]).item() / 3)
    held = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.float64)
    p = scores.sigmoid()
    mean, count = TARGET_LOSSES["classes"](scores, held, None)
    assert (mean.item(), count) == (pytest.approx(-torch.where(held > 0, p, 1 - p).log().mean().item()), 3)
    mean, count = TARGET_LOSSES["number"](scores[:, :1], torch.zeros(3, dtype=torch.float64), None)
    assert (mean.item(), count) == (pytest.approx((scores[:, 0] ** 2).mean().item()), 3)
    tags = torch.tensor([[0, 1], [2, -100]])
    steps = torch.randn(2, 2, 4, dtype=torch.float64)
    logs = steps.log_softmax(2)
    mean, count = TARGET_LOSSES["tags"](steps, tags, None)
    assert (mean.item(), count) == (pytest.approx(-(logs[0, 0, 0] + logs[0, 1, 1] + logs[1, 0, 2]).item() / 3), 3)


def test_balanced_weights_give_every_class_the_same_share() -> None:
    counts = (1, 3, 6)
    weights = class_weights(counts, balanced=True)
    assert weights is not None
    shares = weights.numpy() * np.array(counts)
    np.testing.assert_allclose(shares, shares.mean())
    assert shares.sum() == pytest.approx(sum(counts))
    assert class_weights(counts, balanced=False) is None
