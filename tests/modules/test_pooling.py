"""Pooling: by the definitions, step by step, and without effect of what lies beyond the lengths."""

import pytest
import torch

from elman.errors import SettingError
from elman.modules.pooling import POOLINGS, build_pooling, last_output, steps_exist

LENGTHS_B = torch.tensor([5, 2, 0])


def outputs(F: int = 3) -> torch.Tensor:
    torch.manual_seed(1)
    y_TBF = torch.randn(5, 3, F).double()
    return y_TBF * steps_exist(y_TBF, LENGTHS_B)[..., None]


@pytest.mark.parametrize("name", POOLINGS)
def test_definitions(name: str) -> None:
    pool, y_TBF, last_BF = build_pooling(name, 3).double(), outputs(), torch.randn(3, 3).double()
    pooled_BF = pool(y_TBF, LENGTHS_B, last_BF)
    for b, length in enumerate([5, 2]):
        y_TF = y_TBF[:length, b]
        expected_F = {"last": last_BF[b], "mean": y_TF.mean(0), "max": y_TF.amax(0)}.get(name)
        if expected_F is None:
            scores_T = torch.tanh(y_TF @ pool.hidden.weight.T + pool.hidden.bias) @ pool.score.weight[0]
            expected_F = sum(p * y_F for p, y_F in zip(scores_T.softmax(0), y_TF, strict=True))
        torch.testing.assert_close(pooled_BF[b], expected_F)
    assert name == "last" or not pooled_BF[2].any()


@pytest.mark.parametrize("name", POOLINGS)
def test_step_by_step_is_all_at_once(name: str) -> None:
    torch.manual_seed(1)
    pool, y_TBF, state = build_pooling(name, 3).double(), 3 * torch.randn(6, 9, 3).double(), None
    for t in range(6):
        pooled_BF, state = pool.step(y_TBF[t], state)
        expected_BF = pool(y_TBF[: t + 1], torch.full((9,), t + 1), y_TBF[t])
        torch.testing.assert_close(pooled_BF, expected_BF)


@pytest.mark.parametrize("name", POOLINGS)
def test_gradients(name: str) -> None:
    pool, last_BF = build_pooling(name, 2).double(), torch.randn(3, 2).double().requires_grad_()
    arguments = (outputs(2).requires_grad_(), LENGTHS_B, last_BF)
    assert torch.autograd.gradcheck(lambda y, lengths, last: pool(y, lengths, last), arguments)


def test_the_last_output_is_the_state_of_the_last_layer() -> None:
    lstm = torch.nn.LSTM(3, 4, 2, bidirectional=True)
    y_TBF, state = lstm(torch.randn(5, 2, 3))
    torch.testing.assert_close(last_output(state, 2), torch.cat([y_TBF[-1, :, :4], y_TBF[0, :, 4:]], 1))


def test_unknown_name() -> None:
    with pytest.raises(SettingError, match="unknown pooling 'maxx'"):
        build_pooling("maxx", 3)
