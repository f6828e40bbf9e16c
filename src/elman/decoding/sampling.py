"""Sampling of the next symbol: greedy, temperature, top-k and nucleus."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.errors import NonFiniteError, SettingError
from elman.shapes import check_shape


@dataclass(frozen=True)
class Sampler:
    """Settings of sampling; `sampler(logits_BV, generator)` draws.

    Attributes:
        temperature: the logits are divided by it; 0 takes the most probable symbol.
        top_k: only so many of the most probable symbols; None: all.
        top_p: only the most probable ones that together reach this probability; None: all.
        never: token ids that are never drawn.

    Raises:
        SettingError: a setting has an invalid value.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    never: range = range(0)

    def __post_init__(self) -> None:
        t, k, p = self.temperature, self.top_k, self.top_p
        at_least_1 = k is None or (1 <= k < math.inf and k == int(k))
        for name, value, valid, should, example in (
            ("temperature", t, 0 <= t < math.inf, "0 (always the most probable symbol) or a positive number", 0.8),
            ("top-k", k, at_least_1, "an integer of at least 1", 40),
            ("top-p", p, p is None or 0 < p <= 1, "a probability above 0, at most 1", 0.9),
        ):
            if not valid:
                hint = f"--{name} {example}"
                raise SettingError(f"invalid value for {name}", should=should, found=str(value), hint=hint)

    def __call__(self, logits_BV: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one token id for each row of unnormalised log-probabilities.

        Args:
            logits_BV: (B, V); minus infinity forbids a symbol.
            generator: the source of randomness; the same state gives the same token ids.

        Returns:
            ids_B: (B,) int64.

        Raises:
            NonFiniteError: the logits are NaN, infinite, or forbid every symbol.
        """
        if self.temperature == 0:
            return self.distribution(logits_BV).argmax(dim=-1)
        uniform_B1 = torch.rand(len(logits_BV), 1, dtype=torch.float64, device=logits_BV.device, generator=generator)
        return self.at(logits_BV, uniform_B1)

    def at(self, logits_BV: Tensor, uniform_B1: Tensor) -> Tensor:
        """Return the token ids, (B,), at shares of the cumulative probability, such as random numbers from 0 to 1.

        Raises:
            NonFiniteError: as a draw.
        """
        # Inverting the cumulative probabilities takes one random number a row, and the memory of one row.
        cumulative_BV = self.distribution(logits_BV).cumsum(dim=-1)
        # The random number is at most 1 - 2^-53, so that it never rounds up to the total. A symbol of probability 0
        # adds nothing to the sum and is never drawn.
        return torch.searchsorted(cumulative_BV, uniform_B1 * cumulative_BV[:, -1:], right=True).squeeze(-1)

    def distribution(self, logits_BV: Tensor) -> Tensor:
        """Return the probabilities, (B, V) float64, that symbols are drawn from; raises as a draw.

        First the temperature, then the k most probable (equal ones in the order of their token ids), then the nucleus
        of these: the fewest most probable symbols whose probabilities add up to `top_p` (Holtzman et al. 2020), at
        least one.
        """
        check_shape("logits", logits_BV, "BV")
        logits_BV = logits_BV.detach().double()
        if self.never:
            logits_BV = logits_BV.clone()
            logits_BV[:, self.never.start : self.never.stop] = -torch.inf
        highest_B1 = logits_BV.max(dim=-1, keepdim=True).values
        if not torch.isfinite(highest_B1).all():
            raise NonFiniteError(
                "the model's output is not finite",
                should="numbers, or minus infinity for some symbols",
                found="nan, infinity, or minus infinity for all symbols",
                hint="train with a smaller learning rate or with clipping",
            )
        shifted_BV = logits_BV - highest_B1
        if self.temperature > 0 and self.top_k is None and (self.top_p is None or self.top_p == 1):
            return torch.softmax(shifted_BV / self.temperature, dim=-1)  # sorting takes most of a small model's time
        order_BV = logits_BV.argsort(dim=-1, descending=True, stable=True)
        if self.temperature == 0:
            return torch.zeros_like(shifted_BV).scatter(-1, order_BV[:, :1], 1.0)
        ranked_BV = torch.softmax(shifted_BV.gather(-1, order_BV) / self.temperature, dim=-1)
        if self.top_k is not None:
            ranked_BV[:, self.top_k :] = 0.0
            ranked_BV = ranked_BV / ranked_BV.sum(dim=-1, keepdim=True)
        if self.top_p is not None and self.top_p < 1:
            before_BV = ranked_BV.cumsum(dim=-1) - ranked_BV
            ranked_BV = torch.where(before_BV < self.top_p, ranked_BV, 0.0)
            ranked_BV = ranked_BV / ranked_BV.sum(dim=-1, keepdim=True)
        return torch.zeros_like(ranked_BV).scatter(-1, order_BV, ranked_BV)
