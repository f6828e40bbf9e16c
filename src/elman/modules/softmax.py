"""Output layers over a vocabulary: full softmax, with own or tied weights, and adaptive softmax."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.errors import SettingError
from elman.kernels.output_layer import linear_cross_entropy

IGNORE_INDEX = -100
"""The target that has no loss, as in torch."""


def linear_by_row(x_NI: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
    """Return W x + b of each row, (N, O), with the bits of `torch.nn.functional.linear` for that row alone."""
    if len(x_NI) == 1:
        return functional.linear(x_NI, weight_OI, bias_O)
    if _batches_keep_bits(weight_OI.shape, weight_OI.dtype):
        N, (O, I) = len(x_NI), weight_OI.shape
        return torch.baddbmm(bias_O.expand(N, 1, O), x_NI[:, None], weight_OI.t().expand(N, I, O))[:, 0]
    return torch.cat([functional.linear(x_1I, weight_OI, bias_O) for x_1I in torch.split(x_NI, 1)])


@cache
def _batches_keep_bits(shape: tuple[int, int], dtype: torch.dtype) -> bool:
    """Return whether a batch of products has the bits of single ones here: that is up to torch's BLAS."""
    generator = torch.Generator().manual_seed(0)
    weight_OI, bias_O, x_NI = (
        torch.randn(size, generator=generator, dtype=dtype) for size in (shape, shape[:1], (9, shape[1]))
    )
    N, (O, I) = len(x_NI), shape
    batched = torch.baddbmm(bias_O.expand(N, 1, O), x_NI[:, None], weight_OI.t().expand(N, I, O))[:, 0]
    return torch.equal(
        batched, torch.cat([functional.linear(x_1I, weight_OI, bias_O) for x_1I in torch.split(x_NI, 1)])
    )


class FullSoftmax(nn.Module):
    """Full softmax: p = softmax(V s + c) over all symbols.

    Args:
        features: H, size of the features s.
        vocabulary: V, number of symbols.
        tied: the embedding whose weight (V, H) is used as V (Press and Wolf 2017, https://arxiv.org/abs/1608.05859).
    """

    def __init__(self, features: int, vocabulary: int, tied: nn.Embedding | None = None) -> None:
        super().__init__()
        # A list hides the embedding from the children, so that the state dict holds the shared weight once.
        self._tied = [tied] if tied is not None else []
        if tied is None:
            self.weight = nn.Parameter(torch.empty(vocabulary, features))
            nn.init.uniform_(self.weight, -1 / math.sqrt(features), 1 / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    @property
    def output_weight(self) -> Tensor:
        """V, (V, H): the own weight, or that of the tied embedding."""
        return self._weight()

    def logits(self, s_NH: Tensor) -> Tensor:
        """Return the logits of all symbols, (N, V)."""
        return functional.linear(s_NH, self._weight(), self.bias)

    def logits_by_row(self, s_NH: Tensor) -> Tensor:
        """Return `logits`, whose bits in a row do not depend on the other rows.

        A product of matrices rounds by its number of rows; a batch of products of one row each has the bits of `logits`
        for a single row.
        """
        return linear_by_row(s_NH, self._weight(), self.bias)

    def nats(self, s_NH: Tensor, target_N: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy of the targets, summed over those that are not IGNORE_INDEX.

        It is -log p where there is no label smoothing, which distributes a probability over all symbols.
        """
        return linear_cross_entropy(
            s_NH, self._weight(), self.bias, target_N,
            ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=label_smoothing,
        )  # fmt: skip

    def _weight(self) -> Tensor:
        return self._tied[0].weight if self._tied else self.weight


class AdaptiveSoftmax(nn.Module):
    """Adaptive softmax for large vocabularies: rare symbols lie in clusters with fewer features.

    Grave et al. 2017, https://arxiv.org/abs/1609.04309; torch's `AdaptiveLogSoftmaxWithLoss`. Symbols are numbered by
    falling frequency.

    Args:
        features: H, size of the features.
        vocabulary: V, number of symbols.
        cutoffs: the first symbol of each cluster, rising, from 1 to V - 1.

    Raises:
        SettingError: invalid cutoffs.
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
        # Each cluster has so many times fewer features than the one before; the last one has at least 1.
        div_value = min(4.0, 0.999 * features ** (1 / len(cutoffs)))
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(features, vocabulary, list(cutoffs), div_value=div_value)

    def logits(self, s_NH: Tensor) -> Tensor:
        """Return log p of all symbols, (N, V): logits whose softmax is p."""
        log_p_NV: Tensor = self.softmax.log_prob(s_NH)
        return log_p_NV

    def logits_by_row(self, s_NH: Tensor) -> Tensor:
        """Return `logits`, whose bits in a row do not depend on the other rows."""
        return torch.cat([self.logits(s_1H) for s_1H in torch.split(s_NH, 1)])

    def nats(self, s_NH: Tensor, target_N: Tensor) -> Tensor:
        """Return -log p of the targets, summed over those that are not IGNORE_INDEX."""
        counts_N = target_N != IGNORE_INDEX
        if not bool(counts_N.any()):
            return s_NH.sum() * 0
        log_p_N: Tensor = self.softmax(s_NH[counts_N], target_N[counts_N]).output
        return -log_p_N.sum()
