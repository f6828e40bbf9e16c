"""From features to symbols: the full softmax, with weights of its own or the embedding's, and the adaptive one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError

IGNORED = -100
"""A target that does not count, as in torch."""


LOGITS_AT_ONCE = 1 << 24
"""How many an evaluation has in memory at a time: 64 MB in float32, a few times that with the steps of the softmax."""


class FullSoftmax(nn.Module):
    """p = softmax(V s + c) over all symbols.

    Args:
        features: H, size of the features s.
        vocabulary: V, how many symbols there are.
        tied: the embedding whose weight (V, H) is used as V (Press and Wolf 2017, https://arxiv.org/abs/1608.05859).
    """

    def __init__(self, features: int, vocabulary: int, tied: nn.Embedding | None = None) -> None:
        super().__init__()
        # The embedding is kept out of the children, so that the state dict holds the shared weight once.
        self._tied = [tied] if tied is not None else []
        if tied is None:
            self.weight = nn.Parameter(torch.empty(vocabulary, features))
            nn.init.uniform_(self.weight, -1 / math.sqrt(features), 1 / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def logits(self, s_NH: Tensor) -> Tensor:
        """Return the logits of every symbol, (N, V)."""
        return functional.linear(s_NH, self._tied[0].weight if self._tied else self.weight, self.bias)

    def nats(self, s_NH: Tensor, target_N: Tensor) -> Tensor:
        """Return -log p of the targets that count, summed."""

        def piece(s_NH: Tensor, target_N: Tensor) -> Tensor:
            return functional.cross_entropy(self.logits(s_NH), target_N, ignore_index=IGNORED, reduction="sum")

        if torch.is_grad_enabled():  # all logits are kept for the backward pass in any case
            return piece(s_NH, target_N)
        rows = max(1, LOGITS_AT_ONCE // self.bias.numel())
        pieces = zip(torch.split(s_NH, rows), torch.split(target_N, rows), strict=True)
        return torch.stack([piece(s, target) for s, target in pieces]).sum()


class AdaptiveSoftmax(nn.Module):
    """Frequent symbols in one softmax, rare ones in clusters with fewer features, for vocabularies that are large.

    Grave et al. 2017, https://arxiv.org/abs/1609.04309; torch's `AdaptiveLogSoftmaxWithLoss`. Symbols must be numbered
    by falling frequency.

    Args:
        features: H, size of the features.
        vocabulary: V, how many symbols there are.
        cutoffs: where clusters begin, rising, each inside the vocabulary.
    """

    def __init__(self, features: int, vocabulary: int, cutoffs: tuple[int, ...]) -> None:
        super().__init__()
        if not cutoffs or list(cutoffs) != sorted(set(cutoffs)) or cutoffs[0] < 1 or cutoffs[-1] >= vocabulary:
            raise SettingError(
                "the cutoffs of the adaptive softmax do not fit",
                should=f"rising numbers from 1 to {vocabulary - 1}, below the {vocabulary} symbols",
                found=",".join(map(str, cutoffs)) or "none",
                hint=f"--set cutoffs={max(1, vocabulary // 20)},{max(2, vocabulary // 4)}",
            )
        # Each cluster has so many times fewer features than the one before; the last one must have one.
        shrink = min(4.0, 0.999 * features ** (1 / len(cutoffs)))
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(features, vocabulary, list(cutoffs), div_value=shrink)

    def logits(self, s_NH: Tensor) -> Tensor:
        """Return log p of every symbol, (N, V): logits whose softmax is p."""
        log_p_NV: Tensor = self.softmax.log_prob(s_NH)
        return log_p_NV

    def nats(self, s_NH: Tensor, target_N: Tensor) -> Tensor:
        """Return -log p of the targets that count, summed."""
        counts_N = target_N != IGNORED
        if not bool(counts_N.any()):
            return s_NH.sum() * 0
        log_p_N: Tensor = self.softmax(s_NH[counts_N], target_N[counts_N]).output
        return -log_p_N.sum()
