"""Pooling over the steps of a sequence: last, mean, maximum and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import look_up


class LastPool(nn.Module):
    """Last pooling: the outputs after the last step, of each direction."""

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return the pooled vectors, (B, F), of outputs that are zero beyond the lengths.

        `last_BF` is the last output of each direction.
        """
        return last_BF

    def step(self, y_BF: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the pooled vectors of the steps so far, (B, F), and the state, which is None before the first step."""
        return y_BF, None


class MeanPool(nn.Module):
    """Mean pooling over the steps; zero for an empty sequence."""

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return the pooled vectors, (B, F); see `LastPool.forward`."""
        return y_TBF.sum(0) / lengths_B.clamp(min=1).to(y_TBF)[:, None]

    def step(self, y_BF: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return as `LastPool.step`."""
        count, total_BF = (1, y_BF) if state is None else (state[0] + 1, state[1] + y_BF)
        return total_BF / count, (count, total_BF)


class MaxPool(nn.Module):
    """Max pooling over the steps; zero for an empty sequence."""

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return the pooled vectors, (B, F); see `LastPool.forward`."""
        greatest_BF = y_TBF.masked_fill(~steps_exist(y_TBF, lengths_B)[..., None], -torch.inf).amax(0)
        return greatest_BF.masked_fill((lengths_B == 0)[:, None], 0.0)

    def step(self, y_BF: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return as `LastPool.step`."""
        greatest_BF = y_BF if state is None else torch.maximum(state, y_BF)
        return greatest_BF, greatest_BF


class AttentionPool(nn.Module):
    """Attention pooling: a mean weighted by the softmax over the steps of v . tanh(A y_t) (Yang et al. 2016)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.score = nn.Linear(features, 1, bias=False)

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return the pooled vectors, (B, F); see `LastPool.forward`."""
        score_TB = self.score(torch.tanh(self.hidden(y_TBF))).squeeze(-1)
        # The lowest number instead of minus infinity, so that an empty sequence gives zeros and not NaN.
        score_TB = score_TB.masked_fill(~steps_exist(y_TBF, lengths_B), torch.finfo(score_TB.dtype).min)
        weights_TB: Tensor = score_TB.softmax(0)
        return (weights_TB[..., None] * y_TBF).sum(0)

    def step(self, y_BF: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return as `LastPool.step`; the weights are relative to the greatest score so far (online softmax)."""
        score_B1 = self.score(torch.tanh(self.hidden(y_BF)))
        max_B1, weight_B1, total_BF = state or (score_B1, torch.zeros_like(score_B1), torch.zeros_like(y_BF))
        new_max_B1 = torch.maximum(max_B1, score_B1)
        old_B1, added_B1 = (max_B1 - new_max_B1).exp(), (score_B1 - new_max_B1).exp()
        weight_B1, total_BF = weight_B1 * old_B1 + added_B1, total_BF * old_B1 + y_BF * added_B1
        return total_BF / weight_B1, (new_max_B1, weight_B1, total_BF)


POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "last": lambda features: LastPool(),
    "mean": lambda features: MeanPool(),
    "max": lambda features: MaxPool(),
    "attention": AttentionPool,
}


def build_pooling(name: str, features: int) -> nn.Module:
    """Build a pooling of `POOLINGS` for outputs of F features; an unknown name is a SettingError."""
    return look_up("pooling", name, POOLINGS)(features)


def last_output(state: Any, directions: int) -> Tensor:
    """Return the last layer's output at the last step, (B, D * H), from the state of layers with D directions."""
    h_LBH = state if isinstance(state, Tensor) else state[0]
    return torch.cat(tuple(h_LBH[-directions:]), -1)


def steps_exist(y_TBF: Tensor, lengths_B: Tensor) -> Tensor:
    """Return a mask (T, B), true at the steps within the lengths."""
    return torch.arange(len(y_TBF), device=y_TBF.device)[:, None] < lengths_B.to(y_TBF.device)
