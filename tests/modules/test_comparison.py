"""Comparison heads: similarities and overlap features by their formulas, symmetric in the two texts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from elman.modules.comparison import (
    COMPARISONS,
    Alignment,
    EncodedText,
    ScoreDistribution,
    overlap_features,
    same_with_neighbour,
    vector_features,
)

FIRST, SECOND = [[1, 2, 3, 4], [5, 6]], [[2, 3, 9], [7, 5, 6, 6]]  # the words of two pairs


def encoded(texts: list[list[int]], seed: int) -> EncodedText:
    torch.manual_seed(seed)
    lengths_B = torch.tensor([len(words) for words in texts])
    exists_TB1 = (torch.arange(4)[:, None] < lengths_B)[..., None]
    y_TBF, x_TBI = torch.randn(4, 2, 3) * exists_TB1, torch.randn(4, 2, 5) * exists_TB1
    return EncodedText(y_TBF.sum(0), y_TBF, x_TBI, torch.rand(4, 2) * exists_TB1[..., 0], lengths_B)


def pairs() -> tuple[EncodedText, EncodedText, torch.Tensor]:
    """Return two pairs and the similarity of their words: 1 for the same one, 0.5 for the next number."""
    similarity_BTT = torch.zeros(2, 4, 4)
    for b in range(2):
        for i, word in enumerate(FIRST[b]):
            for j, other in enumerate(SECOND[b]):
                similarity_BTT[b, i, j] = {0: 1.0, 1: 0.5}.get(abs(word - other), 0.0)
    return encoded(FIRST, 1), encoded(SECOND, 2), similarity_BTT


def test_vector_similarities_by_their_formulas() -> None:
    first, second, similarity_BTT = pairs()
    u_BF, v_BF = first.vector_BF, second.vector_BF
    manhattan = COMPARISONS["manhattan"](3)
    manhattan.log_scale.data.fill_(math.log(2))
    expected = [
        math.exp(-sum(abs(a - b) for a, b in zip(u, v, strict=True)) / 2)
        for u, v in zip(u_BF.tolist(), v_BF.tolist(), strict=True)
    ]
    assert manhattan(first, second, similarity_BTT).tolist() == pytest.approx(expected)
    cosine_B = torch.nn.CosineSimilarity()(u_BF, v_BF)
    torch.testing.assert_close(COMPARISONS["cosine"](3)(first, second, similarity_BTT), cosine_B.clamp(min=0))
    torch.testing.assert_close(vector_features(first, second), torch.cat([(u_BF - v_BF).abs(), u_BF * v_BF], 1))


def test_overlap_features_by_counting() -> None:
    first, second, similarity_BTT = pairs()
    features_BF = overlap_features(first, second, similarity_BTT)
    # Common words: 2 3, and 5 6 6. All but the last 6 have a common neighbour.
    assert features_BF[:, 0].tolist() == pytest.approx([2 / 4, 3 / 4]) and features_BF[:, 4].tolist() == pytest.approx(
        [2 / 3, 1]
    )
    assert features_BF[:, 3].tolist() == pytest.approx([2 / 4, 2 / 4]) and features_BF[:, 7].tolist() == pytest.approx(
        [2 / 3, 1]
    )
    assert features_BF[:, 8].tolist() == pytest.approx([3 / 4, 2 / 4])
    weights = [text.weight_TB[:, 0].tolist() for text in (first, second)]
    shares = [(weights[0][1] + weights[0][2]) / sum(weights[0]), (weights[1][0] + weights[1][1]) / sum(weights[1])]
    assert [features_BF[0, 1].item(), features_BF[0, 5].item()] == pytest.approx(sorted(shares))
    assert features_BF[0, 9].item() == pytest.approx(min(map(sum, weights)) / max(map(sum, weights)))
    swapped_BF = overlap_features(second, first, similarity_BTT.mT)
    torch.testing.assert_close(swapped_BF, features_BF)


def test_the_alignment_is_symmetric_and_ignores_what_lies_beyond() -> None:
    first, second, similarity_BTT = pairs()
    layer = Alignment(3, 5, 6, 0.0)
    aligned_BF = layer(first, second, similarity_BTT)
    assert aligned_BF.shape == (2, layer.output_size)
    torch.testing.assert_close(layer(second, first, similarity_BTT.mT), aligned_BF)
    y_TBF, x_TBI = first.y_TBF.clone(), first.x_TBI.clone()
    y_TBF[2:, 1], x_TBI[2:, 1] = 1e3, 1e3
    torch.testing.assert_close(layer(first._replace(y_TBF=y_TBF, x_TBI=x_TBI), second, similarity_BTT), aligned_BF)


def test_the_alignment_by_a_loop() -> None:
    first, second, similarity_BTT = pairs()
    layer = Alignment(3, 5, 6, 0.0)

    def side(text: EncodedText, other: EncodedText, similarity_TT: torch.Tensor) -> torch.Tensor:
        p_TP, q_TP = (layer.project(torch.cat([e.y_TBF, e.x_TBI], -1)[: e.lengths_B[0], 0]) for e in (text, other))
        same_TT = (similarity_TT == 1).float()
        neighbour_TT = same_with_neighbour(same_TT[None])[0]
        rows = []
        for i, p_P in enumerate(p_TP):
            scores_T = q_TP @ p_P / math.sqrt(6) + 4 * same_TT[i] + 4 * similarity_TT[i]  # both weights are 4 at first
            q_P = scores_T.softmax(0) @ q_TP
            matches = [text.weight_TB[i, 0], similarity_TT[i].max(), same_TT[i].max(), neighbour_TT[i].max()]
            rows.append(layer.compare(torch.cat([p_P, q_P, (p_P - q_P).abs(), p_P * q_P, torch.stack(matches)])))
        return torch.cat([torch.stack(rows).mean(0), torch.stack(rows).amax(0)])

    similarity_TT = similarity_BTT[0, :4, :3]
    u_P, v_P = side(first, second, similarity_TT), side(second, first, similarity_TT.T)
    expected = torch.cat([u_P + v_P, (u_P - v_P).abs()])
    torch.testing.assert_close(layer(first, second, similarity_BTT)[0], expected)


@given(st.integers(2, 9), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_the_target_distribution_has_the_score_as_its_mean(bins: int, targets: list[float]) -> None:
    head = ScoreDistribution(3, 4, bins, 0.0)
    target_B = torch.tensor(targets)
    # The loss of log p is linear in it, so one bin at a time shows the weights.
    weights = torch.stack([head.loss(-torch.eye(bins)[k].expand(len(targets), -1), target_B) for k in range(bins)])
    torch.testing.assert_close(weights.sum(0), torch.ones(len(targets)), rtol=0, atol=1e-5)
    torch.testing.assert_close(head.score_K @ weights, target_B, rtol=0, atol=1e-5)
    assert ((weights > 1e-6).sum(0) <= 2).all()


def test_two_bins_are_logistic_regression() -> None:
    head = ScoreDistribution(3, 4, 2, 0.0)
    log_p = head(torch.randn(5, 3))
    target = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    expected = functional.binary_cross_entropy(head.score(log_p), target, reduction="none")
    torch.testing.assert_close(head.loss(log_p, target), expected)
