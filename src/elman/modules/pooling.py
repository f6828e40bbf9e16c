"""From the outputs at all steps of a sequence to one vector: last, mean, maximum, or what attention picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from elman.errors import unknown_name


class LastPool(nn.Module):
    """The state after the last step, of both directions where there are two."""

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return (B, F)."""
        return last_BF

    def running(self, y_BF: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Return what `forward` gives for the steps so far, (B, F), and what the next step needs to know."""
        return y_BF, None


class MeanPool(nn.Module):
    """The mean over the steps; zero for a sequence without any."""

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return (B, F); beyond a sequence's length y is zero, as the layers leave it."""
        return y_TBF.sum(0) / lengths_B.clamp(min=1).to(y_TBF)[:, None]

    def running(self, y_BF: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """As `LastPool.running`."""
        count, total_BF = (1, y_BF) if memory is None else (memory[0] + 1, memory[1] + y_BF)
        return total_BF / count, (count, total_BF)


class MaxPool(nn.Module):
    """The greatest value of each feature over the steps; zero for a sequence without any."""

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return (B, F)."""
        greatest_BF = y_TBF.masked_fill(~steps_exist(y_TBF, lengths_B)[..., None], -torch.inf).amax(0)
        return greatest_BF.masked_fill((lengths_B == 0)[:, None], 0.0)

    def running(self, y_BF: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """As `LastPool.running`."""
        greatest_BF = y_BF if memory is None else torch.maximum(memory, y_BF)
        return greatest_BF, greatest_BF


class AttentionPool(nn.Module):
    """A mean whose weights are a softmax over the steps of v . tanh(A y_t) (Yang et al. 2016, hierarchical attention).

    Args:
        features: F.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.score = nn.Linear(features, 1, bias=False)

    def forward(self, y_TBF: Tensor, lengths_B: Tensor, last_BF: Tensor) -> Tensor:
        """Return (B, F)."""
        score_TB = self.score(torch.tanh(self.hidden(y_TBF))).squeeze(-1)
        # The least number instead of minus infinity: a sequence without steps then has the mean of zeros, not nan.
        score_TB = score_TB.masked_fill(~steps_exist(y_TBF, lengths_B), torch.finfo(score_TB.dtype).min)
        weights_TB: Tensor = score_TB.softmax(0)
        return (weights_TB[..., None] * y_TBF).sum(0)

    def running(self, y_BF: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """As `LastPool.running`; the weights are kept by the greatest score so far, as the softmax does it."""
        score_B1 = self.score(torch.tanh(self.hidden(y_BF)))
        top_B1, weight_B1, total_BF = memory or (score_B1, torch.zeros_like(score_B1), torch.zeros_like(y_BF))
        higher_B1 = torch.maximum(top_B1, score_B1)
        old_B1, new_B1 = (top_B1 - higher_B1).exp(), (score_B1 - higher_B1).exp()
        weight_B1, total_BF = weight_B1 * old_B1 + new_B1, total_BF * old_B1 + y_BF * new_B1
        return total_BF / weight_B1, (higher_B1, weight_B1, total_BF)


POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "last": lambda features: LastPool(),
    "mean": lambda features: MeanPool(),
    "max": lambda features: MaxPool(),
    "attention": AttentionPool,
}


def build_pooling(name: str, features: int) -> nn.Module:
    """Return the pooling of a name for F features.

    Raises:
        SettingError: there is none of this name.
    """
    if name not in POOLINGS:
        raise unknown_name("pooling", name, POOLINGS)
    return POOLINGS[name](features)


def last_output(state: Any, directions: int) -> Tensor:
    """Return the last layer's output at the last step of each sequence, (B, D * H), out of the state after it."""
    h_LBH = state if isinstance(state, Tensor) else state[0]
    return torch.cat(tuple(h_LBH[-directions:]), -1)


def steps_exist(y_TBF: Tensor, lengths_B: Tensor) -> Tensor:
    """Return (T, B), true at the steps that the sequences have."""
    return torch.arange(len(y_TBF), device=y_TBF.device)[:, None] < lengths_B.to(y_TBF.device)
