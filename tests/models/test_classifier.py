"""The classifier: rows are independent, padding has no effect, and streaming equals the whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.models.classifier import Classifier
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
