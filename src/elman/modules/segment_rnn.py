"""Recurrent over segments instead of steps: far fewer steps for the gradient, and all of the future at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.modules.dropout import SequenceDropout
from elman.modules.recurrent_stack import build_layers


class Covariates(NamedTuple):
    """What is known of all steps, past and to come.

    Attributes:
        calendar_SBK: smooth features of the time, (T + F, B, K).
        known_SBK: whatever else is known ahead, (T + F, B, K).
    """

    calendar_SBK: Tensor
    known_SBK: Tensor

    def joined(self) -> Tensor:
        """Return all of them, (T + F, B, K)."""
        return torch.cat([self.calendar_SBK, self.known_SBK], -1)


class SegmentNetwork(nn.Module):
    """Segments of the past through recurrent layers, and from their last state every segment of the future at once.

    SegRNN (Lin et al. 2023, https://arxiv.org/abs/2308.11200), with the parallel decoding of the paper: each segment of
    the future is one step from the same state, told apart by a learned vector of its place and one of its series.
    Covariates are added to what a segment says; of the calendar its first step is taken, which tells the others.

    Args:
        segment: steps in one.
        horizon: F, steps to forecast.
        outputs: P, numbers for each of them.
        series: how many series there are.
        calendar, known: how many covariates of each kind there are.
        hidden: H.
        dropout: before the output and between layers.
        network: of the recurrent layers, see `elman.modules.recurrent_stack.build_layers`.
    """

    def __init__(
        self,
        *,
        segment: int,
        horizon: int,
        outputs: int,
        series: int,
        calendar: int,
        known: int,
        hidden: int,
        dropout: float = 0.0,
        **network: Any,
    ) -> None:
        super().__init__()
        self.segment, self.horizon, self.outputs = segment, horizon, outputs
        self.ahead = -(-horizon // segment)
        self.past = nn.Linear(segment * 2, hidden)
        covariates = calendar + segment * known
        self.covariates = nn.Linear(covariates, hidden, bias=False) if covariates else None
        self.recurrent = build_layers(network.pop("cell"), hidden, hidden, dropout=dropout, **network)
        self.place = nn.Parameter(torch.randn(self.ahead, hidden) * 0.1)
        self.identity = nn.Embedding(series, hidden)
        nn.init.normal_(self.identity.weight, std=0.1)
        self.dropout = SequenceDropout(dropout)
        self.head = nn.Linear(hidden, segment * outputs)

    def forward(self, x_TB: Tensor, seen_TB: Tensor, covariates: Covariates, series_B: Tensor) -> Tensor:
        """Return what is said of each step to come, (F, B, P), for normalised windows."""
        T, B = x_TB.shape
        lead = -T % self.segment
        past_NBW = _cut(x_TB * seen_TB, lead, self.segment)
        seen_NBW = _cut(seen_TB, lead, self.segment)
        e_NBH = self.past(torch.cat([past_NBW, seen_NBW], -1))
        e_MBH = self.place[:, None] + self.identity(series_B)
        if self.covariates is not None:
            all_NBH = self.covariates(self._cut_covariates(covariates, lead))
            e_NBH = e_NBH + all_NBH[: len(e_NBH)]
            e_MBH = e_MBH + all_NBH[len(e_NBH) :]
        _, state = self.recurrent(torch.relu(e_NBH))
        # Every segment of the future is a sequence of one step, all from the same state.
        states = state if isinstance(state, tuple) else (state,)
        spread = tuple(s_LBH.repeat(1, self.ahead, 1) for s_LBH in states)
        start = spread if isinstance(state, tuple) else spread[0]
        s_1NH, _ = self.recurrent(torch.relu(e_MBH).reshape(1, self.ahead * B, -1), start)
        said_MBWP: Tensor = self.head(self.dropout(s_1NH)).view(self.ahead, B, self.segment, self.outputs)
        return said_MBWP.transpose(1, 2).reshape(-1, B, self.outputs)[: self.horizon]

    def _cut_covariates(self, covariates: Covariates, lead: int) -> Tensor:
        """Return the covariates of every segment, past and to come, (N + M, B, ...)."""
        calendar_SBK, known_SBK = covariates
        T = len(calendar_SBK) - self.horizon
        starts = torch.arange(-lead, T + self.horizon, self.segment, device=known_SBK.device).clamp(min=0)
        parts = [calendar_SBK[starts]]
        if known_SBK.shape[-1]:
            tail = self.ahead * self.segment - self.horizon
            places = torch.arange(-lead, T + self.horizon + tail, device=known_SBK.device)
            padded_SBK = known_SBK[places.clamp(0, T + self.horizon - 1)]
            parts.append(padded_SBK.view(-1, self.segment, *padded_SBK.shape[1:]).transpose(1, 2).flatten(2))
        return torch.cat(parts, -1)


def _cut(x_TB: Tensor, lead: int, segment: int) -> Tensor:
    """Return (N, B, W): a window cut into segments, zeros before its beginning."""
    padded_TB = torch.cat([x_TB.new_zeros(lead, x_TB.shape[1]), x_TB])
    return padded_TB.view(-1, segment, x_TB.shape[1]).transpose(1, 2)
