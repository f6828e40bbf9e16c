"""The classifier: company and padding change nothing, and a running answer is the answer to what came so far."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import SettingError
from elman.models.classifier import Classifier
from elman.modules.input_layers import FeatureInput
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
    running = list(model.stream(x_TI))
    assert len(running) == T
    for t, scores in enumerate(running, 1):
        expected = model(x_TI[:t, None])
        torch.testing.assert_close(scores, expected[-1] if per_step else expected, rtol=1e-10, atol=1e-10)


def test_a_model_that_reads_from_both_ends_has_no_running_answer() -> None:
    with pytest.raises(SettingError, match=r"cannot stream\n(.*\n)*.*bidirectional=false"):
        next(classifier("last", "gru", both=True).stream(torch.zeros(2, 3)))


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
