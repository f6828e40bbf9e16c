"""Attention: scores and means by their formulas."""

import itertools

import pytest
import torch
from torch.nn import functional

from elman.errors import SettingError
from elman.modules.attention import ATTENTIONS, AdditiveAttention, MultiplicativeAttention, attend, build_attention


def test_scores_and_means_by_their_formulas() -> None:
    query_BTQ, memory_BSM, lengths_B = torch.randn(2, 3, 4), torch.randn(2, 5, 6), torch.tensor([5, 2])
    for attention in (MultiplicativeAttention(4, 6), AdditiveAttention(4, 6)):
        scores_BTS = attention.scores(query_BTQ, attention.keys(memory_BSM))
        means_BTM, weights_BTS = attend(scores_BTS, memory_BSM, lengths_B)
        for b, t in itertools.product(range(2), range(3)):
            memory_SM, query_Q = memory_BSM[b, : lengths_B[b]], query_BTQ[b, t]
            keys_SQ = memory_SM @ attention.key.weight.T
            if isinstance(attention, AdditiveAttention):
                hidden_SQ = torch.tanh(
                    keys_SQ + functional.linear(query_Q, attention.query.weight, attention.query.bias)
                )
                expected_S = hidden_SQ @ attention.score.weight[0]
            else:
                expected_S = keys_SQ @ query_Q
            weights_S = expected_S.softmax(0)
            torch.testing.assert_close(weights_BTS[b, t, : lengths_B[b]], weights_S)
            torch.testing.assert_close(means_BTM[b, t], weights_S @ memory_SM)
        assert (weights_BTS[1, :, 2:] == 0).all()


@pytest.mark.parametrize("name", ATTENTIONS)
def test_gradients(name: str) -> None:
    attention, lengths_B = build_attention(name, 3, 4).double(), torch.tensor([3, 1])
    query_BTQ, memory_BSM = (
        torch.randn(2, 2, 3).double().requires_grad_(),
        torch.randn(2, 3, 4).double().requires_grad_(),
    )

    def mean(query_BTQ: torch.Tensor, memory_BSM: torch.Tensor) -> torch.Tensor:
        return attend(attention.scores(query_BTQ, attention.keys(memory_BSM)), memory_BSM, lengths_B)[0]

    assert torch.autograd.gradcheck(mean, (query_BTQ.requires_grad_(), memory_BSM.requires_grad_()))


def test_scaled_dot_products_are_those_of_torch() -> None:
    attention, lengths_B = MultiplicativeAttention(4, 4), torch.tensor([5, 2])
    attention.key.weight.data = torch.eye(4) / 2  # 1 / sqrt(4)
    query_BTQ, memory_BSM = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    mean_BTM, _ = attend(attention.scores(query_BTQ, attention.keys(memory_BSM)), memory_BSM, lengths_B)
    mask_BTS = (torch.arange(5) < lengths_B[:, None])[:, None].expand(2, 3, 5)
    expected = functional.scaled_dot_product_attention(query_BTQ, memory_BSM, memory_BSM, attn_mask=mask_BTS)
    torch.testing.assert_close(mean_BTM, expected)


def test_unknown_name() -> None:
    with pytest.raises(SettingError, match="unknown attention 'additve'"):
        build_attention("additve", 2, 3)
